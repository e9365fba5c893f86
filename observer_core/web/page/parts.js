// What views are built of. For their authors:
//
// - A condition that holds *now* (gate, risk, health, feed) is a <State>: it turns grey and reads "was …" by
//   itself when the page is not fresh. A fact of a record (severity, verdict) is a <Badge>: it never changes.
//   Both have a shape and a word with every colour.
// - What comes from the server goes through <Loaded of=${useResource(…)}>: skeleton, error with retry,
//   empty and stale are designed there, once. Give a Card a size class (`small`, `tall`, …) so that nothing
//   moves when its content arrives.
// - Lists are <Table>s: on a phone each row becomes a card; j and k walk rows, Enter opens. Anything else that
//   j and k shall walk has `data-row tabindex="-1"`; what `/` focuses has `data-search`.
// - Text from outside (subjects, reasons, log lines) is put in as ${text}, nothing else; a link is made by
//   href() of route.js, never from such a text. No style attributes: classes, or a style *object*.
// - Every text is t("view.key"), in locale/en.js and locale/ko.js.
// - What is done to the system is asked in a <ConfirmForm>.
import { ApiError } from "./api.js";
import { useCell } from "./cell.js";
import { clock, countdown, dayClock, fullTime, shortTime, span, utc } from "./format.js";
import {
  createContext,
  html,
  useContext,
  useEffect,
  useErrorBoundary,
  useId,
  useRef,
  useState,
} from "./html.js";
import { t, useLang } from "./i18n.js";
import { domainHere, domainNow, live, second, useFresh, useResource } from "./live.js";
import { prefer, prefs } from "./prefs.js";
import { href } from "./route.js";

/** @typedef {import("./vendor/preact.js").ComponentChildren} Children */
/** @typedef {"ok" | "warn" | "bad" | "unknown" | "info" | "off"} Tone */

/** How each condition looks: ok circle, warn triangle, bad square, unknown diamond, info ring, off line. */
/** @type {Record<string, Record<string, Tone>>} */
const TONES = {
  gate: { open: "ok", blocked: "bad", unknown: "unknown" },
  risk: { calm: "ok", elevated: "warn", critical: "bad", unknown: "unknown" },
  health: { pass: "ok", warn: "warn", fail: "bad" },
  feed: { ok: "ok", stale: "warn", unavailable: "bad", unknown: "unknown" },
  severity: { info: "info", low: "info", medium: "warn", warning: "warn", high: "bad", critical: "bad" },
  verdict: { judgment: "info", block: "bad", release: "ok", non_execution: "off" },
  incident: { open: "warn", resolved: "ok" },
  subscription: { waiting: "info", active: "ok", paused: "off" },
  letter: { buried: "bad", redriven: "ok", dropped: "off" },
  outcome: {
    sending: "info",
    unknown: "unknown",
    rejected: "bad",
    recorded: "ok",
    waiting: "info",
    done: "ok",
    refused: "bad",
    needs_confirmation: "warn",
  },
  verified: { sound: "ok", broken: "bad" },
  answer: { allow: "ok", non_execution: "bad" },
  told: {
    waiting: "info",
    grouped: "info",
    delivered: "ok",
    already_delivered: "ok",
    folded: "info",
    failed: "warn",
    expired: "off",
    kept: "off",
    dropped: "bad",
  },
  word: { right: "info", wrong: "off", none: "off" },
};

/** Whether what is inside could not be read again. */
const Outdated = createContext(false);

/** Whether what is shown here is how things are: the page is fresh, and so is what came of its <Loaded>. */
export function useHolds() {
  const fresh = useFresh();
  return !useContext(Outdated) && fresh;
}

/** @param {{ tone: Tone | "old" }} props */
export const Sym = ({ tone }) => html`<span class=${`sym sym-${tone}`} aria-hidden="true"></span>`;

/**
 * A condition that holds now.
 * @param {{ of: string, value: string, text?: string, quiet?: boolean }} props `text` instead of the word;
 *   `quiet`: without a frame
 */
export function State({ of, value, text, quiet = false }) {
  const holds = useHolds();
  useLang();
  const word = text ?? t(`${of}.${value}`);
  const tone = holds ? (TONES[of]?.[value] ?? "unknown") : "old";
  return html`<span class=${`state tone-${tone}${quiet ? " quiet" : ""}`}><${Sym} tone=${tone} />
    <span>${holds ? word : t("state.was", { state: word })}</span></span>`;
}

/**
 * A fact of a record: its word will always hold, only its colour goes with all others.
 * @param {{ of: string, value: string, text?: string, quiet?: boolean }} props
 */
export function Badge({ of, value, text, quiet = false }) {
  const holds = useHolds();
  useLang();
  const tone = holds ? (TONES[of]?.[value] ?? "info") : "old";
  return html`<span class=${`state badge tone-${tone}${quiet ? " quiet" : ""}`}><${Sym} tone=${tone} />
    <span>${text ?? t(`${of}.${value}`)}</span></span>`;
}

/**
 * The head of a view: its title, and what is done with it.
 * @param {{ title: Children, children?: Children }} props
 */
export const ViewHead = ({ title, children }) => html`<div class="view-head">
  <h1>${title}</h1><div class="view-tools">${children}</div></div>`;

/**
 * @param {{ title: Children, count?: number | null, more?: string, size?: string, tools?: Children,
 *   scrolls?: boolean, children?: Children }} props `more`: a link to all of it; `size`: classes, see "cards"
 *   in style.css; `scrolls`: nothing in it can have the focus, so that its body must, to be scrolled by keys
 */
export function Card({ title, count, more, size = "", tools, scrolls = false, children }) {
  const id = useId();
  return html`<section class=${`card ${size}`} aria-labelledby=${id}>
    <header><h2 id=${id}>${title}</h2>
      ${count != null && html`<span class="count">${count.toLocaleString()}</span>`}
      <span class="tools">${tools}${more && html`<a href=${more}>${t("all")}</a>`}</span>
    </header>
    <div class="body" tabindex=${scrolls ? "0" : undefined} role=${scrolls ? "group" : undefined}
      aria-labelledby=${scrolls ? id : undefined}>${children}</div>
  </section>`;
}

/** @param {{ rows?: number, label?: string }} props */
export const Skeleton = ({ rows = 3, label }) => html`<div class="skeleton" role="status">
  <span class="unseen">${label ?? t("loading")}</span>
  ${Array.from({ length: rows }, (_, row) => html`<i key=${row} class=${`w${row % 4}`}></i>`)}</div>`;

/**
 * Nothing there, and what that means: often it is good.
 * @param {{ title: Children, children?: Children, good?: boolean }} props
 */
export const Empty = ({ title, children, good = false }) => html`<div class="empty">
  ${good && html`<${State} of="health" value="pass" text=${title} quiet />`}
  ${!good && html`<p>${title}</p>`}
  ${children && html`<p class="muted">${children}</p>`}</div>`;

/** @param {unknown} error */
export function errorText(error) {
  if (!(error instanceof ApiError)) return error instanceof Error ? error.message : String(error);
  if (error.code === "http") return error.message;
  return t(`error.${error.code}`);
}

/** @param {{ error: unknown, retry?: () => void, small?: boolean, title?: string }} props */
export function ErrorBox({ error, retry, small = false, title = t("error.title") }) {
  const status = error instanceof ApiError && error.status ? ` (${error.status})` : "";
  return html`<div class=${`error${small ? " small" : ""}`} role="alert">
    <p><${Sym} tone="bad" /> <b>${title}${status}.</b> ${errorText(error)}</p>
    ${retry && html`<button type="button" onClick=${retry}>${t("retry")}</button>`}</div>`;
}

/**
 * What came of useResource(). `empty`: what stands there when `isEmpty` says so of the data.
 * @param {{ of: { data: any, error: any, loading: boolean, old: boolean, at: number | null, reload: () => void },
 *   children: (data: any) => Children, empty?: Children, isEmpty?: (data: any) => boolean,
 *   rows?: number }} props
 */
export function Loaded({ of: { data, error, loading, old, at, reload }, children, empty, isEmpty, rows }) {
  if (data === null && error) return html`<${ErrorBox} error=${error} retry=${reload} />`;
  if (data === null || loading) return html`<${Skeleton} rows=${rows} />`;
  const nothing = empty !== undefined && (isEmpty ?? noItems)(data);
  return html`<${Outdated.Provider} value=${old}><div class=${error ? "outdated" : "loaded"}>
    ${
      error &&
      html`<p class="strip" role="alert"><span>${t("stale.part", { time: clock(at ?? 0) })} ${errorText(error)}</span>
      <button type="button" onClick=${reload}>${t("retry")}</button></p>`
    }
    ${nothing ? empty : children(data)}</div><//>`;
}

/** @param {{ items?: any[] }} data */
const noItems = (data) => data.items?.length === 0;

/**
 * @template R
 * @typedef {object} Column
 * @property {string} id
 * @property {Children} title
 * @property {(row: R) => Children} cell
 * @property {string} [size] a class of style.css that fixes its width: c-s, c-m, c-l, c-time, c-num; else: the rest
 * @property {boolean} [end] aligned at the end: numbers
 */

/**
 * Rows with a link of the first column's; j, k and Enter walk and open them.
 * @template R
 * @param {{ caption: string, columns: Column<R>[], rows: readonly R[], keyOf: (row: R) => string,
 *   toneOf?: (row: R) => string, selected?: string | null }} props `caption` is for screen readers
 */
export function Table({ caption, columns, rows, keyOf, toneOf, selected = null }) {
  return html`<table class="table" role="table">
    <caption class="unseen">${caption}</caption>
    <thead role="rowgroup"><tr role="row">${columns.map(
      (column) => html`<th key=${column.id} role="columnheader" scope="col"
        class=${`${column.size ?? ""}${column.end ? " end" : ""}`}>${column.title}</th>`,
    )}</tr></thead>
    <tbody role="rowgroup">${rows.map((row) => {
      const key = keyOf(row);
      return html`<tr key=${key} role="row" data-row tabindex="-1" aria-current=${key === selected ? "true" : undefined}
        class=${toneOf?.(row) ?? ""}>${columns.map(
          (column) => html`<td key=${column.id} role="cell" data-label=${column.title}
            class=${`${column.size ?? ""}${column.end ? " end" : ""}`}>${column.cell(row)}</td>`,
        )}</tr>`;
    })}</tbody>
  </table>`;
}

/**
 * Names and values.
 * @param {{ of: [Children, Children][] }} props
 */
export const Facts = ({ of }) =>
  html`<dl class="facts">${of.map(
    ([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`,
  )}</dl>`;

/**
 * A moment in the time zone chosen; pointing at it shows it in UTC, to the nanosecond.
 * @param {{ ns: number | null | undefined, form?: "short" | "clock" | "day" | "full" }} props
 */
export function Time({ ns, form = "short" }) {
  useCell(prefs, zoneOf);
  useLang();
  const near = useCell(live, hourNow) * 3_600_000;
  if (ns === null || ns === undefined) return html`<span class="muted">–</span>`;
  const text = { short: shortTime, clock, day: dayClock, full: fullTime }[form](ns / 1e6, near);
  return html`<time datetime=${utc(ns)} title=${utc(ns)}>${text}</time>`;
}

/** @param {import("./prefs.js").Prefs} value */
const zoneOf = (value) => value.zone;

const hourNow = () => Math.round(domainNow(domainHere()) / 3_600_000);

/**
 * How long ago, in the domain's own time; it goes on while the page is fresh.
 * @param {{ ns: number | null | undefined }} props
 */
export function Age({ ns }) {
  useCell(second);
  const domain = domainHere();
  if (ns === null || ns === undefined || domain === null) return html`<span class="muted">–</span>`;
  return html`<time datetime=${utc(ns)} title=${utc(ns)}>${span(Math.max(0, domainNow(domain) - ns / 1e6))}</time>`;
}

/**
 * How long until, as a countdown. What is over reads "due": only a record ends it, never a clock.
 * @param {{ ns: number | null | undefined }} props null: not by time
 */
export function Until({ ns }) {
  useCell(second);
  const domain = domainHere();
  if (ns === null || ns === undefined) return html`<span class="muted">${t("until.open")}</span>`;
  const left = ns / 1e6 - domainNow(domain);
  return html`<time class="until" datetime=${utc(ns)} title=${utc(ns)}>${left > 0 ? countdown(left) : t("until.due")}</time>`;
}

/**
 * "BTC/USDT price · binance": a link to the series.
 * @param {{ series: readonly [string, string, string] }} props source, subject, field
 */
export const SeriesLink = ({ series: [source, subject, field] }) => html`<a class="series"
  href=${href("series", null, { source, subject, field })}>${nameText(subject)} <span class="muted">${field} · ${source}</span></a>`;

/**
 * A bar that fills up to a limit, beside words that say the same.
 * @param {{ part: number, over?: boolean }} props
 */
export function Bar({ part, over = part > 1 }) {
  const holds = useHolds();
  return html`<span class=${`bar${over ? " over" : ""}${holds ? "" : " old"}`} aria-hidden="true">
    <i style=${{ width: `${100 * Math.min(1, Math.max(0, part))}%` }}></i></span>`;
}

const ODD = /^\s|\s$|[\p{Cf}\p{Cc}]/u;

/** A name as it is, in quotes where that is not to be seen. @param {string} name */
export const nameText = (name) => (name === "" || ODD.test(name) ? `“${name}”` : name);

/** A scope in words: everything, a source, a subject. @param {string} scope */
export function scopeText(scope) {
  if (scope === "*") return t("scope.all");
  if (scope.startsWith("source:")) return t("scope.source", { name: scope.slice(7) });
  return scope.startsWith("subject:") ? nameText(scope.slice(8)) : scope;
}

/**
 * A dialog over the page. Esc closes it, the focus stays in it and goes back where it was.
 * @param {{ title: Children, onClose: () => void, children?: Children, wide?: boolean }} props
 */
export function Dialog({ title, onClose, children, wide = false }) {
  const box = useRef(/** @type {HTMLDialogElement | null} */ (null));
  const id = useId();
  useEffect(() => {
    const before = document.activeElement;
    box.current?.showModal();
    return () => {
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  /** @param {Event} event */
  const cancel = (event) => {
    event.preventDefault();
    onClose();
  };
  return html`<dialog ref=${box} class=${wide ? "wide" : ""} aria-labelledby=${id} onCancel=${cancel} onClose=${onClose}>
    <header><h2 id=${id}>${title}</h2>
      <button type="button" class="plain" onClick=${onClose} aria-label=${t("close")}>✕</button></header>
    ${children}
  </dialog>`;
}

/** Whether what was asked may have been recorded all the same. @param {unknown} error */
export const unsure = (error) => error instanceof ApiError && (error.code !== "http" || error.status >= 500);

/**
 * Asks for author and reason before something is done, and says what the server said.
 * @param {{ title: Children, text: Children, action: string, danger?: boolean, reasonNeeded?: boolean,
 *   onConfirm: (given: { author: string, reason: string, form: FormData }) => Promise<unknown>,
 *   onClose: () => void, children?: Children }} props `children`: further fields, found in `form` by name.
 *   `onConfirm` throws what is to be shown; when it returns, the dialog closes.
 */
export function ConfirmForm({
  title,
  text,
  action,
  danger = false,
  reasonNeeded = true,
  onConfirm,
  onClose,
  children,
}) {
  const who = useResource("v1/whoami").data;
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(/** @type {unknown} */ (null));
  const [author, setAuthor] = useState(prefs.value.author);
  // Many may hold one function key: it does not say who they are.
  const proved = who?.principal && who.proof !== "function_key" ? who.name : null;
  /** @param {SubmitEvent} event */
  const submit = async (event) => {
    event.preventDefault();
    const form = new FormData(/** @type {HTMLFormElement} */ (event.target));
    const given = {
      author: (proved ?? author).trim(),
      reason: String(form.get("reason") ?? "").trim(),
      form,
    };
    setBusy(true);
    setError(null);
    try {
      await onConfirm(given);
      if (!proved) prefer({ author: given.author });
      onClose();
    } catch (refused) {
      setError(refused);
      setBusy(false);
    }
  };
  return html`<${Dialog} title=${title} onClose=${onClose}>
    <form onSubmit=${submit}>
      <div class="lead">${text}</div>
      ${children}
      <label class="field"><span>${t("confirm.author")}</span>
        <input name="author" required maxlength="256" autofocus=${!prefs.value.author} autocomplete="name" value=${proved ?? author} readonly=${proved !== null}
          onInput=${(/** @type {any} */ event) => setAuthor(event.target.value)} /></label>
      <label class="field"><span>${t("confirm.reason")}</span>
        <textarea name="reason" rows="3" maxlength="2000" required=${reasonNeeded} autofocus></textarea></label>
      <p class="muted">${t("confirm.recorded")}</p>
      ${error && html`<${ErrorBox} error=${error} title=${unsure(error) ? t("confirm.unsure") : t("confirm.refused")} small />`}
      <footer><button type="button" onClick=${onClose}>${busy ? t("close") : t("cancel")}</button>
        <button class=${danger ? "danger" : "primary"} disabled=${busy}>${busy ? t("confirm.busy") : action}</button></footer>
    </form>
  <//>`;
}

/**
 * Keeps an error of a view in its place.
 * @param {{ children: Children }} props
 */
export function Guarded({ children }) {
  const [error, reset] = useErrorBoundary((found) => console.error(found));
  return error ? html`<${ErrorBox} error=${error} retry=${reset} />` : children;
}
