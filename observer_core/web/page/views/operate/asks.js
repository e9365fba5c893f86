// What can be asked, each with what will happen in words. Built when its button is pressed, from what is
// shown then; whether it can be done is for the server to say.

import { shortTime } from "../../format.js";
import { html } from "../../html.js";
import { t } from "../../i18n.js";
import { domainNow } from "../../live.js";
import { nameText, scopeText } from "../../parts.js";

/** @typedef {import("../../vendor/preact.js").ComponentChildren} Children */
/** @typedef {import("../../types.js").Block} Block */
/** @typedef {import("../../types.js").DomainStatus} DomainStatus */

/**
 * What the acts of the gate rest on.
 * @typedef {object} Ground
 * @property {DomainStatus} domain
 * @property {string[]} others the other domains
 * @property {readonly import("../../types.js").BoardRow[]} rows
 * @property {readonly Block[]} blocks
 * @property {readonly import("../../types.js").Override[]} overrides
 * @property {import("../../types.js").Who | null} who
 * @property {boolean} known whether all of this was read, and is how things are
 * @property {boolean} complete whether these are all blocks
 */

/**
 * @typedef {object} Given
 * @property {string} author
 * @property {string} reason
 * @property {FormData} form
 */

/**
 * @typedef {object} Ask
 * @property {Record<string, any> & { act: string }} what
 * @property {string} path
 * @property {Children[]} effects what will happen, a sentence each
 * @property {(given: Given) => Record<string, any>} body throws what is wrong with what was given
 * @property {boolean} [danger]
 * @property {boolean} [twice] a second step, that nobody takes by mistake
 * @property {"silence"} [fields] further fields
 * @property {{ open: boolean, initial: string }} [lasts] asks how long; `open`: there may be no end
 * @property {number} [timeout]
 */

export const KILL = "kill";
export const OPERATOR = "operator";
export const QUARANTINE = "quarantine";
const BY_HAND = [KILL, OPERATOR];

/** What an act is called. @param {Record<string, any>} what */
export const actText = (what) =>
  t(`operate.act.${what.act}`, {
    ...what,
    scope: what.scope === undefined ? "" : placeText(what.scope, what.domain),
    name: nameText(String(what.name ?? "")),
  });

/** A scope with its domain, where it is all of it. @param {string} scope @param {string} domain */
export const placeText = (scope, domain) =>
  scope === "*" ? t("operate.place.all", { domain }) : scopeText(scope);

/** @param {Ground} ground @param {string} scope */
export function subjectsIn({ rows }, scope) {
  if (scope === "*") return rows;
  if (scope.startsWith("source:")) return rows.filter((row) => row.sources.includes(scope.slice(7)));
  return rows.filter((row) => row.subject === scope.slice(8));
}

/** How many subjects a scope has, also when the board could not be read. @param {Ground} ground @param {string} scope */
export function countIn({ domain }, scope) {
  if (scope === "*") return Object.values(domain.gate).reduce((sum, count) => sum + count, 0);
  if (!scope.startsWith("source:")) return 1;
  return domain.sources.find(({ source }) => source === scope.slice(7))?.subjects ?? 0;
}

/** The blocks that close a scope as a whole. @param {Ground} ground @param {string} scope */
export function covering(ground, scope) {
  const wider = new Set(["*", scope]);
  if (scope.startsWith("subject:")) {
    for (const row of subjectsIn(ground, scope)) for (const name of row.sources) wider.add(`source:${name}`);
  }
  return ground.blocks.filter((block) => wider.has(block.scope) && !block.lifted);
}

/** @param {Block} block */
const named = (block) =>
  t("operate.block.named", { policy: policyText(block.policy), scope: scopeText(block.scope) });

/** Who has set a block. @param {string} policy */
export function policyText(policy) {
  if (policy === KILL) return t("operate.policy.kill");
  if (policy === OPERATOR) return t("operate.policy.operator");
  return policy === QUARANTINE ? t("operate.policy.quarantine") : policy;
}

/** Five names at most. @param {readonly string[]} names */
const few = (names) =>
  names.length > 5
    ? t("operate.few", { names: names.slice(0, 5).join(", "), n: names.length - 5 })
    : names.join(", ");

/**
 * @param {Ground} ground
 * @param {string} command
 * @param {string} scope
 * @param {Pick<Ask, "effects"> & Partial<Ask>} more
 * @param {Record<string, any>} [extra] of the body
 * @returns {Ask}
 */
function command({ domain, who }, command, scope, { effects, what, ...more }, extra = {}) {
  const two = who?.two_person.includes(command);
  return {
    what: { act: command, scope, domain: domain.domain, ...what },
    path: "v1/commands",
    effects: [
      ...(two ? [html`<b>${t("operate.effect.two", { n: minutes(who?.confirm_within_ns ?? 0) })}</b>`] : []),
      ...effects,
      ...(domain.mode === "recorded" ? [t("operate.effect.recorded")] : []),
    ],
    body: ({ author, reason, form }) => ({
      command,
      scope,
      domain: domain.domain,
      author,
      reason,
      ...lasting(form),
      ...extra,
    }),
    ...more,
  };
}

/** @param {number} ns */
const minutes = (ns) => Math.round(ns / 6e10);

const SPAN = /^(\d+(\.\d+)?(ms|s|m|h|d))+$/;
/** @type {Record<string, number>} */
const UNITS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** The milliseconds of "1h30m"; null where it is none. @param {string} text */
export function msOf(text) {
  if (!SPAN.test(text)) return null;
  let sum = 0;
  for (const [, n, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)) sum += Number(n) * UNITS[unit];
  return sum > 0 ? sum : null;
}

/** @param {FormData} form */
function lasting(form) {
  const chosen = form.get("for");
  if (chosen === null || chosen === "") return {};
  const text = String(chosen === "other" ? form.get("other") : chosen)
    .trim()
    .toLowerCase();
  if (msOf(text) === null) throw new Error(t("operate.lasts.wrong", { text: text || "–" }));
  return { for: text };
}

// ---------------------------------------------------------------- the gate

/** @param {Ground} ground @param {string} scope @returns {Ask} */
export function kill(ground, scope) {
  const { domain, others } = ground;
  const n = countIn(ground, scope);
  const deny =
    scope === "*"
      ? t("operate.kill.deny.all", { domain: domain.domain, n })
      : scope.startsWith("source:")
        ? t("operate.kill.deny.source", { scope: scopeText(scope), n })
        : t("operate.kill.deny.subject", { scope: scopeText(scope) });
  return command(ground, "kill", scope, {
    danger: true,
    twice: true,
    effects: [
      html`<b>${deny}</b>`,
      t("operate.kill.stays"),
      t("operate.kill.orders"),
      ...(scope === "*" && others.length > 0 ? [t("operate.kill.others", { names: others.join(", ") })] : []),
    ],
  });
}

/** @param {Ground} ground @param {string} scope @returns {Ask} */
export function unkill(ground, scope) {
  const left = covering(ground, scope).filter(
    (block) => !(block.policy === KILL && block.scope === scope) && !block.lifted,
  );
  const inside = scope === "*" ? ground.blocks.filter((block) => block.scope !== "*" && !block.lifted) : [];
  const stay = [...left, ...inside];
  return command(ground, "unkill", scope, {
    danger: true,
    twice: true,
    effects: [
      html`<b>${t("operate.unkill.ends", { scope: placeText(scope, ground.domain.domain) })}</b>`,
      stay.length > 0
        ? t("operate.unkill.stay", { names: few(stay.map(named)) })
        : ground.complete
          ? t("operate.unkill.opens", { scope: placeText(scope, ground.domain.domain) })
          : t("operate.effect.maybe"),
      t("operate.effect.data"),
    ],
  });
}

/** @param {Ground} ground @param {string} scope @returns {Ask} */
export function block(ground, scope) {
  const own = ground.blocks.find((found) => found.scope === scope && found.policy === OPERATOR);
  const found = subjectsIn(ground, scope);
  return command(ground, "block", scope, {
    danger: true,
    lasts: { open: true, initial: "" },
    effects: [
      html`<b>${t("operate.block.deny", {
        scope: placeText(scope, ground.domain.domain),
        n: countIn(ground, scope),
      })}</b>`,
      ...(scope.startsWith("subject:") && found.length === 0 && ground.known
        ? [t("operate.block.unknown")]
        : []),
      ...(own ? [t("operate.block.longer", { end: endText(own.until_ns) })] : []),
      t("operate.kill.orders"),
    ],
  });
}

/**
 * Ends the blocks of exactly this scope, or that of one policy.
 * @param {Ground} ground
 * @param {string} scope
 * @param {string | null} [policy]
 * @returns {Ask}
 */
export function release(ground, scope, policy = null) {
  const here = ground.blocks.filter(
    (found) => found.scope === scope && found.policy !== KILL && (policy === null || found.policy === policy),
  );
  const stay = covering(ground, scope).filter((found) => !here.includes(found));
  const policies = here.filter(({ policy }) => !BY_HAND.includes(policy) && policy !== QUARANTINE);
  return command(
    ground,
    "release",
    scope,
    {
      danger: true,
      what: policy === null ? { act: "release" } : { act: "release_policy", name: policyText(policy) },
      effects: [
        html`<b>${t("operate.release.ends", { names: few(here.map(named)) || "–" })}</b>`,
        stay.length > 0
          ? t("operate.release.stay", { names: few(stay.map(named)) })
          : ground.complete
            ? t("operate.release.opens", { scope: placeText(scope, ground.domain.domain) })
            : t("operate.effect.maybe"),
        ...(policies.length > 0 ? [t("operate.release.again")] : []),
        ...(here.some(({ policy }) => policy === QUARANTINE) ? [t("operate.release.quarantine")] : []),
        t("operate.effect.data"),
      ],
    },
    policy === null ? {} : { policy },
  );
}

/** @param {Ground} ground @param {string} scope @returns {Ask} */
export function override(ground, scope) {
  const inside = ground.blocks.filter((found) => scope === "*" || found.scope === scope);
  const lifts = inside.filter(({ policy, lifted }) => !BY_HAND.includes(policy) && !lifted);
  const stays = covering(ground, scope).filter(
    (found) => BY_HAND.includes(found.policy) || (scope !== "*" && found.scope !== scope),
  );
  const standing = ground.overrides.find((found) => found.scope === scope);
  return command(ground, "override", scope, {
    danger: true,
    lasts: { open: false, initial: "15m" },
    effects: [
      html`<b>${
        lifts.length > 0
          ? t("operate.override.lifts", { names: few(lifts.map(named)) })
          : t("operate.override.nothing")
      }</b>`,
      t("operate.override.new", { scope: placeText(scope, ground.domain.domain) }),
      ...(stays.length > 0 ? [t("operate.override.stays", { names: few(stays.map(named)) })] : []),
      ...(standing ? [t("operate.override.longer", { end: endText(standing.until_ns) })] : []),
      t("operate.override.after"),
      t("operate.effect.data"),
    ],
  });
}

/** @param {Ground} ground @param {string} scope @returns {Ask} */
export function rearm(ground, scope) {
  const lifted = ground.blocks.filter((found) => found.lifted && (scope === "*" || found.scope === scope));
  return command(ground, "rearm", scope, {
    effects: [
      html`<b>${t("operate.rearm.ends", { scope: placeText(scope, ground.domain.domain) })}</b>`,
      lifted.length > 0
        ? t("operate.rearm.again", { names: few(lifted.map(named)) })
        : t("operate.rearm.again.some"),
    ],
  });
}

/** @param {number | null} ns */
const endText = (ns) => (ns === null ? t("until.open") : shortTime(ns / 1e6));

/** A command in words, with its end. @param {{ command: string, scope: string, until_ns: number | null }} found
 *  @param {DomainStatus} domain */
export const requestText = ({ command: act, scope, until_ns }, domain) =>
  until_ns === null
    ? actText({ act, scope, domain: domain.domain })
    : t("operate.request.until", {
        what: actText({ act, scope, domain: domain.domain }),
        end: shortTime(until_ns / 1e6, domainNow(domain)),
      });

/**
 * @param {Ground} ground
 * @param {import("../../types.js").ConfirmationRequest} request
 * @returns {Ask}
 */
export function confirm(ground, request) {
  const { domain } = ground;
  /** @type {Record<string, (ground: Ground, scope: string) => Ask>} */
  const known = { kill, unkill, block, release, override, rearm };
  const alone = { ...ground, who: ground.who && { ...ground.who, two_person: [] } };
  return {
    what: { act: "confirm", name: requestText(request, domain), domain: domain.domain },
    path: "v1/commands",
    danger: true,
    effects: [
      t("operate.confirm.asked", { author: request.author, reason: request.reason }),
      ...(known[request.command]?.(alone, request.scope).effects ?? []),
      ...(request.until_ns === null ? [] : [t("operate.confirm.until", { end: endText(request.until_ns) })]),
      t("operate.confirm.two"),
    ],
    body: ({ author, reason }) => {
      if (plain(author) === plain(request.author)) throw new Error(t("operate.confirm.same"));
      return { command: "confirm", request: request.request, domain: domain.domain, author, reason };
    },
  };
}

/** As the server compares names. @param {string} author */
const plain = (author) => author.toLowerCase().trim().split(/\s+/).join(" ");

// ---------------------------------------------------------------- who is told

/** @param {DomainStatus} domain @returns {Ask} */
export const silence = ({ domain }) => ({
  what: { act: "silence", domain },
  path: "v1/silences",
  fields: "silence",
  lasts: { open: false, initial: "1h" },
  effects: [html`<b>${t("operate.silence.told")}</b>`, t("operate.silence.recorded")],
  body: ({ author, reason, form }) => {
    const list = (/** @type {string} */ name) =>
      String(form.get(name) ?? "")
        .split(/[\n,]/)
        .map((glob) => glob.trim())
        .filter(Boolean);
    const everything = form.get("everything") !== null;
    const filters = everything
      ? {}
      : Object.fromEntries(
          ["subjects", "sources", "types", "tags"]
            .map((name) => /** @type {const} */ ([name, list(name)]))
            .filter(([, globs]) => globs.length > 0),
        );
    if (!everything && Object.keys(filters).length === 0) throw new Error(t("operate.silence.nothing"));
    return { domain, author, reason, everything, ...filters, ...lasting(form) };
  },
});

/** @param {import("../../types.js").Silence} found @param {string} matches in words @returns {Ask} */
export const endSilence = ({ id, domain }, matches) => ({
  what: { act: "silence_end", name: matches, domain },
  path: `v1/silences/${encodeURIComponent(id)}/end`,
  effects: [html`<b>${t("operate.silence.ends", { matches })}</b>`],
  body: ({ author, reason }) => ({ author, reason }),
});

/**
 * @param {import("../../types.js").Subscription} found
 * @param {"pause" | "resume" | "remove"} action
 * @returns {Ask}
 */
export const subscription = ({ name, domain }, action) => ({
  what: { act: action, name, domain },
  path: `v1/subscriptions/${encodeURIComponent(name)}`,
  danger: action === "remove",
  effects: [html`<b>${t(`operate.subscription.${action}.effect`, { name: nameText(name) })}</b>`],
  body: ({ author, reason }) => ({ action, domain, author, reason }),
});

// ---------------------------------------------------------------- what was set aside or given up

/** @param {import("../../types.js").Quarantined} found @returns {Ask} */
export const redriveEntry = ({ journal, ref, scopes }) => ({
  what: { act: "quarantine", name: ref },
  path: "v1/quarantine/redrive",
  effects: [
    html`<b>${t("operate.quarantine.effect", { ref, journal })}</b>`,
    t("operate.quarantine.opens", { scopes: scopes.map(scopeText).join(", ") || "–" }),
    t("operate.quarantine.fails"),
  ],
  body: ({ author, reason }) => ({ journal, ref, author, reason }),
});

/**
 * @param {import("../../types.js").DeadLetter} found
 * @param {"redrive" | "drop"} action
 * @returns {Ask}
 */
export const letter = ({ id, queue }, action) => ({
  what: { act: `letter_${action}`, name: queue },
  path: `v1/dead-letters/${encodeURIComponent(id)}/${action}`,
  // Sending it again waits for whoever takes it.
  timeout: action === "redrive" ? 30_000 : 5_000,
  effects: [
    html`<b>${t(`operate.letter.${action}.effect`, { queue: nameText(queue) })}</b>`,
    t(`operate.letter.${action}.then`),
  ],
  body: ({ author, reason }) => ({ author, reason }),
});
