// What people do to the system: everything is asked with author and reason, leaves a record, and is told
// only as its record says.
//
// Address: `scope` is chosen, `find` filters the scopes, `letters` the dead letters, `at` names a part.
import { acts, settled } from "../acting.js";
import { hasToken, withQuery } from "../api.js";
import { useCell } from "../cell.js";
import { html, useEffect, useMemo, useState } from "../html.js";
import { t, useLang } from "../i18n.js";
import { live, useDomain, useFresh, useResource } from "../live.js";
import { Empty, Skeleton, ViewHead } from "../parts.js";
import { replaceParams } from "../route.js";
import { Asked, Requests, Whoami } from "./operate/asked.js";
import { AskForm, Desk, HoldForm, OutcomeDialog } from "./operate/dialogs.js";
import { KillSwitch } from "./operate/kill.js";
import { DeadLetters, Quarantine } from "./operate/letters.js";
import { Scopes } from "./operate/scopes.js";
import { Blocks, Overrides } from "./operate/standing.js";
import { Silences, Subscriptions } from "./operate/telling.js";

const PARTS = /** @type {const} */ ([
  "blocks",
  "overrides",
  "silences",
  "subscriptions",
  "quarantined",
  "letters",
]);

/** @typedef {import("./operate/asks.js").Ask} Ask */
/** @typedef {import("./operate/asks.js").Given} Given */

/**
 * @typedef {{ step: "ask", ask: Ask } | { step: "hold", ask: Ask, given: Given }
 *   | { step: "outcome", key: string }} Shown
 */

/** @param {{ params: Record<string, string> }} props */
export default function Operate({ params }) {
  useLang();
  const domain = useDomain();
  const { status } = useCell(live);
  if (!status) return html`<${ViewHead} title=${t("nav.operate")} /><${Skeleton} rows=${12} />`;
  if (!domain) {
    return html`<${ViewHead} title=${t("nav.operate")} /><${Empty} title=${t("domain.none")} />`;
  }
  return html`<${Room} key=${domain.domain} domain=${domain} params=${params} />`;
}

/** @param {{ domain: import("../types.js").DomainStatus, params: Record<string, string> }} props */
function Room({ domain, params }) {
  const [shown, setShown] = useState(/** @type {Shown | null} */ (null));
  const found = useFound(domain, params);
  const who = found.who.data;
  const others = live.value.status?.domains
    .map(({ domain }) => domain)
    .filter((name) => name !== domain.domain);
  const rows = found.board.data?.rows ?? NONE;
  const blocks = found.blocks.data?.items ?? NONE;
  const overrides = found.overrides.data?.items ?? NONE;
  const fresh = useFresh();
  const stands = [found.board, found.blocks, found.overrides];
  const known = fresh && stands.every(({ data, old }) => data !== null && !old);
  const complete = (found.blocks.data?.next ?? null) === null;
  const ground = { domain, others: others ?? [], rows, blocks, overrides, who, known, complete };
  const scopes = who?.scopes ?? [];
  const desk = {
    // Where it cannot be read who acts, that is for the server to judge: nothing holds up a kill switch.
    may: {
      operate: scopes.includes("operate") || (who === null && found.who.error !== null),
      admin: scopes.includes("admin"),
    },
    known,
    ask: (/** @type {Ask} */ ask) => setShown({ step: "ask", ask }),
    show: (/** @type {string} */ key) => setShown({ step: "outcome", key }),
  };
  const at = PARTS.find((part) => part === params.at) ?? null;
  useEffect(() => {
    if (at) document.getElementById(`operate-${at}`)?.scrollIntoView({ block: "start" });
  }, [at]);
  const close = (/** @type {Shown["step"]} */ step) => () =>
    setShown((last) => (last?.step === step ? null : last));
  const onSent = desk.show;
  return html`<${Desk.Provider} value=${desk}>
    <${ViewHead} title=${html`${t("nav.operate")} <span class="muted">${domain.domain}</span>`}>
      <span class="parts">${PARTS.map((part) => {
        const n = found[part].data?.items.length;
        return html`<button key=${part} type="button" class="link" onClick=${() => {
          replaceParams({ ...params, at: part });
          document.getElementById(`operate-${part}`)?.scrollIntoView({ block: "start" });
        }}>${t(`operate.${part}`)} <b>${n ?? "–"}</b></button>`;
      })}</span><//>
    <${Whoami} who=${who} error=${found.who.error} />
    <div class="operate">
      <div class="first"><${KillSwitch} ground=${ground} onChoose=${() => document.getElementById("operate-find")?.focus()} /></div>
      <div class="side"><${Requests} of=${found.requests} ground=${ground} /><${Asked} /></div>
      <div class="rest">
        <${Scopes} ground=${ground} board=${found.board} params=${params} />
        <${Blocks} id="operate-blocks" of=${found.blocks} ground=${ground} />
        <${Overrides} id="operate-overrides" of=${found.overrides} ground=${ground} />
        <${Silences} id="operate-silences" of=${found.silences} domain=${domain} />
        <${Subscriptions} id="operate-subscriptions" of=${found.subscriptions} />
        <${Quarantine} id="operate-quarantined" of=${found.quarantined} />
        <${DeadLetters} id="operate-letters" of=${found.letters} params=${params} />
      </div>
    </div>
    ${
      shown?.step === "ask" &&
      html`<${AskForm} ask=${shown.ask} onClose=${close("ask")} onSent=${onSent}
        onNext=${(/** @type {Given} */ given) => setShown({ step: "hold", ask: shown.ask, given })} />`
    }
    ${shown?.step === "hold" && html`<${HoldForm} ask=${shown.ask} given=${shown.given} onClose=${close("hold")} onSent=${onSent} />`}
    ${shown?.step === "outcome" && html`<${OutcomeDialog} of=${shown.key} onClose=${close("outcome")} />`}
  <//>`;
}

/** @type {readonly any[]} */
const NONE = [];

/**
 * All that is read for it.
 * @param {import("../types.js").DomainStatus} status
 * @param {Record<string, string>} params
 */
function useFound(status, params) {
  const { domain, quarantined, gate } = status;
  const done = useCell(acts, settled);
  const gate_ = useMemo(() => Object.values(gate).join(" "), [gate]);
  const decided = { when: ["decisions"], and: done, least: 500 };
  const routed = { when: ["routes"], and: done, least: 500, every: 10_000 };
  const letters = params.letters ?? "buried";
  return {
    who: useResource("v1/whoami", { every: 30_000, and: String(hasToken()) }),
    board: useResource(withQuery("v1/board", { domain }), {
      when: ["events", "decisions"],
      and: gate_,
      every: 5_000,
    }),
    blocks: useResource(withQuery("v1/blocks", { domain, limit: 1_000 }), decided),
    overrides: useResource(withQuery("v1/overrides", { domain }), decided),
    requests: useResource(withQuery("v1/requests", { domain }), decided),
    silences: useResource(withQuery("v1/silences", { domain }), routed),
    subscriptions: useResource(withQuery("v1/subscriptions", { domain }), routed),
    quarantined: useResource("v1/quarantine", { and: `${quarantined} ${done}`, every: 15_000 }),
    letters: useResource(
      withQuery("v1/dead-letters", { state: letters === "all" ? null : letters, limit: 200 }),
      { and: done, every: 15_000 },
    ),
  };
}
