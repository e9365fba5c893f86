// Where the marks of an axis stand, and what they read: time in the zone chosen, on its own round hours and
// days; numbers with as many digits as tell neighbours apart.
import { lang } from "./i18n.js";
import { prefs } from "./prefs.js";

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const MONDAY = 4 * DAY;
const MONTH = 28 * DAY;
const YEAR = 365 * DAY;

/** Distances of marks (ms): from a tenth of a second to ten years. */
export const TIME_STEPS = [
  ...[10, 20, 50, 100, 200, 500],
  ...[1, 2, 5, 10, 15, 30].map((n) => n * SECOND),
  ...[1, 2, 5, 10, 15, 30].map((n) => n * MINUTE),
  ...[1, 2, 3, 4, 6, 12].map((n) => n * HOUR),
  ...[1, 2, 4, 7, 14].map((n) => n * DAY),
  ...[1, 2, 3, 6].map((n) => n * MONTH),
  ...[1, 2, 5, 10].map((n) => n * YEAR),
];

/** How far the zone chosen is ahead of UTC then, in ms. @param {number} ms */
export function offset(ms) {
  const { zone } = prefs.value;
  if (zone === "UTC") return 0;
  if (zone === "Asia/Seoul") return 9 * HOUR;
  return -new Date(ms).getTimezoneOffset() * MINUTE;
}

/**
 * The marks between two moments, `step` (one of TIME_STEPS) apart.
 * @param {number} from
 * @param {number} to
 * @param {number} step
 */
export function timeMarks(from, to, step) {
  /** @type {number[]} */
  const marks = [];
  if (step < DAY) {
    // Summer time may begin in between: the hours after it are again round ones.
    for (let ahead = offset(from), at = up(from + ahead, step) - ahead; at <= to; at += step) {
      if (offset(at) !== ahead && step > 30 * MINUTE) {
        ahead = offset(at);
        at = up(at + ahead, step) - ahead;
        if (at > to) break;
      }
      marks.push(at);
    }
    return marks;
  }
  const first = new Date(from + offset(from));
  const [year, month, day] = [first.getUTCFullYear(), first.getUTCMonth(), first.getUTCDate()];
  for (let n = 0; n < 1_000; n += 1) {
    const local =
      step < MONTH
        ? up(Date.UTC(year, month, day) - MONDAY, step) + MONDAY + n * step
        : step < YEAR
          ? Date.UTC(year, up(month, step / MONTH) + (n * step) / MONTH)
          : Date.UTC(up(year, step / YEAR) + (n * step) / YEAR, 0);
    const at = local - offset(local - offset(local));
    if (at > to) break;
    if (at >= from) marks.push(at);
  }
  return marks;
}

/** @param {number} value @param {number} step */
const up = (value, step) => Math.ceil(value / step) * step;

/**
 * What stands at the marks: the time, and below it the day (or year) at the first and where it changes.
 * @param {readonly number[]} marks
 * @param {number} step
 * @param {number} from before it no text has room
 */
export function timeTexts(marks, step, from) {
  let before = "";
  return marks.map((mark) => {
    if (mark < from) return "";
    const at = new Date(mark + offset(mark));
    const [large, small] =
      step < DAY
        ? [dayText(at), clockText(at, step)]
        : [yearText(at), step < MONTH ? dayText(at) : step < YEAR ? monthText(at) : ""];
    const text = large === before ? small : small ? `${small}\n${large}` : large;
    before = large;
    return text;
  });
}

/** @param {Date} at @param {number} step */
function clockText(at, step) {
  const iso = at.toISOString();
  return step < SECOND ? iso.slice(11, 23) : step < MINUTE ? iso.slice(11, 19) : iso.slice(11, 16);
}

/** @type {Map<string, Intl.DateTimeFormat>} */
const formats = new Map();

/** @param {Date | number} at @param {Intl.DateTimeFormatOptions} options */
function dated(at, options) {
  const tongue = lang() === "ko" ? "ko-KR" : "en-GB";
  const key = `${tongue} ${JSON.stringify(options)}`;
  const format = formats.get(key) ?? new Intl.DateTimeFormat(tongue, { ...options, timeZone: "UTC" });
  formats.set(key, format);
  return format.format(at);
}

/** "2 Mar": of a moment that is already shifted into the zone. @param {Date | number} at */
export const dayText = (at) => dated(at, { month: "short", day: "numeric" });
/** @param {Date} at */
const monthText = (at) => dated(at, { month: "short" });
/** @param {Date} at */
const yearText = (at) => dated(at, { year: "numeric" });

const COMPACT = 1e10;

/**
 * How numbers of this size are written when those `step` apart must differ.
 * @param {number} most the largest, whatever its sign
 * @param {number} step
 * @returns {(value: number) => string}
 */
export function numberTexts(most, step) {
  const tongue = lang() === "ko" ? "ko-KR" : "en-GB";
  if (!Number.isFinite(most) || !(step > 0)) return String;
  if (most >= 1e15 || (most > 0 && most < 1e-6)) {
    const digits = Math.min(8, Math.max(1, Math.ceil(Math.log10(most / step))));
    return (value) => (value === 0 ? "0" : value.toExponential(digits));
  }
  if (most >= COMPACT) {
    const unit = 10 ** (3 * Math.floor(Math.log10(most) / 3));
    const digits = decimals(step / unit);
    const format = new Intl.NumberFormat("en-GB", {
      notation: "compact",
      minimumFractionDigits: digits,
      maximumFractionDigits: digits,
    });
    return (value) => format.format(value);
  }
  const digits = decimals(step);
  const format = new Intl.NumberFormat(tongue, {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
  return (value) => format.format(value);
}

/** @param {number} step */
function decimals(step) {
  const place = Math.floor(Math.log10(step) + 1e-9);
  const leading = step / 10 ** place;
  const more = Math.abs(leading - Math.round(leading)) > 1e-6 ? 1 : 0;
  return Math.min(12, Math.max(0, more - place));
}

/** "30.1k": where it need not be exact. @param {number} value */
export const roughly = (value) =>
  new Intl.NumberFormat(lang() === "ko" ? "ko-KR" : "en-GB", {
    notation: Math.abs(value) < 10_000 ? "standard" : "compact",
    maximumSignificantDigits: 3,
  }).format(value);
