// A scope is found by typing, shown as it stands, and closed or opened.
import { html, useEffect, useMemo, useRef } from "../../html.js";
import { t } from "../../i18n.js";
import { Card, Loaded, State, scopeText, Time, Until } from "../../parts.js";
import { replaceParams } from "../../route.js";
import {
  block,
  countIn,
  covering,
  KILL,
  kill,
  override,
  placeText,
  policyText,
  rearm,
  release,
  subjectsIn,
  unkill,
} from "./asks.js";
import { AskButton } from "./dialogs.js";
import { Ends } from "./standing.js";

/** @typedef {import("./asks.js").Ground} Ground */

const SHOWN = 60;

/** @param {{ ground: Ground, board: any, params: Record<string, string> }} props */
export function Scopes({ ground, board, params }) {
  const set = (/** @type {Record<string, string | null>} */ changed) =>
    replaceParams({ ...params, ...changed });
  const find = params.find ?? "";
  const chosen = params.scope ?? null;
  const tools = html`<input type="search" id="operate-find" data-search aria-keyshortcuts="/" placeholder=${t("operate.find")}
    aria-label=${t("operate.find")} value=${find} onInput=${(/** @type {any} */ event) => set({ find: event.target.value })} />`;
  useEffect(() => {
    if (chosen) document.getElementById("operate-chosen")?.scrollIntoView({ block: "nearest" });
  }, [chosen]);
  return html`<${Card} title=${t("operate.scopes")} size="flush scopes" tools=${tools}>
    <div class="scopes-in"><${Loaded} of=${board} rows=${6}>${() => html`<${Options} ground=${ground} find=${find} chosen=${chosen} onChoose=${(/** @type {string} */ scope) => set({ scope })} />`}<//>
      <div class="chosen" id="operate-chosen">${
        chosen
          ? html`<${Chosen} ground=${ground} scope=${chosen} />`
          : html`<p class="muted">${t("operate.choose")}</p>`
      }</div></div><//>`;
}

/** @param {{ ground: Ground, find: string, chosen: string | null, onChoose: (scope: string) => void }} props */
function Options({ ground, find, chosen, onChoose }) {
  const { domain, rows } = ground;
  const scopes = useMemo(() => {
    const words = find.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (/** @type {string} */ text) => words.every((word) => text.toLowerCase().includes(word));
    const all = words.length === 0 || fits(placeText("*", domain.domain)) ? ["*"] : [];
    const sources = domain.sources
      .filter(({ source }) => fits(source))
      .map(({ source }) => `source:${source}`);
    const subjects = rows.filter(({ subject }) => fits(subject)).map(({ subject }) => `subject:${subject}`);
    const typed = find.trim();
    const unknown = typed !== "" && !rows.some(({ subject }) => subject === typed);
    return [...all, ...sources, ...subjects, ...(unknown ? [`subject:${typed}`] : [])];
  }, [rows, find, domain]);
  const states = useMemo(() => new Map(rows.map(({ subject, state }) => [subject, state])), [rows]);
  const list = useRef(/** @type {HTMLUListElement | null} */ (null));
  useEffect(
    () => list.current?.querySelector("[aria-pressed=true]")?.scrollIntoView({ block: "nearest" }),
    [chosen],
  );
  return html`<ul ref=${list} class="options" aria-label=${t("operate.scopes")}>${scopes
    .slice(0, SHOWN)
    .map((scope) => {
      const [level, name] = [scope.slice(0, scope.indexOf(":")), scope.slice(scope.indexOf(":") + 1)];
      const state = level === "subject" ? states.get(name) : undefined;
      return html`<li key=${scope}><button type="button" aria-pressed=${scope === chosen} data-row
      onClick=${() => onChoose(scope)}><span class="clip" title=${name}>${placeText(scope, domain.domain)}</span>
      ${state && html`<${State} of="gate" value=${state} quiet />`}
      ${level === "subject" && !state && html`<span class="muted">${t("operate.unobserved")}</span>`}
      ${level === "source" && html`<span class="muted">${t("now.subjects", { n: countIn(ground, scope) })}</span>`}
    </button></li>`;
    })}
  ${scopes.length > SHOWN && html`<li class="muted">${t("operate.type.on", { n: scopes.length - SHOWN })}</li>`}</ul>`;
}

/** @type {import("../../types.js").GateState[]} */
const STATES = ["blocked", "unknown", "open"];

/** @param {{ ground: Ground, scope: string }} props */
function Chosen({ ground, scope }) {
  const { domain, blocks, overrides } = ground;
  const rows = subjectsIn(ground, scope);
  const closing = covering(ground, scope);
  const here = blocks.filter((found) => found.scope === scope);
  const killed = here.some(({ policy }) => policy === KILL);
  const releases = here.some(({ policy }) => policy !== KILL);
  const lifted = overrides.find((found) => found.scope === scope);
  const one = scope.startsWith("subject:") ? (rows[0] ?? null) : null;
  return html`<h3 class="scope-name">${placeText(scope, domain.domain)}</h3>
    <p class="how">${
      one
        ? html`<${State} of="gate" value=${one.state} />`
        : scope.startsWith("subject:")
          ? html`<span class="muted">${t("operate.unobserved.text")}</span>`
          : STATES.map((state) => {
              const n = rows.filter((row) => row.state === state).length;
              return (
                n > 0 &&
                html`<${State} key=${state} of="gate" value=${state} text=${t("operate.count", { state: t(`gate.${state}`), n })} quiet />${" "}`
              );
            })
    }</p>
    ${
      closing.length > 0 &&
      html`<ul class="closed-by">${closing.map(
        (found) => html`<li key=${found.decision}><b>${policyText(found.policy)}</b>
        ${found.scope !== scope && html` <span class="muted">(${scopeText(found.scope)})</span>`}${" "}
        <span class="muted">${t("operate.since")} <${Time} ns=${found.since_ns} /> · ${t("operate.ends")} <${Ends} of=${found} /></span></li>`,
      )}</ul>`
    }
    ${lifted && html`<p>${t("operate.overridden", { author: lifted.author })} <${Until} ns=${lifted.until_ns} /></p>`}
    <div class="closing"><h4>${t("operate.close")}</h4>
      <${AskButton} of=${() => block(ground, scope)} kind="danger">${t("operate.do.block")} …<//>
      <${AskButton} of=${() => kill(ground, scope)} off=${killed && t("operate.no.killed")}>${t("operate.policy.kill")} …<//>
      <${AskButton} of=${() => rearm(ground, scope)} off=${!lifted && t("operate.no.override")}>${t("operate.do.rearm")} …<//></div>
    <div class="opening"><h4>${t("operate.open")}</h4>
      <${AskButton} of=${() => release(ground, scope)} opens off=${!releases && t("operate.no.block")}>${t("operate.do.release")} …<//>
      <${AskButton} of=${() => override(ground, scope)} opens>${t("operate.do.override")} …<//>
      <${AskButton} of=${() => unkill(ground, scope)} opens off=${!killed && t("operate.no.kill")}>${t("operate.do.unkill")} …<//></div>`;
}
