// Every text of the page in the language chosen: `t("key", { n: 3 })`. A key `x.one` is taken for n = 1.
// Both locales have the same keys (tests/unit/web/test_page_texts.py); what the server says in English is
// told by its `code` where the locale has a template `reason.CODE` whose numbers are all there.
import { Cell, useCell } from "./cell.js";
import { prefs } from "./prefs.js";

const LOCALES = {
  en: () => import("./locale/en.js"),
  ko: () => import("./locale/ko.js"),
};

/** @typedef {{ lang: "en" | "ko", texts: Record<string, string> }} Locale */

/** @type {Cell<Locale>} */
const locale = new Cell(/** @type {Locale} */ ({ lang: "en", texts: {} }));

/** Loads the language chosen, now and whenever it changes. */
export async function startTexts() {
  prefs.watch(({ lang }) => {
    if (lang !== locale.value.lang) load(lang);
  });
  await load(prefs.value.lang);
}

/** @param {"en" | "ko"} lang */
async function load(lang) {
  const texts = (await LOCALES[lang]()).default;
  if (lang !== prefs.value.lang) return;
  document.documentElement.lang = lang;
  locale.set({ lang, texts });
}

/** The language that is shown; a component that calls it is drawn again when it changes. */
export const useLang = () => useCell(locale, langOf);

/** @param {Locale} value */
const langOf = (value) => value.lang;

export const lang = () => locale.value.lang;

/** @param {string} key */
export const has = (key) => key in locale.value.texts;

/**
 * @param {string} key
 * @param {Record<string, string | number>} [values] numbers are written as the language does
 */
export function t(key, values = {}) {
  const { texts } = locale.value;
  const template = (values.n === 1 && texts[`${key}.one`]) || texts[key];
  return template === undefined ? key : fill(template, values);
}

/**
 * @param {string} template
 * @param {Record<string, any>} values
 */
function fill(template, values) {
  return template.replace(/\{(\w+)\}/g, (hole, name) => {
    const value = values[name];
    if (value === undefined || value === null) return hole;
    return typeof value === "number" ? value.toLocaleString(locale.value.lang) : String(value);
  });
}

/** How a value of a reason is written, by the end of its name; set by format.js. */
export const writing = { value: (/** @type {string} */ _, /** @type {any} */ value) => value };

const BLOCKED = /^.* is blocked by .*? since \S+ until (?:it is released|\S+): /s;

/** What a block says of itself, without who blocks what since when. @param {Record<string, any>} reason */
function whyOf({ text, policy }) {
  const why = text.replace(BLOCKED, "");
  return why.startsWith(`${policy}: `) ? why.slice(policy.length + 2) : why;
}

/**
 * A reason of the server, in the language chosen. `why.CODE` is short, and names no subject.
 * @param {{ code: string, text: string, [name: string]: any }} reason
 * @param {"reason" | "why"} [form]
 */
export function reasonText(reason, form = "reason") {
  const template = locale.value.texts[`${form}.${reason.code}`];
  if (template === undefined) return reason.text;
  /** @type {Record<string, any>} */
  const values = {};
  for (const [, name] of template.matchAll(/\{(\w+)\}/g)) {
    const value = name === "why" ? whyOf(reason) : reason[name];
    if (value === undefined || value === null || typeof value === "object") return reason.text;
    values[name] = writing.value(name, value);
  }
  return fill(template, values);
}
