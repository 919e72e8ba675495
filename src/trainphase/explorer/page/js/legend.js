/** The legend: colour, letter, name and share of each phase; its definition where the pointer or the focus is. */

import { NOT_COMPUTED } from "./paint.js";

/** @typedef {import("./source.js").Phase} Phase */

/** The phases of what is shown. */
export class Legend {
  /**
   * @param {HTMLElement} list
   * @param {HTMLElement} words where definitions appear
   * @param {(code: number) => void} pick called with the phase to stand out, or -1
   */
  constructor(list, words, pick) {
    this.list = list;
    this.words = words;
    this.pick = pick;
    this.only = -1;
    /** @type {Map<number, {item: HTMLElement, share: HTMLElement}>} */
    this.items = new Map();
    this.usual = "";
  }

  /**
   * @param {Phase[]} phases
   * @param {string} question
   * @param {{label: string, definition: string}} none points without a phase
   */
  fill(phases, question, none) {
    this.only = -1;
    this.items.clear();
    this.usual = question;
    this.words.textContent = question;
    const rows = phases.map((phase, code) => this.row(phase, code));
    this.list.replaceChildren(...rows, this.row({ ...none, colour: "", symbol: "" }, NOT_COMPUTED));
  }

  /** @param {Phase} phase @param {number} code */
  row(phase, code) {
    const item = document.createElement("li");
    item.hidden = code === NOT_COMPUTED;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "phase";
    button.setAttribute("aria-pressed", "false");
    const swatch = document.createElement("span");
    swatch.className = code === NOT_COMPUTED ? "swatch none" : "swatch";
    if (phase.colour) swatch.style.background = phase.colour;
    swatch.textContent = phase.symbol;
    const name = document.createElement("span");
    name.textContent = phase.label;
    const share = document.createElement("span");
    share.className = "share";
    const hidden = document.createElement("span");
    hidden.className = "unseen";
    hidden.textContent = `: ${phase.definition}`;
    button.append(swatch, name, hidden, share);
    const say = () => (this.words.textContent = `${phase.label}: ${phase.definition}.`);
    const rest = () => (this.words.textContent = this.usual);
    button.addEventListener("pointerenter", say);
    button.addEventListener("focus", say);
    button.addEventListener("pointerleave", rest);
    button.addEventListener("blur", rest);
    button.addEventListener("click", () => this.choose(this.only === code ? -1 : code));
    item.append(button);
    this.items.set(code, { item, share });
    return item;
  }

  /** @param {number} code */
  choose(code) {
    this.only = code;
    for (const [key, { item }] of this.items) {
      item.firstElementChild?.setAttribute("aria-pressed", String(key === code));
    }
    this.pick(code);
  }

  /** @param {number[]} shares of the view, by code */
  shares(shares) {
    for (const [code, { item, share }] of this.items) {
      const part = shares[code] ?? 0;
      share.textContent = shareText(part);
      item.classList.toggle("absent", part === 0);
      if (code === NOT_COMPUTED) item.hidden = part === 0;
    }
  }
}

/** @param {number} part */
export function shareText(part) {
  if (part === 0) return "0 %";
  return part < 0.001 ? "< 0.1 %" : `${(100 * part).toFixed(part < 0.0995 ? 1 : 0)} %`;
}
