/** The controls: what is shown, which parameters are the axes, and a slider with a number for every other one. */

import { textNode } from "./announce.js";
import { usualSize } from "./source.js";

/** @typedef {import("./state.js").State} State */
/** @typedef {import("./state.js").Show} Show */
/** @typedef {import("./source.js").PageDocument} PageDocument */
/** @typedef {import("./source.js").Parameter} Parameter */
/** @typedef {import("./source.js").SystemInfo} SystemInfo */
/**
 * @typedef {{
 *   open: (kind: "system" | "diagram", id: string) => void,
 *   vocabulary: (name: string) => void,
 *   axis: (which: "x" | "y", name: string | null) => void,
 *   param: (name: string, value: number | string | null) => void,
 *   steps: (count: number) => void,
 *   size: (points: number) => void,
 *   show: (key: keyof Show, on: boolean) => void,
 * }} ControlActs
 */

const SLIDER_STEPS = 1000;
const SIZES = [0, 160, 320, 640, 1280];

/**
 * A menu with a name.
 * @param {string} name
 * @param {{value: string, text: string, group?: string}[]} options
 * @param {string} value
 * @param {(value: string) => void} act
 */
export function menuField(name, options, value, act) {
  const label = textNode("label", "field");
  const select = document.createElement("select");
  /** @type {Map<string, HTMLElement>} */
  const groups = new Map();
  for (const option of options) {
    const node = document.createElement("option");
    [node.value, node.textContent] = [option.value, option.text];
    let parent = /** @type {HTMLElement} */ (select);
    if (option.group) {
      const known = groups.get(option.group);
      parent = known ?? document.createElement("optgroup");
      parent.setAttribute("label", option.group);
      if (!known) select.append(parent);
      groups.set(option.group, parent);
    }
    parent.append(node);
  }
  select.value = value;
  select.addEventListener("change", () => act(select.value));
  label.append(textNode("span", "field-name", name), select);
  return label;
}

/**
 * A field with a number and a slider. The number may be typed with all its digits, and lie beyond the slider.
 * @param {Parameter} p
 * @param {number | null} value null where the parameter is left out
 * @param {(value: number | null) => void} act
 */
function sliderField(p, value, act) {
  const field = textNode("div", "field slider");
  const name = textNode("label", "field-name", p.name);
  const box = document.createElement("input");
  const slider = document.createElement("input");
  const id = `field-${p.name}`;
  [box.id, box.type, box.inputMode, box.autocomplete] = [id, "text", "decimal", "off"];
  box.spellcheck = false;
  name.setAttribute("for", id);
  field.title = p.units && p.units !== "1" ? `${p.help} (${p.units})` : p.help;
  [slider.type, slider.min, slider.max] = ["range", "0", String(SLIDER_STEPS)];
  slider.step = p.kind === "int" ? String(SLIDER_STEPS / Math.max(1, p.hi - p.lo)) : "1";
  slider.setAttribute("aria-label", `${p.name}: ${p.help}`);
  const log = p.scale === "log" && p.lo > 0;
  const set = (/** @type {number | null} */ v) => {
    box.value = v === null ? "" : String(v);
    const share =
      v === null ? 0.5 : log ? Math.log(v / p.lo) / Math.log(p.hi / p.lo) : (v - p.lo) / (p.hi - p.lo);
    slider.value = String(Math.round(SLIDER_STEPS * share));
    slider.setAttribute("aria-valuetext", v === null ? "left out" : String(v));
  };
  slider.addEventListener("input", () => {
    const v = sliderValue(p, Number(slider.value) / SLIDER_STEPS, log);
    box.value = String(v);
    slider.setAttribute("aria-valuetext", String(v));
    act(v);
  });
  const typed = () => {
    const text = box.value.trim().replace("\u2212", "-");
    const v = Number(text);
    const empty = text === "" && p.value === null;
    box.setAttribute("aria-invalid", String(!empty && (text === "" || !Number.isFinite(v))));
    if (empty) act(null);
    else if (text !== "" && Number.isFinite(v)) act(p.kind === "int" ? Math.round(v) : v);
  };
  box.addEventListener("change", typed);
  if (p.value === null) box.placeholder = "left out";
  set(value);
  field.append(name, box, slider);
  return field;
}

/**
 * The value at a share of a slider, with no more digits than its steps tell apart.
 * @param {Parameter} p
 * @param {number} share
 * @param {boolean} log
 */
function sliderValue(p, share, log) {
  const raw = log ? p.lo * Math.exp(share * Math.log(p.hi / p.lo)) : p.lo + share * (p.hi - p.lo);
  if (p.kind === "int") return Math.round(raw);
  if (log) return Number(raw.toPrecision(3));
  const digits = Math.max(0, Math.ceil(-Math.log10((p.hi - p.lo) / SLIDER_STEPS)));
  return Number(raw.toFixed(digits));
}

/** The rail of controls. */
export class Controls {
  /**
   * @param {HTMLElement} host
   * @param {PageDocument} doc
   * @param {ControlActs} acts
   */
  constructor(host, doc, acts) {
    this.host = host;
    this.doc = doc;
    this.acts = acts;
  }

  /** Build the controls anew. @param {State} state */
  fill(state) {
    const focused = document.activeElement?.id;
    const info = state.kind === "system" ? this.doc.systems[state.id] : null;
    /** @type {(HTMLElement | null)[]} */
    const parts = [this.what(state)];
    if (info) parts.push(this.axes(info, state), this.parameters(info, state), this.plane(info, state));
    else parts.push(this.facts(state));
    parts.push(this.layers(state));
    this.host.replaceChildren(...parts.filter((part) => part !== null));
    if (focused && this.host.querySelector(`#${CSS.escape(focused)}`))
      document.getElementById(focused)?.focus();
  }

  /** @param {State} state */
  what(state) {
    const set = controlSet("Diagram");
    const many = this.doc.diagrams.length > 0;
    const live = Object.keys(this.doc.systems).map((name) => ({
      value: `system:${name}`,
      text: name,
      group: many ? "Live" : undefined,
    }));
    const stored = this.doc.diagrams.map((d) => ({
      value: `diagram:${d.id}`,
      text: d.title ?? storedTitle(d),
      group: "Stored",
    }));
    const menu = menuField("Show", [...live, ...stored], `${state.kind}:${state.id}`, (value) => {
      const at = value.indexOf(":");
      this.acts.open(/** @type {"system" | "diagram"} */ (value.slice(0, at)), value.slice(at + 1));
    });
    const info = this.doc.systems[state.kind === "system" ? state.id : ""];
    set.append(menu);
    if (info) {
      const words = info.vocabularies.map((value) => ({ value, text: value }));
      if (words.length > 1) set.append(menuField("Phases", words, state.vocabulary, this.acts.vocabulary));
      set.append(textNode("p", "about", info.paper ? `${info.summary} (${info.paper})` : info.summary));
    }
    return set;
  }

  /** @param {SystemInfo} info @param {State} state */
  axes(info, state) {
    const set = controlSet("Axes");
    set.classList.add("pair");
    const names = info.parameters.filter((p) => p.axis).map((p) => ({ value: p.name, text: p.name }));
    const none = { value: "", text: "none" };
    const across = menuField("Across", names, state.x.name, (name) => this.acts.axis("x", name));
    const up = menuField("Up", [...names, none], state.y?.name ?? "", (name) =>
      this.acts.axis("y", name || null),
    );
    for (const [menu, span] of /** @type {const} */ ([
      [across, state.x],
      [up, state.y],
    ])) {
      menu.title = info.parameters.find((p) => p.name === span?.name)?.help ?? "";
    }
    set.append(across, up);
    return set;
  }

  /** @param {SystemInfo} info @param {State} state */
  parameters(info, state) {
    const others = info.parameters.filter((p) => p.name !== state.x.name && p.name !== state.y?.name);
    if (!others.length) return null;
    const set = controlSet("Parameters");
    for (const p of others) {
      const now = state.params[p.name];
      if (p.choices.length) {
        const options = p.choices.map((value) => ({ value: String(value), text: String(value) }));
        const numeric = p.kind === "int" || p.kind === "float";
        const menu = menuField(p.name, options, String(now ?? p.value), (value) =>
          this.acts.param(p.name, numeric ? Number(value) : value),
        );
        menu.title = p.help;
        set.append(menu);
      } else {
        set.append(
          sliderField(p, now === undefined ? null : Number(now), (value) => this.acts.param(p.name, value)),
        );
      }
    }
    return set;
  }

  /** @param {SystemInfo} info @param {State} state */
  plane(info, state) {
    const set = controlSet("Computation");
    const help = "steps of a run before it is undecided";
    const usual = info.horizons?.[state.vocabulary] ?? info.steps;
    const steps = {
      name: "steps",
      help,
      units: "",
      kind: "int",
      value: usual,
      lo: 100,
      hi: 10000,
      scale: "log",
      axis: false,
      choices: [],
    };
    set.append(
      sliderField(steps, state.steps, (value) => value !== null && value >= 1 && this.acts.steps(value)),
    );
    // The address may ask for a number that the menu does not have.
    const sizes = [...new Set([...SIZES, state.size])].sort((a, b) => a - b).map((n) => ({
      value: String(n),
      text: n ? `${n} \u00d7 ${n}` : `as the screen, to ${usualSize(info)}`,
    }));
    set.append(menuField("Points", sizes, String(state.size), (value) => this.acts.size(Number(value))));
    return set;
  }

  /** @param {State} state */
  facts(state) {
    const set = controlSet("Stored");
    const rows = document.createElement("dl");
    for (const [name, value] of Object.entries(state.params)) {
      const row = document.createElement("div");
      row.append(textNode("dt", "", name), textNode("dd", "", String(value)));
      rows.append(row);
    }
    const diagram = this.doc.diagrams.find((d) => d.id === state.id);
    const size = diagram?.axes.map((axis) => axis.n).join(" \u00d7 ") ?? "";
    const notes = (diagram?.notes ?? []).map((note) => textNode("p", "about", note));
    set.append(
      rows,
      ...notes,
      textNode("p", "about", `${size} points stored${diagram?.store ? ` in ${diagram.store}` : ""}`),
    );
    return set;
  }

  /** @param {State} state */
  layers(state) {
    const set = controlSet("Layers");
    const measured =
      (this.doc.diagrams.find((d) => state.kind === "diagram" && d.id === state.id)?.boundaries ?? [])
        .length > 0;
    /** @type {[keyof Show, string][]} */
    const keys = [
      ["lines", measured ? "Boundaries" : "Outlines"],
      ["theory", "Theory"],
      ["letters", "Letters"],
    ];
    keys.push(["twoStep", "Two-step portrait"]);
    if (state.kind === "system" && state.id === "cubic") keys.push(["orbit", "Orbit diagram"]);
    for (const [key, text] of keys) {
      const label = textNode("label", "check");
      const box = document.createElement("input");
      box.type = "checkbox";
      box.id = `show-${key}`;
      box.checked = state.show[key];
      box.addEventListener("change", () => this.acts.show(key, box.checked));
      label.append(box, textNode("span", "", text));
      set.append(label);
    }
    return set;
  }
}

/** @param {{system: string, vocabulary: string, axes: {name: string}[], store?: string}} diagram */
function storedTitle(diagram) {
  const axes = diagram.axes.map((axis) => axis.name).join(", ");
  return `${diagram.system} (${axes})${diagram.store ? `: ${diagram.store}` : ""}`;
}

/** @param {string} name */
function controlSet(name) {
  const set = document.createElement("fieldset");
  set.append(textNode("legend", "", name));
  return set;
}
