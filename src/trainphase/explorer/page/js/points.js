/** The points A and B: what is said of them, and their runs. */

import { answerPoint, trajectory } from "./kernel/answers.js";
import { commandFor, pointCard, textNode } from "./announce.js";
import { NOT_COMPUTED } from "./paint.js";
import { drawPanels } from "./plots/panels.js";
import { paramsAt } from "./state.js";
import { refusal } from "./stored.js";
import { cubicStep } from "./systems/cubic.js";

/** @typedef {import("./state.js").State} State */
/** @typedef {import("./state.js").Spot} Spot */
/** @typedef {import("./state.js").Params} Params */
/** @typedef {import("./source.js").Phase} Phase */
/** @typedef {import("./source.js").Draws} Draws */
/** @typedef {import("./announce.js").Reading} Reading */
/** @typedef {import("./plots/panels.js").Trajectory} Trajectory */
/** @typedef {{spot: Spot, reading: Reading, code: number, path: Trajectory | null, note: string, share?: number,
 *   params: Params}} PointRun share: how far a run on the server is */

// A run is drawn to its end, and no further than this.
const MOST_STEPS = 20000;
const LEAST_STEPS = 25;
const BUSY_MS = 400;

/**
 * Run a point here.
 * @param {State} state
 * @param {string} system
 * @param {Spot} spot
 * @param {Draws | undefined} draws
 * @returns {PointRun}
 */
export function runPoint(state, system, spot, draws) {
  const params = paramsAt(state, spot);
  const axes = [state.x.name, state.y?.name ?? ""];
  const answer = answerPoint(system, state.vocabulary, params, state.steps, draws, axes);
  const ended = answer.outcome === "converged" || answer.outcome === "escaped";
  const count = Math.min(MOST_STEPS, Math.max(LEAST_STEPS, ended ? answer.runSteps : state.steps));
  const path = answer.outcome === "not-admissible" ? null : trajectory(system, params, count, draws, axes);
  return { spot, reading: answer, code: answer.code, path, note: "", params };
}

/**
 * The cards and the panels of the points.
 * @param {HTMLElement} cards
 * @param {HTMLElement} panels
 * @param {State} state
 * @param {string} system
 * @param {Phase[]} phases
 * @param {Partial<Record<"A" | "B", PointRun>>} runs
 * @param {{drop: (name: "A" | "B") => void, stop: (name: "A" | "B") => void, copy: (text: string) => void, told: boolean}} act
 */
export function showPoints(cards, panels, state, system, phases, runs, act) {
  const shown = /** @type {["A" | "B", PointRun][]} */ (Object.entries(runs));
  const nodes = shown.map(([name, run]) => {
    const phase = run.code === NOT_COMPUTED ? null : phases[run.code];
    const command = system ? commandFor(system, run.params, state.vocabulary, state.steps, act.told) : "";
    return pointCard(
      {
        name,
        state,
        spot: run.spot,
        reading: run.reading,
        colour: phase?.colour ?? "",
        symbol: phase?.symbol ?? "",
        command,
        note: run.note,
        share: run.share,
      },
      { drop: () => act.drop(name), stop: () => act.stop(name), copy: act.copy },
    );
  });
  if (!shown.length)
    nodes.push(textNode("p", "empty", "Click a point to see its run, and another one to compare the two."));
  cards.replaceChildren(...nodes);
  const drawn = shown.filter(([, run]) => run.path);
  const map = (/** @type {number} */ z, /** @type {Params} */ params) => cubicStep(z, Number(params.a));
  drawPanels(
    panels,
    drawn.map(([name, run]) => ({
      name,
      system,
      params: run.params,
      trajectory: /** @type {Trajectory} */ (run.path),
    })),
    { twoStep: state.show.twoStep, map },
  );
}

/**
 * Ask the server for a run; its progress arrives line by line.
 * @param {Record<string, unknown>} request
 * @param {(share: number) => void} progress
 * @param {AbortSignal} signal
 * @param {(sentence: string) => void} waits told once why the server does not run it yet
 * @returns {Promise<Trajectory>}
 */
export async function runOnServer(request, progress, signal, waits) {
  const asked = {
    method: "POST",
    signal,
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(request),
  };
  let answer = await fetch("api/run", asked);
  // The server does one run at a time: the other point's is waited for.
  for (let told = false; answer.status === 429; told = true) {
    if (!told) waits((await refusal(answer)).message);
    await new Promise((resolve) => setTimeout(resolve, BUSY_MS));
    answer = await fetch("api/run", asked);
  }
  if (!answer.ok || !answer.body) throw await refusal(answer);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    rest += value ?? "";
    const lines = rest.split("\n");
    rest = done ? "" : (lines.pop() ?? "");
    for (const line of lines) {
      if (!line.trim()) continue;
      const said = JSON.parse(line);
      if (said.error) throw new Error(said.error);
      if (typeof said.progress === "number") progress(said.progress);
      if (said.result) return givenTrajectory(said.result);
    }
    if (done) throw new Error("the server ended without a result");
  }
}

/** @param {any} given @returns {Trajectory} */
function givenTrajectory(given) {
  const numbers = (/** @type {unknown} */ list) =>
    Float64Array.from(Array.isArray(list) ? list : [], (v) => (typeof v === "number" ? v : NaN));
  const [times, loss, curvature] = [numbers(given.times), numbers(given.loss), numbers(given.curvature)];
  const residual = numbers(given.series?.residual);
  const plane = residual.length > 0 && residual.length === curvature.length;
  return {
    times,
    loss,
    curvature,
    residual,
    x: plane ? residual : new Float64Array(0),
    y: plane ? curvature : new Float64Array(0),
    escapedAt: given.escapedAt ?? -1,
    names: { x: "residual", y: "curvature" },
    portrait: plane ? "plane" : "none",
  };
}
