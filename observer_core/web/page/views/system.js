// What the Observer itself is doing: how healthy it is and why, what it reads, how far it is, what it has
// stored, and what shows that nobody has changed that.
//
// Address: `log`, `level` and `lines` of the log, `at` names a part.
import { hasToken, withQuery } from "../api.js";
import { useCell } from "../cell.js";
import { span } from "../format.js";
import { html, useEffect } from "../html.js";
import { t, useLang } from "../i18n.js";
import { live, useDomain, useResource } from "../live.js";
import {
  Bar,
  Card,
  Empty,
  Facts,
  Loaded,
  nameText,
  Skeleton,
  State,
  Table,
  Time,
  ViewHead,
} from "../parts.js";
import { href, replaceParams } from "../route.js";
import { Health } from "./system/health.js";
import { Ledger, Policies } from "./system/kept.js";
import { Log } from "./system/log.js";
import { Journals, Storage } from "./system/storage.js";

/** @typedef {import("../types.js").DomainStatus} DomainStatus */
/** @typedef {import("../types.js").SourceStatus} SourceStatus */
/** @typedef {import("../types.js").StageStatus} StageStatus */
/** @typedef {import("../types.js").Who} Who */

const PARTS = /** @type {const} */ ([
  "health",
  "sources",
  "stages",
  "storage",
  "journals",
  "ledger",
  "policies",
  "access",
  "log",
]);

/** @param {{ params: Record<string, string> }} props */
export default function System({ params }) {
  useLang();
  const { status } = useCell(live);
  const domain = useDomain();
  const name = domain?.domain ?? null;
  const asked = (/** @type {string} */ path) => (status ? path : null);
  const who = useResource(asked("v1/whoami"), { every: 30_000, and: String(hasToken()) });
  const health = useResource(asked("v1/health?shown=true"), { every: 10_000, and: status?.health });
  const storage = useResource(asked("v1/storage"), { every: 60_000, timeout: 30_000 });
  const ledger = useResource(asked("v1/ledger"), { every: 30_000, timeout: 30_000 });
  const policies = useResource(name && withQuery("v1/policies", { domain: name }), { every: 60_000 });
  const at = PARTS.find((part) => part === params.at) ?? null;
  useEffect(() => show(at), [at]);
  if (!status) return html`<${ViewHead} title=${t("nav.system")} /><${Skeleton} rows=${12} />`;
  return html`<${ViewHead} title=${html`${t("nav.system")} <span class="muted">${name}</span>`}>
      <span class="parts">${PARTS.map(
        (part) =>
          html`<button key=${part} type="button" class="link" onClick=${() => {
            replaceParams({ ...params, at: part });
            show(part);
          }}>${t(`system.${part}`)}</button>`,
      )}</span><//>
    <div class="system">
      <div id="system-health"><${Health} of=${health} status=${status} /></div>
      <div id="system-sources" class="wide"><${Sources} sources=${domain?.sources ?? []} /></div>
      <div id="system-stages" class="wide"><${Stages} stages=${domain?.stages ?? []} /></div>
      <div id="system-storage"><${Storage} of=${storage} /></div>
      <div id="system-ledger"><${Ledger} of=${ledger} /></div>
      <div id="system-journals" class="wide"><${Journals} of=${storage} domain=${name} /></div>
      <div id="system-policies"><${Policies} of=${policies} /></div>
      <div id="system-access"><${Access} of=${who} status=${status} /></div>
      <div id="system-log" class="wide"><${Log} who=${who.data} runtime=${status.runtime} params=${params} /></div>
    </div>`;
}

/** @param {string | null} part */
const show = (part) => {
  if (part) document.getElementById(`system-${part}`)?.scrollIntoView({ block: "start" });
};

/** @param {{ sources: readonly SourceStatus[] }} props */
function Sources({ sources }) {
  if (sources.length === 0) {
    return html`<${Card} title=${t("system.sources")}><${Empty} title=${t("now.feeds.none")} /><//>`;
  }
  return html`<${Card} title=${t("system.sources")} count=${sources.length} size="flush">
    <${Table} caption=${t("system.sources")} rows=${sources} keyOf=${(/** @type {SourceStatus} */ it) => it.source} columns=${[
      {
        id: "source",
        title: t("system.source"),
        size: "c-m",
        cell: (/** @type {SourceStatus} */ { source, kind }) =>
          html`<span><a href=${href("series", null, { source })}>${nameText(source)}</a> <span class="muted">${kind}</span></span>`,
      },
      {
        id: "status",
        title: t("operate.state"),
        size: "c-m",
        cell: (/** @type {SourceStatus} */ { status }) => html`<${State} of="feed" value=${status} quiet />`,
      },
      {
        id: "age",
        title: t("system.age"),
        size: "c-limit",
        cell: (/** @type {SourceStatus} */ it) =>
          html`<${Limit} ns=${it.age_ns} most=${it.max_age_ns} over=${it.status !== "ok"} />`,
      },
      {
        id: "error",
        title: t("system.error"),
        cell: (/** @type {SourceStatus} */ { error }) => error ?? html`<span class="muted">–</span>`,
      },
      {
        id: "subjects",
        title: t("system.subjects"),
        size: "c-s",
        end: true,
        cell: (
          /** @type {SourceStatus} */ { subjects, stale_subjects },
        ) => html`<span class="two"><span>${subjects.toLocaleString()}</span>
          ${stale_subjects > 0 && html`<${State} of="feed" value="stale" text=${t("now.silent", { n: stale_subjects })} quiet />`}</span>`,
      },
      {
        id: "position",
        title: t("system.records"),
        size: "c-num",
        end: true,
        cell: (/** @type {SourceStatus} */ { position }) => position.toLocaleString(),
      },
      {
        id: "newest",
        title: t("system.newest"),
        size: "c-time",
        end: true,
        cell: (/** @type {SourceStatus} */ { newest_ns }) => html`<${Time} ns=${newest_ns} />`,
      },
    ]} /><//>`;
}

/** How far of a limit. @param {{ ns: number | null, most: number, over: boolean }} props */
const Limit = ({
  ns,
  most,
  over,
}) => html`<span class="limit"><${Bar} part=${ns === null ? 1 : ns / most} over=${over} />
  <span>${ns === null ? "–" : span(ns / 1e6)} <span class="muted">/ ${span(most / 1e6)}</span></span></span>`;

/** @param {{ stages: readonly StageStatus[] }} props */
function Stages({ stages }) {
  if (stages.length === 0) {
    return html`<${Card} title=${t("system.stages")}><${Empty} title=${t("now.stages.none")} /><//>`;
  }
  const late = (/** @type {StageStatus} */ it) => it.lag_ns === null || it.lag_ns > it.max_lag_ns;
  return html`<${Card} title=${t("system.stages")} count=${stages.length} size="flush">
    <${Table} caption=${t("system.stages")} rows=${stages} keyOf=${(/** @type {StageStatus} */ it) => `${it.journal} ${it.stage}`} columns=${[
      {
        id: "stage",
        title: t("system.stage"),
        size: "c-m",
        cell: (/** @type {StageStatus} */ { stage }) => html`<b>${stage}</b>`,
      },
      {
        id: "state",
        title: t("operate.state"),
        size: "c-m",
        cell: (/** @type {StageStatus} */ it) =>
          html`<${State} of="health" value=${late(it) ? "fail" : "pass"} text=${late(it) ? t("now.lags") : t("now.uptodate")} quiet />`,
      },
      {
        id: "lag",
        title: t("system.lag"),
        size: "c-limit",
        cell: (/** @type {StageStatus} */ it) =>
          html`<${Limit} ns=${it.lag_ns} most=${it.max_lag_ns} over=${late(it)} />`,
      },
      {
        id: "journal",
        title: t("system.journal"),
        cell: (/** @type {StageStatus} */ { journal, epoch }) =>
          html`<span><span class="mono">${journal}</span> <span class="muted">${t("system.epoch", { n: epoch })}</span></span>`,
      },
      {
        id: "behind",
        title: t("system.behind"),
        size: "c-s",
        end: true,
        cell: (/** @type {StageStatus} */ { behind }) => behind.toLocaleString(),
      },
      {
        id: "position",
        title: t("system.records"),
        size: "c-num",
        end: true,
        cell: (/** @type {StageStatus} */ { position }) => position.toLocaleString(),
      },
      {
        id: "through",
        title: t("system.through"),
        size: "c-time",
        end: true,
        cell: (/** @type {StageStatus} */ { through_ns }) => html`<${Time} ns=${through_ns} />`,
      },
    ]} /><//>`;
}

/** @param {{ of: any, status: import("../types.js").Status }} props */
const Access = ({ of, status }) => html`<${Card} title=${t("system.access")}>
  <${Facts} of=${[
    [t("system.version"), `QTS Observer ${status.version}`],
    [t("system.runtime"), t(`system.runtime.${status.runtime}`)],
    [t("system.time"), html`<${Time} ns=${status.now_ns} form="full" />`],
    [t("system.refresh"), span(status.refresh_ms)],
  ]} />
  <${Loaded} of=${of} rows=${4}>${(/** @type {Who} */ who) => html`<${Facts} of=${[
    [t("system.access.who"), who.name ? nameText(who.name) : t("system.access.nobody")],
    [t("system.access.proof"), t(`system.proof.${who.proof}`)],
    [
      t("system.access.principal"),
      who.principal === null ? "–" : html`<span class="mono">${who.principal}</span>`,
    ],
    [t("system.access.scopes"), who.scopes.join(", ") || "–"],
    [t("system.access.two"), who.two_person.join(", ") || t("system.access.two.none")],
    [t("system.access.within"), span(who.confirm_within_ns / 1e6)],
  ]} />
  <ul class="scopes-told">${["read", "push", "operate", "admin"].map(
    (scope) => html`<li key=${scope}><b>${scope}</b> ${t(`system.scope.${scope}`)}</li>`,
  )}</ul>`}<//><//>`;
