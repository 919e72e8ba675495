/** The diagram on the screen: labels as pixels, and over them axes, lines, letters, marks and the cursor as SVG. */

import { layerCanvas, overlayElement, placeLayer } from "./layers.js";
import { shareOf, ticksOf } from "./view.js";

/** @typedef {import("./view.js").Span} Span */
/** @typedef {import("./state.js").View} View */
/** @typedef {import("./state.js").Spot} Spot */
/** @typedef {{left: number, top: number, width: number, height: number}} Box */
/** @typedef {{points: number[][], name: string}} Curve */

const STRIP_PX = 40;
const SHOW_MS = 60;
// A picture stretched further than this says nothing.
const MOST_STRETCH = 3000;

/** The layers of the diagram in their host. */
export class Diagram {
  /** @param {HTMLElement} host */
  constructor(host) {
    this.host = host;
    this.labels = layerCanvas(host, "labels");
    this.preview = layerCanvas(host, "preview");
    this.outlines = layerCanvas(host, "outlines");
    this.orbit = layerCanvas(host, "orbit");
    this.overlay = /** @type {SVGSVGElement} */ (
      overlayElement("svg", { class: "overlay", "aria-hidden": "true" })
    );
    host.append(this.overlay);
    /** @type {Record<string, SVGGElement>} */
    this.groups = {};
    const clip = overlayElement("clipPath", { id: "plot-area" });
    this.clip = overlayElement("rect", {});
    clip.append(this.clip);
    this.overlay.append(clip);
    for (const name of ["axes", "lines", "theory", "letters", "cursor", "marks", "box"]) {
      const group = /** @type {SVGGElement} */ (overlayElement("g", { class: name }));
      if (name !== "axes" && name !== "marks") group.setAttribute("clip-path", "url(#plot-area)");
      this.groups[name] = group;
      this.overlay.append(group);
    }
    /** @type {Box} the plot inside the axes */
    this.plot = { left: 60, top: 10, width: 100, height: 100 };
    /** @type {Box} where the labels are: the plot, or a strip under the orbit diagram */
    this.area = this.plot;
    /** @type {View} */
    this.view = { x: { name: "x", lo: 0, hi: 1, log: false }, y: null };
    const context = this.labels.getContext("2d", { willReadFrequently: true });
    if (!context) throw new Error("this browser draws no canvas");
    this.context = context;
    this.image = context.createImageData(1, 1);
    this.pixels = new Uint32Array(this.image.data.buffer);
    /** @type {{canvas: HTMLCanvasElement, view: View} | null} */
    this.before = null;
    this.waits = false;
  }

  /**
   * Fit the layers to the host and draw the axes of a view.
   * @param {View} view
   * @param {{orbit: [number, number] | null, units: (name: string) => string}} how orbit: range of the orbit diagram
   */
  layout(view, how) {
    this.view = view;
    const [width, height] = [this.host.clientWidth, this.host.clientHeight];
    this.overlay.setAttribute("viewBox", `0 0 ${width} ${height}`);
    /** @type {Span | null} */
    const upright = how.orbit
      ? { name: "residual z", lo: how.orbit[0], hi: how.orbit[1], log: false }
      : view.y;
    const across = ticksOf(view.x, Math.max(2, Math.floor(width / 95)));
    const up = upright ? ticksOf(upright, Math.max(3, Math.floor(height / 62))) : { ticks: [], base: "" };
    const longest = Math.max(0, ...up.ticks.map((t) => t.text.length));
    const left = upright ? Math.round(34 + 6.9 * longest) : 14;
    const bottom = height - 44;
    this.plot = { left, top: 12, width: Math.max(40, width - left - 16), height: Math.max(40, bottom - 12) };
    this.area = how.orbit ? { ...this.plot, top: bottom - STRIP_PX, height: STRIP_PX } : this.plot;
    const drawn = how.orbit ? { ...this.plot, height: this.plot.height - STRIP_PX - 8 } : this.plot;
    for (const layer of [this.labels, this.preview, this.outlines]) placeLayer(layer, this.area);
    placeLayer(this.orbit, drawn);
    this.orbit.hidden = !how.orbit;
    for (const [key, value] of Object.entries({
      x: left,
      y: 12,
      width: this.plot.width,
      height: this.plot.height,
    })) {
      this.clip.setAttribute(key, String(value));
    }
    this.groups.axes.replaceChildren();
    this.axis(across, how.units(view.x.name), drawn, true);
    if (upright) this.axis(up, how.orbit ? upright.name : how.units(upright.name), drawn, false);
    this.frame(drawn);
    if (how.orbit) this.frame(this.area);
  }

  /** @param {Box} box */
  frame(box) {
    const { left, top, width, height } = box;
    this.groups.axes.append(
      overlayElement("rect", {
        class: "frame",
        x: left - 0.5,
        y: top - 0.5,
        width: width + 1,
        height: height + 1,
      }),
    );
  }

  /**
   * @param {{ticks: {share: number, text: string}[], base: string}} marks
   * @param {string} name
   * @param {Box} drawn
   * @param {boolean} across
   */
  axis(marks, name, drawn, across) {
    const { left, top, width, height } = this.plot;
    const bottom = top + height;
    let end = -Infinity;
    for (const { share, text } of marks.ticks) {
      if (across) {
        const x = left + share * width;
        const half = 3.5 * text.length;
        this.groups.axes.append(
          overlayElement("line", { class: "tick", x1: x, x2: x, y1: bottom, y2: bottom + 5 }),
        );
        if (x - half < end + 6) continue;
        end = x + half;
        const at = Math.min(Math.max(x, half), left + width + 14 - half);
        this.groups.axes.append(
          overlayElement("text", { x: at, y: bottom + 18, "text-anchor": "middle" }, text),
        );
      } else {
        const y = drawn.top + (1 - share) * drawn.height;
        this.groups.axes.append(
          overlayElement("line", { class: "tick", x1: left - 5, x2: left, y1: y, y2: y }),
        );
        this.groups.axes.append(
          overlayElement("text", { x: left - 8, y: y + 4, "text-anchor": "end" }, text),
        );
      }
    }
    const words = marks.base ? `${name} \u2212 ${marks.base}`.replace("\u2212 \u2212", "+ ") : name;
    if (across) {
      const attributes = { class: "axis-name", x: left + width / 2, y: bottom + 37, "text-anchor": "middle" };
      this.groups.axes.append(overlayElement("text", attributes, words));
    } else {
      const turned = `translate(14 ${drawn.top + drawn.height / 2}) rotate(-90)`;
      this.groups.axes.append(
        overlayElement("text", { class: "axis-name", transform: turned, "text-anchor": "middle" }, words),
      );
    }
  }

  /** Where hands act: over one axis, the orbit diagram above the strip too. */
  get reach() {
    return this.view.y ? this.area : this.plot;
  }

  /**
   * Points of the plane: so many along a side as are asked for, or as the screen shows apart, at most `most`; an even number,
   * so that in a view that is symmetric no point lies on its middle, which is a special line of most systems.
   * @param {number} asked 0 to follow the screen
   * @param {number} most
   */
  resolution(asked, most) {
    const ratio = window.devicePixelRatio || 1;
    const fit = (/** @type {number} */ size) =>
      2 * Math.ceil((asked || Math.max(16, Math.min(most, Math.round(size * ratio)))) / 2);
    return { n: fit(this.area.width), m: this.view.y ? fit(this.area.height) : 1 };
  }

  /**
   * Begin a picture of n x m points: under it, what was seen before, moved and scaled to the present view.
   * @param {number} n
   * @param {number} m
   * @param {boolean} clean
   */
  begin(n, m, clean) {
    if (this.labels.width !== n || this.labels.height !== m) {
      this.labels.width = n;
      this.labels.height = m;
    }
    this.context.clearRect(0, 0, n, m);
    if (!clean) this.reproject(n, m);
    this.image = this.context.getImageData(0, 0, n, m);
    this.pixels = new Uint32Array(this.image.data.buffer);
  }

  /** @param {number} n @param {number} m */
  reproject(n, m) {
    const old = this.before;
    if (!old || old.view.x.name !== this.view.x.name || old.view.y?.name !== this.view.y?.name) return;
    const [x0, x1] = [shareOf(this.view.x, old.view.x.lo), shareOf(this.view.x, old.view.x.hi)];
    const [now, then] = [this.view.y, old.view.y];
    const [y0, y1] = now && then ? [shareOf(now, then.lo), shareOf(now, then.hi)] : [0, 1];
    if (!(x1 - x0 < MOST_STRETCH) || !(y1 - y0 < MOST_STRETCH)) return;
    this.context.imageSmoothingEnabled = false;
    this.context.drawImage(old.canvas, x0 * n, (1 - y1) * m, (x1 - x0) * n, (y1 - y0) * m);
  }

  /** Keep the present picture, for the views that follow. @param {View} view */
  keep(view) {
    const copy = document.createElement("canvas");
    [copy.width, copy.height] = [this.labels.width, this.labels.height];
    copy.getContext("2d")?.putImageData(this.image, 0, 0);
    this.before = { canvas: copy, view };
  }

  /** Show the pixels soon: each showing takes time from the workers where there are as many as cores. */
  show() {
    if (this.waits) return;
    this.waits = true;
    setTimeout(
      () =>
        requestAnimationFrame(() => {
          if (this.waits) this.showNow();
        }),
      SHOW_MS,
    );
  }

  /** Show the pixels at once. */
  showNow() {
    this.waits = false;
    this.context.putImageData(this.image, 0, 0);
  }

  /**
   * Draw outlines over n x m cells, as fine as the screen.
   * @param {Path2D} path
   * @param {number} n
   * @param {number} m
   */
  outline(path, n, m) {
    const ratio = window.devicePixelRatio || 1;
    const { width, height } = this.area;
    [this.outlines.width, this.outlines.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    const context = this.outlines.getContext("2d");
    if (!context) return;
    const scaled = new Path2D();
    scaled.addPath(path, new DOMMatrix([this.outlines.width / n, 0, 0, this.outlines.height / m, 0, 0]));
    context.lineCap = "square";
    context.lineWidth = Math.max(1, 0.9 * ratio);
    context.strokeStyle = "rgb(16 20 24 / 75%)";
    context.stroke(scaled);
  }

  clearOutlines() {
    this.outlines.width = 1;
  }

  /**
   * The place of a point in the overlay's pixels.
   * @param {number[] | Spot} point
   */
  place(point) {
    const [x, y] = Array.isArray(point) ? point : [point.x, point.y];
    const { left, top, width, height } = this.area;
    const up = this.view.y ? shareOf(this.view.y, y) : 0.5;
    const far = (/** @type {number} */ v) => Math.min(1e5, Math.max(-1e5, v));
    return { x: far(left + shareOf(this.view.x, x) * width), y: far(top + (1 - up) * height) };
  }

  /**
   * Lines of boundaries or of the theory.
   * @param {"lines" | "theory"} group
   * @param {Curve[]} curves
   */
  curves(group, curves) {
    const nodes = [];
    for (const { points, name } of curves) {
      const d = this.curvePath(points);
      if (!d) continue;
      const line = overlayElement("path", { class: "line", d });
      line.append(overlayElement("title", {}, name));
      nodes.push(overlayElement("path", { class: "halo", d }), line);
    }
    this.groups[group].replaceChildren(...nodes);
  }

  /** @param {number[][]} points */
  curvePath(points) {
    if (!this.view.y || points[0]?.length === 1) {
      const { top, height } = this.plot;
      return points.map((p) => `M${this.place([p[0], 0]).x.toFixed(2)} ${top}v${height}`).join("");
    }
    const at = points.map((p) => this.place(p));
    return at.length ? `M${at.map((p) => `${p.x.toFixed(2)} ${p.y.toFixed(2)}`).join("L")}` : "";
  }

  /** @param {{symbol: string, x: number, y: number}[]} letters at values of the axes */
  letters(letters) {
    this.groups.letters.replaceChildren(
      ...letters.map(({ symbol, x, y }) => {
        const at = this.place([x, y]);
        return overlayElement("text", { x: at.x, y: at.y + 5, "text-anchor": "middle" }, symbol);
      }),
    );
  }

  /** @param {{name: string, spot: Spot}[]} marks */
  marks(marks) {
    const { left, top, width, height } = this.area;
    const nodes = [];
    for (const { name, spot } of marks) {
      const { x, y } = this.place(spot);
      if (x < left || x > left + width || y < top || y > top + height) continue;
      // Over one axis, a line leads up through the orbit diagram.
      if (!this.view.y)
        nodes.push(
          overlayElement("path", {
            class: `stem run-${name.toLowerCase()}`,
            d: `M${x} ${this.plot.top}V${y - 9}`,
          }),
        );
      const group = overlayElement("g", {
        class: `mark run-${name.toLowerCase()}`,
        transform: `translate(${x} ${y})`,
      });
      for (const [kind, r] of /** @type {const} */ ([
        ["ring", 9],
        ["hoop", 9],
        ["centre", 1.5],
      ])) {
        group.append(overlayElement("circle", { class: kind, r }));
      }
      group.append(
        overlayElement(
          "text",
          {
            x: x > left + width - 26 ? -13 : 13,
            y: 4,
            "text-anchor": x > left + width - 26 ? "end" : "start",
          },
          name,
        ),
      );
      nodes.push(group);
    }
    this.groups.marks.replaceChildren(...nodes);
  }

  /** @param {{x: number, y: number} | null} at shares of the plot */
  cursor(at) {
    if (!at) {
      this.groups.cursor.replaceChildren();
      return;
    }
    const { left, top, width, height } = this.area;
    const [x, y] = [left + at.x * width, top + (1 - at.y) * height];
    const d = `M${left} ${y}H${x - 7}M${x + 7} ${y}H${left + width}M${x} ${top}V${y - 7}M${x} ${y + 7}V${top + height}`;
    this.groups.cursor.replaceChildren(
      overlayElement("path", { class: "halo", d }),
      overlayElement("path", { class: "line", d }),
      overlayElement("rect", { class: "cell", x: x - 5, y: y - 5, width: 10, height: 10 }),
    );
  }

  /** @param {[number, number] | null} from shares of the plot @param {[number, number]} [to] */
  box(from, to) {
    if (!from || !to) {
      this.groups.box.replaceChildren();
      return;
    }
    const { left, top, width, height } = this.area;
    const [x0, x1] = [from[0], to[0]].sort((p, q) => p - q);
    const [y0, y1] = [from[1], to[1]].sort((p, q) => p - q);
    const size = { width: (x1 - x0) * width, height: (y1 - y0) * height };
    this.groups.box.replaceChildren(
      overlayElement("rect", { x: left + x0 * width, y: top + (1 - y1) * height, ...size }),
    );
  }
}
