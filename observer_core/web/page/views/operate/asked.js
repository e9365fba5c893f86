// Who acts, what he has asked in this tab and what became of it, and what waits for a second person.
import { acts } from "../../acting.js";
import { hasToken, locked } from "../../api.js";
import { useCell } from "../../cell.js";
import { clock, span } from "../../format.js";
import { html, useContext } from "../../html.js";
import { t } from "../../i18n.js";
import { Age, Badge, Card, Empty, Loaded, Until } from "../../parts.js";
import { actText, confirm, requestText } from "./asks.js";
import { AskButton, Desk } from "./dialogs.js";

/** @typedef {import("../../types.js").Who} Who */

/** Who acts, and what he may do. @param {{ who: Who | null, error: unknown }} props */
export function Whoami({ who, error }) {
  const lacks = who !== null && !who.scopes.includes("operate");
  const text = !who
    ? error
      ? t("operate.who.unknown")
      : t("loading")
    : t(`operate.who.${who.proof}`, { name: who.name ?? "" });
  return html`<div id="operate-who" class=${lacks ? "who strip" : "who"}>
    <p>${lacks && html`<b>${t("operate.who.lacks")}</b>${" "}`}${text}${" "}
      ${who && html`<span class="muted">${t("operate.who.scopes", { scopes: who.scopes.join(", ") || "–" })}</span>`}</p>
    ${
      who &&
      who.proof !== "loopback" &&
      html`<button type="button" onClick=${() => locked.set(true)}>${hasToken() ? t("operate.who.other") : t("operate.who.token.use")}</button>`
    }</div>`;
}

/** What was asked in this tab, the newest first. */
export function Asked() {
  const { show } = useContext(Desk);
  const found = useCell(acts);
  return html`<${Card} title=${t("operate.asked")} count=${found.length || null} size="asked flush">
    ${found.length === 0 && html`<${Empty} title=${t("operate.asked.none")}>${t("operate.asked.why")}<//>`}
    <ul class="rows" aria-live="polite">${found.map(
      (act) => html`<li key=${act.key} data-row tabindex="-1">
      <span class="act"><${Badge} of="outcome" value=${act.state} quiet /><span class="muted">${clock(act.at)}</span></span>
      <button type="button" class="link" onClick=${() => show(act.key)}>${actText(act.what)}${act.what.for ? ` · ${act.what.for}` : ""}</button>
      ${act.asked && html`<span class="mono muted">${act.asked.ref}</span>`}</li>`,
    )}</ul><//>`;
}

/**
 * @param {{ of: any, ground: import("./asks.js").Ground }} props
 */
export function Requests({ of, ground }) {
  const { who } = ground;
  const two = who?.two_person ?? [];
  const empty =
    two.length > 0
      ? t("operate.requests.for", {
          commands: two.map((name) => t(`operate.do.${name}`)).join(", "),
          span: span((who?.confirm_within_ns ?? 0) / 1e6),
        })
      : t("operate.requests.off");
  const mine = (/** @type {import("../../types.js").ConfirmationRequest} */ request) =>
    who?.principal !== null && who?.principal === request.principal;
  return html`<${Card} title=${t("operate.requests")} count=${of.data?.items.length || null} size="requests flush">
    <${Loaded} of=${of} rows=${2} empty=${html`<${Empty} title=${t("operate.requests.none")}>${empty}<//>`}>
      ${(/** @type {import("../../types.js").Page<import("../../types.js").ConfirmationRequest>} */ page) =>
        html`<ul class="rows">${page.items.map(
          (request) => html`<li key=${request.request} data-row tabindex="-1" class="request">
          <b>${requestText(request, ground.domain)}</b>
          <span>${request.author}: ${request.reason}</span>
          <span class="muted"><span class="mono">${request.request}</span> · ${t("operate.asked.ago")} <${Age} ns=${request.since_ns} /> · ${t("operate.expires")} <${Until} ns=${request.expires_ns} /></span>
          ${
            mine(request)
              ? html`<span class="own">${t("operate.requests.own", { principal: request.principal ?? "" })}</span>`
              : html`<${AskButton} of=${() => confirm(ground, request)} opens kind="danger">${t("operate.do.confirm")} …<//>`
          }</li>`,
        )}</ul>`}
    <//><//>`;
}
