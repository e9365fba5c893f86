// What shows that nobody has written the records anew, and the policies that are in force.
import { span } from "../../format.js";
import { html } from "../../html.js";
import { t } from "../../i18n.js";
import { Badge, Card, Empty, Facts, Loaded, nameText, State, Time } from "../../parts.js";

/** @typedef {import("../../types.js").Ledger} LedgerAnswer */

const ANCHORS = 5;

/** @param {{ of: any }} props */
export const Ledger = ({ of }) => html`<${Card} title=${t("system.ledger")}>
  <${Loaded} of=${of} rows=${7}>${(
    /** @type {LedgerAnswer} */ { heads, anchors, outside, every_ns, chain },
  ) => html`
    <p class="sound">${
      chain
        ? html`<${State} of="verified" value=${chain.sound ? "sound" : "broken"} quiet text=${t(chain.sound ? "system.ledger.sound" : "system.ledger.broken", { n: Number(chain.records), journals: Number(chain.journals) })} />`
        : html`<span class="muted">${t("system.ledger.unchecked")}</span>`
    }</p>
    ${(chain?.faults ?? []).length > 0 && html`<ul class="faults">${chain?.faults.map((/** @type {any} */ fault, /** @type {number} */ index) => html`<li key=${index}><b class="mono">${fault.journal}</b> ${fault.text}</li>`)}</ul>`}
    <${Facts} of=${[
      [t("system.ledger.heads"), Object.keys(heads).length.toLocaleString()],
      [t("system.ledger.every"), every_ns === null ? t("system.ledger.byhand") : span(every_ns / 1e6)],
      [
        t("system.ledger.outside"),
        outside ?? html`<${State} of="health" value="warn" text=${t("system.ledger.inside")} quiet />`,
      ],
      [
        t("system.ledger.newest"),
        anchors[0] ? html`<${Time} ns=${anchors[0].time_ns} form="full" />` : t("system.ledger.none"),
      ],
    ]} />
    ${
      anchors.length > 0 &&
      html`<ul class="anchors">${anchors
        .slice(0, ANCHORS)
        .map(
          (anchor) =>
            html`<li key=${anchor.ref}><span class="mono">${anchor.ref}</span> <${Time} ns=${anchor.time_ns} />${" "}<span class="mono muted" title=${anchor.digest}>${anchor.digest.slice(0, 16)}…</span> <span class="muted">${t("system.ledger.over", { n: anchor.journals })}</span></li>`,
        )}</ul>`
    }
    <details><summary>${t("system.ledger.heads.all")}</summary><ul class="heads">${Object.entries(heads).map(
      ([journal, head]) =>
        html`<li key=${journal}><span class="mono">${journal}@${head.position}</span> <span class="mono muted" title=${head.hash}>${String(head.hash).slice(0, 16)}…</span></li>`,
    )}</ul></details>`}<//><//>`;

/** @param {{ of: any }} props */
export const Policies = ({
  of,
}) => html`<${Card} title=${t("system.policies")} count=${of.data?.items.length}>
  <${Loaded} of=${of} rows=${6} empty=${html`<${Empty} title=${t("system.policies.none")} />`}>
    ${(
      /** @type {import("../../types.js").Policies} */ { epoch, version, items },
    ) => html`<p class="muted">${t("system.epoch", { n: epoch })}${version && ` · ${t("system.policies.version", { version })}`}</p>
    <ul class="policies">${items.map(
      (
        policy,
      ) => html`<li key=${policy.name}><details><summary data-row><b>${nameText(policy.name)}</b> <span class="muted">${t("system.policies.v", { n: policy.version })}</span>
        ${typeof policy.settings.verdict === "string" && html` <${Badge} of="verdict" value=${policy.settings.verdict} quiet />`}
        ${policy.settings.description && html`<span class="says">${String(policy.settings.description)}</span>`}</summary>
        <pre tabindex="0" aria-label=${policy.name}>${policy.text}</pre></details></li>`,
    )}</ul>`}
  <//><//>`;
