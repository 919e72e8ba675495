/** What hands and keys do to the explorer. */

import { setShow } from "./choices.js";
import { keptWithin, numberText, pannedSpan, zoomedSpan } from "./view.js";

/** @typedef {import("./explorer.js").Explorer} Explorer */
/** @typedef {import("./state.js").View} View */

const GRAB_PX = 14;
const HINT = "Scroll to zoom, drag to move, click to run a point";
const HINT_TOUCH = "Pinch to zoom, drag to move, tap to run a point";

/**
 * The view zoomed about a place.
 * @param {Explorer} explorer
 * @param {number} x shares of the plot
 * @param {number} y
 * @param {number} factor
 */
export function zoomAbout(explorer, x, y, factor) {
  const { state } = explorer;
  const view = { x: zoomedSpan(state.x, x, factor), y: state.y && zoomedSpan(state.y, y, factor) };
  explorer.look(keptStored(explorer, view));
}

/**
 * @param {Explorer} explorer
 * @param {number} dx
 * @param {number} dy
 */
export function panBy(explorer, dx, dy) {
  const { state } = explorer;
  explorer.look(keptStored(explorer, { x: pannedSpan(state.x, dx), y: state.y && pannedSpan(state.y, dy) }));
}

/** A view of a stored diagram stays inside it. @param {Explorer} explorer @param {View} view @returns {View} */
function keptStored(explorer, view) {
  if (!explorer.stored) return view;
  const whole = explorer.whole();
  return { x: keptWithin(view.x, whole.x), y: view.y && whole.y && keptWithin(view.y, whole.y) };
}

/** The view before. @param {Explorer} explorer */
export function undoView(explorer) {
  const view = explorer.history.back();
  if (view) explorer.look(view, false);
  explorer.announcer.say(view ? "the view before" : "there is no view before");
}

/** @param {Explorer} explorer */
export function resetView(explorer) {
  explorer.look(explorer.whole());
  explorer.announcer.say("the whole diagram");
}

/**
 * @param {Explorer} explorer
 * @returns {import("./pointer.js").Hands}
 */
export function pointerHands(explorer) {
  const { diagram, points } = explorer;
  return {
    zoom: (x, y, factor) => zoomAbout(explorer, x, y, factor),
    pan: (dx, dy) => {
      diagram.host.classList.add("dragging");
      panBy(explorer, dx, dy);
    },
    box: (from, to, done) => {
      diagram.box(from, to);
      if (done) zoomBox(explorer, from, to);
    },
    hover: (x, y) => {
      diagram.host.classList.toggle("over-mark", Boolean(markUnder(explorer, x, y)));
      readPlace(explorer, x, y, false);
    },
    leave: () => readPlace(explorer, NaN, NaN, false),
    tap: (x, y, event) => {
      explorer.cursor = null;
      const { state } = explorer;
      const cell = explorer.plane.cell(x, y);
      points.set(state.a && !event.shiftKey ? "B" : "A", { x: cell.x, y: cell.y }, event.timeStamp);
    },
    grab: (x, y) => markUnder(explorer, x, y),
    carry: (what, x, y) => {
      const cell = explorer.plane.cell(x, y);
      points.set(what === "A" ? "A" : "B", { x: cell.x, y: cell.y }, performance.now());
    },
    rest: () => {
      diagram.host.classList.remove("dragging");
      diagram.box(null);
    },
  };
}

/**
 * @param {Explorer} explorer
 * @param {[number, number]} from
 * @param {[number, number]} to
 */
function zoomBox(explorer, from, to) {
  const { state } = explorer;
  const part = (
    /** @type {import("./view.js").Span} */ span,
    /** @type {number} */ p,
    /** @type {number} */ q,
  ) => {
    const [low, high] = [Math.min(p, q), Math.max(p, q)];
    const width = high - low;
    return width < 0.01 ? span : zoomedSpan(pannedSpan(span, low), 0, width);
  };
  explorer.look({ x: part(state.x, from[0], to[0]), y: state.y && part(state.y, from[1], to[1]) });
}

/**
 * The mark under a place of the plot.
 * @param {Explorer} explorer
 * @param {number} x
 * @param {number} y
 * @returns {"A" | "B" | null}
 */
function markUnder(explorer, x, y) {
  const { diagram, points } = explorer;
  const { left, top, width, height } = diagram.reach;
  for (const { name, spot } of [...points.marks()].reverse()) {
    const at = diagram.place(spot);
    if (Math.hypot(at.x - left - x * width, at.y - top - (1 - y) * height) <= GRAB_PX) return name;
  }
  return null;
}

/**
 * Write what lies at a place into the line over the diagram.
 * @param {Explorer} explorer
 * @param {number} x
 * @param {number} y
 * @param {boolean} aloud
 */
export function readPlace(explorer, x, y, aloud) {
  const { plane, state, stored } = explorer;
  const line = document.getElementById("readout");
  if (!line) return;
  explorer.hovered = x >= 0 && y >= 0 ? { x, y } : null;
  if (!explorer.hovered) {
    line.textContent = window.matchMedia("(pointer: coarse)").matches ? HINT_TOUCH : HINT;
    return;
  }
  const cell = plane.cell(x, y);
  const width = (state.x.hi - state.x.lo) / plane.n;
  const words = [`${state.x.name} ${numberText(cell.x, width)}`];
  if (state.y) words.push(`${state.y.name} ${numberText(cell.y, (state.y.hi - state.y.lo) / plane.m)}`);
  words.push(explorer.vocabulary.phases[cell.code]?.label ?? explorer.none.label);
  if (cell.steps >= 0) words.push(`${cell.steps} steps`);
  if (stored) words.push(...explorer.points.storedWords(cell));
  line.textContent = words.join("  \u00b7  ");
  if (aloud) explorer.announcer.say(words.join(", "));
}

/**
 * @param {Explorer} explorer
 * @returns {import("./keyboard.js").KeyActs}
 */
export function keyActs(explorer) {
  const here = () => explorer.cursor ?? { x: 0.5, y: 0.5 };
  return {
    move: (dx, dy) => {
      const { plane, diagram } = explorer;
      const cell = plane.cell(here().x, here().y);
      const i = Math.min(plane.n - 1, Math.max(0, cell.i + dx));
      const j = Math.min(plane.m - 1, Math.max(0, cell.j + dy));
      explorer.cursor = { x: (i + 0.5) / plane.n, y: (j + 0.5) / plane.m };
      diagram.cursor(explorer.cursor);
      readPlace(explorer, explorer.cursor.x, explorer.cursor.y, true);
    },
    pan: (dx, dy) => panBy(explorer, dx, dy),
    zoom: (factor) => zoomAbout(explorer, here().x, here().y, factor),
    select: (name) => {
      const cell = explorer.plane.cell(here().x, here().y);
      explorer.points.set(
        name === "B" && !explorer.state.a ? "A" : name,
        { x: cell.x, y: cell.y },
        performance.now(),
      );
    },
    undo: () => undoView(explorer),
    reset: () => resetView(explorer),
    escape: () => {
      const { state, points } = explorer;
      if (state.b) points.drop("B");
      else if (state.a) points.drop("A");
      else {
        explorer.cursor = null;
        explorer.diagram.cursor(null);
      }
    },
    show: (key) => setShow(explorer, key, !explorer.state.show[key]),
    help: () => /** @type {HTMLDialogElement} */ (document.getElementById("help")).showModal(),
  };
}
