// The training vocabulary: evidence of a survey and its phase, as in trainphase/evidence.py, classifiers.py
// and records.py.

import { CycleFinder } from "./cycles.js";
import { EnsembleProbe, stratified } from "./ensemble.js";
import { trainingMap } from "./maps.js";
import {
  SURVEY_BLOCK, SURVEY_LONG_WINDOW, SURVEY_PERIODS, SURVEY_RISE, SURVEY_TAIL, SURVEY_WINDOW, Survey, surveySteps,
  tailRecurrence, tailRepeats,
} from "./survey.js";

/**
 * @typedef {import("./survey.js").TrainingMap} TrainingMap
 * @typedef {import("./survey.js").ScalarMap} ScalarMap
 * @typedef {Record<string, number | string | null | undefined>} Params
 */

const TRAINING_LABELS = ["monotonic", "catapult", "periodic", "chaotic", "divergent", "undecided"];
const TRAINING_RULES = [
  "the state escaped",
  "stable cycle found, 1 - |multiplier| is the margin",
  "the state repeats within 1e-7, or the loss is gone (1e-16 of the largest); margin in decades",
  "Lyapunov exponent above 4 standard errors, the excess is the margin",
  "Lyapunov exponent below -4 standard errors: an unresolved stable cycle",
  "the state closes in on a cycle, its slow modes still converging",
  "the loss falls and the extrapolated curvature stays below 2 by the margin",
  "nothing decides within the horizon",
];
const TRAINING_APART = "the starts differ, and one of them is undecided";
const TRAINING_SIGMAS = 4;
const TRAINING_GROWTH = 10;
const TRAINING_REPEATS = 1e-7;
const TRAINING_GONE = 1e-16;
const TRAINING_STABLE = 2;
const TRAINING_UNDECIDED = 5;
const TRAINING_STARTS = 4;

/** Reads the phase of one run from its survey; makes its arrays once. */
class TrainingReader {
  /**
   * @param {TrainingMap} map
   * @param {boolean} whole also find the margin and the period where the label does not need them
   */
  constructor(map, whole) {
    this.map = map;
    this.whole = whole;
    this.survey = new Survey(map);
    this.finder = map.scalar ? new CycleFinder(/** @type {ScalarMap} */ (map)) : null;
    this.tail = new Float64Array(SURVEY_TAIL);
    this.now = new Float64Array(SURVEY_PERIODS);
    this.before = new Float64Array(SURVEY_PERIODS);
    this.code = TRAINING_UNDECIDED;
    this.rule = 7;
    this.margin = 0;
    this.period = 0;
    this.lasting = 0;
    this.multiplier = NaN;
  }

  /**
   * The run from one start; `sup` and `escapes` are what a probe of all starts found.
   * @param {number} u
   * @param {number} blocks
   * @param {number} sup
   * @param {boolean} escapes
   */
  read(u, blocks, sup, escapes) {
    const { map, survey } = this;
    survey.run(u, blocks);
    this.period = 0;
    this.lasting = 0;
    this.margin = 0;
    this.multiplier = NaN;
    if (survey.escaped || escapes) {
      this.rule = 0;
      this.code = 4;
      this.margin = Infinity;
      return;
    }
    this.rule = map.scalar ? this.scalarRule() : this.vectorRule();
    const rises = Math.max(survey.tally[3], sup) > 1 + SURVEY_RISE;
    const repeats = this.rule === 1 || this.rule === 2;
    if ((repeats && this.period === 1) || this.rule === 6) this.code = rises ? 1 : 0;
    else if (repeats || this.rule === 4 || this.rule === 5) this.code = 2;
    else this.code = this.rule === 3 ? 3 : TRAINING_UNDECIDED;
  }

  scalarRule() {
    const { survey, tail } = this;
    const lam = survey.lyapunov, reach = TRAINING_SIGMAS * survey.lyapunovSe;
    survey.record(survey.state, tail);
    if (!(lam > reach + 1e-3)) {
      const finder = /** @type {CycleFinder} */ (this.finder);
      tailRecurrence(tail, this.now, SURVEY_WINDOW);
      finder.find(tail, this.now, survey.start);
      if (finder.period >= 1) {
        this.period = finder.period;
        this.lasting = finder.period;
        this.multiplier = finder.multiplier;
        this.margin = 1 - Math.abs(finder.multiplier);
        return 1;
      }
    }
    const enough = Math.abs(lam) * survey.growthSteps > TRAINING_GROWTH;
    // An orbit that repeats to rounding on no stable cycle sits on an unstable one: no chaos.
    if (enough && lam > reach && !this.repeats()) {
      this.margin = lam - reach;
      return 3;
    }
    if (enough && lam < -reach) {
      this.margin = -lam - reach;
      return 4;
    }
    return 7;
  }

  repeats() {
    const { tail } = this;
    let size = 0;
    for (let k = 0; k < tail.length; k++) size = Math.max(size, Math.abs(tail[k]));
    return tailRepeats(tail, 1e-12 * size);
  }

  vectorRule() {
    const { map, survey, now, tail } = this;
    const { state, halfway } = survey;
    const loss = map.loss(state), most = survey.tally[1];
    const scale = Math.sqrt(2 * most);
    const gone = loss <= TRAINING_GONE * most;
    this.period = 1;
    if (gone && !this.whole) return 2;
    survey.record(state, tail);
    tailRecurrence(tail, now, SURVEY_LONG_WINDOW);
    let first = -1;
    for (let p = 0; p < SURVEY_PERIODS; p++) {
      now[p] /= scale;
      if (first < 0 && now[p] <= TRAINING_REPEATS) first = p;
    }
    // A run that swings from side to side ever less repeats after two steps before it has
    // converged: no cycle.
    const shrinking = first >= 1 && survey.swing(state) < 0.99 * survey.swing(halfway);
    const repeat = shrinking ? 0 : first + 1;
    if (repeat >= 1 || gone) {
      this.period = gone ? 1 : repeat;
      this.lasting = Math.max(repeat, 1);
      const depth = Math.log10(Math.max(TRAINING_GONE * most, 1e-300) / Math.max(loss, 1e-300));
      this.margin = repeat >= 1 ? -Math.log10(Math.max(now[first] / TRAINING_REPEATS, 1e-300)) : depth;
      return 2;
    }
    const lam = survey.lyapunov, reach = TRAINING_SIGMAS * survey.lyapunovSe;
    if (Math.abs(lam) * survey.growthSteps > TRAINING_GROWTH && lam > reach) {
      this.margin = lam - reach;
      return 3;
    }
    this.lasting = this.approach(scale);
    if (this.lasting > 1) return 5;
    this.lasting = 0;
    const end = map.curvature(state);
    const extrapolated = end + 2 * Math.abs(end - map.curvature(halfway));
    if (loss < map.loss(halfway) && survey.tally[2] === survey.halfRises && extrapolated < TRAINING_STABLE) {
      this.margin = TRAINING_STABLE - extrapolated;
      return 6;
    }
    return 7;
  }

  /**
   * The period of a cycle that the run closes in on without having reached it; 0 for none. `now` is how far
   * the run is from repeating, relative to `scale`, the largest residual.
   * @param {number} scale
   */
  approach(scale) {
    const { now, before, survey, tail } = this;
    if (!(survey.swing(survey.state) >= 0.99 * survey.swing(survey.halfway))) return 0;
    survey.record(survey.halfway, tail);
    tailRecurrence(tail, before, SURVEY_LONG_WINDOW);
    for (let p = 0; p < SURVEY_PERIODS; p++) {
      if (now[p] <= 1e-3 && now[p] <= 0.05 * now[0] && now[p] <= 0.8 * (before[p] / scale)) return p + 1;
    }
    return 0;
  }
}

/** The phase at one point: of its run, or of the ensemble of its starts. */
class TrainingPointReader {
  /** @param {TrainingMap} map @param {number} steps @param {boolean} whole */
  constructor(map, steps, whole) {
    this.map = map;
    this.reader = new TrainingReader(map, whole);
    this.probe = map.over ? new EnsembleProbe(/** @type {ScalarMap} */ (map)) : null;
    this.blocks = surveySteps(steps) / (4 * SURVEY_BLOCK);
    this.codes = new Int32Array(TRAINING_STARTS);
    this.rules = new Int32Array(TRAINING_STARTS);
    this.margins = new Float64Array(TRAINING_STARTS);
    this.code = TRAINING_UNDECIDED;
    this.rule = 255;
    this.margin = 0;
    this.runSteps = 0;
  }

  /** @param {(sup: number) => void} [also] called after each start */
  answer(also) {
    const { reader, probe, codes, rules, margins } = this;
    const starts = probe === null ? 1 : TRAINING_STARTS;
    if (probe !== null) probe.probe();
    const sup = probe === null ? 0 : probe.supRatio;
    const escapes = probe !== null && probe.criticalEscapes;
    this.runSteps = 0;
    let worst = -1, unknown = false;
    for (let k = 0; k < starts; k++) {
      reader.read(stratified(k, starts), this.blocks, sup, escapes);
      codes[k] = reader.code;
      rules[k] = reader.rule;
      margins[k] = reader.margin;
      if (reader.code === TRAINING_UNDECIDED) unknown = true;
      else worst = Math.max(worst, reader.code);
      this.runSteps = Math.max(this.runSteps, reader.survey.steps);
      if (also) also(sup);
    }
    // A start that is undecided could be anything, unless another one already shows what nothing can exceed.
    this.code = unknown && worst < 4 ? TRAINING_UNDECIDED : worst;
    this.rule = 255;
    this.margin = Infinity;
    for (let k = 0; k < starts; k++) {
      if (codes[k] !== this.code) continue;
      this.rule = Math.min(this.rule, rules[k]);
      this.margin = Math.min(this.margin, margins[k]);
    }
    if (!(this.margin - this.margin === 0)) this.margin = 0;
  }
}

/**
 * Phases of the training vocabulary over a plane; `yName` is "" where there is one axis.
 * @param {string} system
 * @param {Params} params
 * @param {string} xName
 * @param {Float64Array} xs
 * @param {string} yName
 * @param {Float64Array} ys
 * @param {number} steps
 * @returns {{codes: Uint8Array, runSteps: Int32Array}} row = y; code 255 and -1 steps where there is no run
 */
export function trainingPlane(system, params, xName, xs, yName, ys, steps) {
  const map = trainingMap(system, params, [xName, yName]);
  const point = new TrainingPointReader(map, steps, false);
  const width = xs.length;
  const codes = new Uint8Array(width * ys.length).fill(255);
  const runSteps = new Int32Array(width * ys.length).fill(-1);
  for (let j = 0; j < ys.length; j++) {
    if (j > 0 && yName === "") {
      codes.copyWithin(j * width, 0, width);
      runSteps.copyWithin(j * width, 0, width);
      continue;
    }
    if (yName !== "") map.set(yName, ys[j]);
    for (let i = 0; i < width; i++) {
      map.set(xName, xs[i]);
      if (!map.admissible()) continue;
      point.answer();
      codes[j * width + i] = point.code;
      runSteps[j * width + i] = point.runSteps;
    }
  }
  return { codes, runSteps };
}

/**
 * The phase at one point with what it was decided on.
 * @param {string} system
 * @param {Params} params
 * @param {number} steps
 * @returns {{code: number, label: string, margin: number, rule: string, runSteps: number,
 *   outcome: "converged" | "escaped" | "step-limit" | "not-admissible", values: Record<string, number>}}
 */
export function trainingPoint(system, params, steps) {
  const map = trainingMap(system, params, []);
  if (!map.admissible()) {
    return {
      code: 255, label: "no run", margin: 0, rule: "these parameters describe no run", runSteps: 0,
      outcome: "not-admissible", values: {},
    };
  }
  const point = new TrainingPointReader(map, steps, true);
  const values = trainingValues(point);
  const { code } = point;
  return {
    code,
    label: TRAINING_LABELS[code],
    margin: point.margin,
    rule: TRAINING_RULES[point.rule] ?? TRAINING_APART,
    runSteps: point.runSteps,
    outcome: code === 4 ? "escaped" : code === 0 || code === 1 ? "converged" : "step-limit",
    values,
  };
}

/**
 * Answer a point, and gather its numbers over its starts as the records of a diagram have them.
 * @param {TrainingPointReader} point
 * @returns {Record<string, number>}
 */
function trainingValues(point) {
  const { reader, map } = point, { survey } = reader;
  let n = 0, loss = 0, lyapunov = 0, square = 0;
  let curvature = -Infinity, ratio = 0, rises = 0, period = -1, multiplier = NaN;
  point.answer((sup) => {
    const { state, tally } = survey, c = map.curvature(state);
    if (c - c === 0) curvature = Math.max(curvature, c);
    ratio = Math.max(ratio, tally[3], sup);
    rises = Math.max(rises, tally[2]);
    if (reader.lasting > period) {
      period = reader.lasting;
      multiplier = reader.multiplier;
    }
    if (reader.rule === 0) return;
    n++;
    loss += map.loss(state);
    lyapunov += survey.lyapunov;
    square += survey.lyapunovSe * survey.lyapunovSe;
  });
  // 0 / 0 where every start escapes: there is no number.
  return {
    curvature: curvature === -Infinity ? NaN : curvature,
    loss: loss / n,
    lyapunov: lyapunov / n,
    lyapunov_se: Math.sqrt(square) / n,
    period: point.code <= 2 && period > 0 ? period : NaN,
    multiplier,
    increases: rises,
    max_ratio: ratio,
  };
}
