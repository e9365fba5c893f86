// What this browser is to remember of its user. Never a secret.
import { Cell } from "./cell.js";

const KEY = "observer.prefs";

/**
 * @typedef {object} Prefs
 * @property {"system" | "light" | "dark"} theme
 * @property {"en" | "ko"} lang
 * @property {"local" | "UTC" | "Asia/Seoul"} zone
 * @property {string | null} domain
 * @property {string} author who signs what is done here
 * @property {boolean} shortcuts single keys do something
 */

/** @returns {Prefs} */
function stored() {
  /** @type {Prefs} */
  const prefs = {
    theme: "system",
    lang: navigator.language.toLowerCase().startsWith("ko") ? "ko" : "en",
    zone: "local",
    domain: null,
    author: "",
    shortcuts: true,
  };
  try {
    const found = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    if (["system", "light", "dark"].includes(found.theme)) prefs.theme = found.theme;
    if (["en", "ko"].includes(found.lang)) prefs.lang = found.lang;
    if (["local", "UTC", "Asia/Seoul"].includes(found.zone)) prefs.zone = found.zone;
    if (typeof found.domain === "string") prefs.domain = found.domain;
    if (typeof found.author === "string") prefs.author = found.author;
    if (typeof found.shortcuts === "boolean") prefs.shortcuts = found.shortcuts;
  } catch {
    // Storage is forbidden or spoilt: the defaults do.
  }
  return prefs;
}

export const prefs = new Cell(stored());

/** @param {Partial<Prefs>} changed */
export function prefer(changed) {
  prefs.set({ ...prefs.value, ...changed });
  try {
    localStorage.setItem(KEY, JSON.stringify(prefs.value));
  } catch {
    // It is forgotten with the page.
  }
}
