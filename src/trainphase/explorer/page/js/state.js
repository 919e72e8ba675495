/** What is shown: all of it is in the address, and nothing else is. */

/** @typedef {import("./view.js").Span} Span */
/** @typedef {Record<string, number | string>} Params */
/** @typedef {{x: number, y: number}} Spot a point of the plane; y is 0 where there is one axis only */
/** @typedef {{lines: boolean, theory: boolean, letters: boolean, twoStep: boolean, orbit: boolean}} Show */
/**
 * @typedef {{kind: "system" | "diagram", id: string, vocabulary: string, params: Params, x: Span, y: Span | null,
 *   steps: number, a: Spot | null, b: Spot | null, show: Show, size: number}} State
 * params: values of the parameters that are no axis. size: points along a side of a plane, 0 to follow the screen.
 */
/** @typedef {{x: Span, y: Span | null}} View */

export const SHOWN = { lines: true, theory: true, letters: true, twoStep: false, orbit: false };

// Zooming in one movement of the wheel is undone in one step.
const ONE_MOVEMENT_MS = 500;
const MOST_VIEWS = 200;

/** The views that were left, for undo. */
export class ViewHistory {
  constructor() {
    /** @type {View[]} */
    this.views = [];
    this.last = -Infinity;
  }

  /**
   * Remember a view that is about to be left, unless the same movement left it already.
   * @param {View} view
   * @param {number} now
   */
  leave(view, now) {
    if (now - this.last > ONE_MOVEMENT_MS) {
      this.views.push({ x: view.x, y: view.y });
      if (this.views.length > MOST_VIEWS) this.views.shift();
    }
    this.last = now;
  }

  /** The view before, or null. */
  back() {
    this.last = -Infinity;
    return this.views.pop() ?? null;
  }

  clear() {
    this.views = [];
    this.last = -Infinity;
  }
}

/**
 * All parameters of a point: those that are no axis, and the place on the axes.
 * @param {State} state
 * @param {Spot} spot
 * @returns {Params}
 */
export function paramsAt(state, spot) {
  const all = { ...state.params, [state.x.name]: spot.x };
  if (state.y) all[state.y.name] = spot.y;
  return all;
}
