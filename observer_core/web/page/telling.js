// What records say, in words that more than one view needs.
import { useCell } from "./cell.js";
import { utc } from "./format.js";
import { html } from "./html.js";
import { reasonText, t } from "./i18n.js";
import { live, useDomain } from "./live.js";
import { nameText } from "./parts.js";
import { prefer } from "./prefs.js";
import { href } from "./route.js";

/** @typedef {import("./types.js").IncidentItem} IncidentItem */
/** @typedef {readonly [string, string, string]} Series source, subject, field */

/** A type of event without what all have. @param {string} type */
export const shortType = (type) => type.replace(/^io\.qts\.observer\./, "");

/** A feed as a whole has the subject *. @param {string} source @param {string} subject */
export const subjectText = (source, subject) =>
  subject === "*" ? t("scope.source", { name: source }) : nameText(subject);

/** Where an incident started, in a name: "BTC/USDT and 3 more". @param {IncidentItem} item */
export function leadOf(item) {
  const subjects = [
    ...new Set([...item.started, ...item.series].map(([source, subject]) => subjectText(source, subject))),
  ];
  return subjects.length > 1
    ? t("now.lead", { subject: subjects[0], n: subjects.length - 1 })
    : (subjects[0] ?? item.source);
}

/** "price_shock ×3, drawdown". @param {Record<string, number>} patterns */
export const patternsText = (patterns) =>
  Object.entries(patterns)
    .sort(([, one], [, other]) => other - one)
    .map(([name, n]) => (n > 1 ? `${name} ×${n.toLocaleString()}` : name))
    .join(", ");

/** Why, as the first reason of a decision says. @param {Record<string, any>} record */
export const whyText = (record) => (record.reasons?.[0] ? reasonText(record.reasons[0]) : "");

const HALF_HOUR = 1_800_000_000_000;

/**
 * The chart of a series around a moment, or a span. A feed as a whole has none: null.
 * @param {Series} series
 * @param {number} fromNs
 * @param {number} [toNs]
 * @param {string} [mark] the ref of a pattern, which it is to show
 */
export function chartAround([source, subject, field], fromNs, toNs = fromNs, mark = undefined) {
  if (subject === "*" || field === "*" || !field) return null;
  const margin = Math.max(HALF_HOUR, (toNs - fromNs) / 2);
  return href("series", null, {
    source,
    subject,
    field,
    since: utc(fromNs - margin),
    until: utc(toNs + margin),
    mark,
  });
}

/**
 * A series, linked to its chart around a moment.
 * @param {{ series: Series, fromNs: number, toNs?: number, mark?: string }} props `mark`: a pattern of it
 */
export function SeriesAt({ series, fromNs, toNs, mark }) {
  const [source, subject, field] = series;
  const to = chartAround(series, fromNs, toNs, mark);
  const about = field === "*" ? source : `${nameText(field)} · ${source}`;
  const text = html`<bdi>${subjectText(source, subject)}</bdi> <span class="muted">${about}</span>`;
  return to ? html`<a class="series" href=${to}>${text}</a>` : html`<span class="series">${text}</span>`;
}

/** The domain of a journal or a ref: "decisions.live@3" → "live". @param {string} ref */
export const domainOfRef = (ref) => ref.replace(/@\d+$/, "").split(".").slice(1).join(".");

/**
 * That what is shown is of another domain than all else on the page.
 * @param {{ domain: string }} props
 */
export function OtherDomain({ domain }) {
  const here = useDomain();
  const { status } = useCell(live);
  if (!here || here.domain === domain || !status?.domains.some((found) => found.domain === domain))
    return null;
  return html`<p class="strip other-domain"><span>${t("lists.domain", { domain, here: here.domain })}</span>
    <button type="button" onClick=${() => prefer({ domain })}>${t("lists.domain.go", { domain })}</button></p>`;
}

/**
 * Nothing has this id.
 * @param {{ title: string, detail: string | undefined, list: string, text: string }} props
 */
export const NotFound = ({
  title,
  detail,
  list,
  text,
}) => html`<div class="card"><div class="body"><div class="empty">
  <p>${title}</p>${detail && html`<p class="muted">${detail}</p>`}<p><a href=${list}>${text}</a></p></div></div></div>`;

/** Whether an answer says that nothing has this id. @param {any} error */
export const isMissing = (error) => error?.status === 404 || error?.status === 400;

/** Who was not told, and what kept it from him. @param {Record<string, any>} route */
export function keptText(route) {
  return Object.entries(route.stopped)
    .filter(([by]) => /^(silence|inhibit):/.test(by))
    .map(([by, names]) =>
      t(by.startsWith("silence:") ? "told.silence" : "told.inhibit", {
        names: /** @type {string[]} */ (names).join(", "),
        by: by.slice(by.indexOf(":") + 1),
      }),
    )
    .join("; ");
}

/** What the sink said. @param {Record<string, any>} record a delivery */
export function resultText(record) {
  const parts = [];
  if (record.attempt > 1) parts.push(t("told.attempt", { n: record.attempt }));
  if (record.code !== null) parts.push(t("told.code", { code: record.code }));
  if (record.detail) parts.push(record.detail);
  return parts.join(" · ");
}
