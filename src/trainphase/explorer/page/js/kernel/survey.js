// Survey: the long-run statistics of one run, as trainphase/survey.py takes them.
//
// A survey runs a horizon of T steps in four quarters. The growth of a tangent vector is measured over the second
// quarter (for the reading at T / 2) and over the second half (for that at T). The operations are those of Python in
// Python's order, so that the numbers agree to the last bit on a machine without fused multiply-add.

/**
 * What a survey asks of a map. A state is an array of one number or two; `body` is eight steps of state and tangent,
 * `tally` the loss, its largest value so far, the rises counted and the largest growth in one step.
 * @typedef {object} TrainingMap
 * @property {boolean} scalar the state is a single number
 * @property {boolean} over the phase is that of a family of starts
 * @property {(name: string, value: number) => void} set
 * @property {(s: Float64Array, u: number) => void} begin
 * @property {(s: Float64Array, v: Float64Array, tally: Float64Array, count: boolean) => void} body
 * @property {(s: Float64Array) => void} step
 * @property {(s: Float64Array) => number} loss
 * @property {(s: Float64Array) => number} curvature
 * @property {(s: Float64Array) => boolean} escaped
 * @property {(s: Float64Array) => number} signature tells the states of a cycle apart
 * @property {() => boolean} admissible
 */

/**
 * A map whose state is a single number, as the search for cycles needs it.
 * @typedef {TrainingMap & {
 *   next: (x: number) => number,
 *   iterate: (x: number, period: number, out: Float64Array) => void,
 *   interval: () => number,
 *   lossOf: (x: number) => number,
 *   slope: (x: number) => number,
 *   gone: (x: number) => boolean,
 * }} ScalarMap
 */

/**
 * @typedef {object} SurveyReading
 * @property {number} lyapunov
 * @property {number} lyapunovSe
 * @property {number} growthSteps
 * @property {boolean} escaped
 * @property {number} steps
 * @property {number} rises
 * @property {number} maxRatio
 * @property {number} loss
 * @property {number} lossMax
 * @property {number} swing
 * @property {number} swingBefore
 * @property {number} curvature
 * @property {Float64Array} tail
 */

export const SURVEY_BLOCK = 128;
export const SURVEY_TAIL = 192;
export const SURVEY_PERIODS = 64;
export const SURVEY_FLOOR = 1e-20;
export const SURVEY_RISE = 1e-12;
// Below this a number is subnormal; XLA takes such numbers for 0, and a processor is slow on them.
export const SURVEY_TINY = 2 ** -1022;
const SURVEY_BODY = 8;
const SURVEY_BODIES = 16;
const SURVEY_EPS = 2 ** -52;

/**
 * The horizon actually run: the next multiple of four blocks (512 steps).
 * @param {number} steps
 */
export function surveySteps(steps) {
  const unit = 4 * SURVEY_BLOCK;
  return Math.max(1, Math.ceil(Math.trunc(steps) / unit)) * unit;
}

/** @returns {SurveyReading} */
function emptySurveyReading() {
  return {
    lyapunov: NaN, lyapunovSe: NaN, growthSteps: 0, escaped: false, steps: 0, rises: 0, maxRatio: 0, loss: NaN,
    lossMax: NaN, swing: NaN, swingBefore: NaN, curvature: NaN, tail: new Float64Array(SURVEY_TAIL),
  };
}

/** One run at a time; all arrays are made once. */
export class Survey {
  /** @param {TrainingMap} map */
  constructor(map) {
    this.map = map;
    const size = map.scalar ? 1 : 2;
    this.state = new Float64Array(size);
    this.tangent = new Float64Array(size);
    this.tally = new Float64Array(4);
    this.other = new Float64Array(size);
    this.bits = new Float64Array(1);
    this.words = new Int32Array(this.bits.buffer);
    // The high word of a number is the second one on every machine that browsers run on.
    this.quarter = { swing: NaN, tail: new Float64Array(SURVEY_TAIL) };
    this.half = emptySurveyReading();
    this.full = emptySurveyReading();
    this.steps = 0;
    this.total = 0;
    this.square = 0;
    this.ended = false;
  }

  /**
   * Run from the start at the fraction `u` of the family (ignored by maps with one start) over 4 `blocks` blocks.
   * @param {number} u
   * @param {number} blocks blocks of 128 steps in a quarter of the horizon
   * @param {boolean} count also count the rises of the loss
   */
  run(u, blocks, count) {
    const map = this.map;
    map.begin(this.state, u);
    this.direction();
    const loss = map.loss(this.state);
    this.tally[0] = loss;
    this.tally[1] = loss;
    this.tally[2] = 0;
    this.tally[3] = 0;
    this.steps = 0;
    this.ended = false;
    this.leg(blocks, count);
    this.quarter.swing = this.swing();
    if (!map.scalar) this.record(this.quarter.tail);
    this.leg(blocks, count);
    this.read(this.half, blocks);
    this.half.swingBefore = this.quarter.swing;
    this.leg(2 * blocks, count);
    this.read(this.full, 2 * blocks);
    this.full.swingBefore = this.half.swing;
  }

  direction() {
    if (this.map.scalar) {
      this.tangent[0] = 1;
      return;
    }
    const c = Math.cos(Math.sqrt(3));
    const norm = Math.sqrt(c * c + c * c);
    this.tangent.fill(c / norm);
  }

  /**
   * Run `blocks` blocks; `total` and `square` are the sums of the tangent's growth per block and of its square.
   * @param {number} blocks
   * @param {boolean} count
   */
  leg(blocks, count) {
    const { map, state, tangent, tally } = this;
    this.total = 0;
    this.square = 0;
    const last = state.length - 1;
    for (let k = 0; k < blocks && !this.ended; k++) {
      const s0 = state[0], s1 = state[last], v0 = tangent[0], v1 = tangent[last];
      const most = tally[1], rises = tally[2];
      const growth = this.block(count);
      const alive = map.escaped(state) ? 0 : SURVEY_BLOCK;
      this.steps += alive;
      this.total += growth;
      this.square += growth * growth;
      if (state[0] === s0 && state[last] === s1 && tangent[0] === v0 && tangent[last] === v1 && tally[1] === most) {
        // The block has come back to where it began, bit by bit: so will all that follow.
        const more = tally[2] - rises;
        for (k++; k < blocks; k++) {
          this.steps += alive;
          this.total += growth;
          this.square += growth * growth;
          tally[2] += more;
        }
      }
      // What is not finite stays so, and the run has escaped whatever else it shows.
      if (!(state[0] - state[0] === 0 && state[last] - state[last] === 0)) this.ended = true;
    }
  }

  /**
   * 128 steps; returns the logarithm of the tangent's growth.
   * @param {boolean} count
   */
  block(count) {
    const { map, state, tangent, tally, bits, words } = this;
    let mantissa = 1, exponent = 0;
    for (let k = 0; k < SURVEY_BODIES; k++) {
      map.body(state, tangent, tally, count);
      let norm = 0;
      if (map.scalar) {
        norm = Math.abs(tangent[0]);
        tangent[0] = 1;
      } else {
        norm = Math.sqrt(tangent[0] * tangent[0] + tangent[1] * tangent[1]);
        const safe = norm > 0 ? norm : 1;
        tangent[0] /= safe;
        tangent[1] /= safe;
      }
      // norm = m 2^e with m in [1, 2).
      bits[0] = norm;
      exponent += ((words[1] >>> 20) & 0x7ff) - 1023;
      words[1] = (words[1] & 0xfffff) | 0x3ff00000;
      mantissa *= bits[0];
    }
    return Math.log(mantissa) + Math.LN2 * exponent;
  }

  /** Signatures along the next SURVEY_TAIL steps. @param {Float64Array} tail */
  record(tail) {
    const { map, state, other } = this;
    other.set(state);
    for (let k = 0; k < SURVEY_TAIL; k++) {
      tail[k] = map.signature(other);
      map.step(other);
    }
  }

  /** The largest change of the signature in one step, over the next 8 steps. */
  swing() {
    const { map, state, other } = this;
    other.set(state);
    let most = 0;
    for (let k = 0; k < SURVEY_BODY; k++) {
      const before = map.signature(other);
      map.step(other);
      most = Math.max(most, Math.abs(map.signature(other) - before));
    }
    return most;
  }

  /**
   * @param {SurveyReading} out
   * @param {number} n blocks over which the growth was measured
   */
  read(out, n) {
    const { map, state, tally } = this;
    const mean = this.total / n;
    const variance = Math.max(this.square / n - mean * mean, 0) / Math.max(n - 1, 1);
    const rounding = 2 * SURVEY_BODIES * SURVEY_EPS * (1 + Math.abs(mean));
    out.lyapunov = mean / SURVEY_BLOCK;
    out.lyapunovSe = (Math.sqrt(variance) + rounding) / SURVEY_BLOCK;
    out.growthSteps = n * SURVEY_BLOCK;
    out.escaped = map.escaped(state);
    out.steps = this.steps;
    out.rises = tally[2];
    out.maxRatio = tally[3];
    out.loss = map.loss(state);
    out.lossMax = tally[1];
    out.curvature = map.curvature(state);
    if (out.escaped) return;
    this.record(out.tail);
    out.swing = this.swing();
  }
}

/**
 * How well `window` points near the end of a tail repeat after p steps: the largest distance, at index p - 1.
 * @param {Float64Array} tail
 * @param {number} window
 * @param {Float64Array} out of length SURVEY_PERIODS
 */
export function tailRecurrence(tail, window, out) {
  const first = SURVEY_TAIL - SURVEY_PERIODS - window;
  for (let p = 1; p <= SURVEY_PERIODS; p++) {
    let most = 0;
    for (let k = first; k < first + window; k++) {
      const d = Math.abs(tail[k + p] - tail[k]);
      if (!(d <= most)) most = d;
    }
    out[p - 1] = most;
  }
}
