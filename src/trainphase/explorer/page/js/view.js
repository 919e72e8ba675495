/**
 * The window onto the parameters: where a value lies, zoom and pan in float64, ticks with as many digits as they need.
 */

/** @typedef {{name: string, lo: number, hi: number, log: boolean}} Span */

// A view keeps this many units in the last place to each of its cells, about: below that, neighbours are the same number.
const NARROWEST = 1.5e-12;

/**
 * The value at a share of the span, 0 at its low end.
 * @param {Span} span
 * @param {number} share
 */
export function valueAt(span, share) {
  const { lo, hi } = span;
  if (!span.log) return lo + share * (hi - lo);
  return lo * Math.exp(share * Math.log(hi / lo));
}

/**
 * Where a value lies in the span: 0 at its low end, 1 at its high end.
 * @param {Span} span
 * @param {number} value
 */
export function shareOf(span, value) {
  const { lo, hi } = span;
  return span.log ? Math.log(value / lo) / Math.log(hi / lo) : (value - lo) / (hi - lo);
}

/**
 * Middles of n equal cells: so no cell lies on a special line such as z = 0 of a symmetric view.
 * @param {Span} span
 * @param {number} n
 */
export function cellMiddles(span, n) {
  return Float64Array.from({ length: n }, (_, k) => valueAt(span, (k + 0.5) / n));
}

/**
 * The span between two shares of this one.
 * @param {Span} span
 * @param {number} from
 * @param {number} to
 * @returns {Span}
 */
export function between(span, from, to) {
  return { ...span, lo: valueAt(span, from), hi: valueAt(span, to) };
}

/**
 * The span scaled by `factor` about the value at a share, which stays where it is.
 * @param {Span} span
 * @param {number} share
 * @param {number} factor
 */
export function zoomedSpan(span, share, factor) {
  if (span.log) return between(span, share - share * factor, share + (1 - share) * factor);
  const { lo, hi } = span;
  const fixed = lo + share * (hi - lo);
  return { ...span, lo: fixed - (fixed - lo) * factor, hi: fixed + (hi - fixed) * factor };
}

/**
 * The span moved by a share of its width.
 * @param {Span} span
 * @param {number} share
 */
export function pannedSpan(span, share) {
  return between(span, share, 1 + share);
}

/**
 * True where the cells of a view are still different numbers, and its numbers still numbers.
 * @param {Span} span
 */
export function spanHolds(span) {
  const { lo, hi } = span;
  if (!Number.isFinite(lo) || !Number.isFinite(hi) || !(lo < hi) || (span.log && !(lo > 0))) return false;
  const size = Math.max(Math.abs(lo), Math.abs(hi));
  return hi - lo >= NARROWEST * size && size <= 1e9 && hi - lo > 1e-250;
}

/** @param {Span} a @param {Span} b */
export function sameSpan(a, b) {
  return a.name === b.name && a.lo === b.lo && a.hi === b.hi;
}

/**
 * The span within bounds, of the same width where it fits.
 * @param {Span} span
 * @param {{lo: number, hi: number}} bounds
 */
export function keptWithin(span, bounds) {
  const whole = { ...span, lo: bounds.lo, hi: bounds.hi };
  const from = shareOf(whole, span.lo);
  const to = shareOf(whole, span.hi);
  if (from >= 0 && to <= 1) return span;
  if (to - from >= 1) return whole;
  return from < 0 ? between(whole, 0, to - from) : between(whole, 1 - (to - from), 1);
}

/**
 * A number with as many digits as tell it from another at distance `step`; all digits where they are few.
 * @param {number} value
 * @param {number} step
 */
export function numberText(value, step) {
  if (!Number.isFinite(value)) return String(value);
  if (value === 0) return "0";
  const size = Math.abs(value);
  const digits = Math.ceil(Math.log10(size / Math.abs(step))) + 1;
  const text =
    size >= 1e6 || size < 1e-4
      ? value.toExponential(Math.max(0, Math.min(15, digits - 1)))
      : value.toFixed(Math.max(0, Math.min(16, Math.ceil(-Math.log10(Math.abs(step))))));
  return trimmedNumber(text).replace("-", "\u2212");
}

/** A number without zeros at its end. @param {string} text */
function trimmedNumber(text) {
  const [digits, power] = text.split("e");
  const short = digits.includes(".") ? digits.replace(/\.?0+$/, "") : digits;
  return power === undefined ? short : `${short}e${power.replace("+", "")}`;
}

/**
 * A number for people: six significant digits.
 * @param {number} value
 */
export function plainNumber(value) {
  if (!Number.isFinite(value)) return value > 0 ? "\u221e" : value < 0 ? "\u2212\u221e" : "not a number";
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text = size >= 1e6 || size < 1e-4 ? value.toExponential(3) : value.toPrecision(6);
  return trimmedNumber(text).replace("-", "\u2212");
}

/**
 * Ticks of a span, at shares of it. Where values agree in their first digits, `base` is what they have in common and the
 * texts are distances from it.
 * @param {Span} span
 * @param {number} count about so many
 * @returns {{ticks: {share: number, text: string}[], base: string}}
 */
export function ticksOf(span, count) {
  const made = someTicks(span, count);
  // One tick is no scale.
  return made.ticks.length < 2 && count < 20 ? ticksOf(span, count + 2) : made;
}

/**
 * @param {Span} span
 * @param {number} count
 */
function someTicks(span, count) {
  const { lo, hi } = span;
  if (span.log && hi / lo > 30) return { ticks: logTicks(span, count), base: "" };
  const step = roundStep((hi - lo) / Math.max(1, count));
  const first = Math.ceil(lo / step - 1e-6);
  const values = [];
  for (let k = 0; k <= 4 * count; k++) {
    const value = (first + k) * step;
    if (value > hi + 1e-6 * step) break;
    values.push(value);
  }
  const size = Math.max(Math.abs(lo), Math.abs(hi));
  if (step > 2e-5 * size) {
    return { ticks: values.map((v) => ({ share: shareOf(span, v), text: numberText(v, step) })), base: "" };
  }
  // A base of few digits, inside the view: the middle tick.
  const middle = values[Math.floor(values.length / 2)] ?? lo;
  const base = Number(middle.toPrecision(Math.min(17, Math.ceil(Math.log10(size / step)) + 1)));
  const power = Math.floor(Math.log10(step) + 1e-9);
  const ticks = values.map((_, k) => {
    const away = (k - Math.floor(values.length / 2)) * step;
    return { share: (base - lo + away) / (hi - lo), text: offsetText(away, power) };
  });
  return { ticks: ticks.filter((t) => t.share >= 0 && t.share <= 1), base: numberText(base, step) };
}

/** @param {number} away @param {number} power */
function offsetText(away, power) {
  if (away === 0) return "0";
  const digits = Math.round(away / 10 ** power);
  return `${digits < 0 ? "\u2212" : "+"}${Math.abs(digits)}e${String(power).replace("-", "\u2212")}`;
}

/** The round step, 1, 2 or 5 times a power of ten, of at least `raw`. @param {number} raw */
function roundStep(raw) {
  const power = 10 ** Math.floor(Math.log10(raw));
  return ([1, 2, 5].find((k) => k * power >= raw * 0.999) ?? 10) * power;
}

/** @param {Span} span @param {number} count */
function logTicks(span, count) {
  const first = Math.ceil(Math.log10(span.lo) - 1e-9);
  const last = Math.floor(Math.log10(span.hi) + 1e-9);
  const ticks = [];
  const every = Math.max(1, Math.ceil((last - first + 1) / Math.max(2, count)));
  const between = every === 1 && (last - first + 1) * 3 <= count + 2 ? [1, 2, 5] : [1];
  for (let k = first - 1; k <= last; k += every) {
    for (const digit of between) {
      const value = digit * 10 ** k;
      const share = shareOf(span, value);
      if (share >= -1e-9 && share <= 1 + 1e-9) ticks.push({ share, text: numberText(value, value) });
    }
  }
  return ticks;
}
