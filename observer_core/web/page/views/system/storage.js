// How much is stored, how fast it grows, what it costs, and in which journals it is.
import { number, size, span } from "../../format.js";
import { html, useState } from "../../html.js";
import { t } from "../../i18n.js";
import { Bar, Card, Empty, Facts, Loaded, State, Table, Time } from "../../parts.js";

/** @typedef {import("../../types.js").Storage} StorageAnswer */
/** @typedef {import("../../types.js").JournalSize} JournalSize */

const DAY = 86_400_000;

/** @param {{ of: any }} props */
export const Storage = ({ of }) => html`<${Card} title=${t("system.storage")}>
  <${Loaded} of=${of} rows=${7}>${(
    /** @type {StorageAnswer} */ { where, folders, free, bytes_a_day, operations, cost },
  ) => {
    const all = folders ? Object.values(folders).reduce((sum, bytes) => sum + bytes, 0) : null;
    const days = free !== null && bytes_a_day ? free / bytes_a_day : null;
    return html`<p class="full-in">${
      days === null
        ? html`<span class="muted">${free === null ? t("system.storage.account") : t("system.storage.still")}</span>`
        : html`<${State} of="health" value=${days < 7 ? "fail" : days < 30 ? "warn" : "pass"} quiet
            text=${days > 3_650 ? t("system.storage.never") : t("system.storage.full", { span: span(days * DAY) })} />`
    }</p>
    <${Facts} of=${[
      [t("system.storage.where"), where],
      [t("system.storage.all"), size(all)],
      [t("system.storage.free"), size(free)],
      [t("system.storage.day"), size(bytes_a_day)],
    ]} />
    ${
      folders &&
      html`<ul class="folders">${Object.entries(folders)
        .sort(([, one], [, other]) => other - one)
        .map(
          ([name, bytes]) =>
            html`<li key=${name}><span>${name}</span><${Bar} part=${bytes / Math.max(1, all ?? 1)} /><span>${size(bytes)}</span></li>`,
        )}</ul>`
    }
    ${
      cost &&
      html`<h3>${t("system.cost")}</h3><${Facts} of=${[
        [t("system.cost.month"), money(cost.a_month, cost.currency)],
        [
          t("system.cost.sofar"),
          `${money(cost.so_far, cost.currency)} · ${span(Number(cost.seconds) * 1_000)}`,
        ],
        ...Object.entries(cost.services ?? {}).map(([name, sum]) => [
          name,
          money(Number(sum), cost.currency),
        ]),
        [t("system.cost.prices"), `${cost.region}, ${cost.dated}`],
      ]} />`
    }
    ${
      operations &&
      html`<details><summary>${t("system.operations", { n: Object.values(operations).reduce((sum, n) => sum + n, 0) })}</summary>
        <${Facts} of=${Object.entries(operations).map(([name, n]) => [name, n.toLocaleString()])} /></details>`
    }`;
  }}<//><//>`;

/** @param {number} sum @param {string} currency */
const money = (sum, currency) => `${number(Number(sum.toPrecision(3)))} ${currency}`;

const FIRST = 12;

/** @param {{ of: any, domain: string | null }} props */
export function Journals({ of, domain }) {
  const [all, setAll] = useState(false);
  const [most, setMost] = useState(FIRST);
  const tools = html`<label class="check-in"><input type="checkbox" checked=${all}
    onChange=${(/** @type {any} */ event) => setAll(event.target.checked)} /> ${t("system.journals.all")}</label>`;
  return html`<${Card} title=${t("system.journals")} count=${of.data?.journals.filter((/** @type {JournalSize} */ it) => all || it.domain === domain).length} size="flush" tools=${tools}>
    <${Loaded} of=${of} rows=${8}>${(/** @type {StorageAnswer} */ { journals }) => {
      const rows = journals
        .filter((journal) => all || journal.domain === domain)
        .sort((one, other) => other.last_day - one.last_day || other.records - one.records);
      if (rows.length === 0) return html`<${Empty} title=${t("system.journals.none")} />`;
      const largest = Math.max(1, ...rows.map(({ records }) => records));
      return html`<${Table} caption=${t("system.journals")} rows=${rows.slice(0, most)} keyOf=${(/** @type {JournalSize} */ it) => it.journal} columns=${[
        {
          id: "journal",
          title: t("system.journal"),
          cell: (/** @type {JournalSize} */ { journal }) => html`<b class="mono">${journal}</b>`,
        },
        ...(all
          ? [
              {
                id: "domain",
                title: t("domain.label"),
                size: "c-s",
                cell: (/** @type {JournalSize} */ it) => it.domain,
              },
            ]
          : []),
        {
          id: "records",
          title: t("system.records"),
          size: "c-m",
          end: true,
          cell: (/** @type {JournalSize} */ { records }) =>
            html`<span class="bar-num"><${Bar} part=${records / largest} /><span>${records.toLocaleString()}</span></span>`,
        },
        {
          id: "day",
          title: t("system.journals.day"),
          size: "c-m",
          end: true,
          cell: (/** @type {JournalSize} */ { last_day }) => last_day.toLocaleString(),
        },
        {
          id: "newest",
          title: t("system.newest"),
          size: "c-time",
          end: true,
          cell: (/** @type {JournalSize} */ { newest_ns }) => html`<${Time} ns=${newest_ns} />`,
        },
      ]} />
      ${rows.length > most && html`<p class="more"><button type="button" onClick=${() => setMost(10_000)}>${t("now.more", { n: rows.length - most })}</button></p>`}`;
    }}<//><//>`;
}
