// Incidents: those that are open, all of them, and below those that are over, as far as one reads on.
import { withQuery } from "../api.js";
import { span } from "../format.js";
import { html } from "../html.js";
import { t, useLang } from "../i18n.js";
import { Filters, globOf, More, SPANS, usePages } from "../lists.js";
import { useDomain, useDomainName } from "../live.js";
import { Age, Badge, Card, Empty, Loaded, Skeleton, State, Table, Time, ViewHead } from "../parts.js";
import { href } from "../route.js";
import { leadOf, patternsText } from "../telling.js";

/** @typedef {import("../types.js").IncidentItem} IncidentItem */

const MOST_OPEN = 200;
const PAGE = 50;

/** @param {{ params: Record<string, string> }} props */
export default function Incidents({ params }) {
  useLang();
  const domain = useDomainName();
  const sources = useDomain()?.sources.map(({ source }) => source) ?? [];
  const { severity, source, subject, since } = params;
  const query = { domain, severity, source, subject: globOf(subject), since };
  return html`<${ViewHead} title=${t("nav.incidents")} />
    <${Filters} params=${params} filters=${[
      { name: "open", label: t("incidents.onlyOpen"), kind: "check" },
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
      {
        name: "source",
        label: t("lists.source"),
        kind: "select",
        options: [["", t("lists.any")], ...sources.map((name) => [name, name])],
      },
      { name: "subject", label: t("lists.subject"), kind: "text", hint: "BTC/*" },
      {
        name: "since",
        label: t("lists.since"),
        kind: "text",
        hint: t("lists.since.hint"),
        offers: SPANS,
        lazy: true,
      },
    ]} />
    <${Lists} query=${query} onlyOpen=${params.open === "true"} />`;
}

/** @param {{ query: Record<string, string | null | undefined>, onlyOpen: boolean }} props */
function Lists({ query, onlyOpen }) {
  const over = !onlyOpen && query.domain;
  const open = usePages(
    query.domain ? withQuery("v1/incidents", { ...query, open: true, limit: MOST_OPEN }) : null,
    HOW,
  );
  const resolved = usePages(
    over ? withQuery("v1/incidents", { ...query, open: false, limit: PAGE }) : null,
    HOW,
  );
  // Both come at once: the upper one would push the lower one down.
  if (!arrived(open) || !(onlyOpen || arrived(resolved))) {
    return html`<${Card} title=${t("nav.incidents")}><${Skeleton} rows=${16} /><//>`;
  }
  return html`<div class="stack"><${Listed} pages=${open} open />${!onlyOpen && html`<${Listed} pages=${resolved} open=${false} />`}</div>`;
}

/** @param {import("../lists.js").Pages<IncidentItem>} pages */
const arrived = ({ first }) => first.data !== null || first.error !== null;

/** @param {IncidentItem} item */
const keyOf = (item) => item.id;
/** @param {IncidentItem} item */
const orderOf = (item) => item.changed_ns;
const HOW = { keyOf, orderOf, when: ["events"] };

/** @param {{ pages: import("../lists.js").Pages<IncidentItem>, open: boolean }} props */
function Listed({ pages, open }) {
  const none = open
    ? html`<${Empty} good title=${t("incidents.none.open")} />`
    : html`<${Empty} title=${t("incidents.none.over")} />`;
  const title = t(open ? "incidents.open" : "incidents.over");
  return html`<${Card} title=${title} count=${open && !pages.next && pages.first.data ? pages.items.length : null} size="flush">
    <${Loaded} of=${pages.first} rows=${open ? 3 : 6} isEmpty=${() => pages.items.length === 0 && !pages.next} empty=${none}>
      ${() =>
        html`${pages.items.length > 0 && html`<${Table} caption=${title} columns=${columns(open)} rows=${pages.items} keyOf=${keyOf} />`}
        <${More} of=${pages} none=${pages.items.length === 0} />`}
    <//><//>`;
}

/**
 * @param {boolean} open
 * @returns {import("../parts.js").Column<IncidentItem>[]}
 */
function columns(open) {
  return [
    {
      id: "lead",
      title: t("incidents.lead"),
      size: "c-lead",
      cell: (item) =>
        html`<a class="strong" href=${href("incident", item.id)}><bdi>${leadOf(item)}</bdi></a>`,
    },
    {
      id: "severity",
      title: t("lists.severity"),
      size: "c-s",
      cell: (item) => html`<${Badge} of="severity" value=${item.severity} quiet />`,
    },
    { id: "what", title: t("incidents.what"), cell: (item) => patternsText(item.patterns) },
    { id: "venue", title: t("incidents.venue"), size: "c-s", cell: (item) => item.venue || item.source },
    {
      id: "series",
      title: t("incidents.series"),
      size: "c-num",
      end: true,
      cell: (item) => item.series_count.toLocaleString(),
    },
    {
      id: "since",
      title: t("incidents.opened"),
      size: "c-time",
      cell: (item) => html`<${Time} ns=${item.opened_ns} />`,
    },
    {
      id: "lasted",
      title: t("incidents.lasts"),
      size: "c-s",
      cell: (item) =>
        open ? html`<${Age} ns=${item.opened_ns} />` : span((item.changed_ns - item.opened_ns) / 1e6),
    },
    {
      id: "state",
      title: t("incidents.state"),
      size: "c-s",
      cell: (item) => html`<${State} of="incident" value=${item.state} quiet />`,
    },
  ];
}
