/** Hands on the diagram: wheel, drag, pinch, tap and the rectangle of a zoom, as calls with shares of the plot. */

/**
 * @typedef {{
 *   zoom: (x: number, y: number, factor: number) => void,
 *   pan: (dx: number, dy: number) => void,
 *   box: (from: [number, number], to: [number, number], done: boolean) => void,
 *   hover: (x: number, y: number) => void,
 *   leave: () => void,
 *   tap: (x: number, y: number, event: PointerEvent) => void,
 *   grab: (x: number, y: number) => string | null,
 *   carry: (what: string, x: number, y: number) => void,
 *   rest: () => void,
 * }} Hands
 * grab: what lies under the pointer and may be carried, such as the mark of a point.
 */
/** @typedef {{left: number, top: number, width: number, height: number}} PlotBox */
/** @typedef {{x: number, y: number}} Place */

const TAP_PX = 5;
const WHEEL_RATE = 0.0016;

/**
 * @param {HTMLElement} host
 * @param {() => PlotBox} plot the plot inside the host, in its pixels
 * @param {Hands} hands
 */
export function handleGestures(host, plot, hands) {
  const share = (/** @type {{clientX: number, clientY: number}} */ event) => {
    const box = host.getBoundingClientRect();
    const { left, top, width, height } = plot();
    return { x: (event.clientX - box.left - left) / width, y: 1 - (event.clientY - box.top - top) / height };
  };
  host.addEventListener(
    "wheel",
    (event) => {
      const { x, y } = share(event);
      if (x < -0.1 || x > 1.05 || y < -0.1 || y > 1.05) return;
      event.preventDefault();
      const lines = event.deltaMode === 1 ? 33 : 1;
      const turn = Math.max(-240, Math.min(240, event.deltaY * lines));
      hands.zoom(clampShare(x), clampShare(y), Math.exp(turn * WHEEL_RATE * (event.ctrlKey ? 4 : 1)));
    },
    { passive: false },
  );
  handlePointers(host, share, plot, hands);
}

/** @param {number} value */
function clampShare(value) {
  return Math.min(1, Math.max(0, value));
}

/**
 * @param {HTMLElement} host
 * @param {(event: PointerEvent) => Place} share
 * @param {() => PlotBox} plot
 * @param {Hands} hands
 */
function handlePointers(host, share, plot, hands) {
  /** @type {Map<number, Place>} */
  const down = new Map();
  /** @type {{mode: string, from: Place, last: Place, moved: boolean, what: string, client: Place} | null} */
  let now = null;
  host.addEventListener("pointerdown", (event) => {
    if (event.button > 0) return;
    const at = share(event);
    if (at.x < 0 || at.x > 1 || at.y < 0 || at.y > 1) return;
    host.setPointerCapture(event.pointerId);
    down.set(event.pointerId, at);
    const what = down.size === 1 ? hands.grab(at.x, at.y) : null;
    const mode = down.size > 1 ? "pinch" : what ? "carry" : event.shiftKey ? "box" : "pan";
    const client = { x: event.clientX, y: event.clientY };
    now = { mode, from: at, last: at, moved: down.size > 1, what: what ?? "", client };
  });
  host.addEventListener("pointermove", (event) => {
    const at = share(event);
    const before = down.get(event.pointerId);
    if (!before || !now) {
      if (at.x >= 0 && at.x < 1 && at.y >= 0 && at.y < 1) hands.hover(at.x, at.y);
      else hands.leave();
      return;
    }
    if (Math.hypot(event.clientX - now.client.x, event.clientY - now.client.y) > TAP_PX) now.moved = true;
    if (now.mode === "pinch") pinchMove(down, event.pointerId, at, plot(), hands);
    else if (now.moved) dragMove(now, at, hands);
    down.set(event.pointerId, at);
  });
  const end = (/** @type {PointerEvent} */ event, /** @type {boolean} */ dropped) => {
    const at = share(event);
    if (!down.delete(event.pointerId) || !now) return;
    if (down.size) return;
    if (!dropped && !now.moved) hands.tap(clampShare(at.x), clampShare(at.y), event);
    else if (now.mode === "box")
      hands.box([now.from.x, now.from.y], [clampShare(at.x), clampShare(at.y)], !dropped);
    hands.rest();
    now = null;
  };
  host.addEventListener("pointerup", (event) => end(event, false));
  host.addEventListener("pointercancel", (event) => end(event, true));
  host.addEventListener("pointerleave", () => {
    if (!down.size) hands.leave();
  });
}

/**
 * @param {{mode: string, from: Place, last: Place, what: string}} now
 * @param {Place} at
 * @param {Hands} hands
 */
function dragMove(now, at, hands) {
  if (now.mode === "pan") hands.pan(now.last.x - at.x, now.last.y - at.y);
  else if (now.mode === "carry") hands.carry(now.what, clampShare(at.x), clampShare(at.y));
  else hands.box([now.from.x, now.from.y], [clampShare(at.x), clampShare(at.y)], false);
  now.last = at;
}

/**
 * Two fingers: zoom by the ratio of their distances about their middle, and pan with it.
 * @param {Map<number, Place>} down
 * @param {number} id
 * @param {Place} at
 * @param {PlotBox} box
 * @param {Hands} hands
 */
function pinchMove(down, id, at, box, hands) {
  const other = [...down].find(([key]) => key !== id)?.[1];
  const before = down.get(id);
  if (!other || !before) return;
  const length = (/** @type {Place} */ p) =>
    Math.hypot((p.x - other.x) * box.width, (p.y - other.y) * box.height);
  const middle = { x: (at.x + other.x) / 2, y: (at.y + other.y) / 2 };
  hands.pan((before.x - at.x) / 2, (before.y - at.y) / 2);
  const factor = length(before) / Math.max(length(at), 8);
  hands.zoom(clampShare(middle.x), clampShare(middle.y), Math.min(2, Math.max(0.5, factor)));
}
