/**
 * The frame of a small plot: scales, ticks and the SVG elements that all panels share. Everything is drawn in CSS pixels
 * at the width of its place, so that letters keep their size on a phone and on a wall.
 */

/** @typedef {{lo: number, hi: number, log: boolean, from: number, to: number}} Scale */
/** @typedef {{left: number, top: number, right: number, bottom: number}} Box */
/** @typedef {{svg: SVGSVGElement, body: SVGGElement, x: Scale, y: Scale, box: Box}} Frame */

const SVG_NAMESPACE = "http://www.w3.org/2000/svg";
let clipCount = 0;

/**
 * A new SVG element with the given attributes.
 * @param {string} tag
 * @param {Record<string, string | number>} attributes
 * @param {string} [text]
 */
export function svgElement(tag, attributes, text) {
  const node = /** @type {SVGElement} */ (document.createElementNS(SVG_NAMESPACE, tag));
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, String(value));
  if (text !== undefined) node.textContent = text;
  return node;
}

/**
 * Where a value lies on a scale, in pixels.
 * @param {Scale} scale
 * @param {number} value
 */
export function along(scale, value) {
  const { lo, hi, log, from, to } = scale;
  const share = log ? Math.log(value / lo) / Math.log(hi / lo) : (value - lo) / (hi - lo);
  return from + share * (to - from);
}

/**
 * Round values in [lo, hi], about `count` of them: multiples of 1, 2 or 5 times a power of ten.
 * @param {number} lo
 * @param {number} hi
 * @param {number} count
 */
export function roundTicks(lo, hi, count) {
  const raw = (hi - lo) / Math.max(count, 1);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((k) => k * power).find((s) => s >= raw * 0.999) ?? 10 * power;
  const ticks = [];
  for (let k = Math.ceil(lo / step - 1e-9); k * step <= hi + 1e-9 * step; k++) ticks.push(k * step);
  return ticks;
}

/**
 * Powers of ten in [lo, hi], thinned to about `count`.
 * @param {number} lo
 * @param {number} hi
 * @param {number} count
 */
export function powerTicks(lo, hi, count) {
  const first = Math.ceil(Math.log10(lo) - 1e-9);
  const last = Math.floor(Math.log10(hi) + 1e-9);
  const every = Math.max(1, Math.ceil((last - first) / Math.max(count, 1)));
  const ticks = [];
  for (let k = first; k <= last; k += every) ticks.push(10 ** k);
  return ticks;
}

/**
 * A number in as few digits as tell it from its neighbours `step` away.
 * @param {number} value
 * @param {number} step
 */
export function tickText(value, step) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-4) return value.toExponential(0).replace("e+", "e");
  const digits = Math.max(0, Math.min(12, -Math.floor(Math.log10(Math.abs(step)) + 1e-9)));
  return value.toFixed(digits);
}

/**
 * The range of the finite values of several arrays, a little widened; [0, 1] where there are none.
 * @param {ArrayLike<number>[]} arrays
 * @param {boolean} log
 * @returns {[number, number]}
 */
export function rangeOf(arrays, log) {
  let lo = Infinity;
  let hi = -Infinity;
  for (const values of arrays) {
    for (let k = 0; k < values.length; k++) {
      const v = values[k];
      if (!Number.isFinite(v) || (log && v <= 0)) continue;
      if (v < lo) lo = v;
      if (v > hi) hi = v;
    }
  }
  if (lo > hi) return log ? [1e-3, 1] : [0, 1];
  if (log) return lo === hi ? [lo / 10, hi * 10] : [lo / (hi / lo) ** 0.03, hi * (hi / lo) ** 0.03];
  const room = hi > lo ? 0.05 * (hi - lo) : 0.5 * Math.max(Math.abs(hi), 1e-3);
  return [lo - room, hi + room];
}

/**
 * An empty plot with axes, ticks and names.
 * @param {{width: number, height: number, x: [number, number], y: [number, number], logY?: boolean, xName: string,
 *   yName: string, label: string}} spec label: what a screen reader says of the plot.
 * @returns {Frame}
 */
export function plotFrame(spec) {
  const { width, height } = spec;
  const box = { left: 54, top: 8, right: width - 10, bottom: height - 34 };
  const svg = /** @type {SVGSVGElement} */ (
    svgElement("svg", { class: "plot", width, height, viewBox: `0 0 ${width} ${height}`, role: "img" })
  );
  svg.setAttribute("aria-label", spec.label);
  const x = { lo: spec.x[0], hi: spec.x[1], log: false, from: box.left, to: box.right };
  const y = { lo: spec.y[0], hi: spec.y[1], log: Boolean(spec.logY), from: box.bottom, to: box.top };
  const wide = Math.max(2, Math.floor((box.right - box.left) / 80));
  const high = Math.max(2, Math.floor((box.bottom - box.top) / 34));
  frameTicks(svg, x, box, wide, true);
  frameTicks(svg, y, box, high, false);
  const middle = (box.left + box.right) / 2;
  svg.append(svgElement("text", { class: "plot-name", x: middle, y: height - 4, "text-anchor": "middle" }, spec.xName));
  const up = (box.top + box.bottom) / 2;
  const turned = { class: "plot-name", transform: `translate(11 ${up}) rotate(-90)`, "text-anchor": "middle" };
  svg.append(svgElement("text", turned, spec.yName));
  clipCount += 1;
  const clip = svgElement("clipPath", { id: `plot-clip-${clipCount}` });
  const size = { x: box.left, y: box.top, width: box.right - box.left, height: box.bottom - box.top };
  clip.append(svgElement("rect", size));
  const body = /** @type {SVGGElement} */ (svgElement("g", { "clip-path": `url(#plot-clip-${clipCount})` }));
  svg.append(clip, body, svgElement("rect", { class: "plot-frame", fill: "none", ...size }));
  return { svg, body, x, y, box };
}

/**
 * @param {SVGSVGElement} svg
 * @param {Scale} scale
 * @param {Box} box
 * @param {number} count
 * @param {boolean} across
 */
function frameTicks(svg, scale, box, count, across) {
  const powers = scale.log ? powerTicks(scale.lo, scale.hi, count) : [];
  const asPowers = powers.length >= 2;
  // A logarithmic axis within one decade has round values of its own.
  const ticks = asPowers ? powers : roundTicks(scale.lo, scale.hi, count);
  const step = ticks.length > 1 ? ticks[1] - ticks[0] : 1;
  for (const value of ticks) {
    const at = along(scale, value);
    const line = across
      ? { x1: at, x2: at, y1: box.top, y2: box.bottom }
      : { x1: box.left, x2: box.right, y1: at, y2: at };
    svg.append(svgElement("line", { class: "plot-grid", ...line }));
    const text = asPowers ? powerText(value) : tickText(value, step);
    const place = across
      ? { x: at, y: box.bottom + 14, "text-anchor": "middle" }
      : { x: box.left - 5, y: at + 4, "text-anchor": "end" };
    svg.append(svgElement("text", { class: "plot-tick", ...place }, text));
  }
}

/** @param {number} value */
function powerText(value) {
  const power = Math.round(Math.log10(value));
  return power >= -2 && power <= 3 ? String(Number(value.toPrecision(3))) : `1e${power}`;
}
