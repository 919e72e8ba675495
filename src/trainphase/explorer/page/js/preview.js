/**
 * The picture while the view moves: the graphics processor answers every pixel coarsely, in single precision. It is shown
 * only while something moves, and never of a view narrower than 0.01; what stays is computed by the workers.
 */

import { previewSource } from "./kernel/answers.js";
import { colourParts } from "./paint.js";

/** @typedef {import("./state.js").State} State */
/** @typedef {import("./source.js").Phase} Phase */
/** @typedef {{program: WebGLProgram, ready: boolean, place: (name: string) => WebGLUniformLocation | null}} Shader */

// Single precision tells the points of a wider view apart, and no others.
const NARROWEST_PREVIEW = 0.01;
const FRAME_MS = 40;
const VERTEX = `#version 300 es
void main() {
  vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1) * 4.0 - 1.0;
  gl_Position = vec4(corner, 0.0, 1.0);
}`;

/** @param {string} body @param {number} phases */
function fragmentSource(body, phases) {
  return `#version 300 es
precision highp float;
precision highp int;
uniform vec2 view_lo, view_hi, view_size;
uniform ivec2 view_log;
uniform vec3 colours[${phases + 1}];
out vec4 colour;
${body}
float spread(float lo, float hi, float share, int islog) {
  return islog == 1 ? lo * exp(share * log(hi / lo)) : mix(lo, hi, share);
}
void main() {
  vec2 at = gl_FragCoord.xy / view_size;
  int code = phase(spread(view_lo.x, view_hi.x, at.x, view_log.x), spread(view_lo.y, view_hi.y, at.y, view_log.y));
  colour = vec4(colours[clamp(code, 0, ${phases})], 1.0);
}`;
}

/** Draws previews where the browser has WebGL2 and the system a shader. */
export class Preview {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.gl = canvas.getContext("webgl2", { antialias: false, preserveDrawingBuffer: false });
    this.parallel = this.gl?.getExtension("KHR_parallel_shader_compile") ?? null;
    /** @type {Map<string, Shader | null>} */
    this.shaders = new Map();
    // The share of the screen's pixels that a frame has time for.
    this.scale = 0.16;
    this.timing = false;
    this.timed = (/** @type {number} */ _milliseconds) => {};
    canvas.hidden = true;
    canvas.addEventListener("webglcontextlost", () => {
      this.gl = null;
      this.hide();
    });
  }

  hide() {
    this.canvas.hidden = true;
  }

  /**
   * Draw a view; false where it cannot.
   * @param {State} state
   * @param {Phase[]} phases
   * @param {string} none
   * @param {{n: number, m: number}} size
   */
  draw(state, phases, none, size) {
    const { gl, canvas } = this;
    if (!gl || !state.y || !wideEnough(state)) return false;
    const shader = this.shader(state, phases.length);
    if (!shader || !this.isReady(shader)) return false;
    const began = performance.now();
    canvas.width = Math.max(32, Math.round(size.n * this.scale));
    canvas.height = Math.max(32, Math.round(size.m * this.scale));
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.useProgram(shader.program);
    const { x, y } = state;
    gl.uniform2f(shader.place("view_lo"), x.lo, y.lo);
    gl.uniform2f(shader.place("view_hi"), x.hi, y.hi);
    gl.uniform2f(shader.place("view_size"), canvas.width, canvas.height);
    gl.uniform2i(shader.place("view_log"), x.log ? 1 : 0, y.log ? 1 : 0);
    const colours = [...phases.map((p) => p.colour), none].flatMap((c) => colourParts(c).map((v) => v / 255));
    gl.uniform3fv(shader.place("colours"), colours);
    gl.uniform1i(shader.place("u_steps"), state.steps);
    for (const [name, value] of Object.entries(state.params)) {
      const at = typeof value === "number" ? shader.place(`u_${name}`) : null;
      if (at) gl.uniform1f(at, Number(value));
    }
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    this.time(began);
    canvas.hidden = false;
    return true;
  }

  /**
   * Take the time of a frame, without waiting for it, and fit the next ones to the time there is.
   * @param {number} began
   */
  time(began) {
    const { gl } = this;
    const fence = this.timing ? null : gl?.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    if (!gl || !fence) return;
    this.timing = true;
    gl.flush();
    const look = () => {
      const state = gl.isContextLost() ? gl.CONDITION_SATISFIED : gl.clientWaitSync(fence, 0, 0);
      if (state === gl.TIMEOUT_EXPIRED) {
        setTimeout(look, 2);
        return;
      }
      gl.deleteSync(fence);
      this.timing = false;
      const took = performance.now() - began;
      const better = this.scale * Math.sqrt(FRAME_MS / Math.max(took, 1));
      this.scale = Math.min(1, Math.max(0.06, 0.5 * this.scale + 0.5 * better));
      this.timed(took);
    };
    setTimeout(look, 0);
  }

  /** Make the shader of what is shown before it is needed. @param {State} state @param {number} phases */
  warm(state, phases) {
    if (this.parallel && wideEnough(state)) this.shader(state, phases);
  }

  /**
   * Whether a shader has been made. Where the browser makes it beside its other work, it is not waited for.
   * @param {Shader} shader
   */
  isReady(shader) {
    const { gl } = this;
    if (shader.ready || !gl) return shader.ready;
    if (this.parallel && !gl.getProgramParameter(shader.program, this.parallel.COMPLETION_STATUS_KHR))
      return false;
    shader.ready = gl.getProgramParameter(shader.program, gl.LINK_STATUS);
    return shader.ready;
  }

  /** @param {State} state @param {number} phases */
  shader(state, phases) {
    const key = [state.id, state.vocabulary, state.x.name, state.y?.name].join(" ");
    const known = this.shaders.get(key);
    if (known !== undefined) return known;
    const body = previewSource(state.id, state.vocabulary, state.x.name, state.y?.name ?? "");
    const made = this.gl && body ? makeShader(this.gl, fragmentSource(body, phases)) : null;
    this.shaders.set(key, made);
    return made;
  }
}

/** @param {State} state */
function wideEnough(state) {
  const width = (/** @type {{lo: number, hi: number}} */ span) => span.hi - span.lo;
  return (
    Boolean(state.y) && width(state.x) >= NARROWEST_PREVIEW && width(state.y ?? state.x) >= NARROWEST_PREVIEW
  );
}

/**
 * @param {WebGL2RenderingContext} gl
 * @param {string} fragment
 * @returns {Shader | null}
 */
function makeShader(gl, fragment) {
  const program = gl.createProgram();
  for (const [kind, text] of /** @type {const} */ ([
    [gl.VERTEX_SHADER, VERTEX],
    [gl.FRAGMENT_SHADER, fragment],
  ])) {
    const part = gl.createShader(kind);
    if (!program || !part) return null;
    gl.shaderSource(part, text);
    gl.compileShader(part);
    gl.attachShader(program, part);
  }
  gl.linkProgram(program);
  /** @type {Map<string, WebGLUniformLocation | null>} */
  const places = new Map();
  const place = (/** @type {string} */ name) => {
    if (!places.has(name)) places.set(name, gl.getUniformLocation(program, name));
    return places.get(name) ?? null;
  };
  return { program, ready: false, place };
}
