/** The panels beside the diagram: what the selected runs did. Pure drawing: everything shown was computed before. */

import { cobwebPanel, planePanel } from "./portrait.js";
import { curvaturePanel, lossPanel } from "./series.js";

/**
 * @typedef {{times: ArrayLike<number>, loss: Float64Array, curvature: Float64Array, residual: Float64Array, x: Float64Array,
 *   y: Float64Array, escapedAt: number, names: {x: string, y: string}, portrait: "plane" | "cobweb" | "none"}} Trajectory
 */
/**
 * @typedef {{name: "A" | "B", system: string, params: Record<string, number | string>, trajectory: Trajectory}} Run
 */
/**
 * @typedef {{twoStep?: boolean, map?: (z: number, params: Record<string, number | string>) => number}} PanelOptions
 * twoStep: join states two steps apart. map: the scalar map of a cobweb.
 */

const PANEL_HEIGHT = 190;
const PORTRAIT_HEIGHT = 250;

/**
 * Draw the panels of one or two runs into `host`, at its width; what was there before is replaced.
 * @param {HTMLElement} host
 * @param {Run[]} runs
 * @param {PanelOptions} [options]
 */
export function drawPanels(host, runs, options = {}) {
  const width = Math.max(240, Math.floor(host.clientWidth));
  const figures = [];
  const shown = runs.filter((run) => run.trajectory.times.length > 0);
  if (shown.length) {
    figures.push(panelFigure("Loss", lossPanel(shown, width, PANEL_HEIGHT)));
    if (shown.some((run) => run.trajectory.curvature.length > 0)) {
      figures.push(panelFigure("Curvature", curvaturePanel(shown, width, PANEL_HEIGHT)));
    }
    const kind = shown[0].trajectory.portrait;
    if (kind === "plane") {
      const title = options.twoStep ? "Phase portrait, every second step" : "Phase portrait";
      figures.push(panelFigure(title, planePanel(shown, width, PORTRAIT_HEIGHT, Boolean(options.twoStep))));
    } else if (kind === "cobweb" && options.map) {
      figures.push(panelFigure("Cobweb", cobwebPanel(shown, options.map, width, PORTRAIT_HEIGHT)));
    }
  }
  host.replaceChildren(...figures);
}

/**
 * @param {string} title
 * @param {SVGSVGElement} svg
 */
function panelFigure(title, svg) {
  const figure = document.createElement("figure");
  figure.className = "panel";
  const caption = document.createElement("figcaption");
  caption.textContent = title;
  figure.append(caption, svg);
  return figure;
}
