// Decisions, newest first; also what was not executed, and why. New ones wait until they are asked for.
import { withQuery } from "../api.js";
import { html } from "../html.js";
import { t, useLang } from "../i18n.js";
import { Filters, globOf, More, SPANS, usePages } from "../lists.js";
import { useDomainName } from "../live.js";
import { Badge, Card, Empty, Loaded, scopeText, Table, Time, ViewHead } from "../parts.js";
import { href } from "../route.js";
import { whyText } from "../telling.js";

/** @typedef {import("../types.js").RecordItem} RecordItem */

const PAGE = 50;
const VERDICTS = ["block", "release", "judgment", "non_execution"];

/** @param {{ params: Record<string, string> }} props */
export default function Decisions({ params }) {
  useLang();
  const domain = useDomainName();
  const { verdict, severity, subject, since, until } = params;
  const query = { domain, verdict, severity, subject: globOf(subject), since, until, limit: PAGE };
  return html`<${ViewHead} title=${t("nav.decisions")} />
    <${Filters} params=${params} filters=${[
      {
        name: "verdict",
        label: t("decisions.verdict"),
        kind: "select",
        options: [
          ["", t("lists.any")],
          ...VERDICTS.map((name) => /** @type {[string, string]} */ ([name, t(`verdict.${name}`)])),
        ],
      },
      {
        name: "severity",
        label: t("lists.severity"),
        kind: "select",
        options: [
          ["", t("lists.any")],
          ["warning", t("lists.atLeast", { severity: t("severity.warning") })],
          ["critical", t("severity.critical")],
        ],
      },
      { name: "subject", label: t("lists.subject"), kind: "text", hint: "BTC/*" },
      { name: "policy", label: t("decisions.policy"), kind: "text" },
      {
        name: "since",
        label: t("lists.since"),
        kind: "text",
        hint: t("lists.since.hint"),
        offers: SPANS,
        lazy: true,
      },
      {
        name: "until",
        label: t("lists.until"),
        kind: "text",
        hint: t("lists.since.hint"),
        offers: SPANS,
        lazy: true,
      },
    ]} />
    <${Listed} path=${domain && withQuery("v1/decisions", query)} policy=${params.policy ?? ""} subject=${subject} />`;
}

/** @param {RecordItem} item */
const keyOf = (item) => item.ref;
/** @param {RecordItem} item */
const orderOf = (item) => item.position;

/** @param {{ path: string | null, policy: string, subject: string | undefined }} props */
function Listed({ path, policy, subject }) {
  const pages = usePages(path, { keyOf, orderOf, when: ["decisions"], holds: true });
  const wanted = policy.toLowerCase();
  const has = (/** @type {RecordItem} */ { record }) =>
    `${record.policy} v${record.policy_version} ${whyText(record)}`.toLowerCase().includes(wanted);
  const rows = wanted ? pages.items.filter(has) : pages.items;
  const waiting = (wanted ? pages.waiting.filter(has) : pages.waiting).length;
  const tools =
    waiting > 0 &&
    html`<button type="button" class="primary" onClick=${pages.show}>${t("decisions.new", { n: waiting })}</button>`;
  return html`<${Card} title=${t("decisions.list")} size="flush decided" tools=${tools}>
    ${subject && html`<p class="hint">${t("decisions.whole")}</p>`}
    ${wanted && html`<p class="hint">${t("decisions.among", { found: rows.length, n: pages.items.length })}</p>`}
    <${Loaded} of=${pages.first} rows=${14} isEmpty=${() => pages.items.length === 0 && !pages.next}
      empty=${html`<${Empty} title=${t("decisions.none")} />`}>
      ${() =>
        html`${rows.length > 0 && html`<${Table} caption=${t("decisions.list")} columns=${columns()} rows=${rows} keyOf=${keyOf} toneOf=${toneOf} />`}
        <${More} of=${pages} none=${rows.length === 0} />`}
    <//>
    <span class="unseen" role="status">${waiting > 0 ? t("decisions.new", { n: waiting }) : ""}</span><//>`;
}

/** @param {RecordItem} item */
const toneOf = ({ record }) => (record.verdict === "non_execution" ? "not-done" : "");

/** @returns {import("../parts.js").Column<RecordItem>[]} */
function columns() {
  return [
    {
      id: "scope",
      title: t("decisions.scope"),
      size: "c-lead",
      cell: ({ ref, record }) =>
        html`<a class="strong" href=${href("decision", ref)}><bdi>${scopeText(String(record.scope))}</bdi></a>`,
    },
    {
      id: "verdict",
      title: t("decisions.verdict"),
      size: "c-verdict",
      cell: ({ record }) => html`<${Badge} of="verdict" value=${record.verdict} quiet />`,
    },
    { id: "why", title: t("decisions.why"), cell: ({ record }) => whyText(record) },
    {
      id: "policy",
      title: t("decisions.policy"),
      size: "c-m",
      cell: ({ record }) => html`${record.policy} <span class="muted">v${record.policy_version}</span>`,
    },
    {
      id: "severity",
      title: t("lists.severity"),
      size: "c-s",
      cell: ({ record }) => html`<${Badge} of="severity" value=${record.severity} quiet />`,
    },
    {
      id: "time",
      title: t("lists.time"),
      size: "c-time",
      cell: ({ record }) => html`<${Time} ns=${record.time_ns} />`,
    },
  ];
}
