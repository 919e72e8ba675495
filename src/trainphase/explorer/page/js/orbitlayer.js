/** The orbit diagram of the cubic map over a, above the strip of its phases. */

import { orbitColumns } from "./kernel/orbit.js";
import { colourParts } from "./paint.js";
import { drawOrbit } from "./plots/orbit.js";
import { cellMiddles } from "./view.js";

/** @typedef {import("./state.js").State} State */

const ORBIT_RANGE = /** @type {[number, number]} */ ([-2.2, 2.2]);
const ORBIT_SKIP = 600;
const ORBIT_KEEP = 600;
const ORBIT_COLUMNS = 900;

/** Draws the orbit diagram where it is asked for. */
export class OrbitLayer {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.drawn = "";
  }

  /** The range of the residual that is shown, or null. @param {State} state */
  range(state) {
    const asked = state.kind === "system" && state.id === "cubic" && state.show.orbit;
    return asked && state.x.name === "a" && !state.y ? ORBIT_RANGE : null;
  }

  /** @param {State} state @param {HTMLCanvasElement} canvas */
  draw(state, canvas) {
    const range = this.range(state);
    if (!range) return;
    const ratio = window.devicePixelRatio || 1;
    const columns = Math.min(ORBIT_COLUMNS, Math.round(canvas.clientWidth * ratio));
    const heights = Math.min(ORBIT_COLUMNS, Math.round(canvas.clientHeight * ratio));
    const ink = getComputedStyle(canvas).color;
    const key = [state.x.lo, state.x.hi, columns, heights, ink].join(" ");
    if (key === this.drawn || columns < 2 || heights < 2) return;
    this.drawn = key;
    const counts = orbitColumns(cellMiddles(state.x, columns), heights, ORBIT_SKIP, ORBIT_KEEP, range);
    drawOrbit(canvas, { counts, columns, heights }, inkParts(ink));
  }
}

/** @param {string} ink a computed colour @returns {[number, number, number]} */
function inkParts(ink) {
  const parts = ink.match(/\d+/g)?.map(Number) ?? [];
  return parts.length >= 3 ? [parts[0], parts[1], parts[2]] : colourParts("#808080");
}
