// One decision, or one answer of the gate: why, on what, by which policy, what became of it; and the chain of
// records that it follows from, back to the bytes of the snapshots, each with its place and hash.

import { SmallCurve } from "../curve.js";
import { Copy, flat, Sheet, StoredRecord } from "../evidence.js";
import { span } from "../format.js";
import { html, useState } from "../html.js";
import { reasonText, t, useLang } from "../i18n.js";
import { useDomainName, useResource } from "../live.js";
import { Badge, Card, Empty, Facts, Loaded, nameText, scopeText, Time, Until, ViewHead } from "../parts.js";
import { href } from "../route.js";
import {
  domainOfRef,
  isMissing,
  keptText,
  NotFound,
  OtherDomain,
  resultText,
  SeriesAt,
  shortType,
  subjectText,
  whyText,
} from "../telling.js";

/** @typedef {import("../types.js").Lineage} Lineage */
/** @typedef {import("../types.js").Step} Step */
/** @typedef {import("../types.js").TimelineEntry} TimelineEntry */
/** @typedef {[string, string, string]} Series */

const ID = /^[0-9a-f]{8,32}$|^(decisions|gate)\.[^/?#\s]+@\d+$/i;
const OPEN_STEPS = 12;
const PHONE = "(max-width: 760px)";
const HASH = 12;

/** @param {{ id: string | null }} props */
export default function DecisionView({ id }) {
  useLang();
  const asked = id !== null && ID.test(id);
  // Nothing is shown before it is known how fresh it is.
  const ready = useDomainName() !== null;
  const found = useResource(asked && ready ? `v1/decisions/${encodeURIComponent(id)}/lineage` : null, {
    when: ["decisions", "results", "routes"],
    least: 3_000,
    timeout: 20_000,
  });
  if (!asked || (found.data === null && isMissing(found.error))) {
    return html`<${ViewHead} title=${t("decision.title")} />
      <${NotFound} title=${t("decision.missing", { id: id ?? "" })} detail=${asked ? found.error?.message : t("decision.id")}
        list=${href("decisions")} text=${t("decision.list")} />`;
  }
  const lineage = /** @type {Lineage | null} */ (found.data);
  return html`<${ViewHead} title=${lineage ? titleOf(lineage.step) : t("decision.title")}>
      ${
        lineage &&
        html`<${Verdict} record=${lineage.step.record} />
        ${lineage.step.record.severity && html`<${Badge} of="severity" value=${lineage.step.record.severity} quiet />`}
        <${Badge} of="verified" value=${lineage.verified.sound ? "sound" : "broken"} />`
      }<//>
    <${Loaded} of=${found} rows=${16}>${(/** @type {Lineage} */ data) => html`<${Body} lineage=${data} at=${found.at} reload=${found.reload} />`}<//>`;
}

/** @param {Step} step */
const isAnswer = (step) => step.record.kind === "evaluation";

/** @param {Step} step */
const titleOf = (step) =>
  isAnswer(step) ? nameText(step.record.resource) : scopeText(String(step.record.scope));

/** @param {{ record: Record<string, any>, quiet?: boolean }} props */
function Verdict({ record, quiet = false }) {
  if (record.kind !== "evaluation")
    return html`<${Badge} of="verdict" value=${record.verdict} quiet=${quiet} />`;
  const allowed = record.verdict === "allow";
  return html`<${Badge} of="answer" value=${record.verdict} text=${t(allowed ? "answer.allow" : "answer.deny")} quiet=${quiet} />`;
}

/** @param {{ lineage: Lineage, at: number | null, reload: () => void }} props */
function Body({ lineage, at, reload }) {
  const { step, curve, policy_text: policy } = lineage;
  return html`<${OtherDomain} domain=${domainOfRef(step.ref)} />
    <${Head} step=${step} />
    <div class="split">
      <div class="stack"><${Chain} step=${step} /></div>
      <div class="stack">
        <${Verified} verified=${lineage.verified} at=${at} reload=${reload} />
        ${curve && html`<${Card} title=${t("decision.curve")}><${SmallCurve} curve=${curve} /><//>`}
        ${!isAnswer(step) && html`<${Became} lineage=${lineage} />`}
        <${Evidence} step=${step} />
        ${
          policy !== null &&
          html`<${Card} title=${t(isAnswer(step) ? "decision.rules" : "decision.policy", { name: step.record.policy ?? "", version: `v${step.record.policy_version ?? ""}` })}>
          <p class="muted">${t("decision.policy.then")}</p><pre class="policy" tabindex="0" role="region" aria-label=${t("decision.policy.text")}>${policy.trimEnd()}</pre><//>`
        }
      </div>
    </div>`;
}

/** @param {{ step: Step }} props */
function Head({ step }) {
  const { record } = step;
  return html`<section class="card head-card" aria-label=${t("decision.facts")}><div class="body">
    <ul class="whys">${record.reasons.map(
      (/** @type {any} */ reason, /** @type {number} */ index) =>
        html`<li key=${index}><b>${reasonText(reason)}</b> <code>${reason.code}</code></li>`,
    )}${record.reasons.length === 0 && html`<li class="muted">${t("decision.noReason")}</li>`}</ul>
    <${Facts} of=${isAnswer(step) ? answerFacts(step) : decisionFacts(step)} /></div></section>`;
}

/** @param {Step} step @returns {[any, any][]} */
function placeFacts(step) {
  const { record } = step;
  return [
    ...(record.id
      ? /** @type {[any, any][]} */ ([
          [
            t("decision.idOf"),
            html`<${Copy} text=${record.id} shown=${record.id.slice(0, 8)} label=${t("decision.idOf")} />`,
          ],
        ])
      : []),
    [t("decision.ref"), html`<${Copy} text=${step.ref} label=${t("decision.ref")} />`],
  ];
}

/** @param {Step} step @returns {[any, any][]} */
function decisionFacts(step) {
  const { record } = step;
  const incident = record.evidence?.incident;
  const series = seriesOf(step);
  return [
    [t("lists.time"), html`<${Time} ns=${record.time_ns} form="full" />`],
    [
      t("decisions.policy"),
      html`<a href=${href("decisions", null, { policy: record.policy })}>${record.policy}</a> <span class="muted">v${record.policy_version}</span>`,
    ],
    ...(record.until_ns
      ? /** @type {[any, any][]} */ ([
          [t("decision.until"), html`<${Time} ns=${record.until_ns} form="full" />`],
        ])
      : []),
    ...(incident
      ? /** @type {[any, any][]} */ ([
          [
            t("decision.incident"),
            html`<a href=${href("incident", incident)}><code>${incident.slice(0, 8)}</code></a>`,
          ],
        ])
      : []),
    ...(series
      ? /** @type {[any, any][]} */ ([
          [t("incident.series"), html`<${SeriesAt} series=${series} fromNs=${record.time_ns} />`],
        ])
      : []),
    ...placeFacts(step),
  ];
}

/** @param {Step} step @returns {[any, any][]} */
function answerFacts(step) {
  const { record } = step;
  return [
    [t("lists.time"), html`<${Time} ns=${record.time_ns} form="full" />`],
    [t("answer.valid"), html`<${Time} ns=${record.valid_until_ns} form="full" />`],
    [t("answer.caller"), html`<bdi>${record.caller}</bdi> <span class="muted">${record.caller_type}</span>`],
    [t("answer.action"), html`<bdi>${record.action}</bdi>`],
    [t("answer.risk"), t(`risk.${record.risk ?? "unknown"}`)],
    [t("answer.asOf"), html`<${Time} ns=${record.as_of_ns} form="full" />`],
    ...placeFacts(step),
  ];
}

/** The first series of the chain. @param {Step} step @returns {Series | null} */
function seriesOf(step) {
  if (step.record.kind === "pattern") return step.record.series[0] ?? null;
  for (const cause of step.causes) {
    const found = seriesOf(cause);
    if (found) return found;
  }
  return null;
}

// ---------------------------------------------------------------- beside the chain

/** @param {{ verified: import("../types.js").Verified, at: number | null, reload: () => void }} props */
function Verified({ verified: { sound, checked, faults }, at, reload }) {
  return html`<${Card} title=${t("verified.title")} tools=${html`<button type="button" onClick=${reload}>${t("verified.again")}</button>`}>
    <p><${Badge} of="verified" value=${sound ? "sound" : "broken"} quiet=${sound} /> ${t(sound ? "verified.text" : "verified.faults", { n: sound ? checked : faults.length })}</p>
    ${!sound && html`<div class="faults" role="alert"><ul>${faults.map((fault) => html`<li key=${fault}>${fault}</li>`)}</ul></div>`}
    <p class="muted">${t("verified.checked", { n: checked })} ${at !== null && html`<${Time} ns=${at * 1e6} form="clock" />`}</p><//>`;
}

/** @param {{ lineage: Lineage }} props */
function Became({ lineage: { step, became } }) {
  const { record } = step;
  const end = became.entries.find(({ kind }) => kind === "decision");
  const deliveries = became.entries.filter(({ kind }) => kind === "delivery");
  const told = deliveries.filter((entry) => entry.record.kind !== "route");
  const routes = deliveries.filter((entry) => entry.record.kind === "route");
  const had = new Set(told.map((entry) => entry.record.subscription));
  return html`<${Card} title=${t("became.title")} size="flush">
    ${became.truncated && html`<p class="strip">${t("became.truncated")}</p>`}
    <ul class="rows">
      ${
        record.verdict === "block" &&
        html`<li>${
          end
            ? html`<span class="first"><${Badge} of="verdict" value="release" text=${t("incident.released")} quiet />
              <a class="clip" href=${href("decision", end.ref)}>${whyText(end.record)}</a><span class="muted"><${Time} ns=${end.time_ns} /></span></span>
              <span class="second muted">${t("became.after", { span: span((end.time_ns - record.time_ns) / 1e6) })}</span>`
            : html`<span class="first"><${Badge} of="verdict" value="block" text=${t("became.stands")} quiet /><span class="muted">${record.until_ns === null ? t("until.open") : html`${t("incident.ends")} <${Time} ns=${record.until_ns} />`}</span>
              ${record.until_ns !== null && html`<${Until} ns=${record.until_ns} />`}</span>`
        }</li>`
      }
      ${told.map((entry) => html`<${ToldRow} key=${entry.ref} entry=${entry} />`)}
      ${routes.map((entry) => html`<${RouteRows} key=${entry.ref} entry=${entry} had=${had} />`)}
    </ul>
    ${deliveries.length === 0 && html`<${Empty} title=${t("became.nobody")} />`}<//>`;
}

/** @param {{ entry: TimelineEntry }} props */
function ToldRow({ entry: { record, time_ns: time } }) {
  const more = resultText(record);
  return html`<li><span class="first"><${Badge} of="told" value=${record.outcome} quiet /><b class="clip">${record.subscription}</b><span class="muted"><${Time} ns=${time} /></span></span>
    ${more && html`<span class="second muted">${more}</span>`}</li>`;
}

/**
 * Whom it was given to and who has not had it yet; from whom it was kept.
 * @param {{ entry: TimelineEntry, had: Set<string> }} props
 */
function RouteRows({ entry: { record, time_ns: time }, had }) {
  const kept = keptText(record);
  /** @type {[string, string][]} */
  const rows = [
    ...record.to
      .filter((/** @type {string} */ name) => !had.has(name))
      .map((/** @type {string} */ name) => ["waiting", name]),
    ...record.grouped
      .filter((/** @type {string} */ name) => !had.has(name))
      .map((/** @type {string} */ name) => ["grouped", name]),
    ...(kept ? [["kept", kept]] : []),
  ];
  return rows.map(
    ([value, text]) =>
      html`<li key=${text}><span class="first"><${Badge} of="told" value=${value} quiet /><b>${text}</b><span class="muted"><${Time} ns=${time} /></span></span></li>`,
  );
}

/** @param {{ step: Step }} props */
function Evidence({ step }) {
  const { record } = step;
  /** @type {[string, Record<string, any>][]} */
  const numbers = record.reasons.map((/** @type {any} */ { code, text: _text, ...rest }) => [code, rest]);
  if (isAnswer(step)) {
    return html`<${Card} title=${t("decision.evidence")} size="flush">
      ${numbers.map(([code, of]) => flat(of).length > 0 && html`<h3 class="sub">${code}</h3><${Sheet} of=${of} />`)}
      ${Object.keys(record.context ?? {}).length > 0 && html`<h3 class="sub">${t("answer.intent")}</h3><${Sheet} of=${record.context} />`}
      <h3 class="sub">${t("answer.rests")}</h3>
      <dl class="sheet">${Object.entries(step.rests).map(
        ([journal, [position, hash]]) =>
          html`<div key=${journal}><dt>${journal}@${position}</dt><dd><${Copy} text=${hash} shown=${hash.slice(0, HASH)} label=${t("step.hash")} /></dd></div>`,
      )}</dl><//>`;
  }
  return html`<${Card} title=${t("decision.evidence")} size="flush">
    <${Sheet} of=${record.evidence ?? {}} />
    ${numbers.map(([code, of]) => flat(of).length > 0 && html`<h3 class="sub">${t("decision.reason", { code })}</h3><${Sheet} of=${of} />`)}<//>`;
}

// ---------------------------------------------------------------- the chain

/** @param {{ step: Step }} props */
function Chain({ step }) {
  const count = refsOf(step).size;
  const [turn, setTurn] = useState({ open: /** @type {boolean | null} */ (null), times: 0 });
  const all = (/** @type {boolean} */ open) => setTurn(({ times }) => ({ open, times: times + 1 }));
  const tools = html`<button type="button" class="link" onClick=${() => all(true)}>${t("chain.open")}</button>
    <button type="button" class="link" onClick=${() => all(false)}>${t("chain.close")}</button>`;
  return html`<${Card} title=${t("chain.title")} count=${count} tools=${tools}>
    <ol class="chain"><${ChainStep} key=${turn.times} step=${step} depth=${0} open=${turn.open} few=${count <= OPEN_STEPS && !matchMedia(PHONE).matches} series=${null} /></ol><//>`;
}

/** A record may be cited more than once. @param {Step} step @returns {Set<string>} */
const refsOf = (step) => new Set([step.ref, ...step.causes.flatMap((cause) => [...refsOf(cause)])]);

/**
 * @param {{ step: Step, depth: number, open: boolean | null, few: boolean, series: Series[] | null }} props
 *   `open`: null: as it is best; `series`: those that the pattern before it is about
 */
function ChainStep({ step, depth, open, few, series }) {
  const { record, causes } = step;
  const kind = kindOf(step);
  const [shown] = useState(open ?? (few || depth < 1));
  const about = record.kind === "pattern" ? record.series : null;
  return html`<li class=${`step ${kind}`}><details open=${shown}>
    <summary data-row><span class="kind">${t(`step.${kind}`)}</span> <span class="step-title"><${StepTitle} step=${step} kind=${kind} /></span></summary>
    <div class="step-body"><${StepFacts} step=${step} kind=${kind} depth=${depth} series=${series} />
      <dl class="sheet"><div><dt>${t("step.place")}</dt><dd><code>${step.segment}@${step.offset}+${step.length}</code></dd></div>
        <div><dt>${t("decision.ref")}</dt><dd><${Copy} text=${step.ref} label=${t("decision.ref")} /></dd></div>
        <div><dt>${t("step.hash")}</dt><dd><${Copy} text=${step.hash} shown=${step.hash.slice(0, HASH)} label=${t("step.hash")} /></dd></div></dl>
      <${StoredRecord} at=${step.ref} length=${step.length} />
      ${causes.length > 0 && html`<p class="from">${t("step.from")}</p><ol class="chain">${causes.map((cause, index) => html`<${ChainStep} key=${`${cause.ref} ${index}`} step=${cause} depth=${depth + 1} open=${open} few=${few} series=${about} />`)}</ol>`}
    </div></details></li>`;
}

/** @param {Step} step */
function kindOf({ record }) {
  if (record.specversion) return "event";
  return ["decision", "pattern", "snapshot", "evaluation"].includes(record.kind) ? record.kind : "note";
}

/** @param {{ step: Step, kind: string }} props */
function StepTitle({ step, kind }) {
  const { record } = step;
  if (kind === "decision") {
    return html`<${Verdict} record=${record} quiet /> <bdi>${scopeText(String(record.scope))}</bdi> <span class="muted">${record.policy} v${record.policy_version} · <${Time} ns=${record.time_ns} form="day" /></span>`;
  }
  if (kind === "evaluation") {
    return html`<${Verdict} record=${record} quiet /> <bdi>${record.action} ${nameText(record.resource)}</bdi> <span class="muted"><bdi>${record.caller}</bdi> · <${Time} ns=${record.time_ns} form="day" /></span>`;
  }
  if (kind === "event") {
    return html`<b>${shortType(record.type)}</b> <bdi>${nameText(record.subject)}</bdi> <${Badge} of="severity" value=${record.severitytext} quiet /> <span class="muted"><${Time} ns=${Date.parse(record.time) * 1e6} form="day" /></span>`;
  }
  if (kind === "pattern") {
    const [[source, subject, field], ...others] = record.series;
    const name = `${subjectText(source, subject)}${field === "*" ? "" : ` ${field}`}`;
    return html`<b>${record.pattern}</b> ${record.direction !== "none" && html`<span>${t(`direction.${record.direction}`)}</span>`} <bdi>${others.length ? t("now.lead", { subject: name, n: others.length }) : name}</bdi> <${Badge} of="severity" value=${record.severity} quiet /> <span class="muted"><${Time} ns=${record.time_ns} form="day" /></span>`;
  }
  if (kind === "snapshot") {
    return html`<b>${record.source}</b> ${record.status !== "ok" && html`<span>${record.status}</span>`} <span class="muted">${t("step.of")} <${Time} ns=${record.event_ns} form="day" />, ${t("step.known")} <${Time} ns=${record.ingest_ns} form="day" /></span>`;
  }
  return html`<b>${record.kind}</b> <span class="muted"><${Time} ns=${record.time_ns} form="day" /></span>`;
}

/** @param {{ step: Step, kind: string, depth: number, series: Series[] | null }} props */
function StepFacts({ step, kind, depth, series }) {
  const { record, facts } = step;
  const rest = (/** @type {RegExp} */ known) =>
    facts
      .filter((fact) => !known.test(fact))
      .map((fact, index) => html`<p key=${index} class="fact">${fact}</p>`);
  if (kind === "decision" || kind === "evaluation") {
    const codes = record.reasons.map((/** @type {any} */ { code }) => code);
    const said = new RegExp(`^(?:evidence|intent|${codes.join("|") || "evidence"}): |^rests on `, "s");
    if (depth === 0) return html`<p class="muted">${t("step.above")}</p>${rest(said)}`;
    return html`${record.reasons.map((/** @type {any} */ reason, /** @type {number} */ index) => html`<p key=${index}>${reasonText(reason)}</p>`)}
      <p><a href=${href("decision", step.ref)}>${t("step.open")}</a></p><${Sheet} of=${record.evidence ?? {}} />${rest(said)}`;
  }
  if (kind === "event") {
    return html`${record.correlationid && html`<p>${t("decision.incident")} <a href=${href("incident", record.correlationid)}><code>${record.correlationid.slice(0, 8)}</code></a></p>`}${rest(/^incident: /)}`;
  }
  if (kind === "pattern") {
    return html`<p><${SeriesAt} series=${record.series[0]} fromNs=${record.event_ns} mark=${step.ref} /></p>
      <${Sheet} of=${{ score: record.score, detector: record.detector, event_ns: record.event_ns, ...record.evidence }} />${rest(/^(?:evidence|detector): /s)}`;
  }
  if (kind === "snapshot") return html`<${SnapshotFacts} step=${step} series=${series} />`;
  return html`<${Sheet} of=${record.body ?? {}} />`;
}

const ROWS = 24;

/** Its rows that the pattern is about, as they are. @param {{ step: Step, series: Series[] | null }} props */
function SnapshotFacts({ step, series }) {
  const { record, facts } = step;
  const rows = (series ?? [])
    .map(([, subject, field]) => ({
      subject,
      field,
      value: record.fields?.[field]?.[record.subjects.indexOf(subject)],
      flags: record.quality?.[subject] ?? [],
    }))
    .filter(({ value }) => value !== undefined);
  const flagged = rows.some(({ flags }) => flags.length > 0);
  const names = rows.length ? record.subjects.map((/** @type {string} */ subject) => `${subject}: `) : [];
  // Its rows and where they were recorded are told better below.
  if (step.origin_rows.length > 0) names.push("recorded in ");
  const rest = facts.filter((fact) => !names.some((/** @type {string} */ name) => fact.startsWith(name)));
  return html`${
    rows.length > 0 &&
    html`<table class="values"><thead><tr><th scope="col">${t("step.subject")}</th><th scope="col">${t("step.field")}</th><th scope="col" class="end">${t("step.value")}</th>${flagged && html`<th scope="col">${t("step.flags")}</th>`}</tr></thead>
    <tbody>${rows
      .slice(0, ROWS)
      .map(
        ({ subject, field, value, flags }) =>
          html`<tr key=${`${subject}\n${field}`}><td><bdi>${nameText(subject)}</bdi></td><td>${nameText(field)}</td><td class="end">${value === null ? t("curve.missing") : String(value)}</td>${flagged && html`<td>${flags.join(", ")}</td>`}</tr>`,
      )}</tbody></table>`
  }
    ${rows.length > ROWS && html`<p class="muted">${t("step.rows", { n: rows.length - ROWS })}</p>`}
    ${rest.map((fact, index) => html`<p key=${index} class="fact">${fact}</p>`)}
    ${step.origin_rows.map(
      (row) =>
        html`<p key=${`${row.path} ${row.row}`} class="fact"><code>${row.path}</code> ${t("step.row", { n: row.row })} <${Copy} text=${row.sha256} shown=${`sha256 ${String(row.sha256).slice(0, HASH)}`} label="sha256" /></p>`,
    )}`;
}
