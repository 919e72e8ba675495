/** Elements of the diagram's layers. */

/** @typedef {import("./diagram.js").Box} Box */

const SVG = "http://www.w3.org/2000/svg";

/**
 * @param {string} tag
 * @param {Record<string, string | number>} attributes
 * @param {string} [text]
 */
export function overlayElement(tag, attributes, text) {
  const node = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, String(value));
  if (text !== undefined) node.textContent = text;
  return node;
}

/** @param {HTMLElement} host @param {string} name */
export function layerCanvas(host, name) {
  const canvas = document.createElement("canvas");
  canvas.className = `layer ${name}`;
  canvas.setAttribute("aria-hidden", "true");
  host.append(canvas);
  return canvas;
}

/** @param {HTMLCanvasElement} canvas @param {Box} box */
export function placeLayer(canvas, box) {
  canvas.style.left = `${box.left}px`;
  canvas.style.top = `${box.top}px`;
  canvas.style.width = `${box.width}px`;
  canvas.style.height = `${box.height}px`;
}
