// How something is asked: what will happen, who and why, a second step where it must not happen by mistake,
// and what became of it. A dialog says what a record says, never what was hoped for.
import { actOf, acts, begin, mayBeSentAgain, send } from "../../acting.js";
import { useCell } from "../../cell.js";
import { clock, fullTime, span } from "../../format.js";
import { createContext, html, useContext, useEffect, useRef, useState } from "../../html.js";
import { reasonText, t } from "../../i18n.js";
import { domainHere, domainNow, second } from "../../live.js";
import { Badge, ConfirmForm, Dialog, ErrorBox, Sym, scopeText, Time, useHolds } from "../../parts.js";
import { href } from "../../route.js";
import { actText, msOf, placeText, policyText } from "./asks.js";

/** @typedef {import("./asks.js").Ask} Ask */
/** @typedef {import("./asks.js").Given} Given */
/** @typedef {import("../../acting.js").Act} Act */

const HOLD = 1_200;
const SPANS = ["5m", "15m", "30m", "1h", "4h", "1d"];

/**
 * What may be done here, and how it is asked. `why`: why not.
 * @typedef {object} Desk
 * @property {{ operate: boolean, admin: boolean }} may
 * @property {boolean} known whether what stands at the gate was read, and is how things are
 * @property {(ask: Ask) => void} ask
 * @property {(key: string) => void} show
 */
export const Desk = createContext(
  /** @type {Desk} */ ({
    may: { operate: false, admin: false },
    known: false,
    ask: () => {},
    show: () => {},
  }),
);

/**
 * A button that asks for something. Closing is always offered; what opens the gate only while what is shown
 * is how things are.
 * @param {{ of: () => Ask, children?: any, kind?: string, needs?: "operate" | "admin", opens?: boolean,
 *   off?: string | false, label?: string }} props `off`: why there is nothing to be done
 */
export function AskButton({ of, children, kind = "", needs = "operate", opens = false, off = false, label }) {
  const { may, known, ask } = useContext(Desk);
  const holds = useHolds();
  const why = !may[needs]
    ? t(`operate.no.${needs}`)
    : off || (opens && !(holds && known) ? t("operate.no.old") : "");
  return html`<button type="button" class=${kind} disabled=${why !== ""} title=${why || undefined}
    aria-label=${label} aria-describedby=${may[needs] ? undefined : "operate-who"}
    onClick=${() => ask(of())}>${children}</button>`;
}

/** @param {{ of: readonly any[] }} props */
export const Effects = ({ of }) =>
  html`<ul class="effects">${of.map((effect, index) => html`<li key=${index}>${effect}</li>`)}</ul>`;

/**
 * The first step, and for most acts the only one.
 * @param {{ ask: Ask, onClose: () => void, onNext: (given: Given) => void, onSent: (key: string) => void }} props
 */
export function AskForm({ ask, onClose, onNext, onSent }) {
  const [key, sent] = useSending(onSent);
  /** @param {Given} given */
  const confirm = async (given) => {
    const body = ask.body(given);
    if (ask.twice) onNext(given);
    else await sent(ask, body);
  };
  const title = ask.twice ? t("operate.step", { what: actText(ask.what), n: 1 }) : actText(ask.what);
  return html`<${ConfirmForm} title=${title} text=${html`<${Effects} of=${ask.effects} />`}
    action=${ask.twice ? t("operate.next") : t(`operate.do.${ask.what.act}`)} danger=${ask.danger}
    onConfirm=${confirm} onClose=${onClose}>
    ${ask.fields === "silence" && html`<${Filters} />`}
    ${ask.lasts && html`<${Lasts} ...${ask.lasts} />`}
    <${Unsure} of=${key} />
  <//>`;
}

/**
 * The second step: held, or typed.
 * @param {{ ask: Ask, given: Given, onClose: () => void, onSent: (key: string) => void }} props
 */
export function HoldForm({ ask, given, onClose, onSent }) {
  const [key, sent] = useSending(onSent);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(/** @type {unknown} */ (null));
  const [typed, setTyped] = useState("");
  const word = t(`operate.word.${ask.what.act}`);
  const act = actText(ask.what);
  const scope = placeText(ask.what.scope, ask.what.domain);
  const confirm = async () => {
    if (busy) return;
    setBusy(true);
    setError(null);
    try {
      await sent(ask, ask.body(given));
    } catch (refused) {
      setError(refused);
      setBusy(false);
    }
  };
  /** @param {SubmitEvent} event */
  const submit = (event) => {
    event.preventDefault();
    if (same(typed, word)) confirm();
  };
  return html`<${Dialog} title=${t("operate.step", { what: act, n: 2 })} onClose=${onClose}>
    <div class="hold-step">
      <p class="big">${t(`operate.sure.${ask.what.act}`, { scope })}</p>
      <dl class="said"><div><dt>${t("confirm.author")}</dt><dd>${given.author}</dd></div>
        <div><dt>${t("confirm.reason")}</dt><dd>${given.reason}</dd></div></dl>
      <${Hold} onHeld=${confirm} busy=${busy}>${busy ? t("confirm.busy") : t(`operate.hold.${ask.what.act}`, { scope })}<//>
      <form class="typed" onSubmit=${submit}>
        <label><span>${t("operate.type", { word })}</span>
          <input name="word" autocomplete="off" autocapitalize="characters" spellcheck=${false} value=${typed}
            onInput=${(/** @type {any} */ event) => setTyped(event.target.value)} /></label>
        <button disabled=${busy || !same(typed, word)}>${t(`operate.do.${ask.what.act}`)}</button></form>
      <${Unsure} of=${key} />
      ${error && html`<${ErrorBox} error=${error} title=${t("confirm.refused")} small />`}
      <footer><button type="button" onClick=${onClose}>${busy ? t("close") : t("cancel")}</button></footer>
    </div>
  <//>`;
}

/** @param {string} typed @param {string} word */
const same = (typed, word) => typed.trim().toLowerCase() === word.toLowerCase();

/**
 * A button that must be held, with the pointer or with Space or Enter.
 * @param {{ onHeld: () => void, busy: boolean, children?: any }} props
 */
function Hold({ onHeld, busy, children }) {
  const timer = useRef(/** @type {ReturnType<typeof setTimeout> | undefined} */ (undefined));
  const [held, setHeld] = useState(false);
  const stop = () => {
    clearTimeout(timer.current);
    timer.current = undefined;
    setHeld(false);
  };
  const start = () => {
    if (busy || timer.current !== undefined) return;
    setHeld(true);
    timer.current = setTimeout(() => {
      stop();
      onHeld();
    }, HOLD);
  };
  useEffect(() => () => clearTimeout(timer.current), []);
  const isKey = (/** @type {KeyboardEvent} */ event) => event.key === " " || event.key === "Enter";
  return html`<button type="button" class=${held ? "danger hold held" : "danger hold"} disabled=${busy}
    onPointerDown=${(/** @type {PointerEvent} */ event) => event.isPrimary && event.button === 0 && start()}
    onPointerUp=${stop} onPointerLeave=${stop} onPointerCancel=${stop} onBlur=${stop}
    onKeyDown=${(/** @type {KeyboardEvent} */ event) => {
      if (!isKey(event)) return;
      event.preventDefault();
      if (!event.repeat) start();
    }}
    onKeyUp=${(/** @type {KeyboardEvent} */ event) => isKey(event) && stop()}
    onContextMenu=${(/** @type {Event} */ event) => event.preventDefault()}><span>${children}</span></button>`;
}

/**
 * Sends an act once, however often it is pressed; ends trying when nobody watches any more.
 * @param {(key: string) => void} onSent not called when nobody watches any more
 * @returns {[string | null, (ask: Ask, body: object) => Promise<void>]} the key of the newest, and what sends
 */
function useSending(onSent) {
  const [key, setKey] = useState(/** @type {string | null} */ (null));
  const running = useRef(/** @type {Promise<void> | null} */ (null));
  const watched = useRef(new AbortController());
  useEffect(() => () => watched.current.abort(), []);
  /** @param {Ask} ask @param {object} body */
  const sent = (ask, body) => {
    running.current ??= (async () => {
      try {
        const what = "for" in body ? { ...ask.what, for: body.for } : ask.what;
        const made = begin(ask.path, body, what, ask.timeout);
        setKey(made);
        await send(made, watched.current.signal);
        if (!watched.current.signal.aborted) onSent(made);
      } finally {
        running.current = null;
      }
    })();
    return running.current;
  };
  return [key, sent];
}

/** Nobody knows whether it was recorded. @param {{ of: string | null }} props */
function Unsure({ of }) {
  useCell(acts);
  const act = of === null ? null : actOf(of);
  if (act?.state !== "unknown") return null;
  return html`<div class="strip unsure" role="alert"><p><b><${Sym} tone="unknown" /> ${t("operate.unsure.title")}</b>
    ${" "}${t("operate.unsure.text", { n: act.tries + 1 })} <span class="muted">${act.error}</span></p></div>`;
}

/**
 * How long. What is chosen is said as a time of day too.
 * @param {{ open: boolean, initial: string }} props
 */
function Lasts({ open, initial }) {
  const [chosen, setChosen] = useState(initial);
  const [other, setOther] = useState("");
  useCell(second);
  const text = chosen === "other" ? other.trim().toLowerCase() : chosen;
  const ms = text === "" ? null : msOf(text);
  const words =
    ms !== null
      ? t("operate.lasts.until", { time: fullTime(domainNow(domainHere()) + ms), span: span(ms) })
      : chosen === ""
        ? t("operate.lasts.open")
        : t("operate.lasts.form");
  const pick = (/** @type {string} */ value) => () => setChosen(value);
  return html`<fieldset class="choice lasts"><legend>${t("operate.lasts")}</legend>
    ${open && html`<label><input type="radio" name="for" value="" checked=${chosen === ""} autofocus=${initial === ""} onChange=${pick("")} /> ${t("until.open")}</label>`}
    ${SPANS.map(
      (value) => html`<label key=${value}><input type="radio" name="for" value=${value}
        checked=${chosen === value} autofocus=${initial === value} onChange=${pick(value)} /> ${span(msOf(value) ?? 0)}</label>`,
    )}
    <span class="other"><label><input type="radio" name="for" value="other" checked=${chosen === "other"}
      onChange=${pick("other")} /> ${t("operate.lasts.other")}</label>
      <input type="text" name="other" class="short" placeholder="1h30m" aria-label=${t("operate.lasts.form")}
        maxlength="32" value=${other} onInput=${(/** @type {any} */ event) => {
          setOther(event.target.value);
          setChosen("other");
        }} /></span>
    <output class="until-words">${words}</output></fieldset>`;
}

function Filters() {
  const [everything, setEverything] = useState(false);
  return html`<div class="filters">${["subjects", "sources", "types", "tags"].map(
    (name) => html`<label key=${name} class="field"><span>${t(`operate.silence.${name}`)}</span>
      <input type="text" name=${name} autofocus=${name === "subjects"} disabled=${everything} spellcheck=${false} autocomplete="off"
        placeholder=${{ subjects: "XRP/*", sources: "upbit", types: "pattern.*", tags: "" }[name]} /></label>`,
  )}</div>
  <p class="muted">${t("operate.silence.how")}</p>
  <label class="check"><input type="checkbox" name="everything" checked=${everything}
    onChange=${(/** @type {any} */ event) => setEverything(event.target.checked)} /> ${t("operate.silence.everything")}</label>`;
}

// ---------------------------------------------------------------- what became of it

/** @param {{ of: string, onClose: () => void }} props the key of an act */
export function OutcomeDialog({ of, onClose }) {
  useCell(acts);
  const close = useRef(/** @type {HTMLButtonElement | null} */ (null));
  const act = actOf(of);
  useEffect(() => close.current?.focus(), []);
  if (!act) return null;
  return html`<${Dialog} title=${actText(act.what)} onClose=${onClose}>
    <div class="outcome"><div role="status" aria-live="assertive"><${Outcome} act=${act} /></div>
      <footer><button type="button" ref=${close} class="primary" onClick=${onClose}>${t("close")}</button></footer></div>
  <//>`;
}

/** @param {{ act: Act }} props */
export function Outcome({ act }) {
  const { state, asked } = act;
  return html`<p class="big"><${Badge} of="outcome" value=${state} /> <span>${t(`operate.became.${state}`)}</span></p>
    ${asked && html`<p class="muted">${t("operate.recorded", { ref: asked.ref, time: clock(act.askedAt ?? act.at) })} <span class="mono">${asked.ref}</span></p>`}
    ${state === "waiting" && html`<${Late} since=${act.askedAt ?? act.at} />`}
    ${state === "needs_confirmation" && html`<${HandOver} act=${act} />`}
    <${Reasons} act=${act} />
    ${(state === "unknown" || state === "rejected") && act.error && html`<p class="server">${act.error}</p>`}
    ${state === "unknown" && html`<${Check} act=${act} />`}`;
}

/** It is recorded, but nobody obeys. @param {{ since: number }} props */
function Late({ since }) {
  useCell(second);
  if (Date.now() - since < 5_000) return null;
  return html`<p class="strip"><span><${Sym} tone="warn" /> ${t("operate.late", { span: span(Date.now() - since) })}</span></p>`;
}

/** @param {{ act: Act }} props */
function Reasons({ act: { outcome } }) {
  if (!outcome) return null;
  const told = outcome.decisions.filter(({ record }) => record.reasons?.length > 0);
  if (told.length === 0) return outcome.text ? html`<p class="server">${outcome.text}</p>` : null;
  return html`<ul class="told">${told.slice(0, 12).map(
    ({ ref, record }) => html`<li key=${ref}><${Badge} of="verdict" value=${record.verdict} quiet />
      <b>${scopeText(String(record.scope))} · ${policyText(String(record.policy))}</b>
      <span class="why">${record.reasons.map(reasonText_).join("; ")}</span>
      <a href=${href("decision", ref)}>${t("operate.decision")}</a></li>`,
  )}${told.length > 12 && html`<li class="muted">${t("operate.more", { n: told.length - 12 })}</li>`}</ul>`;
}

/** @param {any} reason */
const reasonText_ = (reason) => reasonText(reason);

/** @param {{ act: Act }} props */
function HandOver({ act }) {
  const [copied, setCopied] = useState(false);
  const reason = act.outcome?.decisions
    .flatMap(({ record }) => record.reasons ?? [])
    .find((it) => it.expires_ns);
  const line = `observer gate confirm ${act.asked?.ref} --author NAME --reason WHY`;
  return html`<div class="hand"><p>${t("operate.hand")} ${reason && html`${t("operate.hand.until")} <b><${Time} ns=${reason.expires_ns} /></b>`}</p>
    <p><code class="line-of">${line}</code>
    ${
      navigator.clipboard &&
      html`<button type="button" onClick=${() =>
        navigator.clipboard.writeText(line).then(
          () => setCopied(true),
          () => setCopied(false),
        )}>${copied ? t("operate.copied") : t("operate.copy")}</button>`
    }</p></div>`;
}

/** @param {{ act: Act }} props */
function Check({ act }) {
  const [busy, setBusy] = useState(false);
  const check = async () => {
    setBusy(true);
    try {
      await send(act.key, AbortSignal.abort());
    } catch {
      // Its state says it.
    }
    setBusy(false);
  };
  return html`<p>${t("operate.check.text")}</p>
    <p><button type="button" disabled=${busy || !mayBeSentAgain(act)} onClick=${check}>${t("operate.check")}</button></p>`;
}
