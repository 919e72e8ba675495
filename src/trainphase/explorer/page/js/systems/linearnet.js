/**
 * A one-hidden-layer linear net on one datum, in the plane (z~, T): the catapult model.
 */

import {
  CURVATURE_SUM, CURVATURE_TOP, FAR, FLOOR, GROWTH, LOOKS, LOSS_LAST, LOSS_MOST, LOSS_SUM, MOTION, RISE, RISES,
  STEPS_PER_LOOK,
} from "../kernel/march.js";

/** @typedef {import("../kernel/march.js").Params} Params */

const PLANE_ROUNDING = 1e-12;

/** The state is (z~, T); the operations are those of LinearNet.step, in its order. */
export class LinearNet {
  constructor() {
    this.settled = 1e-16;
    this.state = new Float64Array(2);
    this.y = 0;
    this.first = 0;
  }

  /** @param {Params} params */
  begin(params) {
    const T = Number(params.T ?? 2.5);
    const z = Number(params.z ?? 0.01);
    this.y = Number(params.y ?? 0);
    this.state[0] = z;
    this.state[1] = T;
    this.first = T;
    return Math.abs(2 * (z + this.y)) <= T + PLANE_ROUNDING * (1 + Math.abs(T));
  }

  /**
   * @param {Float64Array} sums
   * @param {boolean} count
   */
  block(sums, count) {
    const { state, y } = this;
    let z = state[0];
    let T = state[1];
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
        const half = z + y;
        const z1 = z * (1 - T + z * half);
        const T1 = T + z * (z * T - 4 * half);
        const dz = z1 - z;
        const dT = T1 - T;
        const square = dz * dz + dT * dT;
        if (square > motion) motion = square;
        z = z1;
        T = T1;
      }
      losses += last;
    }
    state[0] = z;
    state[1] = T;
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
    const [z, T] = state;
    const half = z + this.y;
    state[0] = z * (1 - T + z * half);
    state[1] = T + z * (z * T - 4 * half);
  }

  escaped() {
    return !(Math.abs(this.state[0]) <= FAR && Math.abs(this.state[1]) <= FAR);
  }

  curvature() {
    return this.state[1];
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
    out[1] = this.state[1];
    out[2] = this.state[0];
  }

  /** (T + sqrt(T^2 + 4 z~ (B + z~))) / 2 with B = 2 (z~ + y). */
  sharpness() {
    const z = this.state[0];
    const T = this.state[1];
    const B = 2 * (z + this.y);
    return 0.5 * (T + Math.sqrt(T * T + 4 * z * (B + z)));
  }
}

/** A coarse answer in single precision, by the edge vocabulary, with parameters u_z, u_T, u_y. */
export const LINEAR_NET_GLSL = `
  if (!(abs(2.0 * (u_z + u_y)) <= u_T + 1e-6 * (1.0 + abs(u_T)))) return 255;
  float z = u_z, T = u_T, most = 0.0, late = 0.0;
  for (int k = 0; k < u_steps; k++) {
    float h = z + u_y, z1 = z * (1.0 - T + z * h), T1 = T + z * (z * T - 4.0 * h);
    float dz = z1 - z, dT = T1 - T;
    if (k % 25 == 0) late = 0.0;
    late = max(late, dz * dz + dT * dT);
    most = max(most, late);
    z = z1; T = T1;
    if (!(abs(z) <= 1e6 && abs(T) <= 1e6)) return 4;
    if (k % 25 == 24 && late <= 1e-10 * most) break;
  }
  return coarse(u_T, T, most, late);
`;

/** The same by the training vocabulary: whether the loss rose, and whether the run came to rest. */
export const LINEAR_NET_TRAINING_GLSL = `
  if (!(abs(2.0 * (u_z + u_y)) <= u_T + 1e-6 * (1.0 + abs(u_T)))) return 255;
  float z = u_z, T = u_T, most = z * z;
  bool rose = false;
  for (int k = 0; k < u_steps; k++) {
    float h = z + u_y, z1 = z * (1.0 - T + z * h), T1 = T + z * (z * T - 4.0 * h);
    if (z1 * z1 > 1.000001 * z * z && z1 * z1 > 1e-10 * most) rose = true;
    z = z1; T = T1;
    most = max(most, z * z);
    if (!(abs(z) <= 1e6 && abs(T) <= 1e6)) return 4;
  }
  if (z * z <= 1e-10 * most) return rose ? 1 : 0;
  return T < 2.0 && z * z < 0.01 * most ? (rose ? 1 : 0) : 3;
`;
