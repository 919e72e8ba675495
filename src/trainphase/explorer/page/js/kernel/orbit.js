// The orbit diagram of the cubic map, column by column, and its cobweb.

import { ENSEMBLE_TYPICAL } from "./ensemble.js";
import { cubicStep } from "../systems/cubic.js";

/**
 * How often the orbit visits each height of each column, after `skip` steps and over `keep` steps: (columns,
 * heights), column after column, height 0 at the lower end of the range.
 * @param {Float64Array} aValues
 * @param {number} heights
 * @param {number} skip
 * @param {number} keep
 * @param {[number, number]} zRange
 * @returns {Uint16Array}
 */
export function orbitColumns(aValues, heights, skip, keep, zRange) {
  const counts = new Uint16Array(aValues.length * heights);
  const [lo, hi] = zRange;
  const scale = heights / (hi - lo);
  for (let column = 0; column < aValues.length; column++) {
    const a = aValues[column], r = 1 + a, base = column * heights, gone = 5 + 2 * a;
    // In the coordinate x, z = x^2 - a, in which a long orbit does not stick to the fixed point at -a.
    let x = Math.sqrt(2 + a) * ENSEMBLE_TYPICAL;
    for (let k = 0; k < skip; k++) x *= r - x * x;
    for (let k = 0; k < keep; k++) {
      const z = x * x - a;
      if (!(Math.abs(z) <= gone)) break;
      const row = Math.floor((z - lo) * scale);
      if (row >= 0 && row < heights && counts[base + row] < 65535) counts[base + row]++;
      x *= r - x * x;
    }
  }
  return counts;
}

// The longest cycle that is told from chaos in a column.
const ORBIT_PERIODS = 64;

/**
 * Lyapunov exponent (per step, natural logarithm; NaN where the orbit escapes) and period (1 to 64, 0 where
 * none is seen to within 1e-9) of each column, for the panel under the orbit diagram. An estimate: the phases
 * are those of trainingPlane.
 * @param {Float64Array} aValues
 * @param {number} skip
 * @param {number} keep
 */
export function orbitNumbers(aValues, skip, keep) {
  const lyapunov = new Float64Array(aValues.length).fill(NaN);
  const period = new Uint8Array(aValues.length);
  for (let column = 0; column < aValues.length; column++) {
    const a = aValues[column], r = 1 + a;
    let x = Math.sqrt(2 + a) * ENSEMBLE_TYPICAL, grown = 0, d = 1;
    for (let k = 0; k < skip; k++) x *= r - x * x;
    for (let k = 1; k <= keep; k++) {
      const t = r - x * x;
      d *= 3 * t - 2 * r;
      x *= t;
      if (k % 8 === 0 || k === keep) {
        grown += Math.log(Math.max(Math.abs(d), 1e-300));
        d = 1;
      }
    }
    if (!(Math.abs(x * x - a) <= 5 + 2 * a)) continue;
    lyapunov[column] = grown / keep;
    const start = x * x - a;
    for (let p = 1; p <= ORBIT_PERIODS && period[column] === 0; p++) {
      x *= r - x * x;
      if (Math.abs(x * x - a - start) <= 1e-9 * (2 + a)) period[column] = p;
    }
  }
  return { lyapunov, period };
}

/**
 * Corners of the cobweb: (z0, z0), (z0, z1), (z1, z1), (z1, z2) ..., to `count` steps or to where the orbit
 * escapes.
 * @param {number} a
 * @param {number} z0
 * @param {number} count
 * @returns {number[][]}
 */
export function cobweb(a, z0, count) {
  const points = [[z0, z0]];
  let z = z0;
  for (let k = 0; k < count && Math.abs(z) <= 5 + 2 * a; k++) {
    const next = cubicStep(z, a);
    points.push([z, next], [next, next]);
    z = next;
  }
  return points;
}
