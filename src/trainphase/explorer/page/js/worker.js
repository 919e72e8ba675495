/**
 * A worker: answers pieces of a plane.
 */

import { answerPlane, drawsFor } from "./kernel/answers.js";

/**
 * @typedef {import("./kernel/answers.js").Params} Params
 * @typedef {import("./kernel/answers.js").PackedDraws} PackedDraws
 * @typedef {{kind: "plane", id: number, system: string, vocabulary: string, params: Params, xName: string,
 *   xs: Float64Array, yName: string, ys: Float64Array, steps: number}} PlaneRequest
 */

/**
 * @param {PlaneRequest} asked
 * @param {Map<string, PackedDraws[]>} known  draws by system
 */
function workerAnswer(asked, known) {
  const { id, system, vocabulary, params, xName, xs, yName, ys, steps } = asked;
  try {
    const draws = drawsFor(known.get(system), params);
    const { codes, runSteps } = answerPlane(system, vocabulary, params, xName, xs, yName, ys, steps, draws);
    self.postMessage({ id, codes, runSteps }, { transfer: [codes.buffer, runSteps.buffer] });
  } catch (error) {
    self.postMessage({ id, error: error instanceof Error ? error.message : String(error) });
  }
}

/** Answers {kind: "plane"}, and keeps what {kind: "draws", system, draws} brings, as it is in the document. */
function workerListen() {
  /** @type {Map<string, PackedDraws[]>} */
  const known = new Map();
  self.addEventListener("message", (event) => {
    const { kind, system, draws } = event.data;
    if (kind === "draws") known.set(system, draws);
    if (kind === "plane") workerAnswer(event.data, known);
  });
}

workerListen();
