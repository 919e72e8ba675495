/**
 * The edge vocabulary: from what a march has measured to a phase. classifiers.edge and records._edge_record, for one run.
 */

import { ESCAPED, GROWTH, LOOKS, RISES, SETTLED, WINDOWS } from "./march.js";

/** @typedef {import("./march.js").March} March */

export const EDGE_LABELS = ["flat", "sharpening", "edge-of-stability", "bounded", "divergent", "undecided"];
export const EDGE_RULES = [
  "the state escaped",
  "the run settled; margin of the final curvature to the nearest threshold",
  "the steps shrink from window to window; margin of the extrapolated curvature to the nearest threshold",
  "the steps repeat from window to window, at or beyond the edge; margin in decades below a change of 1e-6",
  "the steps go up and down without shrinking, at or beyond the edge; margin is the last window's share less 0.5",
  "nothing moves the run from where it is, stable or not",
  "nothing decides within the horizon",
  "the loss falls while the curvature stays at the edge; margin of the window farthest from 2 to the band of 0.2",
];
const FLAT = 0;
const SHARP = 1;
const AT_EDGE = 2;
const BOUNDED = 3;
const DIVERGENT = 4;
const UNDECIDED = 5;
/** The code of a point without a run. */
export const NO_RUN = 255;

// The thresholds of classifiers.py, where their reasons are given.
const STABLE = 2.0;
const BAND = 0.2;
const SHARPER = 0.05;
const STEADY = 1e-6;
const FADING = 0.3;
const FALLEN = 0.5;
const ALIKE = 2.0;
const LASTING = 0.5;
const PROGRESS = 0.25;
// As many windows as half of the horizon has: neighbours are joined. The last three quarters are judged.
const JOINED = WINDOWS / 2;
const EARLY = JOINED / 4;
const LATE = JOINED - EARLY;

/** The phase of a march; its fields are those of the last one that was read. */
export class EdgeReader {
  constructor() {
    this.code = UNDECIDED;
    this.rule = 6;
    this.margin = 0;
    this.motion = new Float64Array(JOINED);
    this.mean = new Float64Array(JOINED);
    this.top = new Float64Array(JOINED);
    this.losses = new Float64Array(JOINED);
    this.change = new Float64Array(LATE - 1);
    // Label and margin of a curvature, and of a range of them.
    this.place = new Float64Array(2);
  }

  /** @param {March} run */
  read(run) {
    this.margin = 0;
    if (run.status === ESCAPED) {
      this.code = DIVERGENT;
      this.rule = 0;
    } else if (!(run.moved > 0) || run.unstable) {
      this.code = UNDECIDED;
      this.rule = 5;
    } else if (run.status === SETTLED) {
      this.range(run.start, run.end, run.end);
      this.code = this.place[0];
      this.margin = this.place[1];
      this.rule = 1;
    } else {
      this.horizon(run);
    }
    if (!Number.isFinite(this.margin)) this.margin = 0;
    return this.code;
  }

  /**
   * Where a curvature lies: its label and margin into place.
   * @param {number} start
   * @param {number} c
   */
  point(start, c) {
    const off = Math.abs(c - STABLE) - BAND;
    const up = c - (1 + SHARPER) * start;
    this.place[0] = off <= 0 ? AT_EDGE : up > 0 ? SHARP : FLAT;
    this.place[1] = off <= 0 ? -off : Math.min(off, Math.abs(up));
  }

  /**
   * The label of a run whose curvature ends between low and high, or undecided, and its margin.
   * @param {number} start
   * @param {number} low
   * @param {number} high
   */
  range(start, low, high) {
    this.point(start, low);
    const [below, left] = this.place;
    this.point(start, high);
    // Between two values with one label lies no other, but for the band of the edge between two values off it.
    const across = low < STABLE - BAND && high > STABLE + BAND;
    if (below !== this.place[0] || across) this.place[0] = UNDECIDED;
    this.place[1] = Math.min(left, this.place[1]);
  }

  /**
   * A run that reached the horizon: what its windows say.
   * @param {March} run
   */
  horizon(run) {
    this.join(run);
    const { motion, mean, top, change } = this;
    const last = JOINED - 1;
    const beyond = top[last] > STABLE - BAND;
    let repeats = 0;
    let most = 0;
    let least = Infinity;
    let turns = 0;
    let before = 0;
    let down = true;
    let up = true;
    let total = 0;
    for (let k = EARLY; k < JOINED; k++) {
      most = Math.max(most, motion[k]);
      least = Math.min(least, motion[k]);
    }
    for (let k = 0; k < LATE - 1; k++) {
      const d = Math.log(motion[EARLY + k + 1]) - Math.log(motion[EARLY + k]);
      change[k] = d;
      if (Number.isFinite(d)) repeats = Math.max(repeats, Math.abs(d));
      // Of two numbers that differ in the last bit, the logarithms may be equal or not.
      const sign = Math.sign(motion[EARLY + k + 1] - motion[EARLY + k]);
      if (!(sign < 0)) down = false;
      if (!(sign > 0)) up = false;
      if (k > 0 && sign !== before) turns += 1;
      before = sign;
      total += d;
    }
    const share = motion[last] / most;
    if (beyond && repeats < STEADY) {
      this.decide(BOUNDED, 3, Math.log10(STEADY / Math.max(repeats, 1e-300)));
      return;
    }
    const lasts = Math.abs(change[LATE - 2]) >= FADING * Math.abs(change[0]);
    if (down && lasts && -total >= FALLEN && top[last] < STABLE + BAND) {
      const drift = 2 * Math.abs(mean[last] - mean[last - 1]);
      this.range(run.start, mean[last] - drift, mean[last] + drift);
      if (this.place[1] > 0 && this.place[0] !== UNDECIDED) {
        this.decide(this.place[0], 2, this.place[1]);
        return;
      }
    }
    const near = this.near();
    const alike = most <= ALIKE * least && !down && !up;
    const wanders = alike || (turns >= 2 && share >= LASTING);
    if (near > 0 && this.progress()) this.decide(AT_EDGE, 7, near);
    else if (beyond && wanders) this.decide(BOUNDED, 4, share - LASTING);
    else this.decide(UNDECIDED, 6, 0);
  }

  /**
   * @param {number} code
   * @param {number} rule
   * @param {number} margin
   */
  decide(code, rule, margin) {
    this.code = code;
    this.rule = rule;
    this.margin = margin;
  }

  /**
   * Windows in pairs.
   * @param {March} run
   */
  join(run) {
    const looks = (LOOKS * run.horizon) / WINDOWS;
    for (let k = 0; k < JOINED; k++) {
      const a = 2 * k;
      const b = a + 1;
      this.motion[k] = Math.max(run.motion[a], run.motion[b]);
      this.top[k] = Math.max(run.curvatureTop[a], run.curvatureTop[b]);
      this.mean[k] = (run.curvatureSum[a] / looks + run.curvatureSum[b] / looks) / 2;
      this.losses[k] = (run.lossSum[a] / looks + run.lossSum[b] / looks) / 2;
    }
  }

  /** How far inside the band of the edge the farthest of the late mean curvatures is. */
  near() {
    let far = 0;
    for (let k = EARLY; k < JOINED; k++) far = Math.max(far, Math.abs(this.mean[k] - STABLE));
    return BAND - far;
  }

  /** True where the mean loss falls from third to third of the late windows, and by PROGRESS in all. */
  progress() {
    const { losses } = this;
    const first = (losses[EARLY] + losses[EARLY + 1]) / 2;
    const second = (losses[EARLY + 2] + losses[EARLY + 3]) / 2;
    const third = (losses[EARLY + 4] + losses[EARLY + 5]) / 2;
    return third < second && second < first && third <= (1 - PROGRESS) * first;
  }
}

/**
 * The numbers of a run that was marched with its rises counted, under the names that diagrams have for them.
 * @param {March} run
 * @returns {Record<string, number>}
 */
export function edgeValues(run) {
  const { model, sums, horizon, blocks } = run;
  const curvature = model.curvature();
  const values = {
    curvature,
    curvature_start: run.start,
    curvature_mean: curvature,
    curvature_max: curvature,
    curvature_peak: Math.max(...run.curvatureTop),
    loss: model.loss(),
    max_ratio: sums[GROWTH],
    increases: sums[RISES],
  };
  if (blocks < horizon) return values;
  const looks = (LOOKS * horizon) / WINDOWS;
  const late = run.curvatureSum.subarray(WINDOWS - WINDOWS / 4);
  values.curvature_mean = late.reduce((total, x) => total + x / looks, 0) / late.length;
  values.curvature_max = Math.max(...run.curvatureTop.subarray(WINDOWS - WINDOWS / 4));
  return values;
}
