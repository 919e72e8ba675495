/** A stored diagram: its labels and fields, from the document or, in tiles by level of zoom, from the server. */

import { NOT_COMPUTED, NOT_YET } from "./paint.js";
import { axisIsLog, unpack } from "./source.js";

/** @typedef {import("./source.js").Diagram} StoredDiagram */
/** @typedef {import("./source.js").Axis} Axis */
/** @typedef {{codes: Uint8Array, n: number, m: number}} Block columns n along the first axis, each of m codes */

const TILE = 256;
// A whole level of at most so many points is asked for at once.
const OVERVIEW = 512;
const MOST_TILES = 400;

/** The labels of one diagram, as they arrive. */
export class StoredLabels {
  /**
   * @param {StoredDiagram} diagram
   * @param {() => void} arrived called when more is known
   * @param {(sentence: string) => void} failed
   */
  constructor(diagram, arrived, failed) {
    this.diagram = diagram;
    this.arrived = arrived;
    this.failed = failed;
    this.n = diagram.axes[0].n;
    this.m = diagram.axes[1]?.n ?? 1;
    /** @type {Block | null} */
    this.whole = null;
    this.wholeLevel = 0;
    /** @type {Map<string, Block | null>} null while it is on its way */
    this.tiles = new Map();
    /** @type {Map<string, Float32Array>} */
    this.fields = new Map();
  }

  async load() {
    try {
      if (this.diagram.labels.remote) {
        while (Math.max(this.n, this.m) >> this.wholeLevel > OVERVIEW) this.wholeLevel += 1;
        const codes = await remoteBytes(
          `api/diagram/${encodeURIComponent(this.diagram.id)}/labels?level=${this.wholeLevel}`,
        );
        this.whole = { codes, n: levelSize(this.n, this.wholeLevel), m: levelSize(this.m, this.wholeLevel) };
      } else {
        this.whole = { codes: await unpack(this.diagram.labels), n: this.n, m: this.m };
        for (const [name, field] of Object.entries(this.diagram.fields ?? {})) {
          if (field.data) this.fields.set(name, new Float32Array((await unpack(field)).buffer));
        }
      }
      this.arrived();
    } catch (error) {
      this.failed(`the labels of this diagram could not be read (${reason(error)})`);
    }
  }

  /**
   * The code of a point by its indices, at the finest level that is here.
   * @param {number} i
   * @param {number} j
   * @param {number} level wanted
   */
  code(i, j, level) {
    if (i < 0 || j < 0) return NOT_COMPUTED;
    if (level < this.wholeLevel) {
      const [u, v] = [levelIndex(i, level, this.n), levelIndex(j, level, this.m)];
      const tile = this.tiles.get(`${level} ${Math.floor(u / TILE)} ${Math.floor(v / TILE)}`);
      if (tile) return tile.codes[(u % TILE) * tile.m + (v % TILE)];
    }
    const { whole, wholeLevel } = this;
    if (!whole) return NOT_YET;
    return whole.codes[levelIndex(i, wholeLevel, this.n) * whole.m + levelIndex(j, wholeLevel, this.m)];
  }

  /** Whether a level is here as a whole. @param {number} level */
  has(level) {
    return level >= this.wholeLevel || !this.diagram.labels.remote;
  }

  /**
   * Ask for the tiles of a range of points; true when all are here.
   * @param {number} level
   * @param {[number, number]} across first and last index
   * @param {[number, number]} up
   */
  want(level, across, up) {
    if (this.has(level)) return true;
    let here = true;
    const ends = (/** @type {[number, number]} */ range, /** @type {number} */ n) =>
      range.map((k) => Math.floor(levelIndex(Math.min(n - 1, Math.max(0, k)), level, n) / TILE));
    const [i0, i1] = ends(across, this.n);
    const [j0, j1] = ends(up, this.m);
    for (let i = i0; i <= i1; i++) {
      for (let j = j0; j <= j1; j++) {
        const key = `${level} ${i} ${j}`;
        if (!this.tiles.get(key)) here = false;
        if (!this.tiles.has(key)) this.fetchTile(key, level, i, j);
      }
    }
    return here;
  }

  /** @param {string} key @param {number} level @param {number} i @param {number} j */
  async fetchTile(key, level, i, j) {
    this.tiles.set(key, null);
    try {
      const id = encodeURIComponent(this.diagram.id);
      const codes = await remoteBytes(`api/diagram/${id}/tile?level=${level}&i=${i}&j=${j}`);
      const m = Math.min(TILE, levelSize(this.m, level) - j * TILE);
      this.tiles.set(key, { codes, n: codes.length / m, m });
      const [oldest] = this.tiles.keys();
      if (this.tiles.size > MOST_TILES) this.tiles.delete(oldest);
      this.arrived();
    } catch (error) {
      this.tiles.delete(key);
      this.failed(
        `a part of this diagram did not come from the server (${reason(error)}); move the view to ask again`,
      );
    }
  }

  /**
   * The stored numbers of a point.
   * @param {number} i
   * @param {number} j
   * @returns {Record<string, number>}
   */
  values(i, j) {
    /** @type {Record<string, number>} */
    const out = {};
    for (const [name, field] of this.fields) {
      const value = field[i * this.m + j];
      if (value !== undefined && !Number.isNaN(value)) out[name] = value;
    }
    return out;
  }

  /**
   * All that is stored of a point, from the server where there is one: numbers, and words on how its phase came about.
   * @param {number} i
   * @param {number} j
   * @param {boolean} served
   * @returns {Promise<{values: Record<string, number>, words: string}>}
   */
  async everything(i, j, served) {
    const values = this.values(i, j);
    if (!served) return { values, words: "" };
    const answer = await fetch(`api/diagram/${encodeURIComponent(this.diagram.id)}/point?i=${i}&j=${j}`);
    if (!answer.ok) throw await refusal(answer);
    const given = await answer.json();
    for (const [name, value] of Object.entries(given.fields ?? {}))
      if (typeof value === "number") values[name] = value;
    const words = [];
    if (given.inferred) words.push("taken from its neighbours");
    if (given.seeds) words.push(`seeds: ${given.seeds.join(", ")}`);
    if (given.phase_half && given.phase_half !== given.phase)
      words.push(`${given.phase_half} at half the horizon`);
    return { values, words: words.join("; ") };
  }
}

/** @param {number} n @param {number} level */
function levelSize(n, level) {
  return Math.ceil((n - 1) / 2 ** level) + 1;
}

/** @param {number} k @param {number} level @param {number} n */
function levelIndex(k, level, n) {
  return Math.min(Math.round(k / 2 ** level), levelSize(n, level) - 1);
}

/** What was thrown, in words. @param {unknown} error */
export function reason(error) {
  return error instanceof Error ? error.message : String(error);
}

/** The server's own sentence on why it refuses. @param {Response} answer */
export async function refusal(answer) {
  const said = await answer.json().catch(() => null);
  return new Error(said?.error ?? `the server answered ${answer.status}`);
}

/** @param {string} address */
async function remoteBytes(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw await refusal(answer);
  return new Uint8Array(await answer.arrayBuffer());
}

/**
 * For each value the index of the nearest stored one, -1 beyond half a cell of the ends.
 * @param {Axis} axis
 * @param {ArrayLike<number>} values
 */
export function nearestIndices(axis, values) {
  const stored = axisValues(axis);
  const out = new Int32Array(values.length);
  const log = axisIsLog(axis);
  const at = (/** @type {number} */ v) => (log ? Math.log(v) : v);
  const room = stored.length > 1 ? (at(axis.hi) - at(axis.lo)) / (2 * (axis.n - 1)) : Infinity;
  let k = 0;
  for (let q = 0; q < values.length; q++) {
    const v = at(values[q]);
    if (v < at(stored[0])) k = 0;
    while (k + 1 < stored.length && Math.abs(at(stored[k + 1]) - v) <= Math.abs(at(stored[k]) - v)) k += 1;
    while (k > 0 && Math.abs(at(stored[k - 1]) - v) < Math.abs(at(stored[k]) - v)) k -= 1;
    const outside = v < at(stored[0]) - room * 1.0001 || v > at(stored[stored.length - 1]) + room * 1.0001;
    out[q] = outside ? -1 : k;
  }
  return out;
}

/** @param {Axis} axis @returns {Float64Array} */
export function axisValues(axis) {
  if (axis.values?.length) return Float64Array.from(axis.values);
  const { lo, hi, n } = axis;
  const last = Math.max(1, n - 1);
  return Float64Array.from({ length: n }, (_, k) => {
    if (k === n - 1) return hi;
    if (axis.scale !== "log") return lo + k * ((hi - lo) / last);
    const value = 10 ** (Math.log10(lo) + k * ((Math.log10(hi) - Math.log10(lo)) / last));
    // Powers of whole numbers are meant whole, and some parameters must be.
    return Math.abs(value - Math.round(value)) <= 1e-12 * value ? Math.round(value) : value;
  });
}
