/** Labels as pixels: colours, outlines of the phases, places for their letters, and shares of the view. */

/** @typedef {import("./source.js").Phase} Phase */
/** @typedef {{n: number, m: number, codes: Uint8Array}} Labels row 0 is the lowest */

export const NOT_COMPUTED = 255;
/** Not answered yet; no code of a phase. */
export const NOT_YET = 254;
// A piece of fewer cells across is not outlined.
const OUTLINED_CELLS = 4;

/**
 * Colours of codes as words of image data: ABGR on the machines that browsers run on.
 * @param {Phase[]} phases
 * @param {string} none colour of points that describe no run
 * @param {number} only the code to stand out, or -1
 * @returns {Uint32Array}
 */
export function colourTable(phases, none, only) {
  const table = new Uint32Array(256).fill(colourWord(none, 255));
  phases.forEach((phase, k) => {
    table[k] = colourWord(phase.colour, only >= 0 && only !== k ? 56 : 255);
  });
  return table;
}

/** @param {string} colour @param {number} alpha */
function colourWord(colour, alpha) {
  const [r, g, b] = colourParts(colour);
  return ((alpha << 24) | (b << 16) | (g << 8) | r) >>> 0;
}

/** @param {string} colour sRGB hex @returns {[number, number, number]} */
export function colourParts(colour) {
  const value = Number.parseInt(colour.trim().slice(1, 7), 16) || 0;
  return [(value >> 16) & 255, (value >> 8) & 255, value & 255];
}

/**
 * Paint points of a stride as squares around them.
 * @param {Uint32Array} pixels of n x m, highest row first
 * @param {Labels} labels
 * @param {number[]} columns
 * @param {number[]} rows
 * @param {number} stride
 * @param {Uint32Array} table
 */
export function paintSquares(pixels, labels, columns, rows, stride, table) {
  const { n, m, codes } = labels;
  const half = stride >> 1;
  for (const j of rows) {
    const [low, high] = [Math.max(0, j - half), Math.min(m, j - half + stride)];
    for (const i of columns) {
      const word = table[codes[j * n + i]];
      const [left, right] = [Math.max(0, i - half), Math.min(n, i - half + stride)];
      for (let v = low; v < high; v++) pixels.fill(word, (m - 1 - v) * n + left, (m - 1 - v) * n + right);
    }
  }
}

/**
 * Paint all points.
 * @param {Uint32Array} pixels
 * @param {Labels} labels
 * @param {Uint32Array} table
 */
export function paintAll(pixels, labels, table) {
  const { n, m, codes } = labels;
  for (let j = 0; j < m; j++) {
    const at = (m - 1 - j) * n;
    for (let i = 0; i < n; i++) pixels[at + i] = table[codes[j * n + i]];
  }
}

/**
 * Outlines where phases meet, as a path over cells of size 1, the highest row at the top: between pieces that are broad enough
 * to be seen beside their outline, and so none on a fractal boundary or around a lone point.
 * @param {Labels} labels
 */
export function outlinePath(labels) {
  const { n, m, codes } = labels;
  const path = new Path2D();
  for (let j = 0; j < m; j++) {
    for (let i = 0; i < n; i++) {
      const k = j * n + i;
      if (i + 1 < n && codes[k] !== codes[k + 1] && broad(codes, k, 1, i, n)) {
        path.moveTo(i + 1, m - j);
        path.lineTo(i + 1, m - 1 - j);
      }
      if (j + 1 < m && codes[k] !== codes[k + n] && broad(codes, k, n, j, m)) {
        path.moveTo(i, m - 1 - j);
        path.lineTo(i + 1, m - 1 - j);
      }
    }
  }
  return path;
}

/**
 * True where the cells on both sides of an edge go on for some cells, or to the rim of the view.
 * @param {Uint8Array} codes
 * @param {number} k the cell before the edge
 * @param {number} step to the cell behind it
 * @param {number} at index of the cell in that direction
 * @param {number} end
 */
function broad(codes, k, step, at, end) {
  for (let q = 1; q < OUTLINED_CELLS; q++) {
    if (at - q >= 0 && codes[k - q * step] !== codes[k]) return false;
    if (at + 1 + q < end && codes[k + (1 + q) * step] !== codes[k + step]) return false;
  }
  return true;
}

/**
 * The share of each phase among the points that have one; at 255, the share of those that have none.
 * @param {Uint8Array} codes
 * @returns {number[]} of the codes 0 to 255
 */
export function sharesOf(codes) {
  const counts = new Array(256).fill(0);
  for (let k = 0; k < codes.length; k++) counts[codes[k]] += 1;
  const known = codes.length - counts[NOT_YET];
  const all = known - counts[NOT_COMPUTED];
  return counts.map((c, k) => (k === NOT_COMPUTED ? c / Math.max(known, 1) : all ? c / all : 0));
}

/**
 * Where letters fit: for each phase the middles of its largest pieces, at shares of the view.
 * @param {Labels} labels
 * @param {number} room least distance from a letter to another phase, as a share of the view's width
 * @returns {{code: number, x: number, y: number}[]}
 */
export function letterPlaces(labels, room) {
  const stride = Math.max(1, Math.round(labels.n / 120));
  const [n, m] = [Math.floor(labels.n / stride), Math.floor(labels.m / stride)];
  const least = Math.max(2, room * n);
  const codes = new Uint8Array(n * m);
  for (let j = 0; j < m; j++) {
    for (let i = 0; i < n; i++) codes[j * n + i] = labels.codes[j * stride * labels.n + i * stride];
  }
  const away = distances(codes, n, m);
  const order = [...away.keys()].filter((k) => away[k] >= least && codes[k] !== NOT_COMPUTED);
  order.sort((p, q) => away[q] - away[p]);
  /** @type {{code: number, i: number, j: number, away: number}[]} */
  const kept = [];
  for (const k of order) {
    const [code, i, j] = [codes[k], k % n, Math.floor(k / n)];
    const near = kept.some(
      (o) => Math.hypot(o.i - i, o.j - j) < (o.code === code ? 5 * least + 1.6 * o.away : 2 * least),
    );
    if (!near) kept.push({ code, i, j, away: away[k] });
    if (kept.length >= 14) break;
  }
  return kept.map(({ code, i, j }) => ({ code, x: (i + 0.5) / n, y: (j + 0.5) / m }));
}

/**
 * How far each cell is from one of another code or the rim, in cells, by two passes.
 * @param {Uint8Array} codes
 * @param {number} n
 * @param {number} m
 */
function distances(codes, n, m) {
  const away = new Float32Array(n * m).fill(1e6);
  const pass = (/** @type {number} */ k, /** @type {number[]} */ steps) => {
    const [i, j] = [k % n, Math.floor(k / n)];
    if (i === 0 || j === 0 || i === n - 1 || j === m - 1) {
      away[k] = 1;
      return;
    }
    for (const step of steps) {
      const other = k + step;
      const far = Math.abs(step) === 1 || Math.abs(step) === n ? 1 : Math.SQRT2;
      const from = codes[other] === codes[k] ? away[other] + far : far;
      if (from < away[k]) away[k] = from;
    }
  };
  for (let k = 0; k < n * m; k++) pass(k, [-1, -n, -n - 1, -n + 1]);
  for (let k = n * m - 1; k >= 0; k--) pass(k, [1, n, n + 1, n - 1]);
  return away;
}
