// The end of a log file, followed while it is looked at.
import { withQuery } from "../../api.js";
import { shortTime } from "../../format.js";
import { html, useLayoutEffect, useRef, useState } from "../../html.js";
import { t } from "../../i18n.js";
import { useResource } from "../../live.js";
import { Badge, Card, Empty, Loaded, Skeleton } from "../../parts.js";
import { replaceParams } from "../../route.js";

/** @typedef {import("../../types.js").Log} LogAnswer */
/** @typedef {import("../../types.js").LogLine} LogLine */

const FILES = ["observer", "snapshot", "pattern", "decision"];
const LEVELS = ["debug", "info", "warning", "error", "critical"];
/** @type {Record<string, string>} */
const SEVERITY = { debug: "info", info: "info", warning: "warning", error: "critical", critical: "critical" };

/**
 * @param {{ who: import("../../types.js").Who | null, runtime: "standalone" | "functions",
 *   params: Record<string, string> }} props
 */
export function Log({ who, runtime, params }) {
  const [follow, setFollow] = useState(true);
  const file = FILES.includes(params.log) ? params.log : "observer";
  const level = LEVELS.includes(params.level) ? params.level : "";
  const lines = params.lines === "1000" ? 1_000 : 200;
  const allowed = who?.scopes.includes("admin") ?? false;
  const there = runtime === "standalone";
  const log = useResource(allowed && there ? withQuery("v1/logs", { file, level, lines }) : null, {
    every: follow ? 2_000 : 0,
  });
  const set = (/** @type {Record<string, string>} */ changed) => replaceParams({ ...params, ...changed });
  const select = (
    /** @type {string} */ name,
    /** @type {string} */ label,
    /** @type {string} */ value,
    /** @type {[string, string][]} */ options,
  ) => html`<select aria-label=${label} value=${value} onChange=${(/** @type {any} */ event) => set({ [name]: event.target.value })}>
    ${options.map(([key, text]) => html`<option key=${key} value=${key} selected=${key === value}>${text}</option>`)}</select>`;
  const tools =
    allowed &&
    there &&
    html`${select(
      "log",
      t("system.log.file"),
      file,
      FILES.map((name) => [name, `${name}.log`]),
    )}
    ${select("level", t("system.log.level"), level, [
      ["", t("system.log.any")],
      ...LEVELS.slice(1).map(
        (name) => /** @type {[string, string]} */ ([name, t("system.log.from", { level: name })]),
      ),
    ])}
    ${select("lines", t("system.log.lines"), String(lines), [
      ["200", "200"],
      ["1000", "1000"],
    ])}
    <button type="button" aria-pressed=${follow} onClick=${() => setFollow(!follow)}>${follow ? t("system.log.pause") : t("system.log.follow")}</button>`;
  return html`<${Card} title=${t("system.log")} size="flush" tools=${tools}>
    ${!there && html`<${Empty} title=${t("system.log.functions")} />`}
    ${there && who === null && html`<${Skeleton} rows=${6} />`}
    ${there && who !== null && !allowed && html`<${Empty} title=${t("system.log.scope")}>${t("system.log.scope.why")}<//>`}
    ${
      there &&
      allowed &&
      html`<${Loaded} of=${log} rows=${8} isEmpty=${(/** @type {LogAnswer} */ data) => data.lines.length === 0}
        empty=${html`<${Empty} title=${t("system.log.none")} />`}>${(/** @type {LogAnswer} */ data) => html`<${Lines} lines=${data.lines} follow=${follow} />`}<//>`
    }<//>`;
}

/** @param {{ lines: readonly LogLine[], follow: boolean }} props */
function Lines({ lines, follow }) {
  const box = useRef(/** @type {HTMLDivElement | null} */ (null));
  const last = lines.at(-1);
  // The end stays in sight, unless somebody has scrolled away from it.
  const atEnd = useRef(true);
  useLayoutEffect(() => {
    if (box.current && follow && atEnd.current) box.current.scrollTop = box.current.scrollHeight;
  }, [follow, lines.length, last?.time, last?.event]);
  const scrolled = () => {
    const it = box.current;
    if (it) atEnd.current = it.scrollHeight - it.scrollTop - it.clientHeight < 24;
  };
  return html`<div class="log" ref=${box} tabindex="0" role="group" aria-label=${t("system.log")} onScroll=${scrolled}><ol>${lines.map(
    (line, index) => html`<li key=${`${line.time} ${index}`} >
      <time title=${line.time ?? undefined}>${timeText(line.time)}</time>
      ${line.level ? html`<${Badge} of="severity" value=${SEVERITY[line.level] ?? "info"} text=${line.level} quiet />` : html`<span></span>`}
      <span class="says"><b>${line.event}</b>${Object.entries(line.fields).map(
        ([name, value]) =>
          html` <span key=${name} class="field-of"><span class="muted">${name}=</span>${valueText(value)}</span>`,
      )}</span></li>`,
  )}</ol></div>`;
}

/** @param {string | null} time */
function timeText(time) {
  if (time === null) return "";
  const ms = Date.parse(time);
  return Number.isNaN(ms) ? time : shortTime(ms);
}

/** @param {unknown} value */
const valueText = (value) => (typeof value === "string" ? value : JSON.stringify(value));
