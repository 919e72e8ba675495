// The training vocabulary: evidence of a survey and its phase, as in trainphase/evidence.py, classifiers.py and
// records.py.

import { CycleFinder } from "./cycles.js";
import { EnsembleProbe, stratified } from "./ensemble.js";
import { trainingMap } from "./maps.js";
import { SURVEY_BLOCK, SURVEY_PERIODS, SURVEY_RISE, Survey, surveySteps, tailRecurrence } from "./survey.js";

/**
 * @typedef {import("./survey.js").TrainingMap} TrainingMap
 * @typedef {import("./survey.js").ScalarMap} ScalarMap
 * @typedef {import("./survey.js").SurveyReading} SurveyReading
 * @typedef {Record<string, number | string | null | undefined>} Params
 */

export const TRAINING_LABELS = ["monotonic", "catapult", "periodic", "chaotic", "divergent", "undecided"];
export const TRAINING_RULES = [
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
  /** @param {TrainingMap} map */
  constructor(map) {
    this.map = map;
    this.survey = new Survey(map);
    this.finder = map.scalar ? new CycleFinder(/** @type {ScalarMap} */ (map)) : null;
    this.now = new Float64Array(SURVEY_PERIODS);
    this.before = new Float64Array(SURVEY_PERIODS);
    this.code = TRAINING_UNDECIDED;
    this.rule = 7;
    this.margin = 0;
    this.period = 0;
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
    survey.run(u, blocks, !(map.over && map.scalar));
    const full = survey.full;
    this.period = 0;
    this.margin = 0;
    if (full.escaped || escapes) {
      this.rule = 0;
      this.code = 4;
      this.margin = Infinity;
      return;
    }
    this.rule = map.scalar ? this.scalarRule(full) : this.vectorRule(full);
    const rises = Math.max(full.maxRatio, sup) > 1 + SURVEY_RISE;
    const settles = (this.rule === 1 || this.rule === 2) && this.period === 1;
    if (settles || this.rule === 6) this.code = rises ? 1 : 0;
    else if (this.rule === 1 || this.rule === 2 || this.rule === 4 || this.rule === 5) this.code = 2;
    else this.code = this.rule === 3 ? 3 : TRAINING_UNDECIDED;
  }

  /** @param {SurveyReading} full */
  scalarRule(full) {
    const lam = full.lyapunov, reach = TRAINING_SIGMAS * full.lyapunovSe;
    tailRecurrence(full.tail, 16, this.now);
    if (!(lam > reach + 1e-3)) {
      const finder = /** @type {CycleFinder} */ (this.finder);
      finder.find(full.tail, this.now);
      if (finder.period >= 1) {
        this.period = finder.period;
        this.margin = 1 - Math.abs(finder.multiplier);
        return 1;
      }
    }
    const enough = Math.abs(lam) * full.growthSteps > TRAINING_GROWTH;
    // An orbit that repeats to rounding on no stable cycle sits on an unstable one: no chaos.
    if (enough && lam > reach && !this.repeats(full.tail)) {
      this.margin = lam - reach;
      return 3;
    }
    if (enough && lam < -reach) {
      this.margin = -lam - reach;
      return 4;
    }
    return 7;
  }

  /** @param {Float64Array} tail */
  repeats(tail) {
    let size = 0, best = Infinity;
    for (let k = 0; k < tail.length; k++) size = Math.max(size, Math.abs(tail[k]));
    for (let p = 0; p < SURVEY_PERIODS; p++) best = Math.min(best, this.now[p]);
    return best <= 1e-12 * size;
  }

  /** @param {SurveyReading} full */
  vectorRule(full) {
    const { survey, now } = this;
    const scale = Math.sqrt(2 * full.lossMax);
    tailRecurrence(full.tail, 64, now);
    let first = -1, nearest = Infinity;
    for (let p = 0; p < SURVEY_PERIODS; p++) {
      now[p] /= scale;
      if (first < 0 && now[p] <= TRAINING_REPEATS) first = p;
      if (now[p] < nearest) nearest = now[p];
    }
    const shrinking = first >= 1 && full.swing < 0.99 * full.swingBefore;
    const repeat = first >= 0 && !shrinking ? first + 1 : 0;
    const gone = full.loss <= TRAINING_GONE * full.lossMax;
    if (repeat >= 1 || gone) {
      this.period = gone ? 1 : repeat;
      const distance = first >= 0 ? now[first] : nearest;
      const depth = Math.log10(Math.max(TRAINING_GONE * full.lossMax, 1e-300) / Math.max(full.loss, 1e-300));
      this.margin = repeat >= 1 ? -Math.log10(Math.max(distance / TRAINING_REPEATS, 1e-300)) : depth;
      return 2;
    }
    const lam = full.lyapunov, reach = TRAINING_SIGMAS * full.lyapunovSe;
    if (Math.abs(lam) * full.growthSteps > TRAINING_GROWTH && lam > reach) {
      this.margin = lam - reach;
      return 3;
    }
    this.period = this.approach(full, scale);
    if (this.period > 1) return 5;
    const drift = full.curvature + 2 * Math.abs(full.curvature - survey.half.curvature);
    const falls = full.loss < survey.half.loss && full.rises - survey.half.rises === 0;
    if (falls && drift < TRAINING_STABLE) {
      this.margin = TRAINING_STABLE - drift;
      return 6;
    }
    return 7;
  }

  /**
   * The period of a cycle that the run closes in on without having reached it; 0 for none.
   * @param {SurveyReading} full
   * @param {number} scale
   */
  approach(full, scale) {
    const { now, before } = this;
    if (!(full.swing >= 0.99 * full.swingBefore)) return 0;
    tailRecurrence(this.survey.half.tail, 64, before);
    for (let p = 0; p < SURVEY_PERIODS; p++) {
      if (now[p] <= 1e-3 && now[p] <= 0.05 * now[0] && now[p] <= 0.8 * (before[p] / scale)) return p + 1;
    }
    return 0;
  }
}

/** The phase at one point: of its run, or of the ensemble of its starts. */
class TrainingPointReader {
  /** @param {TrainingMap} map @param {number} steps */
  constructor(map, steps) {
    this.map = map;
    this.reader = new TrainingReader(map);
    this.probe = map.over ? new EnsembleProbe(/** @type {ScalarMap} */ (map)) : null;
    this.blocks = surveySteps(steps) / (4 * SURVEY_BLOCK);
    this.codes = new Int32Array(TRAINING_STARTS);
    this.rules = new Int32Array(TRAINING_STARTS);
    this.margins = new Float64Array(TRAINING_STARTS);
    this.code = TRAINING_UNDECIDED;
    this.rule = 255;
    this.margin = 0;
    this.runSteps = 0;
    this.period = 0;
  }

  answer() {
    const { reader, probe } = this;
    const starts = probe === null ? 1 : TRAINING_STARTS;
    if (probe !== null) probe.probe();
    this.runSteps = 0;
    this.period = 0;
    let worst = -1, unknown = false;
    for (let k = 0; k < starts; k++) {
      const sup = probe === null ? 0 : probe.supRatio;
      reader.read(stratified(k, starts), this.blocks, sup, probe !== null && probe.criticalEscapes);
      this.codes[k] = reader.code;
      this.rules[k] = reader.rule;
      this.margins[k] = reader.margin;
      if (reader.code === TRAINING_UNDECIDED) unknown = true;
      else worst = Math.max(worst, reader.code);
      this.runSteps = Math.max(this.runSteps, reader.survey.full.steps);
      this.period = Math.max(this.period, reader.period);
    }
    // A start that is undecided could be anything, unless another one already shows what nothing can exceed.
    this.code = unknown && worst < 4 ? TRAINING_UNDECIDED : worst;
    this.rule = 255;
    this.margin = Infinity;
    for (let k = 0; k < starts; k++) {
      if (this.codes[k] !== this.code) continue;
      this.rule = Math.min(this.rule, this.rules[k]);
      this.margin = Math.min(this.margin, this.margins[k]);
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
  const point = new TrainingPointReader(map, steps);
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
 */
export function trainingPoint(system, params, steps) {
  const map = trainingMap(system, params, []);
  if (!map.admissible()) {
    return {
      code: 255, label: "no run", margin: 0, rule: "these parameters describe no run", runSteps: 0,
      outcome: "not-admissible", values: {},
    };
  }
  const point = new TrainingPointReader(map, steps);
  point.answer();
  const full = point.reader.survey.full;
  const settled = point.code === 0 || point.code === 1;
  return {
    code: point.code,
    label: TRAINING_LABELS[point.code],
    margin: point.margin,
    rule: TRAINING_RULES[point.rule] ?? TRAINING_APART,
    runSteps: point.runSteps,
    outcome: point.code === 4 ? "escaped" : settled ? "converged" : "step-limit",
    values: {
      curvature: full.curvature,
      loss: full.loss,
      lyapunov: full.lyapunov,
      lyapunov_se: full.lyapunovSe,
      period: point.code <= 2 && point.period > 0 ? point.period : NaN,
      increases: full.rises,
      max_ratio: point.probe === null ? full.maxRatio : point.probe.supRatio,
    },
  };
}
