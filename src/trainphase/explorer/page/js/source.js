/** What the page was given: the document, with the systems that run here and the stored diagrams. */

import { SHOWN } from "./state.js";

/** @typedef {import("./state.js").State} State */
/** @typedef {import("./state.js").Params} Params */
/** @typedef {import("./view.js").Span} Span */
/** @typedef {{label: string, definition: string, colour: string, symbol: string}} Phase */
/** @typedef {{question: string, phases: Phase[]}} Vocabulary */
/**
 * @typedef {{name: string, help: string, units: string, kind: string, value: number | string | null, lo: number, hi: number,
 *   scale: string, axis: boolean, choices: (string | number)[]}} Parameter
 */
/** @typedef {{name: string, lo: number, hi: number, n: number, scale: string, units?: string, values?: number[]}} Axis */
/** @typedef {{D: number, P: number, seed: number, symmetry: string, Q: string, z: string, J: string}} PackedDraws */
/** @typedef {{D: number, P: number, Q: Float64Array, z: Float64Array, J: Float64Array}} Draws */
/**
 * @typedef {{summary: string, paper: string, vocabularies: string[], vocabulary: string, parameters: Parameter[], x: Axis,
 *   y: Axis | null, steps: number, horizons?: Record<string, number>, draws?: PackedDraws[]}} SystemInfo
 */
/** @typedef {{remote?: boolean, encoding?: string, dtype?: string, shape?: number[], data?: string}} Packed */
/** @typedef {Packed & {units?: string, about?: string, names?: string[]}} Field */
/** @typedef {{name: string, between: string[], points: number[][], exact?: boolean}} TheoryLine */
/**
 * @typedef {{id: string, title?: string, system: string, params: Params, vocabulary: string, axes: Axis[], labels: Packed,
 *   fields?: Record<string, Field>, boundaries?: {between: string[], points: number[][]}[], theory?: TheoryLine[],
 *   steps?: number, live?: boolean, run?: boolean, notes?: string[], store?: string}} Diagram
 */
/**
 * @typedef {{version: string, title: string, vocabularies: Record<string, Vocabulary>, systems: Record<string, SystemInfo>,
 *   diagrams: Diagram[], open: {system?: string, diagram?: string}, server: {run: boolean} | null}} PageDocument
 */
/** @typedef {ReturnType<typeof import("./address.js").readAddress>} Address */

const MOST_POINTS = 640;
const MOST_POINTS_COSTLY = 128;

/** The document in the page. @returns {PageDocument} */
export function readDocument() {
  const given = document.getElementById("trainphase-document")?.textContent;
  if (!given) throw new Error("this page holds no document; make it with trainphase explore --export F.html");
  return JSON.parse(given);
}

/**
 * @param {PageDocument} doc
 * @param {State} state
 */
export function diagramOf(doc, state) {
  return state.kind === "diagram" ? (doc.diagrams.find((d) => d.id === state.id) ?? null) : null;
}

/**
 * The system that runs in the page for what is shown, or null.
 * @param {PageDocument} doc
 * @param {State} state
 */
export function systemOf(doc, state) {
  return state.kind === "system" ? (doc.systems[state.id] ?? null) : null;
}

/** @param {Axis} axis */
export function axisIsLog(axis) {
  if (axis.scale !== "list" || !axis.values) return axis.scale === "log";
  return axis.lo > 0 && axis.hi / axis.lo > 30;
}

/** The span that shows all cells of a stored axis: half a cell beyond its ends. @param {Axis} axis @returns {Span} */
export function axisSpan(axis) {
  const log = axisIsLog(axis);
  const half = axis.n > 1 ? 0.5 / (axis.n - 1) : 0.5;
  if (log) {
    const way = (axis.hi / axis.lo) ** half;
    return { name: axis.name, lo: axis.lo / way, hi: axis.hi * way, log };
  }
  const room = axis.hi > axis.lo ? half * (axis.hi - axis.lo) : 0.5;
  return { name: axis.name, lo: axis.lo - room, hi: axis.hi + room, log };
}

/** @param {SystemInfo} info @param {string} name @returns {Span} */
export function parameterSpan(info, name) {
  const known = [info.x, info.y].find((axis) => axis?.name === name);
  const p = info.parameters.find((q) => q.name === name);
  const { lo, hi } = known ?? p ?? { lo: 0, hi: 1 };
  return { name, lo, hi, log: p?.scale === "log" };
}

/**
 * What a system or a diagram shows at first.
 * @param {PageDocument} doc
 * @param {"system" | "diagram"} kind
 * @param {string} id
 * @returns {State}
 */
export function firstState(doc, kind, id) {
  const common = { kind, id, a: null, b: null, show: { ...SHOWN }, size: 0 };
  if (kind === "diagram") {
    const d = doc.diagrams.find((item) => item.id === id) ?? doc.diagrams[0];
    const y = d.axes.length > 1 ? axisSpan(d.axes[1]) : null;
    const steps = d.steps ?? 400;
    return {
      ...common,
      id: d.id,
      vocabulary: d.vocabulary,
      params: givenParams(d.params),
      x: axisSpan(d.axes[0]),
      y,
      steps,
    };
  }
  const info = doc.systems[id];
  const x = parameterSpan(info, info.x.name);
  const y = info.y ? parameterSpan(info, info.y.name) : null;
  const steps = info.horizons?.[info.vocabulary] ?? info.steps;
  return { ...common, vocabulary: info.vocabulary, params: usualParams(info, x.name, y?.name), x, y, steps };
}

/** Parameters that have a value. @param {Record<string, number | string | null>} params @returns {Params} */
function givenParams(params) {
  return /** @type {Params} */ (
    Object.fromEntries(Object.entries(params).filter(([, value]) => value !== null))
  );
}

/**
 * Usual values of all parameters that are no axis; those without a usual value are left out.
 * @param {SystemInfo} info
 * @param {string} [xName]
 * @param {string} [yName]
 */
export function usualParams(info, xName, yName) {
  /** @type {Params} */
  const params = {};
  for (const p of info.parameters) {
    if (p.value !== null && p.name !== xName && p.name !== yName) params[p.name] = p.value;
  }
  return params;
}

/**
 * The state that an address names, as far as the document has it; else what the document opens.
 * @param {PageDocument} doc
 * @param {Address} address
 * @returns {State}
 */
export function stateFrom(doc, address) {
  const known =
    address &&
    (address.kind === "system" ? address.id in doc.systems : doc.diagrams.some((d) => d.id === address.id));
  if (!address || !known) return openedState(doc);
  const state = firstState(doc, address.kind, address.id);
  state.show = address.show;
  [state.a, state.b] = [address.a, address.b];
  if (address.kind === "system") systemFrom(doc.systems[address.id], state, address);
  for (const axis of /** @type {const} */ (["x", "y"])) {
    const given = address[axis];
    const span = state[axis];
    if (span && given && given !== "none" && given.name === span.name && (!span.log || given.lo > 0)) {
      [span.lo, span.hi] = [given.lo, given.hi];
    }
  }
  return state;
}

/**
 * @param {SystemInfo} info
 * @param {State} state
 * @param {NonNullable<Address>} address
 */
function systemFrom(info, state, address) {
  if (address.vocabulary && info.vocabularies.includes(address.vocabulary))
    state.vocabulary = address.vocabulary;
  state.steps = Math.max(1, Math.round(address.steps ?? info.horizons?.[state.vocabulary] ?? info.steps));
  state.size = Math.min(4096, Math.max(0, Math.round(address.size ?? 0)));
  const may = (/** @type {string} */ name) => info.parameters.some((p) => p.name === name && p.axis);
  if (address.x && may(address.x.name)) state.x = parameterSpan(info, address.x.name);
  if (address.y === "none") state.y = null;
  else if (address.y && may(address.y.name)) state.y = parameterSpan(info, address.y.name);
  if (state.y?.name === state.x.name) state.y = null;
  // What the address leaves out of its parameters has no value: a map over all starts, for example.
  state.params = {};
  for (const p of info.parameters) {
    const text = address.params[p.name];
    if (text === undefined || p.name === state.x.name || p.name === state.y?.name) continue;
    const numeric = p.kind === "float" || p.kind === "int";
    if (!numeric || Number.isFinite(Number(text))) state.params[p.name] = numeric ? Number(text) : text;
  }
  state.params = { ...missingParams(info, state), ...state.params };
}

/** @param {SystemInfo} info @param {State} state */
function missingParams(info, state) {
  return usualParams(info, state.x.name, state.y?.name);
}

/** @param {PageDocument} doc @returns {State} */
function openedState(doc) {
  const { system, diagram } = doc.open;
  if (diagram !== undefined && doc.diagrams.some((d) => d.id === diagram))
    return firstState(doc, "diagram", diagram);
  if (system !== undefined && system in doc.systems) return firstState(doc, "system", system);
  const [name] = Object.keys(doc.systems);
  return name ? firstState(doc, "system", name) : firstState(doc, "diagram", doc.diagrams[0].id);
}

/** @param {string} text */
function packedBytes(text) {
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let k = 0; k < letters.length; k++) bytes[k] = letters.charCodeAt(k);
  return bytes;
}

/** The bytes of an array in the document. @param {Packed} packed */
export async function unpack(packed) {
  const bytes = packedBytes(packed.data ?? "");
  if (!packed.encoding?.startsWith("deflate-raw")) return bytes;
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/**
 * The draws of a system for its parameters D, P and seed; undefined where it has none.
 * @param {SystemInfo} info
 * @param {Params} params
 * @returns {Draws | undefined}
 */
export function modelDraws(info, params) {
  const wanted = info.draws?.find(
    (d) => d.D === params.D && d.P === params.P && d.seed === (params.seed ?? 0),
  );
  if (!wanted || (params.symmetry ?? wanted.symmetry) !== wanted.symmetry) return undefined;
  const numbers = (/** @type {string} */ text) => new Float64Array(packedBytes(text).buffer);
  return { D: wanted.D, P: wanted.P, Q: numbers(wanted.Q), z: numbers(wanted.z), J: numbers(wanted.J) };
}

/** Points along a side where none are asked for: fewer of a system whose step costs more. @param {SystemInfo | null} info */
export function usualSize(info) {
  return info?.draws ? MOST_POINTS_COSTLY : MOST_POINTS;
}
