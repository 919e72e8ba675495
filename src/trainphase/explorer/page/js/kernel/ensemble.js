// The phase of a map over a family of starts: what sampling starts alone would miss, as in
// trainphase/ensemble.py. The largest one-step growth of the loss is searched for, and the orbits of critical
// points are followed.

/** @typedef {import("./survey.js").ScalarMap} ScalarMap */

// The fraction at which a single start is taken from a family: irrational, so on no special point for all
// parameters.
export const ENSEMBLE_TYPICAL = 0.41421356237309503;
const ENSEMBLE_GRID = 65;
const ENSEMBLE_PEAKS = 3;
const ENSEMBLE_GOLDEN = 0.6180339887498949;
const ENSEMBLE_SHRINKS = 40;
const ENSEMBLE_HALVINGS = 56;
const ENSEMBLE_ORBIT = 64;

/**
 * The fraction in (0, 1) of start k of `count`, one per stratum.
 * @param {number} k
 * @param {number} count
 */
export function stratified(k, count) {
  return (k + ENSEMBLE_TYPICAL) / count;
}

/** Probes a scalar map over its interval of starts (0, hi); makes its arrays once. */
export class EnsembleProbe {
  /** @param {ScalarMap} map */
  constructor(map) {
    this.map = map;
    this.growth = new Float64Array(ENSEMBLE_GRID);
    this.signs = new Float64Array(ENSEMBLE_GRID);
    this.size = 0;
    this.hi = 0;
    this.supRatio = 0;
    this.criticalEscapes = false;
  }

  /** @param {number} u */
  growthAt(u) {
    const x = this.hi * u;
    const before = this.map.lossOf(x), after = this.map.lossOf(this.map.next(x));
    return before > 1e-10 * this.size ? after / (before > 0 ? before : 1) : 0;
  }

  /** Sets `supRatio` and `criticalEscapes` for the map's present parameters. */
  probe() {
    const { map, growth } = this;
    this.hi = map.interval();
    this.size = 0;
    for (let k = 0; k < ENSEMBLE_GRID; k++) {
      this.size = Math.max(this.size, map.lossOf(this.hi * stratified(k, ENSEMBLE_GRID)));
    }
    let sampled = 0;
    for (let k = 0; k < ENSEMBLE_GRID; k++) {
      growth[k] = this.growthAt(stratified(k, ENSEMBLE_GRID));
      if (growth[k] > growth[sampled]) sampled = k;
    }
    this.peaks();
    this.supRatio = Math.max(this.supRatio, growth[sampled]);
    this.criticalEscapes = this.followCritical();
  }

  /** The largest growth near the highest ENSEMBLE_PEAKS local maxima of the grid. */
  peaks() {
    const { growth } = this;
    this.supRatio = -Infinity;
    let ceiling = Infinity, taken = -1;
    for (let n = 0; n < ENSEMBLE_PEAKS; n++) {
      // Entries in the order of height, and of place where heights are equal: repeated argmax without a copy.
      let at = -1, height = -Infinity;
      for (let k = 1; k < ENSEMBLE_GRID - 1; k++) {
        const inner = growth[k] >= growth[k - 1] && growth[k] >= growth[k + 1];
        const g = inner ? growth[k] : -1;
        if ((g < ceiling || (g === ceiling && k > taken)) && g > height) {
          at = k;
          height = g;
        }
      }
      if (at < 0) return;
      ceiling = height;
      taken = at;
      this.climb(stratified(at - 1, ENSEMBLE_GRID), stratified(at + 1, ENSEMBLE_GRID));
    }
  }

  /** Golden-section search between two fractions. @param {number} lo @param {number} hi */
  climb(lo, hi) {
    for (let k = 0; k < ENSEMBLE_SHRINKS; k++) {
      const left = hi - ENSEMBLE_GOLDEN * (hi - lo), right = lo + ENSEMBLE_GOLDEN * (hi - lo);
      if (this.growthAt(right) > this.growthAt(left)) lo = left;
      else hi = right;
    }
    this.supRatio = Math.max(this.supRatio, this.growthAt(0.5 * (lo + hi)));
  }

  /** @param {number} u */
  signAt(u) {
    return Math.sign(this.map.slope(this.hi * u));
  }

  /**
   * True when the orbit of some critical point escapes; the first ENSEMBLE_PEAKS changes of the slope's sign
   * are followed.
   */
  followCritical() {
    const { signs } = this;
    for (let k = 0; k < ENSEMBLE_GRID; k++) signs[k] = this.signAt(stratified(k, ENSEMBLE_GRID));
    for (let k = 0, found = 0; k < ENSEMBLE_GRID - 1 && found < ENSEMBLE_PEAKS; k++) {
      if (signs[k] === signs[k + 1]) continue;
      found++;
      const u = this.critical(stratified(k, ENSEMBLE_GRID), stratified(k + 1, ENSEMBLE_GRID));
      if (this.leaves(u)) return true;
    }
    return false;
  }

  /** Bisection for a zero of the slope between two fractions. @param {number} lo @param {number} hi */
  critical(lo, hi) {
    const sign = this.signAt(lo);
    for (let k = 0; k < ENSEMBLE_HALVINGS; k++) {
      const mid = 0.5 * (lo + hi);
      if (this.signAt(mid) === sign) lo = mid;
      else hi = mid;
    }
    return 0.5 * (lo + hi);
  }

  /** @param {number} u */
  leaves(u) {
    const { map } = this;
    let x = this.hi * u;
    for (let k = 0; k < ENSEMBLE_ORBIT; k++) {
      x = map.next(x);
      if (map.gone(x)) return true;
    }
    return false;
  }
}
