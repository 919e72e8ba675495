/** A face for tests: what is shown, and a way to select; nothing else changes by it. */

/** @typedef {import("./explorer.js").Explorer} Explorer */

/** @param {Explorer} explorer */
export function testFace(explorer) {
  return Object.freeze({
    state: () => structuredClone(explorer.state),
    view: () => structuredClone({ x: explorer.state.x, y: explorer.state.y }),
    codes: () => ({
      n: explorer.plane.n,
      m: explorer.plane.m,
      codes: explorer.plane.codes.slice(),
      runSteps: explorer.plane.runSteps.slice(),
      xs: explorer.plane.xs.slice(),
      ys: explorer.plane.ys.slice(),
    }),
    shares: () => explorer.plane.shares(),
    address: () => explorer.address(),
    select: (/** @type {number} */ x, /** @type {number} */ y, /** @type {"A" | "B"} */ name = "A") =>
      explorer.points.set(name, { x, y }, performance.now()),
    look: (/** @type {[number, number]} */ x, /** @type {[number, number]} */ y) =>
      explorer.look({
        x: { ...explorer.state.x, lo: x[0], hi: x[1] },
        y: explorer.state.y && { ...explorer.state.y, lo: y[0], hi: y[1] },
      }),
    reading: () => explorer.points.readings(),
  });
}
