/** Phase portraits: the states of a run in the plane, each step or every second one, and the cobweb of a scalar map. */

import { along, plotFrame, rangeOf, svgElement } from "./frame.js";
import { endMark } from "./series.js";

/** @typedef {import("./panels.js").Run} Run */
/** @typedef {import("./frame.js").Frame} Frame */

// More states than this are not told apart; the first ones show the way, and the last ones where it ends.
const MOST_STATES = 1200;
const COBWEB_STEPS = 160;
// A run that escapes is drawn up to states of this size: the next ones would shrink all others to a dot.
const PORTRAIT_BOUND = 10;

/**
 * The states of the runs in the plane. With `twoStep`, states two steps apart are joined, those of odd steps hollow: at the
 * edge of stability a run alternates between two sides, and only so its slow drift is seen.
 * @param {Run[]} runs
 * @param {number} width
 * @param {number} height
 * @param {boolean} twoStep
 */
export function planePanel(runs, width, height, twoStep) {
  const names = runs[0].trajectory.names;
  const inside = runs.map((run) => portraitStates(run));
  const x = rangeOf(inside.map((s) => s.map((k) => k[0])), false);
  const y = rangeOf(inside.map((s) => s.map((k) => k[1])), false);
  const how = twoStep ? "every second step joined" : "each step joined";
  const label = `Phase portrait: ${names.y} over ${names.x}, ${how}.`;
  const frame = plotFrame({ width, height, x, y, xName: names.x, yName: names.y, label });
  runs.forEach((run, k) => drawStates(frame, run, inside[k], twoStep));
  return frame.svg;
}

/**
 * States within the frame: the last ones of a run that escapes are left out.
 * @param {Run} run
 * @returns {[number, number][]}
 */
function portraitStates(run) {
  const { x, y, escapedAt } = run.trajectory;
  const count = escapedAt >= 0 && x.length > 6 ? x.length - 3 : x.length;
  /** @type {[number, number][]} */
  const states = [];
  const skip = Math.max(0, count - MOST_STATES);
  for (let k = 0; k < count; k++) {
    if (skip > 0 && k >= MOST_STATES / 2 && k < count - MOST_STATES / 2) continue;
    if (!Number.isFinite(x[k]) || !Number.isFinite(y[k])) continue;
    const far = escapedAt >= 0 && Math.max(Math.abs(x[k]), Math.abs(y[k])) > PORTRAIT_BOUND;
    if (!far || states.length < 2) states.push([x[k], y[k]]);
  }
  return states;
}

/**
 * @param {Frame} frame
 * @param {Run} run
 * @param {[number, number][]} states
 * @param {boolean} twoStep
 */
function drawStates(frame, run, states, twoStep) {
  const name = `run-${run.name.toLowerCase()}`;
  const at = states.map(([x, y]) => [along(frame.x, x), along(frame.y, y)]);
  const text = (/** @type {number[][]} */ points) => points.map((p) => `${p[0].toFixed(2)} ${p[1].toFixed(2)}`).join("L");
  const tracks = twoStep ? [at.filter((_, k) => k % 2 === 0), at.filter((_, k) => k % 2 === 1)] : [at];
  tracks.forEach((track, odd) => {
    if (!track.length) return;
    frame.body.append(svgElement("path", { class: `plot-way ${name}`, d: `M${text(track)}` }));
    const r = track.length > 200 ? 1.3 : 2;
    const dots = track.map((p) => `M${(p[0] - r).toFixed(2)} ${p[1].toFixed(2)}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`);
    frame.body.append(svgElement("path", { class: `plot-states ${name}${odd ? " hollow" : ""}`, d: dots.join("") }));
  });
  const first = at[0];
  if (first) frame.body.append(svgElement("circle", { class: `plot-start ${name}`, cx: first[0], cy: first[1], r: 4 }));
  const last = at[at.length - 1];
  if (last) frame.body.append(endMark(frame, last[0], last[1], run));
}

/**
 * The cobweb of a scalar map: its graph, the diagonal, and the way of each run between them.
 * @param {Run[]} runs
 * @param {(z: number, params: Record<string, number | string>) => number} map
 * @param {number} width
 * @param {number} height
 */
export function cobwebPanel(runs, map, width, height) {
  const inside = runs.map((run) => cobwebStates(run));
  const [lo, hi] = rangeOf([...inside, [0]], false);
  const frame = plotFrame({
    width, height, x: [lo, hi], y: [lo, hi], xName: "z", yName: "next z",
    label: "Cobweb: the map's graph, the diagonal and the way of the run between them.",
  });
  const corner = (/** @type {number} */ v, /** @type {number} */ w) =>
    `${along(frame.x, v).toFixed(2)} ${Math.min(Math.max(along(frame.y, w), -1e4), 1e4).toFixed(2)}`;
  frame.body.append(svgElement("path", { class: "plot-threshold", d: `M${corner(lo, lo)}L${corner(hi, hi)}` }));
  runs.forEach((run, k) => {
    const name = `run-${run.name.toLowerCase()}`;
    const graph = [];
    for (let i = 0; i <= 160; i++) {
      const z = lo + ((hi - lo) * i) / 160;
      graph.push(corner(z, map(z, run.params)));
    }
    frame.body.append(svgElement("path", { class: `plot-graph ${name}`, d: `M${graph.join("L")}` }));
    const way = [];
    for (let i = 0; i + 1 < inside[k].length; i++) {
      way.push(corner(inside[k][i], inside[k][i]), corner(inside[k][i], inside[k][i + 1]));
    }
    if (way.length) frame.body.append(svgElement("path", { class: `plot-way ${name}`, d: `M${way.join("L")}` }));
    const z = inside[k][inside[k].length - 1];
    if (z !== undefined) frame.body.append(endMark(frame, along(frame.x, z), along(frame.y, z), run));
  });
  return frame.svg;
}

/** @param {Run} run */
function cobwebStates(run) {
  const { residual, escapedAt } = run.trajectory;
  const count = escapedAt >= 0 && residual.length > 6 ? residual.length - 2 : residual.length;
  return [...residual.slice(0, count)].filter((z) => Number.isFinite(z)).slice(0, COBWEB_STEPS);
}
