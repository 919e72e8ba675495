/** What is chosen on the page: the diagram, its axes, its parameters, and the layers that are shown. */

import { firstState, parameterSpan, systemOf, usualParams } from "./source.js";

/** @typedef {import("./explorer.js").Explorer} Explorer */

/**
 * What the controls do.
 * @param {Explorer} explorer
 * @returns {import("./controls.js").ControlActs}
 */
export function controlActs(explorer) {
  const again = (/** @type {boolean} */ clean) => {
    explorer.moving = !clean;
    explorer.plane.letters = [];
    explorer.refresh(clean);
    explorer.points.update();
  };
  return {
    open: (kind, id) => explorer.restore(firstState(explorer.doc, kind, id)),
    vocabulary: (name) => {
      const info = systemOf(explorer.doc, explorer.state);
      explorer.state.vocabulary = name;
      explorer.state.steps = info?.horizons?.[name] ?? explorer.state.steps;
      explorer.open();
    },
    axis: (which, name) => setAxis(explorer, which, name),
    param: (name, value) => {
      if (value === null) delete explorer.state.params[name];
      else explorer.state.params[name] = value;
      matchDraws(explorer, name);
      again(false);
    },
    steps: (count) => {
      explorer.state.steps = Math.round(count);
      again(false);
    },
    size: (points) => {
      explorer.state.size = points;
      again(true);
    },
    show: (key, on) => setShow(explorer, key, on),
  };
}

/**
 * Only some shapes of a model are here: the others follow the one chosen.
 * @param {Explorer} explorer
 * @param {string} name
 */
function matchDraws(explorer, name) {
  const { params } = explorer.state;
  const draws = systemOf(explorer.doc, explorer.state)?.draws ?? [];
  if (!draws.length || draws.some((d) => d.D === params.D && d.P === params.P && d.seed === params.seed))
    return;
  const key = /** @type {"D" | "P" | "seed"} */ (name);
  const near =
    draws.find((d) => d[key] === params[key] && (key === "seed" || d.seed === params.seed)) ?? draws[0];
  Object.assign(params, { D: near.D, P: near.P, seed: near.seed });
  explorer.controls.fill(explorer.state);
}

/**
 * Choose the parameter of an axis.
 * @param {Explorer} explorer
 * @param {"x" | "y"} which
 * @param {string | null} name
 */
function setAxis(explorer, which, name) {
  const { state } = explorer;
  const info = systemOf(explorer.doc, state);
  if (!info) return;
  const other = which === "x" ? "y" : "x";
  const before = state[which];
  // Choosing the other axis's parameter exchanges the two.
  if (name && state[other]?.name === name) {
    [state.x, state.y] = [state.y ?? state.x, state.x];
    if (!before) state.y = null;
  } else {
    const span = name ? parameterSpan(info, name) : null;
    if (which === "x" && span) state.x = span;
    if (which === "y") state.y = span;
  }
  const usual = usualParams(info, state.x.name, state.y?.name);
  state.params = { ...usual, ...state.params };
  for (const axis of [state.x, state.y]) if (axis) delete state.params[axis.name];
  [state.a, state.b] = [null, null];
  if (state.y) state.show.orbit = false;
  explorer.history.clear();
  explorer.open();
}

/**
 * Show a layer, or not.
 * @param {Explorer} explorer
 * @param {keyof import("./state.js").Show} key
 * @param {boolean} on
 */
export function setShow(explorer, key, on) {
  const { state } = explorer;
  state.show[key] = on;
  const box = /** @type {HTMLInputElement | null} */ (document.getElementById(`show-${key}`));
  if (box) box.checked = on;
  explorer.changed();
  if (key === "twoStep") explorer.points.show();
  else if (key === "orbit") setOrbit(explorer, on);
  else {
    if (on && key === "lines") explorer.outline();
    else if (key === "lines") explorer.diagram.clearOutlines();
    explorer.drawOver();
  }
}

/**
 * The orbit diagram is over one axis: the start goes from the axes, and comes back after it.
 * @param {Explorer} explorer
 * @param {boolean} on
 */
function setOrbit(explorer, on) {
  const { state } = explorer;
  const info = systemOf(explorer.doc, state);
  if (!info?.y) return;
  if (on && state.x.name !== info.x.name) setAxis(explorer, "x", info.x.name);
  setAxis(explorer, "y", on ? null : info.y.name);
}
