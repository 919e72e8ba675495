/** What is seen, as a file: picture (PNG, SVG) and data (CSV, JSON). Nothing leaves the machine: the browser saves a blob. */

const SAVED_STYLES = [
  "fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "stroke-opacity", "opacity", "font-family", "font-size",
  "font-weight", "text-anchor", "paint-order",
];
const SAVED_GAP = 16;

/**
 * One standalone SVG of several parts, side by side: each a picture (canvas) under its overlay, or a plot.
 * @param {{canvas?: HTMLCanvasElement, overlay: SVGSVGElement, x?: number, y?: number, width?: number, height?: number}[]} parts
 *   the canvas lies at x, y with that size in the overlay's pixels
 * @param {string} caption what is shown: system, parameters, version
 * @param {string} background
 */
export function figureSvg(parts, caption, background) {
  const [first, ...rest] = parts;
  const size = first.overlay.getBoundingClientRect();
  const column = rest.map((part) => part.overlay.getBoundingClientRect());
  const wide = size.width + (rest.length ? SAVED_GAP + Math.max(...column.map((box) => box.width)) : 0) + SAVED_GAP;
  const high = Math.max(size.height, column.reduce((sum, box) => sum + box.height + SAVED_GAP, 0)) + 24;
  const root = savedElement("svg", { width: wide, height: high, viewBox: `0 0 ${wide} ${high}` });
  root.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  root.append(savedElement("rect", { width: wide, height: high, fill: background }));
  root.append(savedPart(first, 0, 0, size));
  let down = 0;
  rest.forEach((part, k) => {
    root.append(savedPart(part, size.width + SAVED_GAP, down, column[k]));
    down += column[k].height + SAVED_GAP;
  });
  const ink = getComputedStyle(first.overlay).color;
  const words = savedElement("text", { x: 8, y: high - 8, fill: ink, "font-family": "sans-serif", "font-size": 11 });
  words.textContent = caption;
  root.append(words);
  return new XMLSerializer().serializeToString(root);
}

/**
 * @param {{canvas?: HTMLCanvasElement, overlay: SVGSVGElement, x?: number, y?: number, width?: number, height?: number}} part
 * @param {number} x
 * @param {number} y
 * @param {DOMRect} size
 */
function savedPart(part, x, y, size) {
  const group = savedElement("g", { transform: `translate(${x} ${y})` });
  if (part.canvas) {
    const picture = savedElement("image", {
      x: part.x ?? 0, y: part.y ?? 0, width: part.width ?? size.width, height: part.height ?? size.height,
      href: part.canvas.toDataURL("image/png"), preserveAspectRatio: "none", "image-rendering": "pixelated",
    });
    group.append(picture);
  }
  const copy = /** @type {SVGSVGElement} */ (part.overlay.cloneNode(true));
  savedStyles(part.overlay, copy);
  copy.setAttribute("width", String(size.width));
  copy.setAttribute("height", String(size.height));
  group.append(copy);
  return group;
}

/**
 * Write the computed style of every element into its copy: a file has no style sheet.
 * @param {Element} from
 * @param {Element} to
 */
function savedStyles(from, to) {
  const style = getComputedStyle(from);
  // As attributes: the page's policy forbids style attributes.
  for (const name of SAVED_STYLES) to.setAttribute(name, style.getPropertyValue(name));
  for (let k = 0; k < from.children.length; k++) savedStyles(from.children[k], to.children[k]);
}

/**
 * @param {string} tag
 * @param {Record<string, string | number>} attributes
 */
function savedElement(tag, attributes) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, String(value));
  return node;
}

/**
 * A PNG of an SVG text, `scale` pixels for each of its own.
 * @param {string} svg
 * @param {number} scale
 * @returns {Promise<Blob>}
 */
export function pngOf(svg, scale) {
  const address = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }));
  const image = new Image();
  return new Promise((resolve, reject) => {
    image.onerror = () => reject(new Error("the picture could not be drawn; save it as SVG"));
    image.onload = () => {
      const canvas = document.createElement("canvas");
      canvas.width = Math.round(image.naturalWidth * scale);
      canvas.height = Math.round(image.naturalHeight * scale);
      canvas.getContext("2d")?.drawImage(image, 0, 0, canvas.width, canvas.height);
      canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("the picture is too large"))), "image/png");
    };
    image.src = address;
  }).finally(() => URL.revokeObjectURL(address));
}

/**
 * The labels of a plane as comma-separated values, a line for each point: x, y, phase.
 * @param {{xName: string, yName: string, xs: ArrayLike<number>, ys: ArrayLike<number>, codes: Uint8Array, labels: string[]}} plane
 */
export function planeCsv(plane) {
  const { xs, ys, codes, labels } = plane;
  const lines = [`${plane.xName},${plane.yName},phase`];
  for (let j = 0; j < ys.length; j++) {
    for (let i = 0; i < xs.length; i++) lines.push(`${xs[i]},${ys[j]},${labels[codes[j * xs.length + i]] ?? ""}`);
  }
  return `${lines.join("\n")}\n`;
}

/**
 * Let the browser save a file.
 * @param {string} name
 * @param {Blob | string} content
 * @param {string} [type]
 */
export function saveFile(name, content, type = "text/plain") {
  const blob = typeof content === "string" ? new Blob([content], { type }) : content;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  // The browser reads the blob after this turn of the event loop.
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
