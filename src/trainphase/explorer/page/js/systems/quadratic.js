/**
 * The (D, P) quadratic regression model in parameter space, from draws that are given: z = z_0 + J_0 phi + Q(phi, phi) / 2.
 */

import { Krylov, symmetricTop } from "../kernel/eigen.js";
import {
  CURVATURE_SUM, CURVATURE_TOP, FAR, FLOOR, GROWTH, LOOKS, LOSS_LAST, LOSS_MOST, LOSS_SUM, MOTION, RISE, RISES,
  STEPS_PER_LOOK,
} from "../kernel/march.js";

/**
 * @typedef {import("../kernel/march.js").Params} Params
 * @typedef {{D: number, P: number, Q: Float64Array, z: Float64Array, J: Float64Array}} Draws  Q[(a P + j) P + i] is the
 *   second derivative of output a; z and, row by row, J are standard draws of the start
 */

// The followed curvature has converged when it rises by less than this share of it.
const FOLLOWED = 1e-12;
const FOLLOWING = 12;

/** The state is phi; the operations of a step are those of _observed in quadratic.py, in its order. */
export class Quadratic {
  /**
   * @param {Draws} draws
   * @param {string[]} axes  the parameters in which points differ
   */
  constructor(draws, axes) {
    const { D, P } = draws;
    this.settled = 1e-10;
    this.draws = draws;
    // XLA multiplies by the reciprocal of what all points share.
    this.divideZ = axes.includes("lr") || !axes.includes("sigma_z");
    this.divideJ = axes.includes("lr") || !axes.includes("sigma_J");
    this.state = new Float64Array(P);
    this.M = new Float64Array(D * P);
    this.J = new Float64Array(D * P);
    this.z = new Float64Array(D);
    this.lr = 1;
    this.start = 0;
    this.width = 0;
    this.lastLoss = 0;
    this.krylov = new Krylov(D, P);
    this.modes = [new Float64Array(D), new Float64Array(D)];
    this.following = false;
    const n = Math.min(D, P);
    this.gram = new Float64Array(n * n);
    this.drawTop = this.gramTop(draws.J);
  }

  /** @param {Params} params */
  begin(params) {
    const { D, P, z } = this.draws;
    const lr = Number(params.lr ?? 1);
    const sigmaZ = Number(params.sigma_z ?? 0.3);
    const sigmaJ = Number(params.sigma_J ?? 0.35);
    if (!(lr > 0 && sigmaZ >= 0 && sigmaJ >= 0)) return false;
    const share = Math.sqrt(lr) * (D * P) ** 0.25;
    this.lr = lr;
    this.start = this.divideZ ? sigmaZ / (lr * D) : sigmaZ * (1 / (lr * D));
    this.width = this.divideJ ? sigmaJ / share : sigmaJ * (1 / share);
    this.state.fill(0);
    const norm = Math.sqrt(z.reduce((total, x) => total + x * x, 0));
    for (const mode of this.modes) for (let k = 0; k < D; k++) mode[k] = z[k] / norm;
    this.following = false;
    this.measure();
    return true;
  }

  /** Q(phi, .) and the residual of the state, and the loss. */
  measure() {
    const { draws, state, M, z, start, width } = this;
    const { D, P, Q, J } = draws;
    quadraticProduct(Q, state, M, D * P, P);
    let squares = 0;
    for (let a = 0; a < D; a++) {
      let drawn = 0;
      for (let i = 0, at = a * P; i < P; i++, at++) drawn += J[at] * state[i];
      z[a] = start * draws.z[a] + width * drawn + 0.5 * quadraticChains(M, a * P, 1, state);
      squares += z[a] * z[a];
    }
    this.lastLoss = 0.5 * squares;
  }

  /** The next state, of a state that has been measured; returns the squared step. */
  advance() {
    const { draws, state, M, z, width, lr } = this;
    const { D, P, J } = draws;
    let square = 0;
    for (let i = 0; i < P; i++) {
      let drawn = 0;
      for (let a = 0, at = i; a < D; a++, at += P) drawn += J[at] * z[a];
      const old = state[i];
      const now = old - lr * (width * drawn + quadraticChains(M, i, P, z));
      state[i] = now;
      square += (now - old) * (now - old);
    }
    return square;
  }

  /** The Jacobian of a state that has been measured, into J. */
  jacobian() {
    const { draws, M, J, width } = this;
    for (let k = 0; k < J.length; k++) J[k] = width * draws.J[k] + M[k];
    return J;
  }

  /**
   * @param {Float64Array} sums
   * @param {boolean} count
   */
  block(sums, count) {
    for (let k = 0; k < LOOKS; k++) {
      for (let j = 0; j < STEPS_PER_LOOK; j++) {
        if (j === 0) this.track(sums);
        this.heard(sums, count);
        const square = this.advance();
        if (square > sums[MOTION]) sums[MOTION] = square;
        this.measure();
      }
      sums[LOSS_SUM] += sums[LOSS_LAST];
    }
  }

  /**
   * The curvature by three products with J J^T, from the mode of two looks ago, between which it may jump.
   * @param {Float64Array} sums
   */
  track(sums) {
    const [mode, other] = this.modes;
    const seen = this.lr * this.krylov.top(this.jacobian(), mode);
    this.modes[0] = other;
    this.modes[1] = mode;
    sums[CURVATURE_SUM] += seen;
    if (seen > sums[CURVATURE_TOP]) sums[CURVATURE_TOP] = seen;
  }

  /**
   * @param {Float64Array} sums
   * @param {boolean} count
   */
  heard(sums, count) {
    const loss = this.lastLoss;
    const last = sums[LOSS_LAST];
    const above = loss > FLOOR * sums[LOSS_MOST];
    if (count && above && loss > last * (1 + RISE)) sums[RISES] += 1;
    if (count && above && last > 0 && loss / last > sums[GROWTH]) sums[GROWTH] = loss / last;
    sums[LOSS_LAST] = loss;
    if (loss > sums[LOSS_MOST]) sums[LOSS_MOST] = loss;
  }

  step() {
    this.advance();
    this.measure();
  }

  /** By the displacement, rescaled to step size 1. */
  escaped() {
    const size = Math.sqrt(this.lr);
    return !this.state.every((x) => Math.abs(size * x) <= FAR);
  }

  /**
   * The largest eigenvalue of J J^T, exactly.
   * @param {Float64Array} J
   * @param {Float64Array} [vector]  for its unit eigenvector, shape (D,)
   */
  gramTop(J, vector) {
    const { D, P } = this.draws;
    if (vector || D <= P) {
      const gram = D <= P ? this.gram : new Float64Array(D * D);
      for (let a = 0; a < D; a++) {
        for (let b = a; b < D; b++) {
          let sum = 0;
          for (let i = 0; i < P; i++) sum += J[a * P + i] * J[b * P + i];
          gram[a * D + b] = sum;
          gram[b * D + a] = sum;
        }
      }
      return symmetricTop(gram, D, vector);
    }
    const { gram } = this;
    gram.fill(0);
    for (let a = 0; a < D; a++) {
      for (let i = 0; i < P; i++) for (let j = 0; j < P; j++) gram[i * P + j] += J[a * P + i] * J[a * P + j];
    }
    return symmetricTop(gram, P);
  }

  curvature() {
    if (this.escaped()) return NaN;
    return this.lr * this.gramTop(this.jacobian());
  }

  startCurvature() {
    return this.lr * (this.width * this.width) * this.drawTop;
  }

  loss() {
    return this.lastLoss;
  }

  /**
   * Loss, curvature, and step size times the residual along the kernel's top mode, step by step; the mode is followed, and
   * keeps its sign.
   * @param {Float64Array} out
   */
  observe(out) {
    const { D } = this.draws;
    const { z, modes, krylov } = this;
    const J = this.jacobian();
    if (!this.following) {
      this.gramTop(J, modes[0]);
      modes[1].set(modes[0]);
      this.following = true;
    }
    const [mode, other] = modes;
    let value = krylov.top(J, mode);
    for (let k = 0; k < FOLLOWING; k++) {
      const before = value;
      value = krylov.top(J, mode);
      if (!(value > before * (1 + FOLLOWED))) break;
    }
    let same = 0;
    let along = 0;
    for (let k = 0; k < D; k++) {
      same += mode[k] * other[k];
      along += mode[k] * z[k];
    }
    const sign = same < 0 ? -1 : 1;
    for (let k = 0; k < D; k++) mode[k] *= sign;
    modes[0] = other;
    modes[1] = mode;
    out[0] = this.lastLoss;
    out[1] = this.lr * value;
    out[2] = this.lr * sign * along;
  }

  /** Of the Hessian J^T J + sum_a z_a Q_a. */
  sharpness() {
    const { D, P, Q } = this.draws;
    const J = this.jacobian();
    const hessian = new Float64Array(P * P);
    for (let i = 0; i < P; i++) {
      for (let j = i; j < P; j++) {
        let sum = 0;
        for (let a = 0; a < D; a++) sum += J[a * P + i] * J[a * P + j] + this.z[a] * Q[(a * P + j) * P + i];
        hessian[i * P + j] = sum;
        hessian[j * P + i] = sum;
      }
    }
    return this.lr * symmetricTop(hessian, P);
  }
}

/**
 * out = A v, sums in order; four rows at a time, whose additions do not wait for each other.
 * @param {Float64Array} A  row by row
 * @param {Float64Array} v
 * @param {Float64Array} out
 * @param {number} rows
 * @param {number} columns
 */
function quadraticProduct(A, v, out, rows, columns) {
  let r = 0;
  for (; r + 3 < rows; r += 4) {
    const at = r * columns;
    let a = 0;
    let b = 0;
    let c = 0;
    let d = 0;
    for (let i = 0; i < columns; i++) {
      const x = v[i];
      a += A[at + i] * x;
      b += A[at + columns + i] * x;
      c += A[at + 2 * columns + i] * x;
      d += A[at + 3 * columns + i] * x;
    }
    out[r] = a;
    out[r + 1] = b;
    out[r + 2] = c;
    out[r + 3] = d;
  }
  for (; r < rows; r++) {
    let a = 0;
    for (let i = 0; i < columns; i++) a += A[r * columns + i] * v[i];
    out[r] = a;
  }
}

/**
 * The product of a row or column of M with v, in four chains that are added up at the end, as push and pull of _lanes.py do.
 * @param {Float64Array} M
 * @param {number} at  where it begins
 * @param {number} stride
 * @param {Float64Array} v
 */
function quadraticChains(M, at, stride, v) {
  const n = v.length;
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  let k = 0;
  for (; k + 3 < n; k += 4, at += 4 * stride) {
    a += M[at] * v[k];
    b += M[at + stride] * v[k + 1];
    c += M[at + 2 * stride] * v[k + 2];
    d += M[at + 3 * stride] * v[k + 3];
  }
  if (k < n) a += M[at] * v[k];
  if (k + 1 < n) b += M[at + stride] * v[k + 1];
  if (k + 2 < n) c += M[at + 2 * stride] * v[k + 2];
  return a + b + c + d;
}
