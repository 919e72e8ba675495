/** What is said: to screen readers, in the line over the diagram, and in the cards of the points. */

import { plainNumber } from "./view.js";

/** @typedef {import("./state.js").Spot} Spot */
/** @typedef {import("./state.js").State} State */
/**
 * @typedef {{label: string, margin: number, rule: string, runSteps: number, outcome: string,
 *   values: Record<string, number>}} Reading
 */

const QUIET_MS = 350;

/** Sentences for screen readers: the last one of a movement, not each. */
export class Announcer {
  /** @param {HTMLElement} region an aria-live region */
  constructor(region) {
    this.region = region;
    this.timer = 0;
  }

  /** @param {string} sentence @param {boolean} [soon] at once */
  say(sentence, soon = false) {
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => (this.region.textContent = sentence), soon ? 0 : QUIET_MS);
  }
}

/**
 * A node with a class and a text.
 * @param {string} tag
 * @param {string} name
 * @param {string} [text]
 */
export function textNode(tag, name, text = "") {
  const node = document.createElement(tag);
  if (name) node.className = name;
  node.textContent = text;
  return node;
}

/** Copy a text; false where that is not allowed. @param {string} text */
export async function copied(text) {
  try {
    // Inside another page, only what the pointer has just asked for may be copied, by the older way.
    if (window.top !== window) throw new Error("framed");
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

/**
 * The name of a number of a run, for people.
 * @param {string} name
 */
export function plainName(name) {
  return name.replaceAll("_", " ");
}

/**
 * The card of a point: phase, place, why, and the numbers.
 * @param {{name: string, state: State, spot: Spot, reading: Reading, colour: string, symbol: string, command: string,
 *   note?: string, share?: number}} of share: how far its run on the server is
 * @param {{drop: () => void, stop: () => void, copy: (text: string) => void}} act
 */
export function pointCard(of, act) {
  const { name, state, spot, reading } = of;
  const card = textNode("section", `card run-${name.toLowerCase()}`);
  card.setAttribute("aria-label", `Point ${name}`);
  const head = document.createElement("header");
  const swatch = textNode("span", "swatch", of.symbol);
  if (of.colour) swatch.style.background = of.colour;
  else swatch.classList.add("none");
  head.append(textNode("span", "badge", name), swatch, textNode("strong", "", reading.label));
  head.append(cardButton("\u00d7", `Remove point ${name}`, act.drop));
  const rows = document.createElement("dl");
  cardRow(rows, state.x.name, String(spot.x), "exact");
  if (state.y) cardRow(rows, state.y.name, String(spot.y), "exact");
  if (reading.outcome)
    cardRow(
      rows,
      "outcome",
      reading.outcome === "step-limit" ? "at the horizon" : reading.outcome.replace("-", " "),
    );
  if (reading.runSteps >= 0) cardRow(rows, "steps", String(reading.runSteps));
  for (const [key, value] of Object.entries(reading.values)) {
    // A run that escaped ends without some of its numbers.
    if (!Number.isNaN(value)) cardRow(rows, plainName(key), plainNumber(value));
  }
  card.append(head);
  if (reading.rule) {
    const why = Number.isFinite(reading.margin)
      ? `${reading.rule}; margin ${plainNumber(reading.margin)}`
      : reading.rule;
    card.append(textNode("p", "rule", why));
  }
  card.append(rows);
  if (of.note) card.append(textNode("p", "rule", of.note));
  if (of.share !== undefined) card.append(cardProgress(of.share, act.stop));
  if (of.command) {
    const line = textNode("div", "command");
    const code = textNode("code", "", of.command);
    code.title = of.command;
    line.append(
      code,
      cardButton("copy", "Copy the command", () => act.copy(of.command)),
    );
    card.append(line);
  }
  return card;
}

/** @param {number} share @param {() => void} stop */
function cardProgress(share, stop) {
  const line = textNode("div", "command");
  const bar = document.createElement("progress");
  bar.value = share;
  bar.setAttribute("aria-label", "Run on the server");
  line.append(bar, cardButton("stop", "Stop the run", stop));
  return line;
}

/** @param {string} text @param {string} label @param {() => void} act */
function cardButton(text, label, act) {
  const button = /** @type {HTMLButtonElement} */ (textNode("button", "quiet", text));
  button.type = "button";
  button.setAttribute("aria-label", label);
  button.addEventListener("click", act);
  return button;
}

/**
 * @param {HTMLElement} rows
 * @param {string} name
 * @param {string} value
 * @param {string} [kind]
 */
function cardRow(rows, name, value, kind = "") {
  const row = textNode("div", kind);
  row.append(textNode("dt", "", name), textNode("dd", "", value));
  rows.append(row);
}

/**
 * The command that runs a point in a terminal.
 * @param {string} system
 * @param {Record<string, number | string>} params
 * @param {string} vocabulary
 * @param {number} steps
 * @param {boolean} told whether the vocabulary must be named
 */
export function commandFor(system, params, vocabulary, steps, told) {
  const words = Object.entries(params).map(([key, value]) => `${key}=${value}`);
  // Ladders of widths train to a loss, and have no horizon.
  const horizon = vocabulary === "regime" ? "" : `--steps ${steps}`;
  return ["trainphase run", system, ...words, told ? `--vocabulary ${vocabulary}` : "", horizon]
    .filter(Boolean)
    .join(" ");
}
