/** The keyboard on the diagram: a cursor that moves by cells of the screen, and a key for everything the pointer does. */

/**
 * @typedef {{
 *   move: (dx: number, dy: number) => void,
 *   pan: (dx: number, dy: number) => void,
 *   zoom: (factor: number) => void,
 *   select: (name: "A" | "B") => void,
 *   undo: () => void,
 *   reset: () => void,
 *   escape: () => void,
 *   show: (key: "lines" | "theory" | "letters") => void,
 *   help: () => void,
 * }} KeyActs
 */

const ARROWS = new Map([
  ["ArrowLeft", [-1, 0]],
  ["ArrowRight", [1, 0]],
  ["ArrowUp", [0, 1]],
  ["ArrowDown", [0, -1]],
]);

/**
 * @param {HTMLElement} host
 * @param {KeyActs} acts
 */
export function handleKeys(host, acts) {
  host.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey) return;
    const arrow = ARROWS.get(event.key);
    if (arrow) {
      const [dx, dy] = arrow;
      if (event.altKey) acts.pan(dx * 0.1, dy * 0.1);
      else acts.move(dx * (event.shiftKey ? 10 : 1), dy * (event.shiftKey ? 10 : 1));
    } else if (!plainKey(event.key, acts)) return;
    event.preventDefault();
  });
  document.addEventListener("keydown", (event) => {
    const into = /** @type {HTMLElement | null} */ (event.target)?.closest("input, select, textarea, dialog");
    if (event.key === "?" && !into) {
      event.preventDefault();
      acts.help();
    }
  });
}

/**
 * @param {string} key
 * @param {KeyActs} acts
 * @returns {boolean} whether the key means anything
 */
function plainKey(key, acts) {
  /** @type {Record<string, () => void>} */
  const meanings = {
    "+": () => acts.zoom(0.5),
    "=": () => acts.zoom(0.5),
    "-": () => acts.zoom(2),
    "\u2212": () => acts.zoom(2),
    0: acts.reset,
    z: acts.undo,
    Enter: () => acts.select("A"),
    " ": () => acts.select("A"),
    c: () => acts.select("B"),
    Escape: acts.escape,
    b: () => acts.show("lines"),
    t: () => acts.show("theory"),
    l: () => acts.show("letters"),
  };
  const act = meanings[key];
  act?.();
  return Boolean(act);
}
