// What was set aside (and closes what it concerns), and deliveries that were given up.
import { html } from "../../html.js";
import { t } from "../../i18n.js";
import { Badge, Card, Empty, Loaded, nameText, scopeText, Table, Time } from "../../parts.js";
import { replaceParams } from "../../route.js";
import { letter, redriveEntry } from "./asks.js";
import { AskButton } from "./dialogs.js";

/** @typedef {import("../../types.js").Quarantined} Quarantined */
/** @typedef {import("../../types.js").DeadLetter} DeadLetter */

/** @param {{ of: any, id: string }} props */
export function Quarantine({ of, id }) {
  return html`<div id=${id} class="part"><${Card} title=${t("operate.quarantined")} count=${of.data?.items.length} size="flush">
    <${Loaded} of=${of} rows=${2} empty=${html`<${Empty} good title=${t("operate.quarantined.none")} />`}>
      ${(
        /** @type {import("../../types.js").Page<Quarantined>} */ page,
      ) => html`<${Table} caption=${t("operate.quarantined")}
        rows=${page.items} keyOf=${(/** @type {Quarantined} */ it) => `${it.journal} ${it.ref}`} columns=${[
          {
            id: "ref",
            title: t("operate.quarantined.ref"),
            size: "c-l",
            cell: (/** @type {Quarantined} */ { ref, journal }) =>
              html`<span class="two"><b class="mono">${ref}</b><span class="muted">${t("operate.quarantined.by", { journal })}</span></span>`,
          },
          {
            id: "why",
            title: t("operate.why"),
            cell: (
              /** @type {Quarantined} */ { error, scopes },
            ) => html`<span class="two"><span>${error ?? "–"}</span>
              <span class="muted">${t("operate.quarantined.closes", { scopes: scopes.map(scopeText).join(", ") || "–" })}</span></span>`,
          },
          {
            id: "time",
            title: t("operate.col.when"),
            size: "c-s",
            cell: (/** @type {Quarantined} */ { time_ns }) => html`<${Time} ns=${time_ns} />`,
          },
          {
            id: "do",
            title: t("operate.col.do"),
            size: "c-do",
            cell: (/** @type {Quarantined} */ it) => html`<${AskButton} of=${() => redriveEntry(it)} opens
              label=${t("operate.label", { what: t("operate.do.quarantine"), name: it.ref })}>${t("operate.do.quarantine")} …<//>`,
          },
        ]} />`}
    <//><//></div>`;
}

const STATES = /** @type {const} */ (["buried", "redriven", "dropped"]);

/** @param {{ of: any, id: string, params: Record<string, string> }} props */
export function DeadLetters({ of, id, params }) {
  const tools = html`<select aria-label=${t("operate.letters.state")} value=${params.letters ?? "buried"}
    onChange=${(/** @type {any} */ event) => replaceParams({ ...params, letters: event.target.value })}>
    ${STATES.map((state) => html`<option key=${state} value=${state} selected=${state === (params.letters ?? "buried")}>${t(`letter.${state}`)}</option>`)}
    <option value="all" selected=${params.letters === "all"}>${t("now.all")}</option></select>`;
  return html`<div id=${id} class="part"><${Card} title=${t("operate.letters")} count=${of.data?.items.length} size="flush" tools=${tools}>
    <${Loaded} of=${of} rows=${2} empty=${html`<${Empty} good title=${t("operate.letters.none")} />`}>
      ${(
        /** @type {import("../../types.js").Page<DeadLetter>} */ page,
      ) => html`<${Table} caption=${t("operate.letters")}
        rows=${page.items} keyOf=${(/** @type {DeadLetter} */ it) => it.id} columns=${[
          {
            id: "queue",
            title: t("operate.letters.queue"),
            size: "c-m",
            cell: (/** @type {DeadLetter} */ { queue, state }) =>
              html`<span class="two"><b>${nameText(queue)}</b><${Badge} of="letter" value=${state} quiet /></span>`,
          },
          {
            id: "text",
            title: t("operate.letters.text"),
            cell: (
              /** @type {DeadLetter} */ { text, dequeue_count },
            ) => html`<span class="two"><code class="message">${text}</code>
              <span class="muted">${t("operate.letters.tries", { n: dequeue_count })}</span></span>`,
          },
          {
            id: "time",
            title: t("operate.col.when"),
            size: "c-s",
            cell: (/** @type {DeadLetter} */ { buried_ns }) => html`<${Time} ns=${buried_ns} />`,
          },
          {
            id: "do",
            title: t("operate.col.do"),
            size: "c-do",
            cell: (/** @type {DeadLetter} */ it) =>
              it.state === "buried" &&
              html`<span class="buttons"><${AskButton} of=${() => letter(it, "redrive")} label=${t("operate.label", { what: t("operate.do.letter_redrive"), name: it.queue })}>${t("operate.do.letter_redrive")} …<//>
              <${AskButton} of=${() => letter(it, "drop")} label=${t("operate.label", { what: t("operate.do.letter_drop"), name: it.queue })}>${t("operate.do.letter_drop")} …<//></span>`,
          },
        ]} />`}
    <//><//></div>`;
}
