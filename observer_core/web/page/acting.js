// What is asked of the system in this tab: each act is recorded once, however often it has to be sent, and
// what became of it is asked for until it is known. Nothing is ever taken for done before a record says so.
//
// An act has a key of its own (Idempotency-Key). Where no answer came, nobody knows whether it was recorded:
// it is sent again under the same key, which records nothing twice, as long as somebody watches (`send`).
import { ApiError, get, post, withQuery } from "./api.js";
import { Cell } from "./cell.js";

const KEPT = "observer.acts";
const MOST = 40;
/** How long the server knows a key, less an hour. */
const KNOWN = 23 * 3_600_000;
const PAUSES = [1_000, 2_000, 4_000, 5_000];

/**
 * sending, unknown (no answer: recorded or not), rejected (nothing recorded), recorded (nobody has to obey
 * it), and the states of an outcome.
 * @typedef {"sending" | "unknown" | "rejected" | "recorded" | import("./types.js").Outcome["state"]} ActState
 */

/**
 * @typedef {object} Act
 * @property {string} key
 * @property {string} path
 * @property {object} body
 * @property {Record<string, any>} what for the words: `act`, `scope`, `name`, `for`
 * @property {number} at when it was asked, by this machine's clock
 * @property {number} tries
 * @property {number | null} timeout of a try
 * @property {ActState} state
 * @property {import("./types.js").Asked | null} asked
 * @property {number | null} askedAt when that answer came
 * @property {import("./types.js").Outcome | null} outcome
 * @property {string} error the newest one, in the server's words
 */

/** The newest first. They live as long as the tab. @type {Cell<readonly Act[]>} */
export const acts = new Cell(/** @type {readonly Act[]} */ (restored()));

/** How many have come to something, so that what depends on them is read again. */
export const settled = (/** @type {readonly Act[]} */ found) =>
  found.filter(({ state }) => state !== "sending" && state !== "unknown" && state !== "waiting").length +
  found.length / 1_000;

/** @type {Set<string>} */
const followed = new Set();

/** @param {string} key */
export const actOf = (key) => acts.value.find((act) => act.key === key) ?? null;

/**
 * A new act, not sent yet.
 * @param {string} path
 * @param {object} body
 * @param {Record<string, any>} what
 * @param {number | null} [timeout]
 * @returns {string} its key
 */
export function begin(path, body, what, timeout = null) {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const key = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  /** @type {Act} */
  const act = {
    key,
    path,
    body,
    what,
    timeout,
    at: Date.now(),
    tries: 0,
    state: "sending",
    asked: null,
    askedAt: null,
    outcome: null,
    error: "",
  };
  set([act, ...acts.value].slice(0, MOST));
  return key;
}

/** Whether the server still knows that it has seen it. @param {Act} act */
export const mayBeSentAgain = (act) => Date.now() - act.at < KNOWN;

/**
 * Sends it until there is an answer, or nobody watches any more.
 * @param {string} key
 * @param {AbortSignal} watched
 * @returns {Promise<Act | null>} as it is then; throws the `ApiError` of one that was rejected
 */
export async function send(key, watched) {
  for (;;) {
    const act = actOf(key);
    if (!act) return null;
    const first = act.tries === 0;
    change(key, { tries: act.tries + 1, state: first ? "sending" : "unknown" });
    try {
      const asked = await post(act.path, act.body, { key, timeout: act.timeout ?? 5_000 });
      change(key, {
        asked,
        askedAt: Date.now(),
        state: asked.outcome ? "waiting" : "recorded",
        error: "",
      });
      follow(key);
      return actOf(key);
    } catch (error) {
      const refused = error instanceof ApiError && error.code === "http" && error.status < 500;
      change(key, { error: error instanceof Error ? error.message : String(error) });
      // A refusal says that this try was not recorded. Of those before it the server says so only after
      // having looked for the key: not where it does not know who asks, or has no time for him.
      if (refused && (first || ![401, 403, 429].includes(error.status))) {
        change(key, { state: "rejected" });
        throw error;
      }
      change(key, { state: "unknown" });
      if (refused && error.status !== 429) return actOf(key);
    }
    await pause(PAUSES[Math.min(actOf(key)?.tries ?? 0, PAUSES.length) - 1] ?? 1_000, watched);
    if (watched.aborted) return actOf(key);
  }
}

/** Asks what became of it until that is known for good. @param {string} key */
async function follow(key) {
  if (followed.has(key)) return;
  followed.add(key);
  for (;;) {
    const act = actOf(key);
    if (!act?.asked?.outcome || act.state === "done" || act.state === "refused") break;
    let wait = 2_000;
    try {
      const path = act.asked.outcome.replace(/^\/+/, "");
      const outcome = await get(withQuery(path, { wait: act.state === "waiting" ? 5 : null }), {
        timeout: 15_000,
      });
      change(key, { outcome, state: outcome.state, error: "" });
      if (outcome.state === "waiting") wait = 100;
    } catch (error) {
      change(key, { error: error instanceof Error ? error.message : String(error) });
    }
    await pause(wait);
  }
  followed.delete(key);
}

/** @param {string} key @param {Partial<Act>} found */
function change(key, found) {
  set(acts.value.map((act) => (act.key === key ? { ...act, ...found } : act)));
}

/** @param {readonly Act[]} found */
function set(found) {
  acts.set(found);
  try {
    sessionStorage.setItem(KEPT, JSON.stringify(found));
  } catch {
    // Then they last until the page is loaded anew.
  }
}

/** @returns {Act[]} */
function restored() {
  try {
    const found = JSON.parse(sessionStorage.getItem(KEPT) ?? "[]");
    return found.map((/** @type {Act} */ act) =>
      act.state === "sending" ? { ...act, state: "unknown" } : act,
    );
  } catch {
    return [];
  }
}

/** @param {number} ms @param {AbortSignal} [signal] */
const pause = (ms, signal) =>
  new Promise((done) => {
    const timer = setTimeout(done, signal?.aborted ? 0 : ms);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      done(null);
    });
  });

for (const act of acts.value) follow(act.key);
