/**
 * A worker: answers pieces of planes.
 */

import { answerPlane } from "./kernel/answers.js";

/**
 * @typedef {import("./kernel/answers.js").Params} Params
 * @typedef {import("./kernel/answers.js").Draws} Draws
 * @typedef {{kind: "plane", id: number, system: string, vocabulary: string, params: Params, xName: string,
 *   xs: Float64Array, yName: string, ys: Float64Array, steps: number, draws?: Draws}} PlaneRequest
 */

/** @param {PlaneRequest} asked */
function workerAnswer(asked) {
  const { id, system, vocabulary, params, xName, xs, yName, ys, steps, draws } = asked;
  try {
    const { codes, runSteps } = answerPlane(system, vocabulary, params, xName, xs, yName, ys, steps, draws);
    self.postMessage({ id, codes, runSteps }, { transfer: [codes.buffer, runSteps.buffer] });
  } catch (error) {
    self.postMessage({ id, error: error instanceof Error ? error.message : String(error) });
  }
}

self.addEventListener("message", (event) => {
  if (event.data.kind === "plane") workerAnswer(event.data);
});
