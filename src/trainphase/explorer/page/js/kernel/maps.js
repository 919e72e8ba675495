// The maps that the training vocabulary knows, by the name of their system.

import { CubicMap, CubicRun, cubicStarted } from "../systems/cubic.js";
import { SURVEY_FLOOR, SURVEY_RISE, SURVEY_TINY } from "./survey.js";

/** @typedef {import("./survey.js").TrainingMap} TrainingMap */

/**
 * The catapult model in (z~, T); operations in the order of trainphase/systems/linear_net.py and its
 * derivative.
 */
export class LinearNetMap {
  constructor() {
    this.scalar = false;
    this.over = false;
    this.T = 2.5;
    this.z = 0.01;
    this.y = 0;
  }

  /** @param {string} name @param {number} value */
  set(name, value) {
    if (name === "T") this.T = value;
    if (name === "z") this.z = value;
    if (name === "y") this.y = value;
  }

  admissible() {
    return Math.abs(2 * (this.z + this.y)) <= this.T + 1e-12 * (1 + Math.abs(this.T));
  }

  /** @param {Float64Array} s */
  begin(s) {
    s[0] = this.z;
    s[1] = this.T;
  }

  /** @param {Float64Array} s @param {Float64Array} v @param {Float64Array} tally */
  body(s, v, tally) {
    const y = this.y;
    let z = s[0], T = s[1], dz = v[0], dT = v[1];
    let loss = tally[0], most = tally[1], rises = tally[2], growth = tally[3];
    for (let k = 0; k < 8; k++) {
      const half = z + y;
      const m = 1 - T + z * half, n = dz * half + z * dz - dT;
      const c = z * T - 4 * half, e = dz * T + z * dT - 4 * dz;
      dT += dz * c + z * e;
      T += z * c;
      dz = dz * m + z * n;
      z *= m;
      const now = 0.5 * (z * z);
      if (now > SURVEY_FLOOR * most) {
        if (now > loss * (1 + SURVEY_RISE)) rises++;
        if (now > growth * loss * (1 - 1e-15)) growth = Math.max(growth, now / loss);
      }
      loss = now;
      if (now > most) most = now;
    }
    s[0] = Math.abs(z) < SURVEY_TINY ? 0 : z;
    s[1] = T;
    v[0] = Math.abs(dz) < SURVEY_TINY ? 0 : dz;
    v[1] = dT;
    tally[0] = loss;
    tally[1] = most;
    tally[2] = rises;
    tally[3] = growth;
  }

  /** @param {Float64Array} s */
  step(s) {
    const z = s[0], T = s[1], half = z + this.y;
    s[0] = z * (1 - T + z * half);
    s[1] = T + z * (z * T - 4 * half);
  }

  /** @param {Float64Array} s */
  loss(s) {
    return 0.5 * (s[0] * s[0]);
  }

  /** @param {Float64Array} s */
  curvature(s) {
    return s[1];
  }

  /** @param {Float64Array} s */
  signature(s) {
    return s[0];
  }

  /** @param {Float64Array} s */
  escaped(s) {
    return !(Math.abs(s[0]) <= 1e6 && Math.abs(s[1]) <= 1e6);
  }
}

/**
 * The map of a system, over its starts where it has such a family and no start is named among the parameters.
 * @param {string} system
 * @param {Record<string, number | string | null | undefined>} params
 * @param {string[]} axes names of the parameters that vary
 * @returns {TrainingMap}
 */
export function trainingMap(system, params, axes) {
  /** @type {TrainingMap | null} */
  let map = null;
  if (system === "cubic") {
    map = axes.includes("z0") || cubicStarted(params) ? new CubicRun() : new CubicMap();
  }
  if (system === "linear-net") map = new LinearNetMap();
  if (map === null) throw new Error(`${system} has no training kernel in the browser; open a stored diagram`);
  for (const [name, value] of Object.entries(params)) {
    if (value !== null && value !== undefined && value !== "") map.set(name, Number(value));
  }
  return map;
}
