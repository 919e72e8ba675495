/**
 * What the page, the workers and the tests ask: the phase of a point or a plane, a run, the lines of the theory.
 */

import { EDGE_LABELS, EDGE_RULES, EdgeReader, NO_RUN, edgeValues } from "./edge.js";
import { ESCAPED, March, SETTLED } from "./march.js";
import { trainingPlane, trainingPoint } from "./training.js";
import { cubicGlsl, cubicLines, cubicTrajectory } from "../systems/cubic.js";
import { LINEAR_NET_GLSL, LINEAR_NET_TRAINING_GLSL, LinearNet } from "../systems/linearnet.js";
import { Quadratic } from "../systems/quadratic.js";
import { QUADRATIC_1D_GLSL, Quadratic1D } from "../systems/quadratic1d.js";

/**
 * @typedef {import("./march.js").Params} Params
 * @typedef {import("./march.js").Model} Model
 * @typedef {import("../systems/quadratic.js").Draws} Draws
 * @typedef {{codes: Uint8Array, runSteps: Int32Array}} Plane
 * @typedef {{code: number, label: string, margin: number, rule: string, runSteps: number,
 *   outcome: "converged" | "escaped" | "step-limit" | "not-admissible", values: Record<string, number>}} Answer
 * @typedef {{times: Float64Array, loss: Float64Array, curvature: Float64Array, residual: Float64Array, x: Float64Array,
 *   y: Float64Array, escapedAt: number, names: {x: string, y: string}, portrait: "plane" | "cobweb"}} Path
 * @typedef {{name: string, lo: number, hi: number}} Range
 * @typedef {{name: string, between: string[], points: number[][], exact?: boolean}} Line
 * @typedef {{vocabularies: string[], parameters: string[],
 *   glsl: Record<string, string>}} Live
 */

/**
 * The systems that are answered here. glsl: by vocabulary, the body of int phase(float x, float y) of the preview, in
 * which a parameter p is u_p and the horizon u_steps; an axis has a local variable of that name (see previewSource).
 * @type {Record<string, Live>}
 */
export const LIVE = {
  cubic: {
    vocabularies: ["training"],
    parameters: ["a", "z0"],
    glsl: { training: cubicGlsl },
  },
  "quadratic-1d": {
    vocabularies: ["edge"],
    parameters: ["eps", "E", "z", "T"],
    glsl: { edge: QUADRATIC_1D_GLSL },
  },
  "linear-net": {
    vocabularies: ["training", "edge"],
    parameters: ["T", "z", "y"],
    glsl: { edge: LINEAR_NET_GLSL, training: LINEAR_NET_TRAINING_GLSL },
  },
  quadratic: {
    vocabularies: ["edge"],
    parameters: ["sigma_z", "sigma_J", "lr"],
    glsl: {},
  },
};

// The axes of a point that is asked for alone: they decide the rounding of its start (see Quadratic1D and Quadratic).
const USUAL_AXES = ["z", "T", "sigma_z", "sigma_J"];

/**
 * @param {string} system
 * @param {string} vocabulary
 * @returns {never}
 */
function noAnswer(system, vocabulary) {
  throw new Error(`the vocabulary ${vocabulary} of ${system} has no kernel in the browser; open a stored diagram of it`);
}

/**
 * A model of the edge vocabulary, for points that differ in the parameters axes.
 * @param {string} system
 * @param {Draws | undefined} draws
 * @param {string[]} axes
 * @returns {Model}
 */
function edgeModel(system, draws, axes) {
  if (system === "quadratic-1d") return new Quadratic1D(axes.includes("eps"));
  if (system === "linear-net") return new LinearNet();
  if (system !== "quadratic") return noAnswer(system, "edge");
  if (!draws) throw new Error("quadratic has no draws for these D, P and seed here; choose others");
  return new Quadratic(draws, axes);
}

/**
 * Phases and steps of a plane; row k of the result is ys[k], and the same for all k where yName is "". 255 and -1 where the
 * parameters describe no run.
 * @param {string} system
 * @param {string} vocabulary
 * @param {Params} params
 * @param {string} xName
 * @param {Float64Array} xs
 * @param {string} yName
 * @param {Float64Array} ys
 * @param {number} steps
 * @param {Draws} [draws]
 * @returns {Plane}
 */
export function answerPlane(system, vocabulary, params, xName, xs, yName, ys, steps, draws) {
  if (vocabulary === "training") return trainingPlane(system, params, xName, xs, yName, ys, steps);
  const run = new March(edgeModel(system, draws, [xName, yName]), steps);
  const reader = new EdgeReader();
  const codes = new Uint8Array(xs.length * ys.length).fill(NO_RUN);
  const runSteps = new Int32Array(codes.length).fill(-1);
  const here = { ...params };
  for (let k = 0; k < codes.length; k++) {
    const row = Math.floor(k / xs.length);
    if (row > 0 && yName === "") {
      codes.copyWithin(k, 0, xs.length);
      runSteps.copyWithin(k, 0, xs.length);
      k += xs.length - 1;
      continue;
    }
    if (yName !== "") here[yName] = ys[row];
    here[xName] = xs[k - row * xs.length];
    if (!run.run(here, false)) continue;
    codes[k] = reader.read(run);
    runSteps[k] = run.steps;
  }
  return { codes, runSteps };
}

/**
 * The phase of one run with the numbers behind it; axes are those of the plane that the point is of.
 * @param {string} system
 * @param {string} vocabulary
 * @param {Params} params
 * @param {number} steps
 * @param {Draws} [draws]
 * @param {string[]} axes
 * @returns {Answer}
 */
export function answerPoint(system, vocabulary, params, steps, draws, axes = USUAL_AXES) {
  if (vocabulary === "training") return trainingPoint(system, params, steps);
  const run = new March(edgeModel(system, draws, axes), steps);
  if (!run.run(params, true)) {
    return {
      code: NO_RUN, label: "no run", margin: 0, rule: "these parameters describe no run", runSteps: 0,
      outcome: "not-admissible", values: {},
    };
  }
  const reader = new EdgeReader();
  const code = reader.read(run);
  const settled = run.status === SETTLED && reader.rule === 1;
  return {
    code,
    label: EDGE_LABELS[code],
    margin: reader.margin,
    rule: EDGE_RULES[reader.rule],
    runSteps: run.steps,
    outcome: run.status === ESCAPED ? "escaped" : settled ? "converged" : "step-limit",
    values: edgeValues(run),
  };
}

/**
 * One run, step by step: to count steps, or to where it leaves every bound.
 * @param {string} system
 * @param {Params} params
 * @param {number} count
 * @param {Draws} [draws]
 * @param {string[]} axes
 * @returns {Path}
 */
export function trajectory(system, params, count, draws, axes = USUAL_AXES) {
  if (system === "cubic") return cubicTrajectory(params, count);
  const model = edgeModel(system, draws, axes);
  const inside = model.begin(params);
  const seen = new Float64Array(3);
  const columns = Array.from({ length: 4 }, () => new Float64Array(count + 1));
  let escapedAt = -1;
  let kept = 0;
  while (inside && kept <= count) {
    if (kept > 0) model.step();
    if (model.escaped()) {
      escapedAt = kept;
      break;
    }
    model.observe(seen);
    columns[0][kept] = kept;
    for (let k = 0; k < 3; k++) columns[k + 1][kept] = seen[k];
    kept += 1;
  }
  const [times, loss, curvature, residual] = columns.map((column) => column.slice(0, kept));
  const names = { x: system === "quadratic" ? "z~ of the top mode" : "z~", y: "T" };
  return { times, loss, curvature, residual, x: residual, y: curvature, escapedAt, names, portrait: "plane" };
}

/**
 * The lines of the theory over one or two axes, points in the order of the axes, as overlay.lines.
 * @param {string} system
 * @param {Params} params
 * @param {Range} x
 * @param {Range | null} [y]
 * @returns {Line[]}
 */
export function theoryLines(system, params, x, y) {
  if (system === "cubic") return cubicLines(params, x, y);
  if (system === "linear-net") return divergenceLine(params, 2 * Number(params.y ?? 0), x, y);
  if (system === "quadratic-1d" && Number(params.eps) === 1) return divergenceLine(params, Number(params.E ?? 0), x, y);
  return [];
}

/**
 * The exact divergence line T = 4 + E~ z~ / 2 of the symmetric model, in the plane (z, T) or at one z.
 * @param {Params} params
 * @param {number} E
 * @param {Range} x
 * @param {Range | null} [y]
 * @returns {Line[]}
 */
function divergenceLine(params, E, x, y) {
  const axes = y ? [x, y] : [x];
  const which = axes.findIndex((axis) => axis.name === "T");
  if (which < 0 || axes.some((axis) => axis.name !== "T" && axis.name !== "z") || Math.abs(E) >= 4) return [];
  const { lo, hi } = axes[which];
  const along = axes.length === 2 ? axes[1 - which] : null;
  const count = 128;
  const points = [];
  for (let k = 0; k <= (along ? count : 0); k++) {
    const spread = along ? k * ((along.hi - along.lo) / count) + along.lo : Number(params.z);
    const z = along && k === count ? along.hi : spread;
    const T = 4 + (E * z) / 2;
    if (lo <= T && T <= hi) points.push(!along ? [T] : which === 1 ? [z, T] : [T, z]);
  }
  return points.length ? [{ name: "T = 4 + E z / 2", between: ["bounded", "divergent"], points, exact: true }] : [];
}

// Where a run of the preview is when it stops, by its curvatures and the squared steps of its last block.
const PREVIEW_COARSE = `
int coarse(float start, float c, float most, float late) {
  if (!(most > 0.0)) return 5;
  if (abs(c - 2.0) <= 0.2) return 2;
  return late > 1e-4 * most ? 3 : c > 1.05 * start ? 1 : 0;
}`;

/**
 * GLSL ES 3.00 of the preview: uniforms, and int phase(float x, float y); null where there is none.
 * @param {string} system
 * @param {string} vocabulary
 * @param {string} xName
 * @param {string} yName
 */
export function previewSource(system, vocabulary, xName, yName) {
  const live = LIVE[system];
  const body = live?.glsl[vocabulary];
  if (!body) return null;
  const uniforms = live.parameters.map((name) => `uniform float u_${name};`).join("\n");
  const axes = `float u_${xName} = x; float u_${yName} = y;`;
  return `${uniforms}\nuniform int u_steps;\n${PREVIEW_COARSE}\nint phase(float x, float y) {\n${axes}\n${body}}\n`;
}
