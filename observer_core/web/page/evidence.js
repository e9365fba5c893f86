// Records and their numbers, for who checks them: sheets of values, texts to copy, stored bytes as they are.
import { getText } from "./api.js";
import { number, span } from "./format.js";
import { html, useEffect, useRef, useState } from "./html.js";
import { t } from "./i18n.js";
import { ErrorBox, Skeleton, Time } from "./parts.js";
import { href } from "./route.js";

const SAID = 2_000;

/**
 * A text, shortened perhaps, that a press copies whole.
 * @param {{ text: string, shown?: string, label: string }} props `label`: what it is
 */
export function Copy({ text, shown = text, label }) {
  const [said, setSaid] = useState(/** @type {boolean | null} */ (null));
  const whole = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => {
    if (said === null) return;
    const timer = setTimeout(() => setSaid(null), SAID);
    return () => clearTimeout(timer);
  }, [said]);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setSaid(true);
    } catch {
      // Without a clipboard (plain HTTP from afar) it is selected at least.
      setSaid(false);
      if (whole.current) getSelection()?.selectAllChildren(whole.current);
    }
  };
  return html`<span class="copy"><code title=${text} ref=${whole}>${said === false ? text : shown}</code>
    <button type="button" class="plain" aria-label=${t("copy.label", { label })} title=${t("copy.label", { label })} onClick=${copy}>
      <span class="copy-sign" aria-hidden="true"></span></button>
    <span class="muted" role="status">${said === null ? "" : said ? t("copy.done") : t("copy.selected")}</span></span>`;
}

const REF = /^(decisions|gate)\.[\w.-]+@\d+$/;

/**
 * A value of a record, with its name's meaning: `*_ns` is a moment, or how long.
 * @param {{ name: string, value: unknown }} props
 */
export function Value({ name, value }) {
  const key = name.split(".").at(-1) ?? name;
  if (value === null || value === undefined) return html`<span class="muted">–</span>`;
  if (typeof value === "number") {
    if (key.endsWith("_ns") && value > 1e17) return html`<${Time} ns=${value} form="full" />`;
    if (key.endsWith("_ns")) return html`<span title=${`${value} ns`}>${span(value / 1e6)}</span>`;
    return html`<span title=${String(value)}>${number(value)}</span>`;
  }
  const text = Array.isArray(value) ? listed(key, value) : String(value);
  if (key === "incident" && text) return html`<a href=${href("incident", text)}>${text}</a>`;
  if (((key === "block" || key === "decision") && /^[0-9a-f]{32}$/.test(text)) || REF.test(text)) {
    return html`<a href=${href("decision", text)}>${text}</a>`;
  }
  return text === "" ? html`<span class="muted">–</span>` : text;
}

/** @param {string} key @param {any[]} values */
function listed(key, values) {
  const texts = values.map((value) =>
    typeof value === "number" ? (key.endsWith("_ns") ? span(value / 1e6) : number(value)) : String(value),
  );
  const same = texts.length > 3 && texts.every((text) => text === texts[0]);
  return same ? `${texts[0]} × ${texts.length}` : texts.join(", ");
}

/**
 * Names and values of nested objects, as "own.limits.critical".
 * @param {Record<string, any>} value
 * @param {string} [prefix]
 * @returns {[string, unknown][]}
 */
export function flat(value, prefix = "") {
  return Object.entries(value).flatMap(([name, item]) => {
    const whole = prefix + name;
    if (Array.isArray(item) && item.some((one) => one !== null && typeof one === "object")) {
      return flat(Object.fromEntries(item.map((one, index) => [String(index + 1), one])), `${whole}.`);
    }
    const inner = item !== null && typeof item === "object" && !Array.isArray(item);
    return inner ? flat(item, `${whole}.`) : /** @type {[string, unknown][]} */ ([[whole, item]]);
  });
}

const ROWS = 40;

/**
 * Values of a record by name.
 * @param {{ of: Record<string, any>, skip?: string[] }} props
 */
export function Sheet({ of, skip = [] }) {
  const [all, setAll] = useState(false);
  const rows = flat(of).filter(([name]) => !skip.includes(name));
  return html`<dl class="sheet">${(all ? rows : rows.slice(0, ROWS)).map(
    ([name, value]) =>
      html`<div key=${name}><dt>${name}</dt><dd><${Value} name=${name} value=${value} /></dd></div>`,
  )}</dl>
    ${
      !all &&
      rows.length > ROWS &&
      html`<p><button type="button" class="link" onClick=${() => setAll(true)}>${t("now.more", { n: rows.length - ROWS })}</button></p>`
    }`;
}

const SHOWN = 100_000;

/**
 * A record's stored bytes, read when they are asked for. Only spaces are added.
 * @param {{ at: string, length?: number }} props `length`: how many bytes there must be
 */
export function StoredRecord({ at, length }) {
  const [state, setState] = useState(
    /** @type {{ raw?: string, error?: unknown, asked?: boolean }} */ ({ asked: false }),
  );
  const read = async () => {
    setState({ asked: true });
    try {
      setState({ asked: true, raw: recordIn(await getText(`v1/records/${encodeURIComponent(at)}`)) });
    } catch (error) {
      setState({ asked: true, error });
    }
  };
  /** @param {any} event */
  const toggled = (event) => {
    if (event.currentTarget.open && !state.asked) read();
  };
  const { raw, error } = state;
  const bytes = raw === undefined ? 0 : new TextEncoder().encode(raw).length;
  const differs = raw !== undefined && length !== undefined && bytes !== length;
  return html`<details class="stored" onToggle=${toggled}><summary>${t("stored.title")}</summary>
    ${state.asked && raw === undefined && !error && html`<${Skeleton} />`}
    ${error && html`<${ErrorBox} error=${error} retry=${read} small />`}
    ${
      raw !== undefined &&
      html`<p class="muted"><span>${t("stored.bytes", { n: bytes })}</span> ${differs && html`<b role="alert">${t("stored.differs", { n: length ?? 0 })}</b>`}
        <${Copy} text=${raw} shown="" label=${t("stored.label")} /></p>
      <pre tabindex="0" role="region" aria-label=${t("stored.of", { ref: at })}>${indented(raw).slice(0, SHOWN)}</pre>
      ${raw.length > SHOWN && html`<p class="muted">${t("stored.cut")}</p>`}`
    }</details>`;
}

/** The record of an answer, as it stands in it: its last value. @param {string} text */
function recordIn(text) {
  const start = text.indexOf('"record":') + '"record":'.length;
  return text.slice(start, text.lastIndexOf("}"));
}

const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^"{}[\],:]+/g;

/** JSON with spaces and line ends between its tokens; lists of plain values stay in a line. @param {string} raw */
export function indented(raw) {
  const tokens = raw.match(TOKEN) ?? [];
  let depth = 0;
  let out = "";
  const line = () => `\n${"  ".repeat(depth)}`;
  for (let at = 0; at < tokens.length; at += 1) {
    const token = tokens[at];
    if (token === "[" || token === "{") {
      const end = plainEnd(tokens, at);
      if (end !== null) {
        const inside = tokens
          .slice(at + 1, end)
          .join("")
          .replaceAll(",", ", ");
        out += `${token}${token === "[" ? inside : ""}${tokens[end]}`;
        at = end;
      } else {
        depth += 1;
        out += token + line();
      }
    } else if (token === "]" || token === "}") {
      depth -= 1;
      out += line() + token;
    } else if (token === ",") out += token + line();
    else out += token === ":" ? ": " : token;
  }
  return out;
}

/** Where a list of plain values that begins here ends, or an empty object; null for others. @param {string[]} tokens @param {number} start */
function plainEnd(tokens, start) {
  if (tokens[start] === "{") return tokens[start + 1] === "}" ? start + 1 : null;
  for (let at = start + 1; at < tokens.length; at += 1) {
    if (tokens[at] === "]") return at;
    if (tokens[at] === "[" || tokens[at] === "{") return null;
  }
  return null;
}
