/** Panels of a number over the steps of a run: loss and curvature. */

import { along, plotFrame, rangeOf, svgElement } from "./frame.js";

/** @typedef {import("./panels.js").Run} Run */
/** @typedef {import("./frame.js").Frame} Frame */

// A logarithmic loss is drawn down to this share of its largest value: below it there is rounding.
const DEEPEST = 1e-34;

/**
 * The path of a series. Where there are more points than pixels, each column keeps its first, least, largest and last
 * value, so that no spike is lost.
 * @param {Frame} frame
 * @param {ArrayLike<number>} times
 * @param {ArrayLike<number>} values
 */
export function seriesPath(frame, times, values) {
  const { x, y } = frame;
  // A loss below the frame is drawn along its lower edge, to where the run ends.
  const lowest = y.log ? y.lo : -Infinity;
  const highest = y.log ? y.hi * 10 : Infinity;
  const place = (/** @type {number} */ k) => {
    const value = Math.min(Math.max(values[k], lowest), highest);
    const up = Math.min(Math.max(along(y, value), -1e4), 1e4);
    return `${along(x, times[k]).toFixed(2)} ${up.toFixed(2)}`;
  };
  const parts = [];
  for (const k of thinned(frame, times, values)) parts.push(place(k));
  return parts.length ? `M${parts.join("L")}` : "";
}

/**
 * @param {Frame} frame
 * @param {ArrayLike<number>} times
 * @param {ArrayLike<number>} values
 */
function thinned(frame, times, values) {
  const count = Math.min(times.length, values.length);
  const all = [];
  for (let k = 0; k < count; k++) if (!Number.isNaN(values[k])) all.push(k);
  if (all.length <= 2 * (frame.box.right - frame.box.left)) return all;
  const kept = [];
  let first = 0;
  while (first < all.length) {
    const column = Math.floor(along(frame.x, times[all[first]]));
    let [least, most, last] = [first, first, first];
    while (last + 1 < all.length && Math.floor(along(frame.x, times[all[last + 1]])) === column) {
      last += 1;
      if (values[all[last]] < values[all[least]]) least = last;
      if (values[all[last]] > values[all[most]]) most = last;
    }
    const chosen = [...new Set([first, least, most, last])].sort((a, b) => a - b);
    for (const k of chosen) kept.push(all[k]);
    first = last + 1;
  }
  return kept;
}

/**
 * The mark at the end of a run: a cross where it left every bound, else a dot.
 * @param {Frame} frame
 * @param {number} x in pixels
 * @param {number} y in pixels
 * @param {Run} run
 */
export function endMark(frame, x, y, run) {
  const { box } = frame;
  const [px, py] = [Math.min(x, box.right - 4), Math.min(Math.max(y, box.top + 4), box.bottom - 4)];
  const name = `run-${run.name.toLowerCase()}`;
  if (run.trajectory.escapedAt >= 0) {
    const d = `M${px - 4} ${py - 4}l8 8m0 -8l-8 8`;
    return svgElement("path", { class: `plot-end ${name}`, d });
  }
  return svgElement("circle", { class: `plot-dot ${name}`, cx: px, cy: py, r: 3 });
}

/**
 * Loss over steps, logarithmic.
 * @param {Run[]} runs
 * @param {number} width
 * @param {number} height
 */
export function lossPanel(runs, width, height) {
  const most = Math.max(...runs.map((run) => largest(run.trajectory.loss, run)));
  const seen = runs.map((run) => [...run.trajectory.loss].filter((v) => v >= most * DEEPEST && v <= most));
  const frame = plotFrame({
    width, height, x: stepRange(runs), y: rangeOf(seen, true), logY: true, xName: "step", yName: "loss",
    label: `Loss over steps. ${runs.map((run) => told(run, run.trajectory.loss)).join(" ")}`,
  });
  for (const run of runs) drawSeries(frame, run, run.trajectory.loss);
  return frame.svg;
}

/**
 * Curvature over steps, with the edge of stability at 2.
 * @param {Run[]} runs
 * @param {number} width
 * @param {number} height
 */
export function curvaturePanel(runs, width, height) {
  const inside = runs.map((run) => [...run.trajectory.curvature].filter((v) => Math.abs(v) <= mostCurvature(runs)));
  const [lo, hi] = rangeOf([...inside, [2]], false);
  const frame = plotFrame({
    width, height, x: stepRange(runs), y: [lo, hi], xName: "step", yName: "curvature",
    label: `Curvature over steps; 2 is the edge of stability. ${runs.map((r) => told(r, r.trajectory.curvature)).join(" ")}`,
  });
  const up = along(frame.y, 2);
  const { left, right } = frame.box;
  const below = up - frame.box.top < 16;
  const words = { class: "plot-note", x: right - 4, y: below ? up + 13 : up - 4, "text-anchor": "end" };
  for (const run of runs) drawSeries(frame, run, run.trajectory.curvature);
  // Over the runs, with a border of paper: a run that alternates fills the plot.
  for (const name of ["plot-halo", "plot-threshold"]) {
    frame.body.append(svgElement("line", { class: name, x1: left, x2: right, y1: up, y2: up }));
  }
  frame.svg.append(svgElement("text", words, "edge, 2"));
  return frame.svg;
}

/**
 * Curvatures of a run that escapes grow without bound in its last steps: the frame keeps to what came before.
 * @param {Run[]} runs
 */
function mostCurvature(runs) {
  let most = 4;
  for (const run of runs) {
    const values = run.trajectory.curvature;
    const kept = run.trajectory.escapedAt >= 0 ? values.length - 4 : values.length;
    for (let k = 0; k < kept; k++) if (Math.abs(values[k]) > most) most = Math.abs(values[k]);
  }
  return most;
}

/**
 * @param {Frame} frame
 * @param {Run} run
 * @param {ArrayLike<number>} values
 */
function drawSeries(frame, run, values) {
  const { times } = run.trajectory;
  const d = seriesPath(frame, times, values);
  if (!d) return;
  frame.body.append(svgElement("path", { class: `plot-line run-${run.name.toLowerCase()}`, d }));
  let last = Math.min(times.length, values.length) - 1;
  while (last > 0 && !Number.isFinite(values[last])) last -= 1;
  const value = frame.y.log ? Math.max(values[last], frame.y.lo) : values[last];
  frame.body.append(endMark(frame, along(frame.x, times[last]), along(frame.y, value), run));
}

/**
 * @param {ArrayLike<number>} values
 * @param {Run} run
 */
function largest(values, run) {
  // The last steps of a run that escapes would flatten all that came before.
  const kept = run.trajectory.escapedAt >= 0 && values.length > 8 ? values.length - 3 : values.length;
  let most = 0;
  for (let k = 0; k < kept; k++) if (Number.isFinite(values[k]) && values[k] > most) most = values[k];
  return most > 0 ? most : 1;
}

/** @param {Run[]} runs @returns {[number, number]} */
function stepRange(runs) {
  const last = Math.max(...runs.map((run) => run.trajectory.times[run.trajectory.times.length - 1] ?? 0));
  return [0, Math.max(last, 1)];
}

/**
 * What a screen reader says of a series.
 * @param {Run} run
 * @param {ArrayLike<number>} values
 */
function told(run, values) {
  const last = values.length - 1;
  const [first, end] = [values[0], values[last]].map((v) => Number(v).toPrecision(3));
  return `Run ${run.name} goes from ${first} to ${end} in ${run.trajectory.times[last] ?? 0} steps.`;
}
