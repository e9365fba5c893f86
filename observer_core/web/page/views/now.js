// How everything stands: the gate of every subject, and beside it what it rests on.

import { withQuery } from "../api.js";
import { span } from "../format.js";
import { html, useEffect, useMemo, useRef, useState } from "../html.js";
import { reasonText, t, useLang } from "../i18n.js";
import { useDomain, useDomainName, useResource } from "../live.js";
import {
  Age,
  Badge,
  Bar,
  Card,
  Empty,
  Loaded,
  nameText,
  Skeleton,
  State,
  scopeText,
  Time,
  Until,
  useHolds,
} from "../parts.js";
import { href, replaceParams } from "../route.js";

/** @typedef {import("../types.js").Board} Board */
/** @typedef {import("../types.js").BoardRow} BoardRow */
/** @typedef {import("../types.js").GateReason} GateReason */
/** @typedef {import("../types.js").GateState} GateState */

/**
 * Subjects of one state for one cause.
 * @typedef {object} Group
 * @property {string} key
 * @property {GateState} state
 * @property {GateReason[]} reasons of its first subject
 * @property {BoardRow[]} rows
 */

/** @type {GateState[]} */
const STATES = ["blocked", "unknown", "open"];
const TILES = 600;
const TILES_OF_CAUSE = 48;
const TILES_PHONE = 48;
const GROUPS = 100;

/** @param {{ params: Record<string, string> }} props */
export default function Now({ params }) {
  const domain = useDomainName();
  return html`<h1 class="unseen">${t("nav.now")}</h1>
    <div class="now"><${GateCard} domain=${domain} params=${params} />
      <div class="side"><${Incidents} domain=${domain} /><${Decisions} domain=${domain} /><${Feeds} /><${Stages} /></div></div>`;
}

// ---------------------------------------------------------------- the gate

/** @param {{ domain: string | null, params: Record<string, string> }} props */
function GateCard({ domain, params }) {
  const counts = useDomain()?.gate;
  const board = useResource(domain && withQuery("v1/board", { domain }), {
    when: ["events", "decisions"],
    and: counts ? STATES.map((state) => counts[state]).join(" ") : "",
    every: 5_000,
    timeout: 5_000,
  });
  const wanted = STATES.find((state) => state === params.state) ?? null;
  const shown = /** @type {Board | null} */ (board.data)?.counts ?? counts;
  const all = shown ? STATES.reduce((sum, state) => sum + (shown[state] ?? 0), 0) : null;
  const set = (/** @type {Record<string, string | null>} */ changed) =>
    replaceParams({ ...params, ...changed });
  const tools = html`<div class="picks" role="group" aria-label=${t("now.show")}>
      <button type="button" aria-pressed=${wanted === null} onClick=${() => set({ state: null })}>${t("now.all")} <b>${all ?? "–"}</b></button>
      ${STATES.map(
        (
          state,
        ) => html`<button key=${state} type="button" class=${shown?.[state] ? "" : "none"} aria-pressed=${wanted === state} onClick=${() => set({ state })}>
          ${shown ? html`<${State} of="gate" value=${state} quiet />` : t(`gate.${state}`)} <b>${shown?.[state] ?? "–"}</b></button>`,
      )}</div>
    <input type="search" data-search placeholder=${t("now.filter")} aria-label=${t("now.filter")} aria-keyshortcuts="/"
      value=${params.q ?? ""} onInput=${(/** @type {any} */ event) => set({ q: event.target.value })} />`;
  return html`<${Card} title=${t("now.gate")} size="flush full gate" tools=${tools}>
    <${Loaded} of=${board} rows=${14} isEmpty=${(/** @type {Board} */ data) => data.rows.length === 0}
      empty=${html`<${Empty} title=${t("now.none")}>${t("now.none.why")}<//>`}>
      ${(/** @type {Board} */ data) => html`<${Groups} board=${data} state=${wanted} filter=${params.q ?? ""} />`}
    <//><//>`;
}

/** @param {{ board: Board, state: GateState | null, filter: string }} props */
function Groups({ board, state, filter }) {
  const [most, setMost] = useState(GROUPS);
  const groups = useMemo(() => grouped(board, state, filter), [board, state, filter]);
  if (groups.length === 0) {
    return html`<${Empty} title=${t("now.filtered")}>
      <button type="button" onClick=${() => replaceParams({})}>${t("now.unfilter")}</button><//>`;
  }
  const quiet = groups.length === 1 && groups[0].state === "open" && !filter && !state;
  return html`${quiet && html`<p class="calm">${t("now.calm")}</p>`}
    <ul class="groups">${groups.slice(0, most).map((group) => html`<${GroupItem} key=${group.key} group=${group} />`)}</ul>
    ${
      groups.length > most &&
      html`<p class="more"><button type="button" onClick=${() => setMost(most + 5 * GROUPS)}>
      ${t("now.more", { n: groups.length - most })}</button></p>`
    }`;
}

/**
 * Subjects with the same cause are one group: a halted venue is one line, not five thousand.
 * @param {Board} board
 * @param {GateState | null} state
 * @param {string} filter words that must all be in the subject or its sources
 * @returns {Group[]}
 */
function grouped(board, state, filter) {
  const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
  const causes = board.reasons.map(causeOf);
  /** @type {Map<string, Group>} */
  const groups = new Map();
  for (const row of board.rows) {
    if (state && row.state !== state) continue;
    if (words.length > 0) {
      const text = `${row.subject} ${row.sources.join(" ")}`.toLowerCase();
      if (!words.every((word) => text.includes(word))) continue;
    }
    const key =
      row.state === "open" ? "open" : `${row.state} ${row.reasons.map((index) => causes[index]).join(" ")}`;
    const group = groups.get(key);
    if (group) group.rows.push(row);
    else
      groups.set(key, {
        key,
        state: row.state,
        reasons: row.reasons.map((index) => board.reasons[index]),
        rows: [row],
      });
  }
  return [...groups.values()].sort((one, other) => STATES.indexOf(one.state) - STATES.indexOf(other.state));
}

/** What makes two reasons one cause. @param {GateReason} reason */
function causeOf(reason) {
  const { code, source, stage, scope, policy, decision } = reason;
  return JSON.stringify([code, source, stage, code === "subject_stale" ? null : scope, policy, decision]);
}

/** @param {{ group: Group }} props */
function GroupItem({ group: { state, reasons, rows } }) {
  const [open, setOpen] = useState(false);
  useLang();
  const single = rows.length === 1 && state !== "open";
  const first = rows[0];
  const [reason, ...others] = reasons;
  return html`<li class=${`group ${state}`}>
    <div class="head" data-row=${state !== "open" || undefined} tabindex=${state === "open" ? undefined : "-1"}>
      <span class="what"><${State} of="gate" value=${state} /></span>
      <span class="who">${
        single
          ? html`<a class="clip" title=${first.subject} href=${chart(first)}>${nameText(first.subject)}</a>`
          : html`<b>${t("now.subjects", { n: rows.length })}</b>`
      }</span>
      <span class="why">${
        reason &&
        html`<button type="button" class="link why-text" aria-expanded=${open} onClick=${() => setOpen(!open)}>
        ${reasonText(reason, "why")}${others.length > 0 && html` <span class="muted">${t("now.reasons", { n: others.length })}</span>`}</button>`
      }</span>
      ${
        state !== "open" &&
        html`<span class="since">${first.since_ns !== null && html`<span class="muted">${t("now.since")}</span>${" "}<${Time} ns=${first.since_ns} />`}</span>
        <span class="left">${state === "blocked" && html`<${Until} ns=${first.until_ns} />`}</span>`
      }
    </div>
    ${
      open &&
      html`<ul class="reasons">${reasons.map(
        (found, index) => html`<li key=${index}><span>${reasonText(found)}</span>
        ${found.decision && html` <a href=${href("decision", found.decision)}>${t("now.decision")}</a>`}</li>`,
      )}
      ${single && html`<li class="muted">${t("now.seen", { sources: first.sources.join(", ") || "–" })} · <${State} of="risk" value=${first.risk} text=${t(`risk.line.${first.risk}`)} quiet /></li>`}</ul>`
    }
    ${!single && html`<${Tiles} rows=${rows} state=${state} />`}
  </li>`;
}

/** @param {BoardRow} row */
const chart = (row) => href("series", null, { source: row.sources[0], subject: row.subject });

/** @type {Record<GateState, "ok" | "bad" | "unknown">} */
const TONE = { open: "ok", blocked: "bad", unknown: "unknown" };

/** @param {{ rows: BoardRow[], state: GateState }} props */
function Tiles({ rows, state }) {
  const holds = useHolds();
  const phone = matchMedia("(max-width: 760px)").matches;
  const few = phone ? TILES_PHONE : state === "open" ? TILES : TILES_OF_CAUSE;
  const [most, setMost] = useState(few);
  const shown = useMemo(
    () =>
      rows.slice(0, most).map((row, index) => {
        const lifted = state === "open" && row.risk !== "calm" && row.risk !== "unknown";
        const tone = holds ? (lifted ? "warn" : TONE[state]) : "old";
        return html`<a key=${row.subject} class=${lifted ? "tile lifted" : "tile"} href=${chart(row)} title=${row.subject}
        data-row tabindex=${index === 0 ? "0" : "-1"}><span class=${`sym sym-${tone}`}></span><span class="clip">${nameText(row.subject)}</span>
        ${lifted && html`<span class="unseen">${t(`risk.line.${row.risk}`)}</span>`}</a>`;
      }),
    [rows, most, holds, state],
  );
  return html`<div class="tiles" role="group" aria-label=${`${t(`gate.${state}`)}: ${rows.length}`} onKeyDown=${arrows}>${shown}</div>
    ${
      rows.length > most &&
      html`<p class="more"><button type="button" onClick=${() => setMost(most < TILES ? TILES : most + 2 * TILES)}>
      ${t("now.more", { n: rows.length - most })}</button></p>`
    }`;
}

/** The arrow keys go from tile to tile. @param {KeyboardEvent} event */
function arrows(event) {
  const tiles = /** @type {HTMLElement[]} */ ([.../** @type {HTMLElement} */ (event.currentTarget).children]);
  const at = tiles.indexOf(/** @type {HTMLElement} */ (document.activeElement));
  if (at < 0) return;
  const top = tiles[0].offsetTop;
  const wide = tiles.findIndex((tile) => tile.offsetTop !== top);
  const columns = wide < 0 ? tiles.length : wide;
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[event.key];
  const next = step === undefined ? undefined : tiles[at + step];
  if (!next) return;
  event.preventDefault();
  next.focus();
}

// ---------------------------------------------------------------- beside it

/** @param {{ domain: string | null }} props */
function Incidents({ domain }) {
  const found = useResource(domain && withQuery("v1/incidents", { domain, open: true, limit: 20 }), {
    when: ["events"],
  });
  const more = href("incidents");
  return html`<${Card} title=${t("now.incidents")} count=${useDomain()?.incidents} more=${more} size="middle flush">
    <${Loaded} of=${found} empty=${html`<${Empty} good title=${t("now.incidents.none")} />`}>
      ${(/** @type {import("../types.js").Page<import("../types.js").IncidentItem>} */ page) =>
        html`<ul class="rows">${page.items.map(
          (item) => html`<li key=${item.id} data-row tabindex="-1">
          <span class="first"><${Badge} of="severity" value=${item.severity} quiet />
            <a class="clip" href=${href("incident", item.id)}>${leadOf(item)}</a><span class="muted"><${Age} ns=${item.opened_ns} /></span></span>
          <span class="second clip muted">${item.venue || item.source} · ${t("now.series", { n: item.series_count })} · ${Object.keys(item.patterns).join(", ")}</span></li>`,
        )}</ul>`}
    <//><//>`;
}

/** A feed as a whole has the subject *. @param {string} source @param {string} subject */
const nameOf = (source, subject) =>
  subject === "*" ? t("scope.source", { name: source }) : nameText(subject);

/** @param {import("../types.js").IncidentItem} item */
function leadOf(item) {
  const subjects = [
    ...new Set([...item.started, ...item.series].map(([source, subject]) => nameOf(source, subject))),
  ];
  return subjects.length > 1
    ? t("now.lead", { subject: subjects[0], n: subjects.length - 1 })
    : (subjects[0] ?? item.source);
}

/** @param {{ domain: string | null }} props */
function Decisions({ domain }) {
  const found = useResource(domain && withQuery("v1/decisions", { domain, limit: 10 }), {
    when: ["decisions"],
    least: 500,
  });
  const before = useRef(/** @type {Set<string> | null} */ (null));
  /** @type {import("../types.js").RecordItem[] | undefined} */
  const items = found.data?.items;
  const seen = before.current;
  useEffect(() => {
    if (items) before.current = new Set(items.map((item) => item.ref));
  }, [items]);
  return html`<${Card} title=${t("now.decisions")} more=${href("decisions")} size="tall flush">
    <${Loaded} of=${found} rows=${6} empty=${html`<${Empty} title=${t("now.decisions.none")} />`}>
      ${(/** @type {any} */ page) =>
        html`<ul class="rows">${page.items.map(
          (/** @type {import("../types.js").RecordItem} */ { ref, record }) => html`<li
        key=${ref} data-row tabindex="-1" class=${seen && !seen.has(ref) ? "new" : ""}>
          <span class="first"><${Badge} of="verdict" value=${record.verdict} quiet />
            <a class="clip" href=${href("decision", ref)}>${scopeText(String(record.scope))}</a><span class="muted"><${Time} ns=${record.time_ns} /></span></span>
          <span class="second clip muted" title=${textOf(record)}>${record.policy} · ${textOf(record)}</span></li>`,
        )}</ul>`}
    <//><//>`;
}

/** @param {Record<string, any>} record */
const textOf = (record) => (record.reasons?.[0] ? reasonText(record.reasons[0]) : "");

function Feeds() {
  const sources = useDomain()?.sources;
  return html`<${Card} title=${t("now.feeds")} count=${sources?.length} more=${href("system")} size="middle flush" scrolls>
    ${!sources && html`<${Skeleton} />`}
    ${sources?.length === 0 && html`<${Empty} title=${t("now.feeds.none")} />`}
    ${
      sources &&
      sources.length > 0 &&
      html`<ul class="lines">${[...sources].sort(worseFeed).map(
        (source) => html`<li key=${source.source} title=${source.error ?? undefined}>
        <span class="clip name">${source.source}</span>
        <${State} of="feed" value=${source.status} quiet text=${source.status === "ok" && source.stale_subjects > 0 ? t("now.silent", { n: source.stale_subjects }) : undefined} />
        <${Bar} part=${source.age_ns === null ? 1 : source.age_ns / source.max_age_ns} over=${source.status !== "ok"} />
        <span class="age">${source.age_ns === null ? "–" : span(source.age_ns / 1e6)} <span class="muted">/ ${span(source.max_age_ns / 1e6)}</span></span></li>`,
      )}</ul>`
    }<//>`;
}

/**
 * @param {import("../types.js").SourceStatus} one
 * @param {import("../types.js").SourceStatus} other
 */
function worseFeed(one, other) {
  const bad = (/** @type {import("../types.js").SourceStatus} */ source) =>
    (source.status === "ok" ? 0 : 2) + (source.stale_subjects > 0 ? 1 : 0);
  return bad(other) - bad(one);
}

function Stages() {
  const stages = useDomain()?.stages;
  return html`<${Card} title=${t("now.stages")} count=${stages?.length} more=${href("system")} size="middle flush" scrolls>
    ${!stages && html`<${Skeleton} />`}
    ${stages?.length === 0 && html`<${Empty} title=${t("now.stages.none")} />`}
    ${
      stages &&
      stages.length > 0 &&
      html`<ul class="lines">${[...stages]
        .sort((one, other) => Number(lags(other)) - Number(lags(one)))
        .map(
          (stage) => html`<li key=${stage.journal + stage.stage}>
        <span class="clip name" title=${stage.journal}>${stage.stage}</span>
        <${State} of="health" value=${lags(stage) ? "fail" : "pass"} quiet text=${lags(stage) ? t("now.lags") : stage.behind > 0 ? t("now.behind", { n: stage.behind }) : t("now.uptodate")} />
        <${Bar} part=${stage.lag_ns === null ? 1 : stage.lag_ns / stage.max_lag_ns} over=${lags(stage)} />
        <span class="age">${stage.lag_ns === null ? "–" : span(stage.lag_ns / 1e6)} <span class="muted">/ ${span(stage.max_lag_ns / 1e6)}</span></span></li>`,
        )}</ul>`
    }<//>`;
}

/** @param {import("../types.js").StageStatus} stage */
const lags = (stage) => stage.lag_ns === null || stage.lag_ns > stage.max_lag_ns;
