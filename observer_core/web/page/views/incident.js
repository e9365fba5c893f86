// One incident: which series moved, when and how strongly; what was decided, who was told; was it right?
import { get, post } from "../api.js";
import { Copy } from "../evidence.js";
import { score, span } from "../format.js";
import { html, useMemo, useState } from "../html.js";
import { t, useLang } from "../i18n.js";
import { useDomainName, useResource } from "../live.js";
import {
  Age,
  Badge,
  Bar,
  Card,
  ConfirmForm,
  Empty,
  Facts,
  Loaded,
  State,
  scopeText,
  Table,
  Time,
  ViewHead,
} from "../parts.js";
import { href, replaceParams } from "../route.js";
import {
  chartAround,
  isMissing,
  keptText,
  leadOf,
  NotFound,
  OtherDomain,
  patternsText,
  resultText,
  SeriesAt,
  shortType,
  subjectText,
  whyText,
} from "../telling.js";

/** @typedef {import("../types.js").Incident} Incident */
/** @typedef {import("../types.js").TimelineEntry} TimelineEntry */
/** @typedef {import("../types.js").RankedSeries} RankedSeries */

const ID = /^[0-9a-f]{8,32}$/i;
const KINDS = /** @type {const} */ (["incident", "event", "decision", "delivery", "feedback"]);
const RANKED = 25;
const WAIT_S = 10;

/** @param {{ id: string | null, params: Record<string, string> }} props */
export default function IncidentView({ id, params }) {
  useLang();
  const asked = id !== null && ID.test(id);
  // Nothing is shown before it is known how fresh it is.
  const ready = useDomainName() !== null;
  const found = useResource(asked && ready ? `v1/incidents/${id}` : null, {
    when: ["events", "decisions", "results", "routes", "feedback"],
    least: 2_000,
  });
  if (!asked || (found.data === null && isMissing(found.error))) {
    return html`<${ViewHead} title=${t("incident.title")} />
      <${NotFound} title=${t("incident.missing", { id: id ?? "" })} detail=${asked ? found.error?.message : t("incident.id")}
        list=${href("incidents")} text=${t("incident.list")} />`;
  }
  const incident = /** @type {Incident | null} */ (found.data)?.incident;
  return html`<${ViewHead} title=${incident ? leadOf(incident) : t("incident.title")}>
      ${
        incident &&
        html`<${State} of="incident" value=${incident.state} /><${Badge} of="severity" value=${incident.severity} />
        <${End} incident=${incident} reload=${found.reload} />`
      }
    <//>
    <${Loaded} of=${found} rows=${16}>${(/** @type {Incident} */ data) => html`<${Body} data=${data} params=${params} reload=${found.reload} />`}<//>`;
}

/** @param {{ data: Incident, params: Record<string, string>, reload: () => void }} props */
function Body({ data, params, reload }) {
  const { incident } = data;
  const open = incident.state === "open";
  const here = useDomainName() === incident.domain;
  const sources = [...new Set(incident.series.map(([source]) => source))];
  return html`<${OtherDomain} domain=${incident.domain} />
    <section class="card head-card" aria-label=${t("incident.facts")}><div class="body"><${Facts} of=${[
      [t("incidents.what"), patternsText(incident.patterns)],
      [t("incidents.opened"), html`<${Time} ns=${incident.opened_ns} form="day" />`],
      open
        ? [t("incident.lasts"), here ? html`<${Age} ns=${incident.opened_ns} />` : "–"]
        : [
            t("incident.lasted"),
            html`${span((incident.changed_ns - incident.opened_ns) / 1e6)} <span class="muted">${t("incident.until")} <${Time} ns=${incident.changed_ns} /></span>`,
          ],
      [t("incident.last"), html`<${Time} ns=${incident.last_ns} form="day" />`],
      [t("incidents.venue"), incident.venue || incident.source],
      [t("incident.sources"), sources.join(", ") || incident.source],
      [t("incident.score"), html`<span title=${String(incident.score)}>${score(incident.score)}</span>`],
      [t("incident.standing"), incident.standing.toLocaleString()],
      [
        t("incident.name"),
        html`<${Copy} text=${incident.id} shown=${incident.id.slice(0, 8)} label=${t("incident.name")} />`,
      ],
    ]} /></div></section>
    <div class="split">
      <div class="stack"><${Ranked} data=${data} /><${Timeline} data=${data} params=${params} /></div>
      <div class="stack"><${Decided} data=${data} /><${Told} data=${data} /><${Feedback} data=${data} reload=${reload} /></div>
    </div>`;
}

// ---------------------------------------------------------------- its series

/** @param {{ data: Incident }} props */
function Ranked({ data: { incident, ranked } }) {
  const [all, setAll] = useState(false);
  const first = ranked.length ? Math.min(...ranked.map(({ first_ns }) => first_ns)) : 0;
  const rows = all ? ranked : ranked.slice(0, RANKED);
  const beyond = incident.series_count - ranked.length;
  /** @type {import("../parts.js").Column<RankedSeries>[]} */
  const columns = [
    {
      id: "series",
      title: t("incident.series"),
      cell: ({ source, subject, field, started }) =>
        html`<${SeriesAt} series=${[source, subject, field]} fromNs=${first} toNs=${incident.last_ns} />${started && html` <span class="start-tag">${t("incident.started")}</span>`}`,
    },
    {
      id: "first",
      title: t("incident.first"),
      size: "c-time",
      cell: ({ first_ns }) =>
        html`<${Time} ns=${first_ns} /> <span class="muted">${first_ns > first ? `+${span((first_ns - first) / 1e6)}` : t("incident.firstOf")}</span>`,
    },
    { id: "pattern", title: t("incident.pattern"), size: "c-m", cell: ({ pattern }) => pattern },
    {
      id: "score",
      title: t("incident.score"),
      size: "c-score",
      end: true,
      cell: (row) =>
        html`<${Bar} part=${row.score} over=${false} /> <span title=${String(row.score)}>${score(row.score)}</span>`,
    },
  ];
  return html`<${Card} title=${t("incident.ranked")} count=${incident.series_count} size="flush">
    ${ranked.length === 0 && html`<${Empty} title=${t("incident.ranked.none")} />`}
    ${ranked.length > 0 && html`<${Table} caption=${t("incident.ranked")} columns=${columns} rows=${rows} keyOf=${(/** @type {RankedSeries} */ row) => `${row.source}\n${row.subject}\n${row.field}`} />`}
    ${rows.length < ranked.length && html`<p class="more"><button type="button" onClick=${() => setAll(true)}>${t("now.more", { n: ranked.length - rows.length })}</button></p>`}
    ${beyond > 0 && html`<p class="hint">${t("incident.beyond", { n: beyond })}</p>`}<//>`;
}

// ---------------------------------------------------------------- its timeline

/** @param {{ data: Incident, params: Record<string, string> }} props */
function Timeline({ data: { timeline, truncated }, params }) {
  const kind = KINDS.find((known) => known === params.kind) ?? null;
  const counts = useMemo(() => countsOf(timeline), [timeline]);
  const moments = useMemo(
    () => momentsOf(kind ? timeline.filter((entry) => entry.kind === kind) : timeline),
    [timeline, kind],
  );
  const set = (/** @type {string | null} */ chosen) => replaceParams({ ...params, kind: chosen });
  const tools = html`<div class="picks" role="group" aria-label=${t("now.show")}>
    <button type="button" aria-pressed=${kind === null} onClick=${() => set(null)}>${t("now.all")} <b>${timeline.length}</b></button>
    ${KINDS.filter((name) => counts[name]).map(
      (name) =>
        html`<button key=${name} type="button" aria-pressed=${kind === name} onClick=${() => set(name)}>${t(`kind.${name}`)} <b>${counts[name]}</b></button>`,
    )}</div>`;
  return html`<${Card} title=${t("incident.timeline")} size="flush timeline" tools=${tools}>
    ${truncated && html`<p class="strip">${t("incident.truncated", { n: timeline.length })}</p>`}
    ${moments.length === 0 && html`<${Empty} title=${t("incident.timeline.none")} />`}
    <ol class="moments">${moments.map(
      ([time, entries]) => html`<li key=${time}><div class="moment"><${Time} ns=${time} /></div>
        <ul>${gathered(entries).map(([entry, others]) => html`<${Entry} key=${entry.ref} entry=${entry} others=${others} />`)}</ul></li>`,
    )}</ol><//>`;
}

/** @param {TimelineEntry[]} timeline */
function countsOf(timeline) {
  /** @type {Record<string, number>} */
  const counts = {};
  for (const { kind } of timeline) counts[kind] = (counts[kind] ?? 0) + 1;
  return counts;
}

/**
 * @param {TimelineEntry[]} entries
 * @returns {[number, TimelineEntry[]][]}
 */
function momentsOf(entries) {
  /** @type {Map<number, TimelineEntry[]>} */
  const moments = new Map();
  for (const entry of entries) {
    const known = moments.get(entry.time_ns);
    if (known) known.push(entry);
    else moments.set(entry.time_ns, [entry]);
  }
  return [...moments];
}

/**
 * Deliveries of a moment that say the same of one subscriber are one line.
 * @param {TimelineEntry[]} entries
 * @returns {[TimelineEntry, TimelineEntry[]][]}
 */
function gathered(entries) {
  /** @type {Map<string, TimelineEntry[]>} */
  const found = new Map();
  for (const entry of entries) {
    const key = entry.kind === "delivery" ? `delivery ${entry.text}` : entry.ref;
    found.set(key, [...(found.get(key) ?? []), entry]);
  }
  return [...found.values()].map((same) => [same[0], same]);
}

/** @param {{ entry: TimelineEntry, others: TimelineEntry[] }} props `others`: with those that say the same */
function Entry({ entry, others }) {
  return html`<li class=${`entry ${entry.kind}`} data-row tabindex="-1"><span class="kind">${t(`kind.${entry.kind}`)}</span>
    <div class="what"><${Told1} entry=${entry} count=${others.length} /></div></li>`;
}

/** What one entry says. @param {{ entry: TimelineEntry, count: number }} props */
function Told1({ entry, count }) {
  const { kind, record, ref } = entry;
  if (kind === "decision") {
    return html`<${Badge} of="verdict" value=${record.verdict} quiet /> <a href=${href("decision", ref)}><bdi>${scopeText(String(record.scope))}</bdi></a>${" "}<span class="says">${record.policy} <span class="muted">v${record.policy_version}</span> · ${whyText(record)}</span>`;
  }
  if (kind === "incident") {
    const { data } = record;
    return html`<b>${t(`happened.${shortType(record.type).split(".")[1]}`)}</b> <${Badge} of="severity" value=${record.severitytext} quiet />${" "}<span class="says">${patternsText(data.patterns)} · ${t("now.series", { n: data.series_count })} · ${t("incident.score")} ${score(data.score)}</span>`;
  }
  if (kind === "event") {
    const [series] = record.data.series ?? [];
    const to =
      series && chartAround(series, record.data.event_ns ?? entry.time_ns, undefined, record.causationid);
    const source = series?.[0] ?? record.source.split("/").at(-1);
    const name =
      record.subject === source ? t("scope.source", { name: source }) : subjectText(source, record.subject);
    return html`<${Badge} of="severity" value=${record.severitytext} quiet /> ${shortType(record.type).replace(/^pattern\./, "")}${" "}<span class="says">${to ? html`<a href=${to}><bdi>${name}</bdi></a>` : html`<bdi>${name}</bdi>`} <span class="muted">${source}</span>
      ${typeof record.data.score === "number" && html` · ${t("incident.score")} ${score(record.data.score)}`}</span>`;
  }
  if (kind === "delivery" && record.kind === "route") {
    return html`<${Badge} of="told" value="kept" quiet /> <span class="says">${keptText(record)}${count > 1 && html` <b>×${count}</b>`}</span>`;
  }
  if (kind === "delivery") {
    return html`<${Badge} of="told" value=${record.outcome} quiet /> ${record.subscription}${count > 1 && html` <b>×${count}</b>`}${" "}<span class="says muted">${resultText(record)}</span>`;
  }
  if (kind === "feedback") {
    return html`<${Badge} of="word" value=${record.body.right ? "right" : "wrong"} quiet /> <span class="says"><bdi>${record.body.author}</bdi>${record.body.note && html`: <bdi>${record.body.note}</bdi>`}</span>`;
  }
  return html`<span class="says">${entry.text}</span>`;
}

// ---------------------------------------------------------------- what was decided, who was told

/** @param {{ data: Incident }} props */
function Decided({ data: { incident, timeline } }) {
  const decisions = timeline.filter(({ kind }) => kind === "decision");
  const ends = new Map(
    decisions
      .filter(({ record }) => record.verdict === "release" && record.evidence?.block)
      .map((entry) => [entry.record.evidence.block, entry]),
  );
  const shown = decisions.filter(
    ({ record }) =>
      record.verdict !== "release" || !decisions.some((one) => one.record.id === record.evidence?.block),
  );
  /** @param {TimelineEntry} entry */
  const row = ({ ref, record }) => {
    const end = ends.get(record.id);
    return html`<li key=${ref} data-row tabindex="-1" class=${record.verdict === "non_execution" ? "not-done" : ""}>
        <span class="first"><${Badge} of="verdict" value=${record.verdict} quiet />
          <a class="clip" href=${href("decision", ref)} title=${record.scope}>${scopeText(String(record.scope))}</a><span class="muted"><${Time} ns=${record.time_ns} /></span></span>
        <span class="second muted">${record.policy} · ${whyText(record)}</span>
        ${
          record.verdict === "block" &&
          html`<span class="second">${
            end
              ? html`<a href=${href("decision", end.ref)}><${Badge} of="verdict" value="release" text=${t("incident.released")} quiet /></a> <${Time} ns=${end.time_ns} /> <span class="muted">${whyText(end.record)}</span>`
              : html`<span class="muted">${record.until_ns === null ? t("until.open") : html`${t("incident.ends")} <${Time} ns=${record.until_ns} />`}</span>`
          }</span>`
        }</li>`;
  };
  const [judged, done] = [true, false].map((judgment) =>
    shown.filter(({ record }) => (record.verdict === "judgment") === judgment),
  );
  return html`<${Card} title=${t("incident.decided")} count=${decisions.length} more=${href("decisions", null, { since: sinceOf(incident) })} size="flush">
    ${shown.length === 0 && html`<${Empty} title=${t("incident.decided.none")} />`}
    <ul class="rows">${done.map(row)}</ul>
    ${judged.length > 0 && html`<details class="folded" open=${done.length === 0}><summary>${t("incident.judgments", { n: judged.length })}</summary><ul class="rows">${judged.map(row)}</ul></details>`}<//>`;
}
/** @param {import("../types.js").IncidentItem} incident */
const sinceOf = (incident) => new Date(Math.floor(incident.opened_ns / 1e6)).toISOString();

/** @param {{ data: Incident }} props */
function Told({ data: { timeline } }) {
  /** @type {Map<string, { count: number, last: TimelineEntry }>} */
  const told = new Map();
  for (const entry of timeline) {
    if (entry.kind !== "delivery") continue;
    const { record } = entry;
    const key =
      record.kind === "route" ? `kept ${keptText(record)}` : `${record.subscription} ${record.outcome}`;
    told.set(key, { count: (told.get(key)?.count ?? 0) + 1, last: entry });
  }
  return html`<${Card} title=${t("incident.told")} size="flush">
    ${told.size === 0 && html`<${Empty} title=${t("incident.told.none")}>${t("incident.told.why")}<//>`}
    <ul class="rows">${[...told].map(
      ([key, { count, last }]) => html`<li key=${key}>
        <span class="first"><${Badge} of="told" value=${last.record.kind === "route" ? "kept" : last.record.outcome} quiet />
          <span class="clip">${last.record.kind === "route" ? keptText(last.record) : html`<b>${last.record.subscription}</b>`} <span class="muted">${t("told.records", { n: count })}</span></span>
          <span class="muted"><${Time} ns=${last.time_ns} /></span></span>
        ${last.record.kind !== "route" && resultText(last.record) && html`<span class="second muted">${resultText(last.record)}</span>`}</li>`,
    )}</ul><//>`;
}

// ---------------------------------------------------------------- was it right?

/**
 * Whether the caller may do what operators do: null while it is not known.
 * @returns {boolean | null}
 */
function useOperates() {
  const who = useResource("v1/whoami").data;
  return who === null ? null : who.scopes.includes("operate");
}

/** @param {{ data: Incident, reload: () => void }} props */
function Feedback({ data, reload }) {
  const operates = useOperates();
  const [asking, setAsking] = useState(/** @type {boolean | null} */ (null));
  const { patterns, feedback, right } = data;
  const named = useMemo(() => namesOf(data), [data]);
  return html`<${Card} title=${t("feedback.title")} size="feedback">
    <p class="lead-line">${t("feedback.is")} <${Badge} of="word" value=${right === null ? "none" : right ? "right" : "wrong"} /></p>
    <p class="word-buttons"><button type="button" disabled=${!operates || patterns.length === 0} onClick=${() => setAsking(true)}>${t("feedback.true")}</button>
      <button type="button" disabled=${!operates || patterns.length === 0} onClick=${() => setAsking(false)}>${t("feedback.false")}</button></p>
    ${operates === false && html`<p class="muted">${t("acts.scope")}</p>`}
    <ul class="words">${patterns.map(
      (ref) => html`<li key=${ref}><span>${named.get(ref) ?? html`<code>${ref}</code>`}</span>
        <${Badge} of="word" value=${ref in feedback ? (feedback[ref] ? "right" : "wrong") : "none"} quiet /></li>`,
    )}</ul>
    ${asking !== null && html`<${FeedbackForm} right=${asking} data=${data} named=${named} onClose=${() => setAsking(null)} reload=${reload} />`}<//>`;
}

/**
 * Patterns of the incident by ref, in words: as their events tell.
 * @param {Incident} data
 * @returns {Map<string, string>}
 */
function namesOf({ timeline }) {
  return new Map(
    timeline
      .filter(({ kind, record }) => kind === "event" && record.data?.pattern)
      .map(({ record: { causationid, data } }) => {
        const [source, subject, field] = data.series?.[0] ?? ["", "", ""];
        const more = (data.series_count ?? data.series?.length ?? 1) - 1;
        const about = `${subjectText(source, subject)} ${field === "*" ? "" : field}`.trim();
        return [
          causationid,
          `${data.pattern} · ${more > 0 ? t("now.lead", { subject: about, n: more }) : about}`,
        ];
      }),
  );
}

/** @param {{ right: boolean, data: Incident, named: Map<string, string>, onClose: () => void, reload: () => void }} props */
function FeedbackForm({ right, data: { patterns, timeline }, named, onClose, reload }) {
  const opened = timeline.find(({ kind }) => kind === "incident")?.record.causationid;
  const about = patterns.includes(opened) ? opened : patterns[0];
  /** @param {{ author: string, reason: string, form: FormData }} given */
  const send = async ({ author, reason, form }) => {
    await post("v1/feedback", { ref: String(form.get("ref")), right, author, note: reason || null });
    reload();
  };
  return html`<${ConfirmForm} title=${t(right ? "feedback.ask.true" : "feedback.ask.false")} text=${t("feedback.text")}
    action=${t(right ? "feedback.true" : "feedback.false")} reasonNeeded=${false} onConfirm=${send} onClose=${onClose}>
    <label class="field"><span>${t("feedback.about")}</span><select name="ref">${patterns.map(
      (ref) =>
        html`<option key=${ref} value=${ref} selected=${ref === about}>${named.get(ref) ?? ref}</option>`,
    )}</select></label><//>`;
}

/** @param {{ incident: import("../types.js").IncidentItem, reload: () => void }} props */
function End({ incident, reload }) {
  const operates = useOperates();
  const [asking, setAsking] = useState(false);
  if (incident.state !== "open") return null;
  /** @param {{ author: string, reason: string }} given */
  const send = async ({ author, reason }) => {
    const asked = await post(`v1/incidents/${incident.id}/end`, { author, reason });
    const outcome = await get(`v1/commands/${encodeURIComponent(asked.ref)}?wait=${WAIT_S}`, {
      timeout: (WAIT_S + 5) * 1_000,
    });
    if (outcome.state === "refused") throw new Error(outcome.text);
    if (outcome.state === "waiting") throw new Error(t("incident.end.waits"));
    reload();
  };
  return html`<button type="button" disabled=${!operates} title=${operates === false ? t("acts.scope") : undefined} onClick=${() => setAsking(true)}>${t("incident.end")}</button>
    ${asking && html`<${ConfirmForm} title=${t("incident.end.title")} text=${t("incident.end.text")} action=${t("incident.end")} onConfirm=${send} onClose=${() => setAsking(false)} />`}`;
}
