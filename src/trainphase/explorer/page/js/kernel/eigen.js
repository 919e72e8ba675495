/**
 * Eigenvalues of small symmetric matrices: Jacobi's rotations for all of them, a Krylov space to follow the largest.
 */

// Rotations converge quadratically: six rounds suffice for sixteen rows, more are never run.
const EIGEN_ROUNDS = 30;
const EIGEN_NEWTON = 6;

/**
 * The largest eigenvalue of a symmetric matrix, row by row in a; a is overwritten.
 * @param {Float64Array} a
 * @param {number} n
 * @param {Float64Array} [vector]  for its unit eigenvector
 */
export function symmetricTop(a, n, vector) {
  const vectors = vector ? new Float64Array(n * n) : null;
  if (vectors) for (let k = 0; k < n; k++) vectors[k * n + k] = 1;
  for (let round = 0; round < EIGEN_ROUNDS; round++) {
    let off = 0;
    let size = 0;
    for (let p = 0; p < n; p++) {
      size += a[p * n + p] * a[p * n + p];
      for (let q = p + 1; q < n; q++) off += a[p * n + q] * a[p * n + q];
    }
    if (!(off > 1e-34 * size)) break;
    for (let p = 0; p < n - 1; p++) for (let q = p + 1; q < n; q++) eigenRotate(a, n, p, q, vectors);
  }
  let best = 0;
  for (let k = 1; k < n; k++) if (a[k * n + k] > a[best * n + best]) best = k;
  if (vector && vectors) for (let k = 0; k < n; k++) vector[k] = vectors[k * n + best];
  return a[best * n + best];
}

/**
 * The rotation that takes a_pq to zero.
 * @param {Float64Array} a
 * @param {number} n
 * @param {number} p
 * @param {number} q
 * @param {Float64Array | null} vectors
 */
function eigenRotate(a, n, p, q, vectors) {
  const apq = a[p * n + q];
  if (apq === 0) return;
  const theta = (a[q * n + q] - a[p * n + p]) / (2 * apq);
  const t = (theta >= 0 ? 1 : -1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1));
  const c = 1 / Math.sqrt(t * t + 1);
  const s = t * c;
  a[p * n + p] -= t * apq;
  a[q * n + q] += t * apq;
  a[p * n + q] = 0;
  a[q * n + p] = 0;
  for (let k = 0; k < n; k++) {
    if (vectors) {
      const x = vectors[k * n + p];
      const y = vectors[k * n + q];
      vectors[k * n + p] = c * x - s * y;
      vectors[k * n + q] = s * x + c * y;
    }
    if (k === p || k === q) continue;
    const x = a[k * n + p];
    const y = a[k * n + q];
    a[k * n + p] = c * x - s * y;
    a[p * n + k] = a[k * n + p];
    a[k * n + q] = s * x + c * y;
    a[q * n + k] = a[k * n + q];
  }
}

/** Space for krylovTop on a matrix of rows x columns. */
export class Krylov {
  /**
   * @param {number} rows
   * @param {number} columns
   */
  constructor(rows, columns) {
    this.rows = rows;
    this.columns = columns;
    this.image = new Float64Array(columns);
    this.rest = new Float64Array(rows);
    this.second = new Float64Array(rows);
    this.third = new Float64Array(rows);
    // Of the tridiagonal matrix of three steps: the last diagonal entry, and the one beside the next.
    this.value = 0;
    this.size = 0;
  }

  /**
   * Largest Ritz value of J J^T over v, J J^T v, (J J^T)^2 v; v becomes its unit Ritz vector. krylov_top in _krylov.py.
   * @param {Float64Array} J  row by row
   * @param {Float64Array} v  unit
   */
  top(J, v) {
    const { rows, second, third, rest } = this;
    const tiny = 100 * Number.EPSILON;
    this.extend(J, v, v, 0);
    const a = this.value;
    let e = this.size;
    for (let k = 0; k < rows; k++) second[k] = e > 0 ? rest[k] / e : 0;
    this.extend(J, second, v, e);
    let b = this.value;
    let f = this.size;
    for (let k = 0; k < rows; k++) third[k] = f > 0 ? rest[k] / f : 0;
    let c = this.pull(J, third);
    // Below rounding of the operator a direction is noise.
    if (!(e > tiny * a)) e = 0;
    if (!(e > 0 && f > tiny * a)) f = 0;
    if (!(e > 0)) b = 0;
    if (!(f > 0)) c = 0;
    let value = Math.max(a + e, b + e + f, c + f);
    for (let k = 0; k < EIGEN_NEWTON; k++) {
      const inner = (value - b) * (value - c) - f * f;
      const p = (value - a) * inner - e * e * (value - c);
      const dp = inner + (value - a) * (2 * value - b - c) - e * e;
      if (dp > 0) value -= p / dp;
    }
    const y = e > 0 ? (value - a) / e : 0;
    const x = f > 0 ? ((value - b) * y - e) / f : 0;
    let norm = 0;
    for (let k = 0; k < rows; k++) {
      v[k] += y * second[k] + x * third[k];
      norm += v[k] * v[k];
    }
    norm = Math.sqrt(norm);
    if (norm > 0) for (let k = 0; k < rows; k++) v[k] /= norm;
    return value;
  }

  /**
   * v J into image; its squared length.
   * @param {Float64Array} J
   * @param {Float64Array} v
   */
  pull(J, v) {
    const { rows, columns, image } = this;
    image.fill(0);
    for (let k = 0, at = 0; k < rows; k++) for (let i = 0; i < columns; i++) image[i] += J[at++] * v[k];
    let value = 0;
    for (let i = 0; i < columns; i++) value += image[i] * image[i];
    return value;
  }

  /**
   * A step of Lanczos from v, after before: |v J|^2 into value, what is left of J J^T v into rest and its length into size.
   * @param {Float64Array} J
   * @param {Float64Array} v
   * @param {Float64Array} before
   * @param {number} beside
   */
  extend(J, v, before, beside) {
    const { rows, columns, image, rest } = this;
    const value = this.pull(J, v);
    let back = 0;
    for (let k = 0, at = 0; k < rows; k++) {
      let sum = 0;
      for (let i = 0; i < columns; i++) sum += J[at++] * image[i];
      rest[k] = sum - value * v[k] - beside * before[k];
      back += rest[k] * before[k];
    }
    let size = 0;
    for (let k = 0; k < rows; k++) {
      if (beside > 0) rest[k] -= back * before[k];
      size += rest[k] * rest[k];
    }
    this.value = value;
    this.size = Math.sqrt(size);
  }
}
