/**
 * One run until it settles, escapes or reaches the horizon, with what the edge vocabulary reads: march.py, one lane at a time.
 *
 * A model makes the steps, a block of 25 at a time; every fifth step begins with a look at the curvature.
 */

export const WINDOWS = 16;
export const STEPS_PER_LOOK = 5;
export const LOOKS = 5;
export const BLOCK = STEPS_PER_LOOK * LOOKS;
export const RUNNING = 0;
export const SETTLED = 1;
export const ESCAPED = 2;
export const HORIZON = 3;

// A rise of the loss counts when it is above rounding, relative to the last one and to the largest of the run.
export const RISE = 1e-12;
export const FLOOR = 1e-20;
// A loss this far below its largest has vanished, and the sharpness is the curvature.
const VANISHED = 1e-8;
// A state beyond this cannot return.
export const FAR = 1e6;

// What a block writes into its sums: the largest squared step, sum and largest of the curvature seen, sum of the losses
// at the looks; and what goes on from block to block: the last loss, the largest, rises and the largest ratio.
export const MOTION = 0;
export const CURVATURE_SUM = 1;
export const CURVATURE_TOP = 2;
export const LOSS_SUM = 3;
export const LOSS_LAST = 4;
export const LOSS_MOST = 5;
export const RISES = 6;
export const GROWTH = 7;

/**
 * @typedef {Record<string, number | string>} Params
 *
 * @typedef {object} Model  a system with one run under way
 * @property {number} settled  squared steps, relative to the largest, below which a run has settled
 * @property {(params: Params) => boolean} begin  sets the start; false where the parameters describe no run
 * @property {(sums: Float64Array, count: boolean) => void} block  25 steps; with count also rises and the largest ratio
 * @property {() => void} step  a single step
 * @property {() => boolean} escaped  a state that is not finite counts as escaped
 * @property {() => number} curvature  of the state, exactly
 * @property {() => number} startCurvature  as curvature, of the start; asked for after begin
 * @property {() => number} loss
 * @property {(out: Float64Array) => void} observe  loss, curvature and the residual to draw, asked for after every step
 * @property {() => number} sharpness  step size times the largest eigenvalue of the Hessian
 */

/**
 * The horizon actually run: the next multiple of sixteen blocks.
 * @param {number} steps
 */
export function roundedSteps(steps) {
  const unit = BLOCK * WINDOWS;
  return Math.max(1, Math.ceil(Math.trunc(steps) / unit)) * unit;
}

/** The run of one point at a time; its fields are those of the last one. */
export class March {
  /**
   * @param {Model} model
   * @param {number} steps
   */
  constructor(model, steps) {
    this.model = model;
    this.horizon = roundedSteps(steps) / BLOCK;
    this.sums = new Float64Array(8);
    // Per window: the largest squared step, sum and largest of the curvature, sum of the losses.
    this.motion = new Float64Array(WINDOWS);
    this.curvatureSum = new Float64Array(WINDOWS);
    this.curvatureTop = new Float64Array(WINDOWS);
    this.lossSum = new Float64Array(WINDOWS);
    this.status = RUNNING;
    this.blocks = 0;
    this.moved = 0;
    this.start = 0;
    this.end = 0;
    this.loss = 0;
    this.unstable = false;
  }

  /** The steps run. */
  get steps() {
    return BLOCK * this.blocks;
  }

  /**
   * Run to the end; false where the parameters describe no run.
   * @param {Params} params
   * @param {boolean} count  count the rises of the loss as well
   */
  run(params, count) {
    const { model, sums, horizon, motion, curvatureSum, curvatureTop, lossSum } = this;
    if (!model.begin(params)) return false;
    motion.fill(0);
    curvatureSum.fill(0);
    curvatureTop.fill(0);
    lossSum.fill(0);
    sums.fill(0);
    // The first loss is compared with no other.
    sums[LOSS_LAST] = Infinity;
    sums[LOSS_MOST] = model.loss();
    let status = RUNNING;
    let blocks = 0;
    let before = Infinity;
    let largest = 0;
    while (status === RUNNING) {
      sums.fill(0, MOTION, LOSS_LAST);
      model.block(sums, count);
      const now = sums[MOTION];
      const k = Math.floor((blocks * WINDOWS) / horizon);
      if (now > motion[k]) motion[k] = now;
      curvatureSum[k] += sums[CURVATURE_SUM];
      if (sums[CURVATURE_TOP] > curvatureTop[k]) curvatureTop[k] = sums[CURVATURE_TOP];
      lossSum[k] += sums[LOSS_SUM];
      if (now > largest) largest = now;
      blocks += 1;
      if (now <= model.settled * largest && now <= before) status = SETTLED;
      if (blocks >= horizon) status = HORIZON;
      if (model.escaped()) status = ESCAPED;
      before = now;
    }
    this.status = status;
    this.blocks = blocks;
    this.moved = largest;
    this.finish();
    return true;
  }

  /** What is measured on the last state. */
  finish() {
    const { model, status } = this;
    this.start = model.startCurvature();
    this.unstable = false;
    if (status === ESCAPED) return;
    this.end = model.curvature();
    this.loss = model.loss();
    // Where the loss has not vanished, a run may rest for a while at a stationary point that is not stable.
    const resting = status === SETTLED && this.loss > VANISHED * this.sums[LOSS_MOST];
    this.unstable = resting && model.sharpness() > 2;
  }
}
