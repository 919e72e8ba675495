/**
 * The D = 1 quadratic regression model in the eigenbasis of Q, eigenvalues 1 and -eps: z~ and c_i = sqrt(lr) J_i.
 */

import {
  CURVATURE_SUM, CURVATURE_TOP, FAR, FLOOR, GROWTH, LOOKS, LOSS_LAST, LOSS_MOST, LOSS_SUM, MOTION, RISE, RISES,
  STEPS_PER_LOOK,
} from "../kernel/march.js";

/** @typedef {import("../kernel/march.js").Params} Params */

// Cancellation between T and 2 z~ + E~ puts a start on the edge of the allowed cone this far outside, relative to T.
const MODES_ROUNDING = 1e-12;

/** The state is z, c_1, c_2; the operations are those of Quadratic1D.step, in its order. */
export class Quadratic1D {
  /** @param {boolean} divide  true where eps is an axis: XLA multiplies by the reciprocal of what all points share */
  constructor(divide = false) {
    this.settled = 1e-16;
    this.divide = divide;
    this.state = new Float64Array(3);
    this.eps = 1;
    this.first = 0;
  }

  /** @param {Params} params */
  begin(params) {
    const eps = Number(params.eps ?? 0.005);
    const E = Number(params.E ?? 0);
    const z = Number(params.z ?? 0.05);
    const T = Number(params.T ?? 2.2);
    const B = 2 * z + E;
    const share = 1 / (1 + eps);
    const one = this.divide ? (eps * B + T) / (1 + eps) : (eps * B + T) * share;
    const two = this.divide ? (eps * (T - B)) / (1 + eps) : eps * (T - B) * share;
    const least = -MODES_ROUNDING * (1 + Math.abs(T) + Math.abs(z) + Math.abs(E));
    if (!(eps > 0 && one >= least && two >= least)) return false;
    this.eps = eps;
    this.state[0] = z;
    this.state[1] = Math.sqrt(Math.max(one, 0));
    this.state[2] = Math.sqrt(Math.max(two, 0));
    this.first = this.curvature();
    return true;
  }

  /**
   * @param {Float64Array} sums
   * @param {boolean} count
   */
  block(sums, count) {
    const { state } = this;
    const w = -this.eps;
    let z = state[0];
    let a = state[1];
    let b = state[2];
    let motion = 0;
    let seen = 0;
    let top = 0;
    let losses = 0;
    let last = sums[LOSS_LAST];
    let most = sums[LOSS_MOST];
    let rises = sums[RISES];
    let growth = sums[GROWTH];
    for (let k = 0; k < LOOKS; k++) {
      for (let j = 0; j < STEPS_PER_LOOK; j++) {
        const aa = a * a;
        const bb = b * b;
        const T = aa + bb;
        if (j === 0) {
          seen += T;
          if (T > top) top = T;
        }
        const loss = 0.5 * (z * z);
        if (count) {
          const above = loss > FLOOR * most;
          if (above && loss > last * (1 + RISE)) rises += 1;
          if (above && last > 0 && loss / last > growth) growth = loss / last;
        }
        last = loss;
        if (loss > most) most = loss;
        const z1 = z * (1 - T + 0.5 * z * (aa + w * bb));
        const a1 = a * (1 - z);
        const b1 = b * (1 - w * z);
        const dz = z1 - z;
        const da = a1 - a;
        const db = b1 - b;
        const square = dz * dz + (da * da + db * db);
        if (square > motion) motion = square;
        z = z1;
        a = a1;
        b = b1;
      }
      losses += last;
    }
    state[0] = z;
    state[1] = a;
    state[2] = b;
    sums[MOTION] = motion;
    sums[CURVATURE_SUM] = seen;
    sums[CURVATURE_TOP] = top;
    sums[LOSS_SUM] = losses;
    sums[LOSS_LAST] = last;
    sums[LOSS_MOST] = most;
    sums[RISES] = rises;
    sums[GROWTH] = growth;
  }

  step() {
    const { state } = this;
    const [z, a, b] = state;
    const w = -this.eps;
    state[0] = z * (1 - (a * a + b * b) + 0.5 * z * (a * a + w * (b * b)));
    state[1] = a * (1 - z);
    state[2] = b * (1 - w * z);
  }

  escaped() {
    const { state } = this;
    return !(Math.abs(state[0]) <= FAR && Math.abs(state[1]) <= FAR && Math.abs(state[2]) <= FAR);
  }

  curvature() {
    const { state } = this;
    return state[1] * state[1] + state[2] * state[2];
  }

  startCurvature() {
    return this.first;
  }

  loss() {
    return 0.5 * (this.state[0] * this.state[0]);
  }

  /** @param {Float64Array} out  loss, curvature, residual */
  observe(out) {
    out[0] = this.loss();
    out[1] = this.curvature();
    out[2] = this.state[0];
  }

  /** Of the 2 x 2 matrix c c^T + z diag(1, -eps). */
  sharpness() {
    const [z, a, b] = this.state;
    const p = a * a + z;
    const q = b * b - this.eps * z;
    return 0.5 * (p + q + Math.hypot(p - q, 2 * a * b));
  }
}

/** A coarse answer in single precision: the body of int phase(float x, float y), with parameters u_eps, u_E, u_z, u_T. */
export const QUADRATIC_1D_GLSL = `
  float B = 2.0 * u_z + u_E, room = -1e-6 * (1.0 + abs(u_T) + abs(u_z) + abs(u_E));
  float p = (u_eps * B + u_T) / (1.0 + u_eps), q = u_eps * (u_T - B) / (1.0 + u_eps);
  if (!(u_eps > 0.0 && p >= room && q >= room)) return 255;
  float z = u_z, a = sqrt(max(p, 0.0)), b = sqrt(max(q, 0.0)), start = a * a + b * b, most = 0.0, late = 0.0;
  for (int k = 0; k < u_steps; k++) {
    float z1 = z * (1.0 - a * a - b * b + 0.5 * z * (a * a - u_eps * b * b));
    float a1 = a * (1.0 - z), b1 = b * (1.0 + u_eps * z);
    float dz = z1 - z, da = a1 - a, db = b1 - b;
    if (k % 25 == 0) late = 0.0;
    late = max(late, dz * dz + da * da + db * db);
    most = max(most, late);
    z = z1; a = a1; b = b1;
    if (!(abs(z) <= 1e6 && abs(a) <= 1e6 && abs(b) <= 1e6)) return 4;
    if (k % 25 == 24 && late <= 1e-10 * most) break;
  }
  return coarse(start, a * a + b * b, most, late);
`;
