/** The page at work: one state, from which everything that is shown follows. */

import { copied } from "./announce.js";
import { theoryLines } from "./kernel/answers.js";
import { controlActs } from "./choices.js";
import { Controls } from "./controls.js";
import { Diagram } from "./diagram.js";
import { showFiles } from "./files.js";
import { keyActs, pointerHands, readPlace } from "./hands.js";
import { handleKeys } from "./keyboard.js";
import { Legend, shareText } from "./legend.js";
import { OrbitLayer } from "./orbitlayer.js";
import { NOT_COMPUTED } from "./paint.js";
import { Plane } from "./plane.js";
import { handleGestures } from "./pointer.js";
import { PointRuns } from "./pointruns.js";
import { Pool } from "./pool.js";
import { Preview } from "./preview.js";
import { diagramOf, firstState, modelDraws, parameterSpan, systemOf, usualSize } from "./source.js";
import { ViewHistory } from "./state.js";
import { StoredLabels, nearestIndices } from "./stored.js";
import { sameSpan, spanHolds, valueAt } from "./view.js";

/** @typedef {import("./state.js").State} State */
/** @typedef {import("./state.js").View} View */
/** @typedef {import("./source.js").PageDocument} PageDocument */
/** @typedef {import("./announce.js").Announcer} Announcer */

const MOST_WORKERS = 8;
const STILL_MS = 120;
// A preview goes when every second point is known.
const FINE_STRIDE = 2;

/** @param {string} id */
export function pageElement(id) {
  const node = document.getElementById(id);
  if (!node) throw new Error(`the page lacks its element ${id}`);
  return node;
}

/**
 * Call when the size of a node is another one than before.
 * @param {HTMLElement} node
 * @param {() => void} act
 * @param {boolean} [across] the width only
 */
function onResize(node, act, across = false) {
  const size = () => (across ? String(node.clientWidth) : `${node.clientWidth} ${node.clientHeight}`);
  let last = size();
  new ResizeObserver(() => {
    if (size() !== last) act();
    last = size();
  }).observe(node);
}

/** Everything on the page. */
export class Explorer {
  /**
   * @param {PageDocument} doc
   * @param {State} state
   * @param {Announcer} announcer
   */
  constructor(doc, state, announcer) {
    this.doc = doc;
    this.state = state;
    this.announcer = announcer;
    this.main = pageElement("main");
    this.diagram = new Diagram(pageElement("diagram"));
    this.plane = new Plane(this.diagram);
    this.preview = new Preview(this.diagram.preview);
    this.preview.timed = (ms) => (this.main.dataset.previewMs = ms.toFixed(1));
    this.pool = new Pool(Math.min(MOST_WORKERS, Math.max(1, navigator.hardwareConcurrency || 2)));
    this.history = new ViewHistory();
    this.points = new PointRuns(this);
    this.orbit = new OrbitLayer(this.diagram.orbit);
    this.legend = new Legend(pageElement("legend"), pageElement("definition"), () => this.recolour());
    this.controls = new Controls(pageElement("controls"), doc, controlActs(this));
    /** @type {StoredLabels | null} */
    this.stored = null;
    /** @type {{x: number, y: number} | null} at shares of the plot */
    this.cursor = null;
    /** @type {{x: number, y: number} | null} the place that was read last */
    this.hovered = null;
    this.changed = () => {};
    this.address = () => location.href;
    this.timer = 0;
    this.frame = 0;
    this.began = 0;
    this.moving = false;
  }

  begin() {
    pageElement("title").textContent = this.doc.title;
    handleGestures(this.diagram.host, () => this.diagram.reach, pointerHands(this));
    handleKeys(this.diagram.host, keyActs(this));
    showFiles(this);
    readPlace(this, NaN, NaN, false);
    this.open();
    // Sizes change with the window, the fonts and the panels beside.
    onResize(this.diagram.host, () => this.refresh());
    onResize(pageElement("panels"), () => this.points.show(), true);
  }

  get vocabulary() {
    return this.doc.vocabularies[this.state.vocabulary];
  }

  /** What points without a phase are. */
  get none() {
    return this.stored
      ? { label: "not computed", definition: "nothing is stored here, or these parameters describe no run" }
      : { label: "no run", definition: "these parameters describe no run" };
  }

  /** The colour of points without a phase. */
  get noColour() {
    return getComputedStyle(document.documentElement).getPropertyValue("--none").trim() || "#cccccc";
  }

  /** Show another state as a whole. @param {State} state */
  restore(state) {
    this.history.clear();
    this.state = state;
    this.open();
  }

  /** Build what depends on the system or the diagram. */
  open() {
    this.pool.cancel();
    this.cursor = null;
    const stored = diagramOf(this.doc, this.state);
    this.stored = stored
      ? new StoredLabels(
          stored,
          () => this.refresh(),
          (sentence) => this.problem(sentence),
        )
      : null;
    this.stored?.load().then(() => this.points.update());
    this.controls.fill(this.state);
    this.legend.fill(this.vocabulary.phases, this.vocabulary.question, this.none);
    const name = stored ? `${stored.system}, stored` : this.state.id;
    const axes = [this.state.x.name, this.state.y?.name].filter(Boolean).join(" and ");
    this.diagram.host.setAttribute("aria-label", `Phase diagram of ${name} over ${axes}`);
    this.recolour(true);
    this.refresh(true);
    this.points.update();
  }

  /** @param {boolean} [quiet] */
  recolour(quiet = false) {
    this.plane.colours(this.vocabulary.phases, this.noColour, this.legend.only);
    if (!quiet) this.plane.repaint();
  }

  /**
   * Show a view of the plane.
   * @param {View} view
   * @param {boolean} [keep] remember the view before
   */
  look(view, keep = true) {
    const { state } = this;
    if (!spanHolds(view.x) || (view.y && !spanHolds(view.y))) {
      this.announcer.say("this is as deep as numbers of 64 bits go");
      return;
    }
    if (sameSpan(view.x, state.x) && (!view.y || !state.y || sameSpan(view.y, state.y))) return;
    if (keep) this.history.leave({ x: state.x, y: state.y }, performance.now());
    [state.x, state.y] = [view.x, view.y];
    this.moving = true;
    this.refresh();
  }

  /** The view of the whole diagram. @returns {View} */
  whole() {
    const { state, doc } = this;
    const first = firstState(doc, state.kind, state.id);
    const info = systemOf(doc, state);
    if (!info) return { x: first.x, y: first.y };
    return { x: parameterSpan(info, state.x.name), y: state.y ? parameterSpan(info, state.y.name) : null };
  }

  /** Draw again at the next frame. @param {boolean} [clean] without what was seen before */
  refresh(clean = false) {
    this.clean = this.clean || clean;
    this.changed();
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.draw(Boolean(this.clean));
      this.clean = false;
    });
  }

  /** @param {boolean} clean */
  draw(clean) {
    const { state, diagram, plane } = this;
    if (diagram.host.clientWidth < 40) return;
    const view = { x: state.x, y: state.y };
    const orbit = this.orbit.range(state);
    diagram.layout(view, { orbit, units: (name) => this.axisName(name) });
    this.orbit.draw(state, diagram.orbit);
    this.setStage("computing");
    this.began = performance.now();
    this.pool.cancel();
    clearTimeout(this.timer);
    this.problem("");
    plane.begin(view, state.size, usualSize(systemOf(this.doc, state)), clean);
    diagram.showNow();
    this.drawOver();
    const system = systemOf(this.doc, state);
    if (!system) this.drawStored();
    else {
      const previewed = this.moving && this.preview.draw(state, this.vocabulary.phases, this.noColour, plane);
      if (!previewed) this.preview.hide();
      this.timer = window.setTimeout(() => this.compute(), previewed ? STILL_MS : 0);
    }
    this.moving = false;
  }

  compute() {
    const { state } = this;
    const info = systemOf(this.doc, state);
    if (!info) return;
    this.began = performance.now();
    this.plane.compute(this.pool, state, modelDraws(info, state.params), {
      piece: (share) => this.setProgress(share),
      level: (stride) => {
        this.legend.shares(this.plane.shares());
        this.main.dataset.firstMs ??= performance.now().toFixed(0);
        if (stride <= FINE_STRIDE) this.preview.hide();
      },
      done: () => this.finish(),
      failed: (sentence) => {
        this.preview.hide();
        this.problem(sentence);
        this.setStage("complete");
      },
    });
  }

  drawStored() {
    const { stored, plane, state } = this;
    this.preview.hide();
    const axes = diagramOf(this.doc, state)?.axes;
    if (!stored?.whole || !axes) return;
    const across = nearestIndices(axes[0], plane.xs);
    const up = axes[1] ? nearestIndices(axes[1], plane.ys) : new Int32Array(1);
    const spread = Math.abs(across[across.length - 1] - across[0]) / across.length;
    const level = Math.max(0, Math.floor(Math.log2(Math.max(spread, 1))));
    // Tiles are asked for where the view comes to rest, not on the way.
    if (this.moving) this.timer = window.setTimeout(() => this.refresh(), STILL_MS);
    const ends = (/** @type {Int32Array} */ list) =>
      /** @type {[number, number]} */ ([list[0], list[list.length - 1]]);
    const here = this.moving ? stored.has(level) : stored.want(level, ends(across), ends(up));
    plane.take((i, j) => stored.code(across[i], up[j], level));
    if (here) this.finish();
  }

  /** The picture is complete. */
  finish() {
    const { plane, state } = this;
    this.preview.hide();
    this.main.dataset.seconds = ((performance.now() - this.began) / 1000).toFixed(3);
    const shares = plane.shares();
    this.legend.shares(shares);
    plane.findLetters();
    this.drawOver();
    if (state.show.lines) this.outline();
    this.setStage("complete");
    const said = this.vocabulary.phases.flatMap((p, k) =>
      shares[k] > 0 ? [`${p.label} ${shareText(shares[k])}`] : [],
    );
    if (shares[NOT_COMPUTED] === 1 && state.kind === "system") {
      this.problem(
        "No point of this view describes a run: change the parameters, or press 0 for the whole diagram.",
      );
    }
    if (this.hovered) readPlace(this, this.hovered.x, this.hovered.y, false);
    if (state.kind === "system")
      window.setTimeout(() => this.preview.warm(state, this.vocabulary.phases.length), 0);
    this.announcer.say(`Complete: ${said.join(", ")}.`);
  }

  /** Outlines of the phases, where no boundaries have been measured. */
  outline() {
    if (!diagramOf(this.doc, this.state)?.boundaries?.length) this.plane.outline();
  }

  /** Lines, letters, marks and the cursor. */
  drawOver() {
    const { state, diagram, plane } = this;
    const stored = diagramOf(this.doc, state);
    const theory = stored ? (stored.theory ?? []) : this.theory();
    const lines = stored?.boundaries ?? [];
    diagram.curves("theory", state.show.theory ? theory : []);
    const named = lines.map((line) => ({ points: line.points, name: line.between.join(" / ") }));
    diagram.curves("lines", state.show.lines ? named : []);
    diagram.letters(state.show.letters ? plane.letters : []);
    diagram.marks(this.points.marks());
    diagram.cursor(this.cursor);
    const keys = state.show.theory ? theory : [];
    const items = keys.map(({ name, exact }) => {
      const item = document.createElement("li");
      item.textContent = exact ? `theory: ${name} (exact)` : `theory: ${name}`;
      return item;
    });
    pageElement("line-keys").replaceChildren(...items);
  }

  theory() {
    const { state } = this;
    const { x, y } = state;
    // Lines are asked for beyond the view, so that they run out of it however steep they are.
    const wide = (/** @type {import("./view.js").Span} */ span, /** @type {number} */ more) => {
      const room = span.log ? 1 : more;
      return { ...span, lo: valueAt(span, -room), hi: valueAt(span, 1 + room) };
    };
    return theoryLines(state.id, state.params, wide(x, 1), y ? wide(y, 200) : null).filter(({ points }) => {
      const across = points.map((p) => p[0]);
      const up = y ? points.map((p) => p[1]) : [];
      return (
        Math.max(...across) >= x.lo &&
        Math.min(...across) <= x.hi &&
        (!y || (Math.max(...up) >= y.lo && Math.min(...up) <= y.hi))
      );
    });
  }

  /** @param {string} name */
  axisName(name) {
    const info = systemOf(this.doc, this.state);
    const axis = diagramOf(this.doc, this.state)?.axes.find((a) => a.name === name);
    const units = info?.parameters.find((p) => p.name === name)?.units ?? axis?.units ?? "";
    return units && units !== "1" ? `${name} (${units})` : name;
  }

  /** @param {number} share of the points that are known */
  setProgress(share) {
    const bar = pageElement("progress");
    bar.setAttribute("aria-valuenow", String(Math.round(100 * share)));
    /** @type {HTMLElement} */ (bar.firstElementChild).style.width = `${(100 * share).toFixed(1)}%`;
  }

  /** @param {string} stage */
  setStage(stage) {
    if (stage === "computing") this.setProgress(0);
    this.main.dataset.state = stage;
    pageElement("progress").hidden = stage !== "computing";
  }

  /** @param {string} sentence */
  problem(sentence) {
    const node = pageElement("problem");
    node.hidden = !sentence;
    node.textContent = sentence;
  }

  /** @param {string} text @param {string} what */
  async copy(text, what) {
    const sentence = (await copied(text))
      ? `${what} is copied`
      : "this page may not copy; mark the text and copy it by hand";
    this.announcer.say(sentence, true);
    this.note(sentence);
  }

  /** A short word in the line over the diagram. @param {string} sentence */
  note(sentence) {
    pageElement("readout").textContent = sentence;
  }
}
