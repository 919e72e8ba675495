/** The buttons over the page: views, links, files, theme and help. */

import { resetView, undoView, zoomAbout } from "./hands.js";
import { figureSvg, planeCsv, pngOf, saveFile } from "./save.js";
import { sharesOf } from "./paint.js";
import { diagramOf } from "./source.js";
import { axisValues } from "./stored.js";

/** @typedef {import("./explorer.js").Explorer} Explorer */

const THEME_KEY = "trainphase-theme";

/** Bind the buttons. @param {Explorer} explorer */
export function showFiles(explorer) {
  const middle = () => explorer.cursor ?? { x: 0.5, y: 0.5 };
  onClick("do-in", () => zoomAbout(explorer, middle().x, middle().y, 0.5));
  onClick("do-out", () => zoomAbout(explorer, middle().x, middle().y, 2));
  onClick("do-undo", () => undoView(explorer));
  onClick("do-reset", () => resetView(explorer));
  const link = document.getElementById("do-link");
  // A page that stands in another one by its text has no address to share.
  if (link) link.hidden = location.protocol === "about:";
  onClick("do-link", () => explorer.copy(explorer.address(), "the address"));
  onClick("skip", () => explorer.diagram.host.focus());
  onClick("do-help", () => /** @type {HTMLDialogElement} */ (document.getElementById("help")).showModal());
  themeButton(explorer);
  const menu = /** @type {HTMLDetailsElement} */ (document.getElementById("save"));
  for (const button of menu.querySelectorAll("button")) {
    button.addEventListener("click", () => {
      menu.open = false;
      saveSeen(explorer, button.dataset.save ?? "").catch((error) =>
        explorer.problem(String(error.message ?? error)),
      );
    });
  }
  document.addEventListener("pointerdown", (event) => {
    if (!menu.contains(/** @type {Node} */ (event.target))) menu.open = false;
  });
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    menu.open = false;
    menu.querySelector("summary")?.focus();
  });
}

/** @param {string} id @param {() => void} act */
function onClick(id, act) {
  document.getElementById(id)?.addEventListener("click", act);
}

/** @param {Explorer} explorer */
function themeButton(explorer) {
  const root = document.documentElement;
  const button = /** @type {HTMLButtonElement} */ (document.getElementById("do-theme"));
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  let chosen = "";
  try {
    chosen = localStorage.getItem(THEME_KEY) ?? "";
  } catch {
    // A page inside another one may not store anything.
  }
  const set = () => {
    const dark = chosen ? chosen === "dark" : system.matches;
    root.dataset.theme = dark ? "dark" : "light";
    button.textContent = dark ? "Light" : "Dark";
    explorer.recolour();
    explorer.refresh();
  };
  system.addEventListener("change", set);
  button.addEventListener("click", () => {
    chosen = root.dataset.theme === "dark" ? "light" : "dark";
    try {
      localStorage.setItem(THEME_KEY, chosen);
    } catch {
      // The choice holds while the page is open.
    }
    set();
  });
  set();
}

/** @param {Explorer} explorer */
function systemName(explorer) {
  return diagramOf(explorer.doc, explorer.state)?.system ?? explorer.state.id;
}

/** The labels that are seen: of a stored diagram those that are stored, each once. @param {Explorer} explorer */
function seenPlane(explorer) {
  const { state, plane, stored } = explorer;
  const axes = diagramOf(explorer.doc, state)?.axes;
  if (!stored || !axes) return plane;
  const inside = (
    /** @type {import("./source.js").Axis | undefined} */ axis,
    /** @type {import("./view.js").Span | null} */ span,
  ) =>
    [...(axis ? axisValues(axis) : [0]).entries()].filter(([, v]) => !span || (v >= span.lo && v <= span.hi));
  const [across, up] = [inside(axes[0], state.x), inside(axes[1], state.y)];
  const codes = Uint8Array.from(up.flatMap(([j]) => across.map(([i]) => stored.code(i, j, 0))));
  return {
    xs: across.map(([, x]) => x),
    ys: up.map(([, y]) => y),
    codes,
    runSteps: [],
    n: across.length,
    m: up.length,
  };
}

/** @param {Explorer} explorer */
function seenName(explorer) {
  return `${systemName(explorer)}-${explorer.state.vocabulary}`.replace(/[^\w.-]+/g, "-");
}

/**
 * Save what is seen.
 * @param {Explorer} explorer
 * @param {string} kind png, svg, csv or json
 */
async function saveSeen(explorer, kind) {
  const { state, vocabulary } = explorer;
  const labels = vocabulary.phases.map((phase) => phase.label);
  const name = `trainphase-${seenName(explorer)}`;
  if (kind === "csv") {
    const plane = seenPlane(explorer);
    const named = {
      xName: state.x.name,
      yName: state.y?.name ?? "",
      xs: plane.xs,
      ys: plane.ys,
      codes: plane.codes,
      labels,
    };
    saveFile(`${name}.csv`, planeCsv(named), "text/csv");
  } else if (kind === "json") {
    const plane = seenPlane(explorer);
    const shares = Object.fromEntries(
      sharesOf(plane.codes)
        .slice(0, labels.length)
        .map((share, k) => [labels[k], share]),
    );
    const all = {
      version: explorer.doc.version,
      address: explorer.address(),
      ...state,
      phases: labels,
      shares,
      points: explorer.points.exported(),
      plane: {
        shape: [plane.m, plane.n],
        x: [...plane.xs],
        y: [...plane.ys],
        codes: [...plane.codes],
        steps: [...plane.runSteps],
      },
    };
    saveFile(`${name}.json`, JSON.stringify(all), "application/json");
  } else {
    const svg = seenFigure(explorer);
    if (kind === "svg") saveFile(`${name}.svg`, svg, "image/svg+xml");
    else saveFile(`${name}.png`, await pngOf(svg, Math.max(2, window.devicePixelRatio || 1)));
  }
}

/** The layers of pixels of the diagram as one, with whole pixels for each point. @param {Explorer} explorer */
function seenPicture(explorer) {
  const { labels, outlines, orbit, plot, area } = explorer.diagram;
  const picture = document.createElement("canvas");
  const scale = Math.max(1, Math.ceil(1200 / labels.width)) * (labels.width / plot.width);
  [picture.width, picture.height] = [Math.round(plot.width * scale), Math.round(plot.height * scale)];
  const context = picture.getContext("2d");
  if (!context) return picture;
  context.imageSmoothingEnabled = false;
  const down = (area.top - plot.top) * scale;
  const size = /** @type {const} */ ([0, down, picture.width, Math.round(area.height * scale)]);
  context.drawImage(labels, ...size);
  if (outlines.width > 1) context.drawImage(outlines, ...size);
  if (!orbit.hidden) context.drawImage(orbit, 0, 0, picture.width, orbit.clientHeight * scale);
  return picture;
}

/** The diagram and the panels as one SVG text. @param {Explorer} explorer */
function seenFigure(explorer) {
  const { diagram, state, doc } = explorer;
  const { left, top, width, height } = diagram.plot;
  const picture = seenPicture(explorer);
  const plots = /** @type {NodeListOf<SVGSVGElement>} */ (document.querySelectorAll("#panels svg"));
  const parts = [
    { canvas: picture, overlay: diagram.overlay, x: left, y: top, width, height },
    ...[...plots].map((overlay) => ({ overlay })),
  ];
  const params = Object.entries(state.params)
    .map(([key, value]) => `${key}=${value}`)
    .join(" ");
  const caption = `${systemName(explorer)}  ${params}  ${state.steps} steps  trainphase ${doc.version}`;
  const background = getComputedStyle(document.body).backgroundColor;
  return figureSvg(parts, caption, background);
}
