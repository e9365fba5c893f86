// Who is told, and of what nobody is told for a while. Neither touches the gate or what is recorded.
import { html } from "../../html.js";
import { t } from "../../i18n.js";
import { Card, Empty, Loaded, nameText, State, Table, Until } from "../../parts.js";
import { endSilence, silence, subscription } from "./asks.js";
import { AskButton } from "./dialogs.js";

/** @typedef {import("../../types.js").Silence} Silence */
/** @typedef {import("../../types.js").Subscription} Subscription */

/** @param {{ of: any, domain: import("../../types.js").DomainStatus, id: string }} props */
export function Silences({ of, domain, id }) {
  const tools = html`<${AskButton} of=${() => silence(domain)}>${t("operate.silence.new")} …<//>`;
  return html`<div id=${id} class="part"><${Card} title=${t("operate.silences")} count=${of.data?.items.length} size="flush" tools=${tools}>
    <${Loaded} of=${of} rows=${2} empty=${html`<${Empty} good title=${t("operate.silences.none")} />`}>
      ${(
        /** @type {import("../../types.js").Page<Silence>} */ page,
      ) => html`<${Table} caption=${t("operate.silences")}
        rows=${page.items} keyOf=${(/** @type {Silence} */ it) => it.id} columns=${[
          {
            id: "match",
            title: t("operate.silence.what"),
            size: "c-l",
            cell: (/** @type {Silence} */ it) => html`<b>${matchText(it)}</b>`,
          },
          {
            id: "why",
            title: t("operate.why"),
            cell: (/** @type {Silence} */ { author, reason }) =>
              html`<b>${author}</b> <span class="muted">${reason}</span>`,
          },
          {
            id: "left",
            title: t("operate.col.left"),
            size: "c-s",
            cell: (/** @type {Silence} */ { end_ns }) => html`<${Until} ns=${end_ns} />`,
          },
          {
            id: "do",
            title: t("operate.col.do"),
            size: "c-do",
            cell: (/** @type {Silence} */ it) => html`<${AskButton} of=${() => endSilence(it, matchText(it))}
              label=${t("operate.label", { what: t("operate.do.silence_end"), name: matchText(it) })}>${t("operate.do.silence_end")} …<//>`,
          },
        ]} />`}
    <//><//></div>`;
}

/** What a silence takes, in words. @param {Silence} found */
function matchText({ match }) {
  const parts = Object.entries(match)
    .filter(([, globs]) => Array.isArray(globs))
    .map(([name, globs]) => {
      const key = ["subjects", "sources", "types", "tags"].includes(name) ? name : null;
      return `${key ? t(`operate.silence.${key}.short`) : name}: ${globs.map(nameText).join(", ")}`;
    });
  return parts.length > 0 ? parts.join(" · ") : t("operate.silence.all");
}

/** @param {{ of: any, id: string }} props */
export function Subscriptions({ of, id }) {
  return html`<div id=${id} class="part"><${Card} title=${t("operate.subscriptions")} count=${of.data?.items.length} size="flush">
    <${Loaded} of=${of} rows=${2} empty=${html`<${Empty} title=${t("operate.subscriptions.none")} />`}>
      ${(
        /** @type {import("../../types.js").Page<Subscription>} */ page,
      ) => html`<${Table} caption=${t("operate.subscriptions")}
        rows=${page.items} keyOf=${(/** @type {Subscription} */ it) => it.name} columns=${[
          {
            id: "name",
            title: t("operate.subscription"),
            size: "c-m",
            cell: (/** @type {Subscription} */ { name }) => html`<b>${nameText(name)}</b>`,
          },
          {
            id: "to",
            title: t("operate.subscription.to"),
            cell: (
              /** @type {Subscription} */ { stream, sink, configured },
            ) => html`<span class="two"><span>${stream} → ${String(sink.to ?? sink.kind ?? "")}</span>
              <span class="muted">${configured ? t("operate.subscription.configured") : t("operate.subscription.added")}</span></span>`,
          },
          {
            id: "state",
            title: t("operate.state"),
            size: "c-s",
            cell: (/** @type {Subscription} */ { state }) =>
              html`<${State} of="subscription" value=${state} quiet />`,
          },
          {
            id: "lag",
            title: t("operate.subscription.lag"),
            size: "c-s",
            cell: (/** @type {Subscription} */ { lag, attempt }) =>
              html`<span class="two"><span>${lag === null ? t("operate.subscription.never") : lag.toLocaleString()}</span>
              ${attempt > 0 && html`<span class="muted">${t("operate.subscription.attempt", { n: attempt })}</span>`}</span>`,
          },
          {
            id: "do",
            title: t("operate.col.do"),
            size: "c-do",
            cell: (/** @type {Subscription} */ it) =>
              html`<span class="buttons">${
                it.state === "paused"
                  ? html`<${AskButton} needs="admin" of=${() => subscription(it, "resume")} label=${t("operate.label", { what: t("operate.do.resume"), name: it.name })}>${t("operate.do.resume")} …<//>`
                  : html`<${AskButton} needs="admin" of=${() => subscription(it, "pause")} label=${t("operate.label", { what: t("operate.do.pause"), name: it.name })}>${t("operate.do.pause")} …<//>`
              }<${AskButton} needs="admin" of=${() => subscription(it, "remove")} off=${it.configured && t("operate.no.configured")} label=${t("operate.label", { what: t("operate.do.remove"), name: it.name })}>${t("operate.do.remove")} …<//></span>`,
          },
        ]} />`}
    <//><//></div>`;
}
