// Times, spans and numbers, in the language and time zone chosen. Times come as epoch nanoseconds (as a
// JavaScript number: good to a quarter of a microsecond) or milliseconds.
import { lang, t, writing } from "./i18n.js";
import { prefs } from "./prefs.js";

/** @type {Map<string, Intl.DateTimeFormat>} */
const formats = new Map();

/**
 * @param {Intl.DateTimeFormatOptions} options
 * @param {string} name
 */
function dated(name, options) {
  const zone = prefs.value.zone;
  const key = `${name} ${lang()} ${zone}`;
  let found = formats.get(key);
  if (!found) {
    found = new Intl.DateTimeFormat(lang() === "ko" ? "ko-KR" : "en-GB", {
      ...options,
      hourCycle: "h23",
      timeZone: zone === "local" ? undefined : zone,
    });
    formats.set(key, found);
  }
  return found;
}

/** @type {Intl.DateTimeFormatOptions} */
const CLOCK = { hour: "2-digit", minute: "2-digit", second: "2-digit" };
/** @type {Intl.DateTimeFormatOptions} */
const DAY = { month: "short", day: "numeric" };

/** "12:03:04" @param {number} ms */
export const clock = (ms) => dated("clock", CLOCK).format(ms);

/** "14 Feb, 12:03:04" @param {number} ms */
export const dayClock = (ms) => dated("dayClock", { ...DAY, ...CLOCK }).format(ms);

/** "14 Feb 2026, 12:03:04" @param {number} ms */
export const fullTime = (ms) => dated("full", { ...DAY, year: "numeric", ...CLOCK }).format(ms);

/**
 * The clock alone where the moment is within a day of `near`, else with its date (and year).
 * @param {number} ms
 * @param {number} [near]
 */
export function shortTime(ms, near = Date.now()) {
  const off = Math.abs(ms - near);
  if (off < 20 * 3_600_000) return clock(ms);
  return off < 300 * 86_400_000 ? dayClock(ms) : fullTime(ms);
}

/** "2026-02-14T12:03:04.123456789Z", whatever the time zone chosen. @param {number} ns */
export function utc(ns) {
  const ms = Math.floor(ns / 1e6);
  const rest = Math.round(ns - ms * 1e6);
  const iso = new Date(ms).toISOString();
  return rest > 0 ? `${iso.slice(0, -1)}${String(rest).padStart(6, "0")}Z` : iso;
}

/** The name of the time zone chosen, as "UTC", "KST" or "GMT+2". */
export function zoneName() {
  const { zone } = prefs.value;
  if (zone === "UTC") return "UTC";
  if (zone === "Asia/Seoul") return "KST";
  const parts = new Intl.DateTimeFormat("en-GB", { timeZoneName: "short" }).formatToParts(Date.now());
  return parts.find((part) => part.type === "timeZoneName")?.value ?? "";
}

/**
 * "40 ms", "0.4 s", "12 s", "3 min 4 s", "2 h 5 min", "3 d 4 h": two units at most.
 * @param {number} ms
 * @returns {string}
 */
export function span(ms) {
  if (ms < 0) return `−${span(-ms)}`;
  if (ms < 1) return t("unit.ms", { n: Number(ms.toPrecision(2)) });
  if (ms < 100) return t("unit.ms", { n: Math.round(ms) });
  if (ms < 9_950) return t("unit.s", { n: Math.round(ms / 100) / 10 });
  if (ms < 60_000) return t("unit.s", { n: Math.floor(ms / 1_000) });
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 10) return two("unit.min", minutes, "unit.s", Math.floor((ms % 60_000) / 1_000));
  if (minutes < 60) return t("unit.min", { n: minutes });
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return two("unit.h", hours, "unit.min", minutes % 60);
  return two("unit.d", Math.floor(hours / 24), "unit.h", hours % 24);
}

/** @param {string} large @param {number} n @param {string} small @param {number} rest */
function two(large, n, small, rest) {
  return rest ? `${t(large, { n })} ${t(small, { n: rest })}` : t(large, { n });
}

/** "4:05", "1:02:03": what is left. @param {number} ms */
export function countdown(ms) {
  const all = Math.max(0, Math.ceil(ms / 1_000));
  if (all >= 172_800) return span(all * 1_000);
  const pad = (/** @type {number} */ n) => String(n).padStart(2, "0");
  const minutes = Math.floor(all / 60);
  const seconds = pad(all % 60);
  return minutes < 60
    ? `${minutes}:${seconds}`
    : `${Math.floor(minutes / 60)}:${pad(minutes % 60)}:${seconds}`;
}

/**
 * At most six significant digits where there is a fraction; whole numbers in full.
 * @param {number | null | undefined} value
 */
export function number(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (Number.isInteger(value) || Math.abs(value) >= 1e6) {
    return value.toLocaleString(lang(), { maximumFractionDigits: 0 });
  }
  return value.toLocaleString(lang(), { maximumSignificantDigits: 6 });
}

/** "0.93": a score. @param {number} value */
export const score = (value) =>
  value.toLocaleString(lang(), { minimumFractionDigits: 2, maximumFractionDigits: 2 });

/** "1.4 GB" @param {number | null | undefined} bytes */
export function size(bytes) {
  if (bytes === null || bytes === undefined) return "–";
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let n = bytes;
  let unit = 0;
  while (Math.abs(n) >= 1_000 && unit < units.length - 1) {
    n /= 1_000;
    unit += 1;
  }
  return `${n.toLocaleString(lang(), { maximumSignificantDigits: n >= 100 ? 4 : 3 })} ${units[unit]}`;
}

// The numbers in a server's reason: `*_ns` is a span or a moment, as its name says.
writing.value = (name, value) => {
  if (typeof value !== "number") return value;
  if (!name.endsWith("_ns")) return number(value);
  return value > 1e17 ? shortTime(value / 1e6) : span(value / 1e6);
};
