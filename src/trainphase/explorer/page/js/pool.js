/**
 * Workers that fill a plane, coarse to fine: every eighth point, then the points between. A worker holds one piece at a
 * time, so a new view waits for one piece at most; pieces of an older plane are dropped when they arrive.
 */

import { answerPlane } from "./kernel/answers.js";

/** @typedef {import("./state.js").Params} Params */
/** @typedef {import("./source.js").Draws} Draws */
/**
 * @typedef {{system: string, vocabulary: string, params: Params, xName: string, xs: Float64Array, yName: string,
 *   ys: Float64Array, steps: number, draws?: Draws}} PlaneJob
 */
/** @typedef {{stride: number, columns: number[], rows: number[]}} Piece a product of columns and rows */
/** @typedef {{codes: Uint8Array, runSteps: Int32Array}} PieceAnswer */
/**
 * @typedef {{piece: (piece: Piece, answer: PieceAnswer) => void, level: (stride: number) => void,
 *   failed: (sentence: string) => void}} PlaneListener
 */
/** @typedef {{post: (message: unknown, done: (data: any) => void) => void, busy: boolean}} Hand */

const STRIDES = [8, 4, 2, 1];
// A piece takes about this long: short beside a glance, long beside the message that brings it.
const PIECE_MS = 24;
const FIRST_PIECE_POINTS = 2000;

/** Runs planes on workers, one plane at a time. */
export class Pool {
  /** @param {number} count */
  constructor(count) {
    /** @type {Hand[]} */
    this.hands = Array.from({ length: count }, () => makeHand());
    this.id = 0;
    /** @type {{pieces: Piece[], job: PlaneJob, listener: PlaneListener, left: Map<number, number>} | null} */
    this.now = null;
    // Points for each millisecond, by the last pieces.
    this.rate = FIRST_PIECE_POINTS / PIECE_MS;
  }

  /**
   * Start a plane; what ran before is dropped.
   * @param {PlaneJob} job
   * @param {PlaneListener} listener
   */
  start(job, listener) {
    this.id += 1;
    const pieces = [];
    const left = new Map();
    for (const stride of STRIDES) {
      const some = levelPieces(stride, job.xs.length, job.ys.length, Math.max(200, this.rate * PIECE_MS));
      left.set(stride, some.length);
      pieces.push(...some);
    }
    this.now = { pieces, job, listener, left };
    for (const hand of this.hands) this.next(hand);
  }

  cancel() {
    this.id += 1;
    this.now = null;
  }

  /** @param {Hand} hand */
  next(hand) {
    const plane = this.now;
    const piece = plane?.pieces.shift();
    if (hand.busy || !plane || !piece) {
      if (piece) plane?.pieces.unshift(piece);
      return;
    }
    const { job, listener, left } = plane;
    const id = this.id;
    hand.busy = true;
    const xs = Float64Array.from(piece.columns, (i) => job.xs[i]);
    const ys = Float64Array.from(piece.rows, (j) => job.ys[j]);
    const began = performance.now();
    hand.post({ ...job, kind: "plane", id, xs, ys }, (data) => {
      hand.busy = false;
      const took = performance.now() - began;
      const rate = (xs.length * ys.length) / Math.max(took, 0.5);
      this.rate = 0.7 * this.rate + 0.3 * Math.min(rate, 1e4);
      if (id === this.id) {
        if (data.error) {
          this.cancel();
          listener.failed(String(data.error));
        } else {
          listener.piece(piece, data);
          left.set(piece.stride, (left.get(piece.stride) ?? 1) - 1);
          if (left.get(piece.stride) === 0) listener.level(piece.stride);
        }
      }
      this.next(hand);
    });
  }
}

/**
 * The pieces of the points that are new at a stride.
 * @param {number} stride
 * @param {number} n columns
 * @param {number} m rows
 * @param {number} size points of a piece, about
 * @returns {Piece[]}
 */
function levelPieces(stride, n, m, size) {
  const every = (/** @type {number} */ from, /** @type {number} */ step, /** @type {number} */ end) =>
    Array.from({ length: Math.max(0, Math.ceil((end - from) / step)) }, (_, k) => from + k * step);
  const all = every(0, stride, n);
  if (stride === STRIDES[0]) return cutRows(stride, all, every(0, stride, m), size);
  // Rows of the coarser level lack every second column; the rows between lack all.
  const old = cutRows(stride, every(stride, 2 * stride, n), every(0, 2 * stride, m), size);
  return [...old, ...cutRows(stride, all, every(stride, 2 * stride, m), size)];
}

/**
 * @param {number} stride
 * @param {number[]} columns
 * @param {number[]} rows
 * @param {number} size
 * @returns {Piece[]}
 */
function cutRows(stride, columns, rows, size) {
  const pieces = [];
  if (!columns.length) return [];
  const count = Math.max(1, Math.floor(size / columns.length));
  for (let k = 0; k < rows.length; k += count)
    pieces.push({ stride, columns, rows: rows.slice(k, k + count) });
  return pieces;
}

/** A worker, or this thread between its other work where workers cannot be had. @returns {Hand} */
function makeHand() {
  const hand = { busy: false, post: hereHand };
  try {
    const worker = startWorker();
    /** @type {((data: any) => void) | null} */
    let answer = null;
    /** @type {unknown} */
    let asked = null;
    worker.onmessage = (event) => answer?.(event.data);
    worker.onerror = (event) => {
      event.preventDefault();
      // A worker that cannot start is replaced by this thread, and what it was asked is not lost.
      hand.post = hereHand;
      if (answer && asked) hereHand(asked, answer);
      answer = null;
    };
    hand.post = (message, done) => {
      [asked, answer] = [message, done];
      worker.postMessage(message);
    };
  } catch {
    // Stays with this thread.
  }
  return hand;
}

/** @param {any} message @param {(data: any) => void} done */
function hereHand(message, done) {
  setTimeout(() => {
    const { system, vocabulary, params, xName, xs, yName, ys, steps, draws } = message;
    try {
      done(answerPlane(system, vocabulary, params, xName, xs, yName, ys, steps, draws));
    } catch (error) {
      done({ error: error instanceof Error ? error.message : String(error) });
    }
  }, 0);
}

/** A worker runs this very script, which starts as what it finds itself to be; or one of its own, where the page has it. */
function startWorker() {
  const own =
    document.getElementById("trainphase-worker") ?? document.querySelector("script[type=module]:not([src])");
  const text = own?.textContent;
  if (!text) return new Worker("js/main.js", { type: "module" });
  return new Worker(URL.createObjectURL(new Blob([text], { type: "text/javascript" })));
}

/** In a worker: answer pieces as they come. */
export function servePieces() {
  self.addEventListener("message", (event) => {
    const { id, system, vocabulary, params, xName, xs, yName, ys, steps, draws } = event.data;
    try {
      const { codes, runSteps } = answerPlane(system, vocabulary, params, xName, xs, yName, ys, steps, draws);
      self.postMessage({ id, codes, runSteps }, { transfer: [codes.buffer, runSteps.buffer] });
    } catch (error) {
      self.postMessage({ id, error: error instanceof Error ? error.message : String(error) });
    }
  });
}
