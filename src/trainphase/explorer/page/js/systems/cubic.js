// The cubic map of quadratic regression: z -> z^3 + (a - 2) z^2 + (1 - 2 a) z from one start, or over all
// starts in the coordinate x with z = x^2 - a, in which it reads x -> x (1 + a - x^2) (Chen et al. 2024).

import { ENSEMBLE_TYPICAL } from "../kernel/ensemble.js";
import { SURVEY_FLOOR, SURVEY_RISE, SURVEY_TINY } from "../kernel/survey.js";

/** @typedef {Record<string, number | string | null | undefined>} CubicParams */

/** Where the phase over all starts changes, by the theory. @type {[number, string, string][]} */
const CUBIC_LEVELS = [
  [0.8284271247461901, "monotonic", "catapult"],
  [1, "catapult", "periodic"],
  [1.302283462700712160782, "periodic", "chaotic"],
  [2, "chaotic", "divergent"],
];

/**
 * What the run from one start and the map over all starts share. Operations in the order of systems/cubic.py.
 */
class CubicBase {
  /** @param {boolean} over */
  constructor(over) {
    this.scalar = true;
    this.over = over;
    this.a = 1.1;
    this.z0 = 0.5;
  }

  /** @param {string} name @param {number} value */
  set(name, value) {
    if (name === "a") this.a = value;
    if (name === "z0") this.z0 = value;
  }

  /** Where a is negative, Python refuses to answer. */
  admissible() {
    return this.a >= 0;
  }

  /** The starts over which the phase is taken are states in (0, this). */
  interval() {
    return Math.sqrt(2 + this.a);
  }

  /** @param {number} x the state @returns {number} the scaled residual z */
  residual(x) {
    return x;
  }

  /** @param {number} x @returns {number} the next state */
  next(x) {
    return x;
  }

  /** @param {number} x @returns {number} the derivative of the step */
  slope(x) {
    return x;
  }

  /** f^period(x) and its derivative. @param {number} x @param {number} period @param {Float64Array} out */
  iterate(x, period, out) {
    let y = x, d = 1;
    for (let k = 0; k < period; k++) {
      d *= this.slope(y);
      y = this.next(y);
    }
    out[0] = y;
    out[1] = d;
  }

  /** @param {number} x */
  lossOf(x) {
    const z = this.residual(x);
    return 0.5 * (z * z);
  }

  /** @param {number} x */
  gone(x) {
    return !(Math.abs(this.residual(x)) <= 5 + 2 * this.a);
  }

  /** @param {Float64Array} s */
  step(s) {
    s[0] = this.next(s[0]);
  }

  /** @param {Float64Array} s */
  signature(s) {
    return s[0];
  }

  /** @param {Float64Array} s */
  loss(s) {
    return this.lossOf(s[0]);
  }

  /** @param {Float64Array} s */
  curvature(s) {
    return 2 * (this.residual(s[0]) + this.a);
  }

  /** @param {Float64Array} s */
  escaped(s) {
    return this.gone(s[0]);
  }
}

/** The run from z0; the state is z. */
export class CubicRun extends CubicBase {
  constructor() {
    super(false);
  }

  /** @param {Float64Array} s */
  begin(s) {
    s[0] = this.z0;
  }

  /** @param {Float64Array} s @param {Float64Array} v @param {Float64Array} tally */
  body(s, v, tally) {
    const p = this.a - 2, q = 1 - 2 * this.a, p2 = 2 * p;
    let z = s[0], d = v[0], loss = tally[0], most = tally[1], rises = tally[2], growth = tally[3];
    for (let k = 0; k < 8; k++) {
      d *= (3 * z + p2) * z + q;
      z *= (z + p) * z + q;
      const now = 0.5 * (z * z);
      if (now > SURVEY_FLOOR * most) {
        if (now > loss * (1 + SURVEY_RISE)) rises++;
        // A division takes longer than the step, and is needed where the growth is a new record only.
        if (now > growth * loss * (1 - 1e-15)) growth = Math.max(growth, now / loss);
      }
      loss = now;
      if (now > most) most = now;
    }
    s[0] = Math.abs(z) < SURVEY_TINY ? 0 : z;
    v[0] = d;
    tally[0] = loss;
    tally[1] = most;
    tally[2] = rises;
    tally[3] = growth;
  }

  /** @param {number} z */
  next(z) {
    return cubicStep(z, this.a);
  }

  /** @param {number} z */
  slope(z) {
    return (3 * z + 2 * (this.a - 2)) * z + (1 - 2 * this.a);
  }
}

/**
 * The map over all starts; the state is x, with z = x^2 - a. Rises of the loss are searched for and not
 * counted.
 */
export class CubicMap extends CubicBase {
  constructor() {
    super(true);
  }

  /** @param {Float64Array} s @param {number} u */
  begin(s, u) {
    s[0] = this.interval() * u;
  }

  /** @param {Float64Array} s @param {Float64Array} v */
  body(s, v) {
    const r = 1 + this.a, r2 = 2 * r;
    let x = s[0], d = v[0];
    for (let k = 0; k < 8; k++) {
      const t = r - x * x;
      d *= 3 * t - r2;
      x *= t;
    }
    s[0] = Math.abs(x) < SURVEY_TINY ? 0 : x;
    v[0] = d;
  }

  /** @param {number} x */
  residual(x) {
    return x * x - this.a;
  }

  /** @param {number} x */
  next(x) {
    return x * (1 + this.a - x * x);
  }

  /** @param {number} x */
  slope(x) {
    const r = 1 + this.a;
    return 3 * (r - x * x) - 2 * r;
  }
}

/**
 * One run step by step, to `count` steps or to where it escapes: from z0, or without one from a
 * typical start.
 * @param {CubicParams} params
 * @param {number} count
 */
export function cubicTrajectory(params, count) {
  const map = cubicStarted(params) ? new CubicRun() : new CubicMap();
  const a = Number(params.a ?? 1.1);
  map.set("a", a);
  map.set("z0", Number(params.z0));
  const state = new Float64Array(1);
  map.begin(state, ENSEMBLE_TYPICAL);
  const rows = new Float64Array(count + 1);
  let kept = 0;
  for (; kept <= count && !map.gone(state[0]); kept++) {
    rows[kept] = map.residual(state[0]);
    map.step(state);
  }
  const z = rows.slice(0, kept);
  return {
    times: Float64Array.from(z, (_, k) => k),
    loss: z.map((v) => 0.5 * (v * v)),
    curvature: z.map((v) => 2 * (v + a)),
    residual: z,
    x: z,
    y: z.map((v) => cubicStep(v, a)),
    escapedAt: kept <= count ? kept : -1,
    names: { x: "z", y: "next z" },
    portrait: /** @type {"cobweb"} */ ("cobweb"),
  };
}

/**
 * One step of the residual: z -> z^3 + (a - 2) z^2 + (1 - 2 a) z.
 * @param {number} z
 * @param {number} a
 */
export function cubicStep(z, a) {
  return z * ((z + (a - 2)) * z + (1 - 2 * a));
}

/** True where the parameters name a start. @param {CubicParams} params */
export function cubicStarted(params) {
  return params.z0 !== undefined && params.z0 !== null && params.z0 !== "";
}

/**
 * Boundaries of the theory over the axes, as overlay.lines: lines of constant a, or single values on
 * one axis.
 * @param {CubicParams} params
 * @param {{name: string, lo: number, hi: number}} x
 * @param {{name: string, lo: number, hi: number} | null} [y]
 */
export function cubicLines(params, x, y) {
  const axes = y ? [x, y] : [x];
  const which = axes.findIndex((axis) => axis.name === "a");
  const started = cubicStarted(params) || axes.some((axis) => axis.name === "z0");
  /** @type {{name: string, between: string[], points: number[][]}[]} */
  const lines = [];
  if (which < 0) return lines;
  const other = axes[1 - which];
  // One start need not meet the first boundary, which is that of the map over all starts; the others
  // hold for it too.
  for (const [level, ...between] of started ? CUBIC_LEVELS.slice(1) : CUBIC_LEVELS) {
    if (!(axes[which].lo <= level && level <= axes[which].hi)) continue;
    const points = other
      ? [other.lo, other.hi].map((end) => (which === 0 ? [level, end] : [end, level]))
      : [[level]];
    lines.push({ name: between.join("/"), between, points });
  }
  return lines;
}

/**
 * A coarse answer in single precision: whether the run escapes, comes to rest, repeats after a few steps, or
 * none. The growth of the tangent over the second half tells a cycle from chaos.
 */
export const cubicGlsl = `
  if (!(u_a >= 0.0)) return 255;
  float z = u_z0, p = u_a - 2.0, q = 1.0 - 2.0 * u_a, bound = 5.0 + 2.0 * u_a, d = 1.0, grown = 0.0;
  float most = abs(z);
  bool rose = false;
  for (int k = 0; k < u_steps; k++) {
    if (2 * k >= u_steps) {
      d *= (3.0 * z + 2.0 * p) * z + q;
      if (k % 8 == 7) { grown += log(max(abs(d), 1e-30)); d = 1.0; }
    }
    float w = z * ((z + p) * z + q);
    if (abs(w) > abs(z) && abs(w) > 1e-6 * most) rose = true;
    z = w;
    most = max(most, abs(z));
    if (!(abs(z) <= bound)) return 4;
  }
  if (abs(z) <= 1e-4 * most || u_a < 1.0) return rose ? 1 : 0;
  return grown > 0.01 * float(u_steps) ? 3 : 2;
`;
