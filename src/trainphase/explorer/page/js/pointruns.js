/** The points A and B of the explorer: chosen, run, shown, dropped. */

import { plainNumber } from "./view.js";
import { NOT_COMPUTED } from "./paint.js";
import { runOnServer, runPoint, showPoints } from "./points.js";
import { diagramOf, modelDraws, systemOf } from "./source.js";
import { paramsAt } from "./state.js";
import { axisValues, nearestIndices, reason } from "./stored.js";

/** @typedef {import("./explorer.js").Explorer} Explorer */
/** @typedef {import("./state.js").Spot} Spot */
/** @typedef {import("./points.js").PointRun} PointRun */
/** @typedef {"A" | "B"} PointName */

const LEAVE_MS = 400;
// What a line has room for, the first that there are; and what is said elsewhere or is a code.
const STORED_FIRST = ["slope", "curvature", "lyapunov", "loss", "period", "run_steps"];
const STORED_APART = ["margin", "rule", "settled", "run_steps"];

/**
 * @param {string} label
 * @param {Record<string, number>} values
 * @returns {import("./announce.js").Reading}
 */
function storedReading(label, values) {
  const shown = Object.fromEntries(Object.entries(values).filter(([name]) => !STORED_APART.includes(name)));
  return {
    label,
    margin: values.margin ?? NaN,
    rule: "as stored",
    runSteps: values.run_steps ?? -1,
    outcome: "",
    values: shown,
  };
}

/** What is known of the points that are chosen. */
export class PointRuns {
  /** @param {Explorer} explorer */
  constructor(explorer) {
    this.explorer = explorer;
    /** @type {Partial<Record<PointName, PointRun>>} */
    this.runs = {};
    /** @type {Partial<Record<PointName, AbortController>>} */
    this.asked = {};
    /** @type {Promise<void>} the runs that the server was asked for */
    this.line = Promise.resolve();
  }

  /** @returns {{name: PointName, spot: Spot}[]} */
  marks() {
    const { a, b } = this.explorer.state;
    /** @type {{name: PointName, spot: Spot}[]} */
    const marks = [];
    if (a) marks.push({ name: "A", spot: a });
    if (b) marks.push({ name: "B", spot: b });
    return marks;
  }

  /**
   * Choose a point and run it.
   * @param {PointName} name
   * @param {Spot} spot
   * @param {number} asked when, for the time to the drawing
   */
  set(name, spot, asked) {
    const { explorer } = this;
    explorer.state[name === "A" ? "a" : "b"] = spot;
    this.run(name, spot);
    this.show();
    explorer.main.dataset.drawnMs = (performance.now() - asked).toFixed(2);
    explorer.diagram.marks(this.marks());
    explorer.changed();
    const { reading } = this.runs[name] ?? {};
    if (reading)
      explorer.announcer.say(
        `Point ${name}: ${reading.label}. ${reading.rule}. ${reading.runSteps} steps, ${reading.outcome}.`,
      );
  }

  /** @param {PointName} name */
  drop(name) {
    const { explorer } = this;
    const { state } = explorer;
    this.asked[name]?.abort();
    // Without A, B becomes A: one point is always A.
    if (name === "A") [state.a, state.b] = [state.b, null];
    else state.b = null;
    this.update();
    explorer.diagram.marks(this.marks());
    explorer.changed();
    explorer.diagram.host.focus();
  }

  /** Run the points of the state again. */
  update() {
    this.runs = {};
    for (const { name, spot } of this.marks()) this.run(name, spot);
    this.show();
  }

  /** @param {PointName} name @param {Spot} spot */
  run(name, spot) {
    const { explorer } = this;
    const { state, doc } = explorer;
    const info = systemOf(doc, state);
    this.asked[name]?.abort();
    if (!info) {
      this.runStored(name, spot);
      return;
    }
    const began = performance.now();
    try {
      this.runs[name] = runPoint(state, state.id, spot, modelDraws(info, state.params));
    } catch (error) {
      explorer.problem(reason(error));
      return;
    }
    explorer.main.dataset.runMs = (performance.now() - began).toFixed(2);
  }

  /**
   * A point of a stored diagram: its stored numbers, and its run where it can be had.
   * @param {PointName} name
   * @param {Spot} spot
   */
  runStored(name, spot) {
    const { explorer } = this;
    const { state, doc, stored } = explorer;
    const diagram = diagramOf(doc, state);
    if (!diagram || !stored) return;
    const [i] = nearestIndices(diagram.axes[0], [spot.x]);
    const [j] = diagram.axes[1] ? nearestIndices(diagram.axes[1], [spot.y]) : [0];
    const at = {
      x: axisValues(diagram.axes[0])[Math.max(i, 0)],
      y: diagram.axes[1] ? axisValues(diagram.axes[1])[Math.max(j, 0)] : 0,
    };
    const code = stored.code(i, j, 0);
    const phase = explorer.vocabulary.phases[code];
    const reading = storedReading(phase?.label ?? "not computed", stored.values(i, j));
    const params = paramsAt(state, at);
    /** @type {PointRun} */
    const run = { spot: at, reading, code: phase ? code : NOT_COMPUTED, path: null, note: "", params };
    state[name === "A" ? "a" : "b"] = at;
    this.runs[name] = run;
    this.pathOf(name, run, diagram);
    stored.everything(i, j, Boolean(doc.server)).then(
      ({ values, words }) => {
        if (this.runs[name] !== run) return;
        Object.assign(reading, storedReading(reading.label, values));
        if (words) reading.rule = `as stored; ${words}`;
        this.show();
      },
      (error) => explorer.problem(`what is stored of the point did not come (${reason(error)})`),
    );
  }

  /** @param {PointName} name @param {PointRun} run @param {import("./source.js").Diagram} diagram */
  pathOf(name, run, diagram) {
    const { explorer } = this;
    const { doc, state } = explorer;
    const live = doc.systems[diagram.system];
    if (diagram.live) {
      try {
        const here = runPoint(state, diagram.system, run.spot, live && modelDraws(live, run.params));
        run.path = here.path;
        run.note =
          here.reading.label === run.reading.label ? "" : `Run again here, it is ${here.reading.label}.`;
      } catch {
        run.note = "";
      }
    } else if (doc.server?.run && diagram.run !== false) {
      const asked = new AbortController();
      this.asked[name] = asked;
      run.note = "Running on the server";
      run.share = 0;
      // The server knows the parameters of its diagram: it is told the place.
      const place = Object.fromEntries(
        diagram.axes.map((axis) => [axis.name, Number(run.params[axis.name])]),
      );
      const note = (/** @type {string} */ words) => {
        if (run.note === words) return;
        run.note = words;
        if (this.runs[name] === run) this.show();
      };
      const progress = (/** @type {number} */ share) => {
        run.share = share;
        note("Running on the server");
        const bar = document.querySelector(`.card.run-${name.toLowerCase()} progress`);
        if (bar) /** @type {HTMLProgressElement} */ (bar).value = share;
      };
      // One after the other; a run that was stopped leaves the server after a moment.
      const mine = this.line.then(() => {
        asked.signal.throwIfAborted();
        const waits = (/** @type {string} */ why) => note(`Waiting: ${why}`);
        return runOnServer({ diagram: diagram.id, params: place }, progress, asked.signal, waits);
      });
      this.line = mine.then(
        () => {},
        () => new Promise((resolve) => setTimeout(resolve, LEAVE_MS)),
      );
      mine
        .then(
          (path) => {
            run.path = path;
            run.note = "";
          },
          (error) => {
            run.note = asked.signal.aborted
              ? "The run was stopped."
              : `The server did not run it: ${reason(error)}.`;
          },
        )
        .finally(() => {
          run.share = undefined;
          if (this.runs[name] === run) this.show();
        });
    }
  }

  /** Draw the cards and the panels. */
  show() {
    const { explorer } = this;
    const { state, doc } = explorer;
    const diagram = diagramOf(doc, state);
    const info = systemOf(doc, state) ?? doc.systems[diagram?.system ?? ""];
    // A diagram of a map of the user's own has no name that a terminal knows.
    const system = diagram && !diagram.run ? "" : (diagram?.system ?? state.id);
    const cards = /** @type {HTMLElement} */ (document.getElementById("cards"));
    const panels = /** @type {HTMLElement} */ (document.getElementById("panels"));
    const told = Boolean(diagram || (info && info.vocabularies.length > 1));
    showPoints(cards, panels, state, system, explorer.vocabulary.phases, this.runs, {
      drop: (name) => this.drop(name),
      stop: (name) => this.asked[name]?.abort(),
      copy: (text) => explorer.copy(text, "the command"),
      told,
    });
  }

  /** What the line over a stored diagram says of a cell. @param {{x: number, y: number}} cell */
  storedWords(cell) {
    const { doc, state, stored } = this.explorer;
    const diagram = diagramOf(doc, state);
    if (!diagram || !stored) return [];
    const [i] = nearestIndices(diagram.axes[0], [cell.x]);
    const [j] = diagram.axes[1] ? nearestIndices(diagram.axes[1], [cell.y]) : [0];
    if (i < 0 || j < 0) return [];
    const values = stored.values(i, j);
    return STORED_FIRST.filter((name) => name in values)
      .slice(0, 3)
      .map((name) => `${name.replace("_", " ")} ${plainNumber(values[name])}`);
  }

  /** The points with their runs, as numbers. */
  exported() {
    return Object.entries(this.runs).map(([name, { params, reading, path }]) => ({
      name,
      params,
      ...reading,
      run: path && {
        times: Array.from(path.times),
        loss: [...path.loss],
        curvature: [...path.curvature],
        residual: [...path.residual],
      },
    }));
  }

  /** What is known of the points, for tests. */
  readings() {
    return Object.fromEntries(
      Object.entries(this.runs).map(([name, run]) => [
        name,
        {
          ...run.reading,
          spot: { ...run.spot },
          length: run.path?.times.length ?? 0,
          escapedAt: run.path?.escapedAt ?? -1,
        },
      ]),
    );
  }
}
