// Where the page is: `#/view/id?parameters`. Links are made here only, and lead nowhere but into the page.
import { Cell } from "./cell.js";

/**
 * @typedef {object} Route
 * @property {string} view
 * @property {string | null} id of `#/incident/ID` and `#/decision/REF`
 * @property {Record<string, string>} params
 */

/**
 * @param {string} hash
 * @returns {Route}
 */
export function parse(hash) {
  const [path, query = ""] = hash.replace(/^#?\/?/, "").split("?", 2);
  const [view = "", ...rest] = path.split("/");
  let id = rest.join("/");
  try {
    id = decodeURIComponent(id);
  } catch {
    // A stray % is taken as it is.
  }
  return { view: view || "now", id: id || null, params: Object.fromEntries(new URLSearchParams(query)) };
}

/**
 * @param {string} view
 * @param {string | null} [id]
 * @param {Record<string, string | number | null | undefined>} [params] null and undefined are left out
 */
export function href(view, id, params = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    if (value !== null && value !== undefined && value !== "") query.set(name, String(value));
  }
  const path = id ? `#/${view}/${encodeURIComponent(id)}` : `#/${view}`;
  return query.size ? `${path}?${query}` : path;
}

export const route = new Cell(parse(location.hash));

addEventListener("hashchange", () => route.set(parse(location.hash)));

/**
 * Other parameters in the same place, without a new entry in the history.
 * @param {Record<string, string | number | null | undefined>} params replaces those there are
 */
export function replaceParams(params) {
  const { view, id } = route.value;
  history.replaceState(null, "", href(view, id, params));
  route.set(parse(location.hash));
}
