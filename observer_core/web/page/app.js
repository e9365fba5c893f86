// The frame of the page: header, status line, navigation, keys, and the view that the address names.
//
// To add a view: a file views/NAME.js that exports `default function View({ id, params })` (a component), a
// line in VIEWS, and its texts in both locales under "NAME.". A view is loaded when it is first gone to.
// It draws its own <ViewHead>, reads with useResource() (live.js says how it stays fresh) and puts its
// state in the address (replaceParams() of route.js) where a link to it should show the same.
import { hasToken, keepToken, locked } from "./api.js";
import { useCell } from "./cell.js";
import { clock, span, zoneName } from "./format.js";
import { html, render, useEffect, useState } from "./html.js";
import { startTexts, t, useLang } from "./i18n.js";
import { askNow, domainNow, live, second, start, useDomain } from "./live.js";
import { Dialog, ErrorBox, Guarded, Skeleton, State, Sym, scopeText } from "./parts.js";
import { prefer, prefs } from "./prefs.js";
import { href, route } from "./route.js";

/** @type {Record<string, { tab: string, load: () => Promise<any> }>} */
const VIEWS = {
  now: { tab: "now", load: () => import("./views/now.js") },
  series: { tab: "series", load: () => import("./views/series.js") },
  incidents: { tab: "incidents", load: () => import("./views/incidents.js") },
  incident: { tab: "incidents", load: () => import("./views/incident.js") },
  decisions: { tab: "decisions", load: () => import("./views/decisions.js") },
  decision: { tab: "decisions", load: () => import("./views/decision.js") },
  operate: { tab: "operate", load: () => import("./views/operate.js") },
  system: { tab: "system", load: () => import("./views/system.js") },
};
const TABS = ["now", "series", "incidents", "decisions", "operate", "system"];
const ZONES = /** @type {const} */ (["local", "UTC", "Asia/Seoul"]);
const THEMES = /** @type {const} */ (["system", "light", "dark"]);

function App() {
  useLang();
  useCell(prefs);
  const at = useCell(route);
  const [help, setHelp] = useState(false);
  const asksToken = useCell(locked);
  useEffect(() => keys(() => setHelp(true)), []);
  return html`<a class="skip" href="#main" onClick=${skip}>${t("skip")}</a>
    <${Header} tab=${VIEWS[at.view]?.tab ?? ""} onHelp=${() => setHelp(true)} />
    <${StatusLine} />
    <main id="main" tabindex="-1"><${Guarded} key=${at.view}><${View} ...${at} /><//></main>
    ${help && html`<${Help} onClose=${() => setHelp(false)} />`}
    ${asksToken && html`<${TokenForm} />`}`;
}

/** @param {Event} event */
function skip(event) {
  event.preventDefault();
  document.getElementById("main")?.focus();
}

/** @param {import("./route.js").Route} props */
function View({ view, id, params }) {
  const known = VIEWS[view];
  const [found, setFound] = useState(/** @type {{ component?: any, error?: unknown }} */ ({}));
  useEffect(() => {
    let gone = false;
    known?.load().then(
      (module) => gone || setFound({ component: module.default }),
      (error) => gone || setFound({ error }),
    );
    return () => {
      gone = true;
    };
  }, [known]);
  if (!known) {
    return html`<div class="empty"><h1>${t("nothing.title")}</h1>
      <p><a href=${href("now")}>${t("nothing.home")}</a></p></div>`;
  }
  if (found.error) return html`<${ErrorBox} error=${t("error.view")} retry=${() => location.reload()} />`;
  if (!found.component) return html`<${Skeleton} rows=${12} />`;
  return html`<${found.component} id=${id} params=${params} />`;
}

/** @param {{ tab: string, onHelp: () => void }} props */
function Header({ tab, onHelp }) {
  const { theme, zone, lang } = prefs.value;
  const other = lang === "ko" ? "en" : "ko";
  const nextTheme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  return html`<header class="top">
    <a class="brand" href=${href("now")}><b>QTS</b> Observer</a>
    <nav aria-label=${t("nav.label")}>${TABS.map(
      (
        name,
        index,
      ) => html`<a key=${name} href=${href(name)} aria-current=${name === tab ? "page" : undefined}
        aria-keyshortcuts=${String(index + 1)}>${t(`nav.${name}`)}</a>`,
    )}</nav>
    <${DomainChooser} />
    <div class="prefs">
      <select aria-label=${t("zone.label")} value=${zone}
        onChange=${(/** @type {any} */ event) => prefer({ zone: event.target.value })}>
        ${ZONES.map((name) => html`<option key=${name} value=${name} selected=${name === zone}>${t(`zone.${name}`)}</option>`)}
      </select>
      <button type="button" onClick=${() => prefer({ lang: other })} lang=${other}
        aria-label=${other === "ko" ? "한국어 – 한국어로 보기" : "Show in English"}>${other === "ko" ? "한국어" : "English"}</button>
      <button type="button" class="icon" onClick=${() => prefer({ theme: nextTheme })}
        aria-label=${t("theme.label", { theme: t(`theme.${theme}`) })}
        title=${t("theme.label", { theme: t(`theme.${theme}`) })}><span class=${`glyph theme-${theme}`} aria-hidden="true"></span></button>
      <button type="button" class="icon" onClick=${onHelp} aria-label=${t("help.title")} title=${t("help.title")}
        aria-keyshortcuts="?">?</button>
    </div>
  </header>`;
}

function DomainChooser() {
  const { status } = useCell(live);
  const domain = useDomain();
  const names = status?.domains.map((found) => found.domain) ?? [];
  return html`<label class="domain"><span>${t("domain.label")}</span>
    <select value=${domain?.domain ?? ""} disabled=${names.length < 2}
      onChange=${(/** @type {any} */ event) => prefer({ domain: event.target.value })}>
      ${names.map((name) => html`<option key=${name} value=${name} selected=${name === domain?.domain}>${name}</option>`)}
    </select></label>`;
}

/** What is wrong with the connection, in words; else how the domain stands. It always has its place. */
function StatusLine() {
  const { link, status, answeredAt } = useCell(live);
  const domain = useDomain();
  useEffect(() => {
    document.documentElement.dataset.live = link;
    document.title = titleOf(link, domain);
  });
  if (link !== "live" || !status) {
    const bad = link !== "connecting";
    return html`<section class=${`line ${bad ? "alarm" : ""}`} aria-label=${t("line.label")}>
      <p role=${bad ? "alert" : "status"}><${Sym} tone=${bad ? "bad" : "old"} /> <b>${t(`link.${link}`)}</b>
        ${answeredAt !== null && html`${" "}${t("link.old", { time: clock(answeredAt) })}`}
        ${(domain?.killed.length ?? 0) > 0 && html`${" "}${t("kill.was")}`}</p>
      <p class="when">${bad && html`<${NextTry} />`}</p>
    </section>`;
  }
  if (!domain)
    return html`<section class="line" aria-label=${t("line.label")}><p>${t("domain.none")}</p></section>`;
  const killed = domain.killed.length > 0;
  return html`<section class=${`line ${killed ? "alarm" : ""}`} aria-label=${t("line.label")}>
    <p>${killed && html`<b class="kill"><${Sym} tone="bad" /> ${t("kill.on")}${!domain.killed.includes("*") && `: ${domain.killed.map(scopeText).join(", ")}`}</b>`}
      <a class="chip" href=${href("now")}><${State} of="risk" value=${domain.risk} text=${t(`risk.line.${domain.risk}`)} quiet /></a>
      <${Gate} counts=${domain.gate} />
      ${domain.incidents > 0 && html`<a class="chip" href=${href("incidents", null, { open: "true" })}>${t("line.incidents", { n: domain.incidents })}</a>`}
      ${domain.requests > 0 && html`<a class="chip" href=${href("operate")}><${State} of="risk" value="elevated" text=${t("line.requests", { n: domain.requests })} quiet /></a>`}
      ${domain.quarantined > 0 && html`<a class="chip" href=${href("operate")}><${State} of="gate" value="unknown" text=${t("line.quarantined", { n: domain.quarantined })} quiet /></a>`}
    </p>
    <p class="when">${status.safe_mode && html`<a class="chip" href=${href("system")}><${State} of="health" value="warn" text=${t("line.safe_mode")} quiet /></a>`}
      <a class="chip" href=${href("system")}><${State} of="health" value=${status.health} text=${t(`health.line.${status.health}`)} quiet /></a>
      <${Clock} domain=${domain} /></p>
  </section>`;
}

/** @param {{ counts: Record<string, number> }} props */
function Gate({ counts }) {
  const all = (counts.open ?? 0) + (counts.blocked ?? 0) + (counts.unknown ?? 0);
  if (all === 0) return null;
  if (counts.open === all) return html`<span class="chip muted">${t("line.allOpen", { n: all })}</span>`;
  return html`${counts.blocked > 0 && html`<span class="chip"><${State} of="gate" value="blocked" text=${t("line.blocked", { n: counts.blocked })} quiet /></span>`}
    ${counts.unknown > 0 && html`<span class="chip"><${State} of="gate" value="unknown" text=${t("line.unknown", { n: counts.unknown })} quiet /></span>`}
    <span class="chip muted">${t("line.open", { n: counts.open ?? 0 })}</span>`;
}

/** @param {{ domain: import("./types.js").DomainStatus }} props */
function Clock({ domain }) {
  useCell(second);
  return html`<span class="clock" title=${t(`mode.${domain.mode}`)}><${Sym} tone="ok" />
    <span class="unseen">${t("link.live")} </span>${domain.mode === "recorded" && html`<b>${t("mode.short.recorded")}</b>${" "}`}
    ${clock(domainNow(domain))} <abbr>${zoneName()}</abbr></span>`;
}

function NextTry() {
  useCell(second);
  const { nextAt } = useCell(live);
  const left = nextAt === null ? 0 : nextAt - Date.now();
  return html`<span>${left > 500 ? t("link.next", { span: span(Math.ceil(left / 1_000) * 1_000) }) : t("link.trying")}</span>
    <button type="button" onClick=${askNow}>${t("link.try")}</button>`;
}

/**
 * The tab's title says what matters when it is one of many.
 * @param {import("./live.js").Link} link
 * @param {import("./types.js").DomainStatus | null} domain
 */
function titleOf(link, domain) {
  const name = "QTS Observer";
  if (link === "connecting") return name;
  if (link !== "live") return `⚠ ${t(`title.${link}`)} · ${name}`;
  if (!domain) return name;
  if (domain.killed.length > 0) return `■ ${t("title.killed")} · ${name}`;
  const { blocked = 0, unknown = 0 } = domain.gate;
  if (blocked > 0) return `■ ${t("line.blocked", { n: blocked })} · ${name}`;
  return unknown > 0 ? `◆ ${t("line.unknown", { n: unknown })} · ${name}` : name;
}

/** @param {{ onClose: () => void }} props */
function Help({ onClose }) {
  const keysOf = [
    ["1 … 6", "help.views"],
    ["/", "help.search"],
    ["j  k", "help.rows"],
    ["Enter", "help.open"],
    ["Esc", "help.close"],
    ["?", "help.help"],
  ];
  return html`<${Dialog} title=${t("help.title")} onClose=${onClose} wide>
    <div class="help">
      <div><h3>${t("help.keys")}</h3>
        <dl class="keys">${keysOf.map(([key, text]) => html`<div key=${key}><dt><kbd>${key}</kbd></dt><dd>${t(text)}</dd></div>`)}</dl>
        <label class="check"><input type="checkbox" checked=${prefs.value.shortcuts}
          onChange=${(/** @type {any} */ event) => prefer({ shortcuts: event.target.checked })} /> ${t("help.shortcuts")}</label></div>
      <div><h3>${t("help.states")}</h3>
        <ul class="legend">
          <li><${State} of="gate" value="open" /> ${t("help.open.state")}</li>
          <li><${State} of="gate" value="blocked" /> ${t("help.blocked.state")}</li>
          <li><${State} of="gate" value="unknown" /> ${t("help.unknown.state")}</li>
          <li><${State} of="risk" value="elevated" /> ${t("help.elevated.state")}</li>
        </ul>
        <p class="muted">${t("help.stale")}</p>
        ${
          hasToken() &&
          html`<p><button type="button" onClick=${() => {
            keepToken(null);
            onClose();
            askNow();
          }}>${t("token.forget")}</button></p>`
        }
        <p class="muted">QTS Observer ${live.value.status?.version ?? ""}</p></div>
    </div>
  <//>`;
}

function TokenForm() {
  const kind = live.value.status?.runtime === "functions" ? "key" : "bearer";
  /** @param {SubmitEvent} event */
  const submit = (event) => {
    event.preventDefault();
    const form = new FormData(/** @type {HTMLFormElement} */ (event.target));
    const value = String(form.get("token") ?? "").trim();
    if (value) keepToken({ kind: form.get("kind") === "key" ? "key" : "bearer", value });
  };
  return html`<${Dialog} title=${t("token.title")} onClose=${() => locked.set(false)}>
    <form onSubmit=${submit}>
      <p class="lead">${hasToken() ? t("token.wrong") : t("token.text")}</p>
      <fieldset class="choice"><legend>${t("token.kind")}</legend>
        <label><input type="radio" name="kind" value="bearer" checked=${kind === "bearer"} /> ${t("token.bearer")}</label>
        <label><input type="radio" name="kind" value="key" checked=${kind === "key"} /> ${t("token.key")}</label></fieldset>
      <label class="field"><span>${t("token.label")}</span>
        <input name="token" type="password" required autofocus autocomplete="off" spellcheck=${false} /></label>
      <p class="muted">${t("token.kept")}</p>
      <footer><button type="button" onClick=${() => locked.set(false)}>${t("cancel")}</button>
        <button class="primary">${t("token.use")}</button></footer>
    </form>
  <//>`;
}

/**
 * Single keys, unless something is being typed, or they are switched off.
 * @param {() => void} help
 */
function keys(help) {
  /** @param {KeyboardEvent} event */
  const press = (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    const typing = target.closest("input, textarea, select, [contenteditable]");
    if (event.key === "Escape" && typing instanceof HTMLInputElement) typing.blur();
    if (event.key === "Enter" && target.matches("[data-row]")) {
      /** @type {HTMLElement | null} */ (target.querySelector("a[href], button, summary"))?.click();
    }
    if (typing || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (!prefs.value.shortcuts || document.querySelector("dialog[open]")) return;
    const tab = TABS[Number(event.key) - 1];
    if (tab) location.hash = href(tab);
    else if (event.key === "/") focus(document.querySelector("[data-search]"));
    else if (event.key === "?") help();
    else if (event.key === "j" || event.key === "k") walk(event.key === "j" ? 1 : -1);
    else return;
    event.preventDefault();
  };
  addEventListener("keydown", press);
  return () => removeEventListener("keydown", press);
}

/** @param {Element | null} found */
function focus(found) {
  if (!(found instanceof HTMLElement)) return;
  found.focus();
  if (found instanceof HTMLInputElement) found.select();
}

/** @param {1 | -1} step */
function walk(step) {
  const rows = [...document.querySelectorAll("main [data-row]")].filter((row) => row.checkVisibility());
  const at = rows.findIndex((row) => row.contains(document.activeElement));
  const next = at < 0 ? (step > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, at + step));
  focus(rows[next] ?? null);
  rows[next]?.scrollIntoView({ block: "nearest" });
}

function dress() {
  const { theme } = prefs.value;
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

let shown = "";
route.watch(() => {
  const { view, id } = route.value;
  const now = `${view}/${id ?? ""}`;
  if (now !== shown) scrollTo(0, 0);
  shown = now;
});
prefs.watch(dress);
dress();
start();
await startTexts();
const root = /** @type {HTMLElement} */ (document.getElementById("app"));
root.removeAttribute("role");
root.className = "";
root.textContent = "";
render(html`<${App} />`, root);
