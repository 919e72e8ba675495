// Cycles of scalar maps: found by Newton's method on the iterated map, judged by their multiplier, as in
// trainphase/cycles.py. Waiting for a run to converge takes without bound next to every boundary; this does
// not.

import { SURVEY_PERIODS, SURVEY_TAIL } from "./survey.js";

/** @typedef {import("./survey.js").ScalarMap} ScalarMap */

const CYCLE_NEWTON = 40;
const CYCLE_NEUTRAL = 1e-13;
const CYCLE_NEWBORN = 2e-9;
const CYCLE_RANKS = 12;
const CYCLE_EPS = 2 ** -52;

/** Finds the stable cycle that a run approaches; makes its arrays once. */
export class CycleFinder {
  /** @param {ScalarMap} map */
  constructor(map) {
    this.map = map;
    this.pair = new Float64Array(2);
    this.period = 0;
    this.multiplier = NaN;
    this.root = NaN;
  }

  /**
   * Sets `period` (0 where no stable cycle was found), `multiplier` and `root`. The divisors of every period
   * at which the tail repeats within ten times the best repetition are tried in increasing order.
   * @param {Float64Array} tail
   * @param {Float64Array} recurrence at index p - 1 how far the tail is from repeating after p steps
   * @param {number} start the size of the state that the run began from
   */
  find(tail, recurrence, start) {
    this.period = 0;
    this.multiplier = NaN;
    this.root = NaN;
    let best = Infinity;
    for (let p = 0; p < SURVEY_PERIODS; p++) {
      if (!(recurrence[p] - recurrence[p] === 0)) return;
      if (recurrence[p] < best) best = recurrence[p];
    }
    const floor = 10 * best;
    for (let d = 1, tried = 0; d <= SURVEY_PERIODS && tried < CYCLE_RANKS; d++) {
      let wanted = false;
      for (let p = d; p <= SURVEY_PERIODS && !wanted; p += d) wanted = recurrence[p - 1] <= floor;
      if (!wanted) continue;
      tried++;
      if (this.judge(tail, d, start)) return;
    }
  }

  /**
   * Newton's method on f^period(x) = x; returns the root, or NaN where it did not converge to within
   * `enough`.
   * @param {number} start
   * @param {number} period
   * @param {number} enough
   */
  newton(start, period, enough) {
    let x = start, step = Infinity;
    for (let k = 0; k < CYCLE_NEWTON && Math.abs(step) > 2 * CYCLE_EPS * Math.abs(x); k++) {
      this.map.iterate(x, period, this.pair);
      const denominator = this.pair[1] - 1;
      step = -(this.pair[0] - x) / (denominator === 0 ? 1 : denominator);
      x += step;
    }
    return x - x === 0 && Math.abs(step) <= enough ? x : NaN;
  }

  /**
   * The least p with f^p(root) = root to within `near`, at most the period asked for.
   * @param {number} root
   * @param {number} period
   * @param {number} near
   */
  minimal(root, period, near) {
    let y = root;
    for (let p = 1; p < period; p++) {
      y = this.map.next(y);
      if (Math.abs(y - root) <= near) return p;
    }
    return period;
  }

  /**
   * Look for a cycle of the period from the end of the tail: true where it is stable and the run closes in on
   * it.
   * @param {Float64Array} tail
   * @param {number} asked
   * @param {number} start
   */
  judge(tail, asked, start) {
    let scale = 0;
    for (let k = 0; k < SURVEY_TAIL; k++) scale = Math.max(scale, Math.abs(tail[k]));
    const end = tail[SURVEY_TAIL - 1];
    const root = this.newton(end, asked, 1e-6 * scale);
    if (root !== root) return false;
    const period = this.minimal(root, asked, 1e-9 * scale);
    this.map.iterate(root, period, this.pair);
    const multiplier = this.pair[1];
    const early = tail[(SURVEY_TAIL - 1) % (2 * period)];
    let first = Infinity, last = Infinity, y = root;
    for (let k = 0; k < period; k++) {
      first = Math.min(first, Math.abs(early - y));
      last = Math.min(last, Math.abs(end - y));
      y = this.map.next(y);
    }
    // On the cycle to rounding; or clearly closer than before; or, next to a boundary, a little closer from
    // nearby. Near is meant by the size of the run: where the fixed point is 0, that of the tail is the
    // distance.
    const size = Math.max(scale, start);
    const close = last <= 1e-9 * size || last < 0.9 * first || (last < first && last <= 0.1 * size);
    // A cycle born at the flip of a shorter one is a triple root, known to the cube root of rounding only.
    const newborn = period % 2 === 0 && multiplier > 0;
    if (!(close && Math.abs(multiplier) < 1 - (newborn ? CYCLE_NEWBORN : CYCLE_NEUTRAL))) return false;
    this.period = period;
    this.multiplier = multiplier;
    this.root = root;
    return true;
  }
}
