/** The labels that are shown: their codes, where they lie, and their picture. */

import {
  NOT_COMPUTED,
  NOT_YET,
  colourTable,
  letterPlaces,
  outlinePath,
  paintAll,
  paintSquares,
  sharesOf,
} from "./paint.js";
import { cellMiddles, valueAt } from "./view.js";

/** @typedef {import("./diagram.js").Diagram} Diagram */
/** @typedef {import("./state.js").View} View */
/** @typedef {import("./state.js").State} State */
/** @typedef {import("./source.js").Phase} Phase */
/** @typedef {import("./pool.js").Pool} Pool */
/** @typedef {{i: number, j: number, x: number, y: number, code: number, steps: number}} Cell */
/** @typedef {{symbol: string, x: number, y: number}} Letter at values of the axes */

const LETTER_ROOM = 0.028;

/** A plane of labels over a view. */
export class Plane {
  /** @param {Diagram} diagram */
  constructor(diagram) {
    this.diagram = diagram;
    this.n = 1;
    this.m = 1;
    /** @type {View | null} */
    this.view = null;
    this.codes = new Uint8Array(1).fill(NOT_YET);
    this.runSteps = new Int32Array(1).fill(-1);
    this.xs = new Float64Array(1);
    this.ys = new Float64Array(1);
    /** @type {Phase[]} */
    this.phases = [];
    /** @type {Uint32Array} */
    this.table = new Uint32Array(256);
    /** @type {Letter[]} */
    this.letters = [];
    this.complete = false;
  }

  /**
   * The colours from now on.
   * @param {Phase[]} phases
   * @param {string} none
   * @param {number} only
   */
  colours(phases, none, only) {
    this.phases = phases;
    this.table = colourTable(phases, none, only);
  }

  /**
   * Begin labels of a view, at the resolution of the screen.
   * @param {View} view
   * @param {number} asked points along a side, 0 to follow the screen
   * @param {number} most
   * @param {boolean} clean without what was seen before under them
   */
  begin(view, asked, most, clean) {
    if (this.complete && !clean) this.diagram.keep(this.view ?? view);
    if (clean) {
      this.letters = [];
      this.diagram.before = null;
    }
    const { n, m } = this.diagram.resolution(asked, most);
    [this.n, this.m] = [n, m];
    this.view = view;
    this.complete = false;
    this.codes = new Uint8Array(n * m).fill(NOT_YET);
    this.runSteps = new Int32Array(n * m).fill(-1);
    this.xs = cellMiddles(view.x, n);
    this.ys = view.y ? cellMiddles(view.y, m) : new Float64Array(1);
    this.diagram.begin(n, m, clean);
    this.diagram.clearOutlines();
  }

  /**
   * Compute the labels on workers.
   * @param {Pool} pool
   * @param {State} state
   * @param {import("./source.js").Draws | undefined} draws
   * @param {{piece: (share: number) => void, level: (stride: number) => void, done: () => void,
   *   failed: (sentence: string) => void}} tell
   */
  compute(pool, state, draws, tell) {
    const { id: system, vocabulary, params, steps } = state;
    const job = {
      system,
      vocabulary,
      params,
      xName: state.x.name,
      xs: this.xs,
      yName: state.y?.name ?? "",
      ys: this.ys,
      steps,
      draws,
    };
    let known = 0;
    pool.start(job, {
      piece: ({ columns, rows, stride }, answer) => {
        let k = 0;
        known += columns.length * rows.length;
        tell.piece(known / this.codes.length);
        for (const j of rows) {
          for (const i of columns) {
            this.codes[j * this.n + i] = answer.codes[k];
            this.runSteps[j * this.n + i] = answer.runSteps[k];
            k += 1;
          }
        }
        paintSquares(this.diagram.pixels, this, columns, rows, stride, this.table);
        this.diagram.show();
      },
      level: (stride) => {
        if (stride === 1) {
          this.complete = true;
          // A coarse piece may have come after a fine one, from another worker.
          this.repaint();
          tell.done();
        } else {
          this.diagram.showNow();
          tell.level(stride);
        }
      },
      failed: tell.failed,
    });
  }

  /**
   * Take stored labels.
   * @param {(i: number, j: number) => number} codeOf of a column and a row
   */
  take(codeOf) {
    for (let j = 0; j < this.m; j++) {
      for (let i = 0; i < this.n; i++) this.codes[j * this.n + i] = codeOf(i, j);
    }
    this.repaint();
    this.complete = true;
  }

  repaint() {
    const { pixels } = this.diagram;
    if (pixels.length !== this.codes.length) return;
    if (this.codes.includes(NOT_YET)) {
      // What is not known yet keeps the picture under it.
      for (let j = 0; j < this.m; j++) {
        for (let i = 0; i < this.n; i++) {
          const code = this.codes[j * this.n + i];
          if (code !== NOT_YET) pixels[(this.m - 1 - j) * this.n + i] = this.table[code];
        }
      }
    } else paintAll(pixels, this, this.table);
    this.diagram.showNow();
  }

  /** Outlines of the complete picture. */
  outline() {
    if (this.complete && this.m > 1) this.diagram.outline(outlinePath(this), this.n, this.m);
  }

  /** Find places for the letters of the phases. */
  findLetters() {
    const view = this.view;
    if (!view) return;
    const { y } = view;
    this.letters = (y ? letterPlaces(this, LETTER_ROOM) : []).map((place) => ({
      symbol: this.phases[place.code]?.symbol ?? "",
      x: valueAt(view.x, place.x),
      y: y ? valueAt(y, place.y) : 0,
    }));
  }

  shares() {
    return sharesOf(this.codes);
  }

  /**
   * The cell at shares of the plot.
   * @param {number} x
   * @param {number} y
   * @returns {Cell}
   */
  cell(x, y) {
    const i = Math.min(this.n - 1, Math.max(0, Math.floor(x * this.n)));
    const j = Math.min(this.m - 1, Math.max(0, Math.floor(y * this.m)));
    const k = j * this.n + i;
    const code = this.codes[k] === NOT_YET ? NOT_COMPUTED : this.codes[k];
    return { i, j, x: this.xs[i], y: this.ys[j], code, steps: this.runSteps[k] };
  }
}
