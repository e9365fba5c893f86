// What stands at the gate: blocks, each with what ends it, and overrides.
import { html, useState } from "../../html.js";
import { t } from "../../i18n.js";
import { Age, Badge, Card, Empty, Loaded, scopeText, Table, Time, Until } from "../../parts.js";
import { href } from "../../route.js";
import {
  KILL,
  OPERATOR,
  override,
  placeText,
  policyText,
  QUARANTINE,
  rearm,
  release,
  unkill,
} from "./asks.js";
import { AskButton } from "./dialogs.js";

/** @typedef {import("./asks.js").Ground} Ground */
/** @typedef {import("../../types.js").Block} Block */
/** @typedef {import("../../types.js").Override} Override */

const FIRST = 30;
/** What ends a block without an end. @type {Record<string, string>} */
const ENDS = { [KILL]: "unkill", [OPERATOR]: "release", [QUARANTINE]: "redrive" };

/** @param {{ of: any, ground: Ground, id: string }} props */
export function Blocks({ of, ground, id }) {
  const [find, setFind] = useState("");
  const [most, setMost] = useState(FIRST);
  const tools = html`<input type="search" placeholder=${t("operate.blocks.find")} aria-label=${t("operate.blocks.find")}
    value=${find} onInput=${(/** @type {any} */ event) => setFind(event.target.value)} />`;
  const fits = (/** @type {Block} */ { scope, policy, reason }) =>
    `${scope} ${policy} ${reason}`.toLowerCase().includes(find.trim().toLowerCase());
  return html`<div id=${id} class="part"><${Card} title=${t("operate.blocks")} count=${of.data?.items.length} size="flush" tools=${tools}>
    <${Loaded} of=${of} rows=${8} empty=${html`<${Empty} good title=${t("operate.blocks.none")} />`}>
      ${(/** @type {import("../../types.js").BlockPage} */ page) => {
        const rows = page.items.filter(fits);
        return html`${rows.length === 0 && html`<${Empty} title=${t("now.filtered")} />`}
          ${rows.length > 0 && html`<${Table} caption=${t("operate.blocks")} rows=${rows.slice(0, most)} keyOf=${(/** @type {Block} */ it) => `${it.scope} ${it.policy}`} columns=${columns(ground)} />`}
          ${rows.length > most && html`<p class="more"><button type="button" onClick=${() => setMost(most + 200)}>${t("now.more", { n: rows.length - most })}</button></p>`}
          ${page.next && html`<p class="more muted">${t("operate.blocks.next", { n: page.items.length })}</p>`}`;
      }}
    <//><//></div>`;
}

/** @param {Ground} ground @returns {import("../../parts.js").Column<Block>[]} */
const columns = (ground) => [
  {
    id: "scope",
    title: t("operate.scope"),
    size: "c-m",
    cell: ({ scope }) =>
      html`<a href=${href("operate", null, { scope })}>${placeText(scope, ground.domain.domain)}</a>`,
  },
  {
    id: "why",
    title: t("operate.why"),
    cell: (found) => html`<span class="two"><span><b>${policyText(found.policy)}</b>
      ${found.lifted && html` <${Badge} of="verdict" value="release" text=${t("operate.lifted")} quiet />`}</span>
      <span class="muted">${whyText(found)} ${found.decision && html`<a href=${href("decision", found.decision)}>${t("now.decision")}</a>`}</span></span>`,
  },
  {
    id: "since",
    title: t("operate.col.since"),
    size: "c-s",
    cell: ({ since_ns }) => html`<${Time} ns=${since_ns} />`,
  },
  {
    id: "left",
    title: t("operate.col.ends"),
    size: "c-s",
    cell: (found) => html`<${Ends} of=${found} />`,
  },
  {
    id: "do",
    title: t("operate.col.do"),
    size: "c-do",
    cell: ({ scope, policy }) => {
      const name = scopeText(scope);
      if (policy === KILL) {
        return html`<${AskButton} of=${() => unkill(ground, scope)} opens label=${t("operate.label", { what: t("operate.do.unkill"), name })}>${t("operate.do.unkill")} …<//>`;
      }
      return html`<span class="buttons"><${AskButton} of=${() => release(ground, scope, policy)} opens
          label=${t("operate.label", { what: t("operate.do.release"), name: `${name}, ${policyText(policy)}` })}>${t("operate.do.release")} …<//>
        ${policy !== OPERATOR && html`<${AskButton} of=${() => override(ground, scope)} opens label=${t("operate.label", { what: t("operate.do.override"), name })}>${t("operate.do.override")} …<//>`}</span>`;
    },
  },
];

/** @param {{ of: Block }} props */
export const Ends = ({ of: { until_ns, policy } }) =>
  until_ns === null
    ? html`<span class="muted">${t(`operate.ends.${ENDS[policy] ?? "cause"}`)}</span>`
    : html`<${Until} ns=${until_ns} />`;

/** The reason without the policy's name, which stands beside it. @param {Block} found */
const whyText = ({ policy, reason }) =>
  reason.startsWith(`${policy}: `) ? reason.slice(policy.length + 2) : reason;

/** @param {{ of: any, ground: Ground, id: string }} props */
export function Overrides({ of, ground, id }) {
  return html`<div id=${id} class="part"><${Card} title=${t("operate.overrides")} count=${of.data?.items.length} size="flush">
    <${Loaded} of=${of} rows=${2} empty=${html`<${Empty} good title=${t("operate.overrides.none")} />`}>
      ${(
        /** @type {import("../../types.js").Page<Override>} */ page,
      ) => html`<${Table} caption=${t("operate.overrides")}
        rows=${page.items} keyOf=${(/** @type {Override} */ it) => it.scope} columns=${[
          {
            id: "scope",
            title: t("operate.scope"),
            size: "c-m",
            cell: (/** @type {Override} */ { scope }) =>
              html`<a href=${href("operate", null, { scope })}>${placeText(scope, ground.domain.domain)}</a>`,
          },
          {
            id: "why",
            title: t("operate.why"),
            cell: (
              /** @type {Override} */ found,
            ) => html`<span class="two"><span><b>${found.author}</b>${found.principal && html` <span class="muted">${found.principal}</span>`}</span>
              <span class="muted">${found.reason} ${found.decision && html`<a href=${href("decision", found.decision)}>${t("now.decision")}</a>`}</span></span>`,
          },
          {
            id: "since",
            title: t("operate.col.for"),
            size: "c-s",
            cell: (/** @type {Override} */ { since_ns }) => html`<${Age} ns=${since_ns} />`,
          },
          {
            id: "left",
            title: t("operate.col.left"),
            size: "c-s",
            cell: (/** @type {Override} */ { until_ns }) => html`<b><${Until} ns=${until_ns} /></b>`,
          },
          {
            id: "do",
            title: t("operate.col.do"),
            size: "c-do",
            cell: (
              /** @type {Override} */ { scope },
            ) => html`<span class="buttons"><${AskButton} of=${() => rearm(ground, scope)}
              label=${t("operate.label", { what: t("operate.do.rearm"), name: scopeText(scope) })}>${t("operate.do.rearm")} …<//>
              <${AskButton} of=${() => override(ground, scope)} opens label=${t("operate.label", { what: t("operate.lengthen"), name: scopeText(scope) })}>${t("operate.lengthen")} …<//></span>`,
          },
        ]} />`}
    <//><//></div>`;
}
