// How healthy the Observer says it is, and which check says otherwise.
import { number } from "../../format.js";
import { html } from "../../html.js";
import { t } from "../../i18n.js";
import { Card, Loaded, State } from "../../parts.js";

/** @typedef {{ status: "pass" | "warn" | "fail", componentId?: string, output?: string, observedValue?: any, observedUnit?: string }} Finding */

const WORST = ["fail", "warn", "pass"];

/** @param {{ of: any, status: import("../../types.js").Status }} props */
export function Health({ of, status }) {
  return html`<${Card} title=${t("system.health")} size="checked" scrolls tools=${html`<${State} of="health" value=${status.health} />`}>
    <${Loaded} of=${of} rows=${5}>${(/** @type {{ checks: Record<string, Finding[]> }} */ report) => {
      const found = Object.entries(report.checks).flatMap(([check, findings]) =>
        findings.map((finding) => ({ check, ...finding })),
      );
      found.sort((one, other) => WORST.indexOf(one.status) - WORST.indexOf(other.status));
      const bad = found.filter((finding) => finding.status !== "pass");
      const good = found.filter((finding) => finding.status === "pass");
      return html`<ul class="checks">${bad.map((finding) => html`<${Check} key=${finding.check + finding.componentId} of=${finding} />`)}
        ${bad.length === 0 && html`<li>${t("system.health.all")}</li>`}</ul>
        <details><summary>${t("system.health.pass", { n: good.length })}</summary>
          <ul class="checks">${good.map((finding) => html`<${Check} key=${finding.check + finding.componentId} of=${finding} />`)}</ul></details>`;
    }}<//><//>`;
}

/** @param {{ of: Finding & { check: string } }} props */
const Check = ({ of }) => html`<li><${State} of="health" value=${of.status} quiet />
  <span><b>${of.componentId}</b> <span class="muted mono">${of.check}</span></span>
  <span>${of.output ?? ""}${of.status === "pass" && of.observedValue !== undefined && of.observedValue !== null ? html`<span class="muted">${typeof of.observedValue === "number" ? number(of.observedValue) : String(of.observedValue)} ${of.observedUnit ?? ""}</span>` : ""}</span></li>`;
