/**
 * The address: everything that is shown, in the part behind #. Numbers are written with all their digits, so that a view
 * of width 1e-9 comes back as it was.
 */

import { SHOWN } from "./state.js";

/** @typedef {import("./state.js").State} State */
/** @typedef {import("./state.js").Show} Show */
/** @typedef {import("./state.js").Spot} Spot */

/** @param {State} state */
export function addressOf(state) {
  const parts = new URLSearchParams();
  parts.set(state.kind === "system" ? "system" : "diagram", state.id);
  parts.set("phases", state.vocabulary);
  for (const axis of /** @type {const} */ (["x", "y"])) {
    const span = state[axis];
    parts.set(axis, span ? `${span.name}:${span.lo}:${span.hi}` : "none");
  }
  if (state.kind === "system") {
    for (const [name, value] of Object.entries(state.params)) parts.set(`p.${name}`, String(value));
    parts.set("steps", String(state.steps));
    if (state.size) parts.set("size", String(state.size));
  }
  if (state.a) parts.set("a", `${state.a.x}:${state.a.y}`);
  if (state.b) parts.set("b", `${state.b.x}:${state.b.y}`);
  const usual = /** @type {Record<string, boolean>} */ (SHOWN);
  const other = Object.entries(state.show).filter(([key, on]) => usual[key] !== on);
  if (other.length) parts.set("show", other.map(([key, on]) => (on ? key : `-${key}`)).join(","));
  return parts.toString().replaceAll("%3A", ":").replaceAll("%2C", ",");
}

/**
 * What an address says, or null where it names nothing. What it gets wrong is left out.
 * @param {string} text the part behind #
 */
export function readAddress(text) {
  const parts = new URLSearchParams(text.replace(/^#/, ""));
  const kind = parts.has("system") ? "system" : parts.has("diagram") ? "diagram" : null;
  if (!kind) return null;
  /** @type {Record<string, string>} */
  const params = {};
  for (const [key, value] of parts) if (key.startsWith("p.")) params[key.slice(2)] = value;
  return {
    kind: /** @type {"system" | "diagram"} */ (kind),
    id: parts.get(kind) ?? "",
    vocabulary: parts.get("phases"),
    x: readSpan(parts.get("x")),
    y: parts.get("y") === "none" ? /** @type {const} */ ("none") : readSpan(parts.get("y")),
    params,
    steps: readNumber(parts.get("steps")),
    size: readNumber(parts.get("size")),
    a: readSpot(parts.get("a")),
    b: readSpot(parts.get("b")),
    show: readShow(parts.get("show")),
  };
}

/** @param {string | null} text */
function readNumber(text) {
  const value = text === null || text === "" ? NaN : Number(text);
  return Number.isFinite(value) ? value : null;
}

/** @param {string | null} text */
function readSpan(text) {
  const [name, low, high] = (text ?? "").split(":");
  const [lo, hi] = [readNumber(low ?? null), readNumber(high ?? null)];
  return name && lo !== null && hi !== null && lo < hi ? { name, lo, hi } : null;
}

/** @param {string | null} text @returns {Spot | null} */
function readSpot(text) {
  const [x, y] = (text ?? "").split(":").map((part) => readNumber(part));
  return x === null || x === undefined ? null : { x, y: y ?? 0 };
}

/** @param {string | null} text @returns {Show} */
function readShow(text) {
  const show = { ...SHOWN };
  for (const word of (text ?? "").split(",")) {
    const key = word.replace(/^-/, "");
    if (key in show) show[/** @type {keyof Show} */ (key)] = !word.startsWith("-");
  }
  return show;
}
