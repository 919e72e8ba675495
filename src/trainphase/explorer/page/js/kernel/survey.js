// Survey: the long-run statistics of one run, as trainphase/survey.py takes them.
//
// The growth of a tangent vector is measured over the second half of the horizon; what Python also reads at
// half of it is left out but for what the reading at the end is compared with. The operations are those of
// Python in Python's order, so that states agree to the last bit with a machine that has no fused
// multiply-add.

/**
 * What a survey asks of a map. A state is an array of one number or two; `body` is eight steps of state and
 * tangent, `tally` the loss, its largest value so far, the rises counted and the largest growth in one step.
 * @typedef {object} TrainingMap
 * @property {boolean} scalar the state is a single number
 * @property {boolean} over the phase is that of a family of starts
 * @property {(name: string, value: number) => void} set
 * @property {(s: Float64Array, u: number) => void} begin
 * @property {(s: Float64Array, v: Float64Array, tally: Float64Array) => void} body
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

export const SURVEY_BLOCK = 128;
export const SURVEY_TAIL = 192;
export const SURVEY_PERIODS = 64;
// Points of a tail that must repeat: of a single number, whose cycles are confirmed by Newton's method, and
// of other states.
export const SURVEY_WINDOW = 16;
export const SURVEY_LONG_WINDOW = 64;
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

/** One run at a time; all arrays are made once. */
export class Survey {
  /** @param {TrainingMap} map */
  constructor(map) {
    this.map = map;
    const size = map.scalar ? 1 : 2;
    this.state = new Float64Array(size);
    this.halfway = new Float64Array(size);
    this.tangent = new Float64Array(size);
    this.other = new Float64Array(size);
    // Loss, its largest value so far, its rises, its largest growth in one step.
    this.tally = new Float64Array(4);
    this.bits = new Float64Array(1);
    // The high word of a number is the second one on every machine that browsers run on.
    this.words = new Int32Array(this.bits.buffer);
    this.start = 0;
    this.steps = 0;
    this.total = 0;
    this.square = 0;
    this.ended = false;
    this.escaped = false;
    this.halfRises = 0;
    this.lyapunov = NaN;
    this.lyapunovSe = NaN;
    this.growthSteps = 0;
  }

  /**
   * Run from the start at the fraction `u` of the family (ignored by maps with one start) over 4 `blocks`
   * blocks. The state at half the horizon is kept in `halfway`, the size of that at the start in `start`.
   * @param {number} u
   * @param {number} blocks blocks of 128 steps in a quarter of the horizon
     */
  run(u, blocks) {
    const { map, state, tally } = this;
    map.begin(state, u);
    this.start = Math.abs(state[0]);
    this.direction();
    const loss = map.loss(state);
    tally[0] = loss;
    tally[1] = loss;
    tally[2] = 0;
    tally[3] = 0;
    this.steps = 0;
    this.ended = false;
    this.leg(2 * blocks);
    this.halfway.set(state);
    this.halfRises = tally[2];
    this.leg(2 * blocks);
    this.escaped = map.escaped(state);
    this.growthOver(2 * blocks);
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
   * Run `blocks` blocks; `total` and `square` are the sums of the tangent's growth per block and of its
   * square.
   * @param {number} blocks
   */
  leg(blocks) {
    const { map, state, tangent, tally } = this;
    this.total = 0;
    this.square = 0;
    const last = state.length - 1;
    for (let k = 0; k < blocks && !this.ended; k++) {
      const s0 = state[0], s1 = state[last], v0 = tangent[0], v1 = tangent[last];
      const most = tally[1], rises = tally[2];
      const growth = this.block();
      const alive = map.escaped(state) ? 0 : SURVEY_BLOCK;
      this.steps += alive;
      this.total += growth;
      this.square += growth * growth;
      const back = state[0] === s0 && state[last] === s1 && tangent[0] === v0 && tangent[last] === v1;
      if (back && tally[1] === most) {
        // The block has come back to where it began, bit by bit: so will all that follow.
        const more = tally[2] - rises;
        for (k++; k < blocks; k++) {
          this.steps += alive;
          this.total += growth;
          this.square += growth * growth;
          tally[2] += more;
        }
      }
    }
  }

  /** 128 steps; returns the logarithm of the tangent's growth. */
  block() {
    const { map, state, tangent, tally, bits, words } = this;
    const last = state.length - 1;
    let mantissa = 1, exponent = 0;
    for (let k = 0; k < SURVEY_BODIES; k++) {
      map.body(state, tangent, tally);
      // What is not finite stays so: the run has escaped, whatever else it would show.
      if (!(state[0] - state[0] === 0 && state[last] - state[last] === 0)) {
        this.ended = true;
        return 0;
      }
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

  /**
   * The Lyapunov exponent per step and its standard error, from the last leg of `n` blocks.
   * @param {number} n
   */
  growthOver(n) {
    const mean = this.total / n;
    const variance = Math.max(this.square / n - mean * mean, 0) / Math.max(n - 1, 1);
    // Of the products in a block: on a cycle their rounding is the same in every block and does not average
    // out.
    const rounding = 2 * SURVEY_BODIES * SURVEY_EPS * (1 + Math.abs(mean));
    this.lyapunov = mean / SURVEY_BLOCK;
    this.lyapunovSe = (Math.sqrt(variance) + rounding) / SURVEY_BLOCK;
    this.growthSteps = n * SURVEY_BLOCK;
  }

  /**
   * Signatures along the SURVEY_TAIL steps from a state.
   * @param {Float64Array} state
   * @param {Float64Array} tail
   */
  record(state, tail) {
    const { map, other } = this;
    other.set(state);
    for (let k = 0; k < SURVEY_TAIL; k++) {
      tail[k] = map.signature(other);
      map.step(other);
    }
  }

  /**
   * The largest change of the signature in one step, over the 8 steps from a state.
   * @param {Float64Array} state
   */
  swing(state) {
    const { map, other } = this;
    other.set(state);
    let most = 0;
    for (let k = 0; k < SURVEY_BODY; k++) {
      const before = map.signature(other);
      map.step(other);
      most = Math.max(most, Math.abs(map.signature(other) - before));
    }
    return most;
  }
}

/**
 * How well `window` points near the end of a tail repeat after p steps: the largest distance, at index p - 1.
 * @param {Float64Array} tail
 * @param {Float64Array} out of length SURVEY_PERIODS
 * @param {number} window
 */
export function tailRecurrence(tail, out, window) {
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

/**
 * True where SURVEY_WINDOW points near the end of a tail repeat to within `near` after 1 to SURVEY_PERIODS
 * steps.
 * @param {Float64Array} tail
 * @param {number} near
 */
export function tailRepeats(tail, near) {
  const first = SURVEY_TAIL - SURVEY_PERIODS - SURVEY_WINDOW;
  for (let p = 1; p <= SURVEY_PERIODS; p++) {
    let k = 0;
    while (k < SURVEY_WINDOW && Math.abs(tail[first + k + p] - tail[first + k]) <= near) k++;
    if (k === SURVEY_WINDOW) return true;
  }
  return false;
}
