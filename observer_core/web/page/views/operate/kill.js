// The kill switch: what it does, whether it is set, and where.
import { html } from "../../html.js";
import { reasonText, t } from "../../i18n.js";
import { Age, Card, State, Sym, Time, useHolds } from "../../parts.js";
import { countIn, KILL, kill, placeText, unkill } from "./asks.js";
import { AskButton } from "./dialogs.js";

/** @param {{ ground: import("./asks.js").Ground, onChoose: () => void }} props */
export function KillSwitch({ ground, onChoose }) {
  const { domain, blocks } = ground;
  const holds = useHolds();
  const on = domain.killed.length > 0;
  const all = domain.killed.includes("*");
  const n = countIn(ground, "*");
  return html`<${Card} title=${t("operate.kill")} size=${`kill-card${on && holds ? " on" : ""}`}>
    <div class="kill-now">
      <div class="kill-state">
        <p class="big">${
          on
            ? html`<${State} of="gate" value="blocked" text=${t("operate.kill.on")} />`
            : html`<${State} of="gate" value="open" text=${t("operate.kill.off")} quiet />`
        }</p>
        <p>${
          all
            ? t("operate.kill.on.all", { domain: domain.domain, n })
            : t("operate.kill.what", { domain: domain.domain, n })
        }</p>
      </div>
      <div class="kill-do">
        ${
          all
            ? null
            : html`<${AskButton} of=${() => kill(ground, "*")} kind="danger huge">
              <${Sym} tone="bad" /> ${t("operate.kill.all", { domain: domain.domain })} …<//>`
        }
        ${!all && html`<button type="button" class="link" onClick=${onChoose}>${t("operate.kill.other")}</button>`}
      </div>
    </div>
    ${
      on &&
      html`<ul class="killed">${domain.killed.map((scope) => {
        const found = blocks.find((block) => block.scope === scope && block.policy === KILL);
        return html`<li key=${scope}><span class="killed-what"><b>${placeText(scope, domain.domain)}</b>${" "}
          ${found && html`<span class="muted">${t("operate.since")} <${Time} ns=${found.since_ns} /> (<${Age} ns=${found.since_ns} />)</span>`}
          <span>${found ? reasonText({ code: "", text: found.reason }) : ""}</span>
          ${scope !== "*" && html`<span class="muted">${t("now.subjects", { n: countIn(ground, scope) })}</span>`}</span>
          <${AskButton} of=${() => unkill(ground, scope)} opens>${t("operate.do.unkill")} …<//></li>`;
      })}</ul>`
    }<//>`;
}
