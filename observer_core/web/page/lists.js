// Lists that come in pages by a cursor, newest first, and the filters above them.
import { get } from "./api.js";
import { html, useEffect, useRef, useState } from "./html.js";
import { t } from "./i18n.js";
import { useResource } from "./live.js";
import { ErrorBox } from "./parts.js";
import { replaceParams } from "./route.js";

/** @typedef {Record<string, string>} Params */

/**
 * @template R
 * @typedef {object} Pages
 * @property {ReturnType<typeof useResource>} first for <Loaded>
 * @property {R[]} items those that are shown
 * @property {R[]} waiting newer ones that are not shown before `show()` is called
 * @property {() => void} show
 * @property {string | null} next the cursor of what follows
 * @property {boolean} busy
 * @property {unknown} error of the last try to read on
 * @property {() => void} more
 */

/**
 * The first page is read again when something moved; what was read on stays below it.
 * @template R
 * @param {string | null} path with its query, without a cursor; null: nothing
 * @param {{ keyOf: (item: R) => string, orderOf: (item: R) => number, when: string[], holds?: boolean }} options
 *   `orderOf` falls along the list; `holds`: new ones wait to be shown, so that nothing moves
 * @returns {Pages<R>}
 */
export function usePages(path, { keyOf, orderOf, when, holds = false }) {
  const first = useResource(path, { when });
  const kept = useRef(/** @type {Kept<R> | null} */ (null));
  const [state, setState] = useState({ path, busy: false, error: /** @type {unknown} */ (null), drawn: 0 });
  if (first.data && kept.current?.page !== first.data) {
    const same = kept.current?.path === path ? kept.current : null;
    kept.current = same
      ? refreshed(same, first.data, keyOf, orderOf, holds)
      : { path, page: first.data, items: first.data.items, waiting: [], next: first.data.next };
  }
  const mine = first.data && kept.current?.path === path ? kept.current : null;
  const draw = (/** @type {object} */ changed) =>
    setState((last) => ({ ...last, busy: false, error: null, ...changed, path, drawn: last.drawn + 1 }));
  const more = async () => {
    const from = kept.current;
    if (path === null || !from?.next) return;
    draw({ busy: true });
    try {
      const page = await get(`${path}&cursor=${encodeURIComponent(from.next)}`);
      const now = kept.current;
      // Only what follows on what is there now.
      if (now?.path === path && now.next === from.next) {
        const known = new Set(now.items.map(keyOf));
        const added = page.items.filter((/** @type {R} */ item) => !known.has(keyOf(item)));
        kept.current = { ...now, items: [...now.items, ...added], next: page.next };
      }
      draw({});
    } catch (error) {
      draw({ error });
    }
  };
  const show = () => {
    const now = kept.current;
    if (now) kept.current = { ...now, items: [...now.waiting, ...now.items], waiting: [] };
    draw({});
  };
  return {
    first,
    items: mine?.items ?? [],
    waiting: mine?.waiting ?? [],
    show,
    next: mine?.next ?? null,
    busy: state.path === path && state.busy,
    error: state.path === path ? state.error : null,
    more,
  };
}

/**
 * @template R
 * @typedef {object} Kept
 * @property {string | null} path
 * @property {any} page the first page as it was read last
 * @property {R[]} items
 * @property {R[]} waiting
 * @property {string | null} next
 */

/**
 * @template R
 * @param {Kept<R>} kept
 * @param {{ items: R[], next: string | null }} page
 * @param {(item: R) => string} keyOf
 * @param {(item: R) => number} orderOf
 * @param {boolean} holds
 * @returns {Kept<R>}
 */
function refreshed(kept, page, keyOf, orderOf, holds) {
  const known = new Set(kept.items.map(keyOf));
  const fresh = new Map(page.items.map((item) => [keyOf(item), item]));
  const joined = page.next === null || known.size === 0 || page.items.some((item) => known.has(keyOf(item)));
  if (!joined) {
    // So much is new that something between is not known: it begins anew.
    return { ...kept, page, items: page.items, waiting: [], next: page.next };
  }
  const last = page.items.at(-1);
  const reaches = page.next === null ? -Infinity : last ? orderOf(last) : Infinity;
  const still = kept.items
    .filter((item) => fresh.has(keyOf(item)) || orderOf(item) < reaches)
    .map((item) => (holds ? (fresh.get(keyOf(item)) ?? item) : item));
  if (!holds) {
    const below = still.filter((item) => !fresh.has(keyOf(item)));
    return { ...kept, page, items: [...page.items, ...below], next: below.length ? kept.next : page.next };
  }
  const waiting = page.items.filter((item) => !known.has(keyOf(item)));
  return { ...kept, page, items: still, waiting, next: page.next === null ? null : kept.next };
}

/**
 * What reads on, below a list.
 * @param {{ of: Pages<any>, none?: boolean }} props `none`: nothing was found so far
 */
export function More({ of, none = false }) {
  if (!of.next && !of.error) return null;
  return html`<div class="more">${none && html`<p class="muted">${t("lists.further")}</p>`}
    ${of.error && html`<${ErrorBox} error=${of.error} small />`}
    <button type="button" disabled=${of.busy} onClick=${of.more}>${of.busy ? t("loading") : t("lists.more")}</button></div>`;
}

/**
 * @typedef {object} Filter
 * @property {string} name of the parameter in the address
 * @property {string} label
 * @property {"select" | "text" | "check"} kind
 * @property {[string, string][]} [options] of a select: value and text; "" is no filter
 * @property {string} [hint] what can be typed
 * @property {string[]} [offers] what is offered to a text
 * @property {boolean} [lazy] taken over when the field is left, not while something is typed
 */

/**
 * Filters whose state is the address.
 * @param {{ filters: Filter[], params: Params }} props
 */
export function Filters({ filters, params }) {
  const set = (/** @type {string} */ name, /** @type {string} */ value) =>
    replaceParams({ ...params, [name]: value });
  const some = filters.some(({ name }) => params[name]);
  const search = filters.find(({ kind }) => kind === "text")?.name;
  return html`<form class="list-filters" role="search" aria-label=${t("lists.filters")} onSubmit=${(/** @type {Event} */ event) => event.preventDefault()}>
    ${filters.map((filter) => {
      const value = params[filter.name] ?? "";
      if (filter.kind === "check") {
        return html`<label key=${filter.name} class="list-filter"><input type="checkbox" checked=${value === "true"}
          onChange=${(/** @type {any} */ event) => set(filter.name, event.target.checked ? "true" : "")} /> ${filter.label}</label>`;
      }
      if (filter.kind === "select") {
        const options = filter.options ?? [];
        const odd = value && !options.some(([known]) => known === value);
        return html`<label key=${filter.name} class="list-filter"><span>${filter.label}</span>
          <select value=${value} onChange=${(/** @type {any} */ event) => set(filter.name, event.target.value)}>
            ${(odd ? [...options, [value, value]] : options).map(
              ([known, text]) =>
                html`<option key=${known} value=${known} selected=${known === value}>${text}</option>`,
            )}</select></label>`;
      }
      return html`<${TextFilter} key=${filter.name} filter=${filter} value=${value} search=${filter.name === search}
        onSet=${(/** @type {string} */ text) => set(filter.name, text)} />`;
    })}
    <button type="button" class="plain" disabled=${!some} onClick=${() => {
      const others = { ...params };
      for (const { name } of filters) delete others[name];
      replaceParams(others);
    }}>${t("lists.clear")}</button>
  </form>`;
}

const PAUSE = 300;

/** @param {{ filter: Filter, value: string, search: boolean, onSet: (text: string) => void }} props */
function TextFilter({ filter, value, search, onSet }) {
  const [text, setText] = useState(value);
  const timer = useRef(/** @type {ReturnType<typeof setTimeout> | undefined} */ (undefined));
  const last = useRef(onSet);
  last.current = onSet;
  useEffect(() => setText(value), [value]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const id = `filter-${filter.name}`;
  /** @param {string} typed */
  const input = (typed) => {
    setText(typed);
    clearTimeout(timer.current);
    if (!filter.lazy) timer.current = setTimeout(() => last.current(typed.trim()), PAUSE);
  };
  return html`<label class="list-filter"><span>${filter.label}</span>
    <input type="search" value=${text} placeholder=${filter.hint} spellcheck=${false} autocomplete="off" maxlength="200"
      list=${filter.offers ? id : undefined} data-search=${search || undefined} aria-keyshortcuts=${search ? "/" : undefined}
      onInput=${(/** @type {any} */ event) => input(event.target.value)}
      onChange=${(/** @type {any} */ event) => {
        clearTimeout(timer.current);
        last.current(event.target.value.trim());
      }} />
    ${filter.offers && html`<datalist id=${id}>${filter.offers.map((offer) => html`<option key=${offer} value=${offer} />`)}</datalist>`}
  </label>`;
}

const GLOB = /[*?[]/;

/** A part of a name finds it; what is a glob already is taken as it is. @param {string | undefined} text */
export const globOf = (text) => (!text || GLOB.test(text) ? text : `*${text}*`);

/** How long back lists are often looked at. */
export const SPANS = ["15m", "1h", "6h", "1d", "7d"];
