// The one source of truth about freshness. It asks for v1/status all the time; from the moment an answer
// is missing, late, refused, or stands still, `live.value.link` is not "live", the whole page is grey and
// says so in words. Everything else is read again when the positions of its journals have moved.
//
// For a view:
//   const domain = useDomain();                      the DomainStatus shown, or null
//   const board = useResource(path, { when: ["events", "decisions"] });
//   board.data / board.error / board.loading / board.reload()
//   useFresh()                                       false: whatever is shown is old
import { get, locked } from "./api.js";
import { Cell, useCell } from "./cell.js";
import { useCallback, useEffect, useRef, useState } from "./html.js";
import { prefs } from "./prefs.js";

/** Longer than this for a status is no answer. */
const TIMEOUT = 2_500;
const WATCH = 250;
const STILL = 5_000;
const RETRY = 2_000;
/** Asking without a token counts as a failure to log in: seldom. */
const LOCKED = 30_000;
const BACK_OFF = [500, 1_000, 2_000, 4_000, 5_000];

/**
 * connecting: never answered yet. late: the newest answer is too old (the tab or machine slept).
 * lost: no answer, or an error. still: answers come, but the server's time does not move. locked: 401.
 * @typedef {"connecting" | "live" | "late" | "lost" | "still" | "locked"} Link
 */

/**
 * @typedef {object} Live
 * @property {Link} link
 * @property {import("./types.js").Status | null} status the newest answer, however old
 * @property {number | null} answeredAt when it came, by this machine's wall clock (ms)
 * @property {import("./api.js").ApiError | null} error
 * @property {number | null} nextAt when it is asked again, by the wall clock
 */

/** @type {Cell<Live>} */
export const live = new Cell(
  /** @type {Live} */ ({ link: "connecting", status: null, answeredAt: null, error: null, nextAt: null }),
);

let answered = { mono: 0, wall: 0 };
let movedAt = 0;
let failures = 0;
let asking = false;
let started = false;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let next;

export function start() {
  if (started) return;
  started = true;
  setInterval(judge, WATCH);
  for (const name of ["visibilitychange", "resume"]) document.addEventListener(name, wake);
  for (const name of ["pageshow", "focus", "online", "offline"]) addEventListener(name, wake);
  locked.watch((closed) => {
    if (!closed) askNow();
  });
  ask();
}

/** Asks at once, unless an answer is being waited for already. */
export function askNow() {
  clearTimeout(next);
  ask();
}

function wake() {
  judge();
  if (document.visibilityState === "visible" && age() > patience() - TIMEOUT) askNow();
}

async function ask() {
  if (asking) return;
  asking = true;
  const begun = performance.now();
  let pause;
  try {
    accept(await get("v1/status", { timeout: TIMEOUT }));
    failures = 0;
    pause = Math.max(100, pace() - (performance.now() - begun));
  } catch (error) {
    const refused = /** @type {any} */ (error);
    const shut = refused.status === 401;
    const wait = shut ? LOCKED : BACK_OFF[Math.min(failures, BACK_OFF.length - 1)];
    failures += 1;
    pause = wait * (0.8 + 0.4 * Math.random());
    live.set({
      ...live.value,
      link: shut ? "locked" : "lost",
      error: refused,
      nextAt: Date.now() + pause,
    });
  } finally {
    asking = false;
  }
  clearTimeout(next);
  next = setTimeout(ask, pause);
}

/** @param {import("./types.js").Status} status */
function accept(status) {
  const mono = performance.now();
  const before = live.value.status;
  if (!before || status.now_ns > before.now_ns) movedAt = mono;
  answered = { mono, wall: Date.now() };
  const link = mono - movedAt > Math.max(STILL, 3 * status.refresh_ms) ? "still" : "live";
  live.set({ link, status, answeredAt: answered.wall, error: null, nextAt: null });
}

/** Every quarter of a second, and as soon as the page is seen again. */
function judge() {
  if (live.value.link === "live" && age() > patience()) live.set({ ...live.value, link: "late" });
}

/** How old the newest answer is. A machine that slept may have stopped either clock. */
function age() {
  return Math.max(performance.now() - answered.mono, Date.now() - answered.wall);
}

function pace() {
  return Math.max(250, live.value.status?.refresh_ms ?? 1_000);
}

function patience() {
  return pace() + TIMEOUT;
}

/** Whether what is shown is how things are. */
export const useFresh = () => useCell(live, isFresh);

/** @param {Live} value */
const isFresh = (value) => value.link === "live";

/**
 * The domain that is looked at: the chosen one, or else the first live one, or the first.
 * @param {import("./types.js").Status | null} status
 * @param {string | null} chosen
 */
export function domainOf(status, chosen) {
  const domains = status?.domains ?? [];
  return (
    domains.find((found) => found.domain === chosen) ??
    domains.find((found) => found.mode === "live") ??
    domains[0] ??
    null
  );
}

/** The status of the domain looked at, once; a component that is to follow it calls `useDomain`. */
export const domainHere = () => domainOf(live.value.status, prefs.value.domain);

/** The status of the domain looked at. */
export function useDomain() {
  const { status } = useCell(live);
  return domainOf(status, useCell(prefs, chosenDomain));
}

/** Its name only: the component is not drawn again every second. */
export function useDomainName() {
  const chosen = useCell(prefs, chosenDomain);
  return useCell(live, (value) => domainOf(value.status, chosen)?.domain ?? null);
}

/** @param {import("./prefs.js").Prefs} value */
const chosenDomain = (value) => value.domain;

/**
 * Now in a domain's own time, in ms: it runs on between answers where the domain is live.
 * @param {import("./types.js").DomainStatus | null} domain
 */
export function domainNow(domain) {
  if (!domain) return Date.now();
  const now = domain.now_ns / 1e6;
  const runs = domain.mode === "live" && live.value.link === "live";
  return runs ? now + (performance.now() - answered.mono) : now;
}

/** Ticks each second while the page is seen: for ages and countdowns. */
export const second = new Cell(0);
setInterval(() => {
  if (document.visibilityState === "visible") second.set(second.value + 1);
}, 1_000);

/**
 * Where the journals of some stages stand, as one text: "events.live:12 decisions.live:3".
 * @param {readonly string[]} stages "snapshots", "patterns", "events", "decisions", …, or whole journals
 */
function positions(stages) {
  const domain = domainHere();
  if (!domain) return "";
  return Object.entries(domain.positions)
    .filter(([journal]) => stages.includes(journal) || stages.includes(journal.split(".", 1)[0]))
    .map(([journal, position]) => `${journal}:${position}`)
    .join(" ");
}

/**
 * What the server answers at a path, read again when it may have changed.
 * @template [T=any]
 * @param {string | null} path null: nothing yet
 * @param {object} [options]
 * @param {readonly string[]} [options.when] stages (or journals) of the domain: read again when one moved
 * @param {string | number} [options.and] read again when this changed as well
 * @param {number} [options.every] read again after so many ms in any case
 * @param {number} [options.least] at most once in so many ms
 * @param {number} [options.timeout] no answer within so many ms is an error
 * @returns {{ data: T | null, error: import("./api.js").ApiError | null, loading: boolean,
 *   old: boolean, at: number | null, reload: () => void }}
 *   `data` stays when an error comes, and while the server is away: it is `old` until it has been read
 *   again, and `Loaded` of parts.js greys it and says so
 */
export function useResource(path, { when = [], and = "", every = 0, least = 1_000, timeout = 10_000 } = {}) {
  const [state, setState] = useState(
    /** @type {{ path: string | null, data: any, error: any, old: boolean, at: number | null }} */
    ({ path: null, data: null, error: null, old: false, at: null }),
  );
  const wanted = useRef({ when, and, every, least, timeout });
  wanted.current = { when, and, every, least, timeout };
  const again = useRef(() => {});
  useEffect(() => {
    if (path === null) return;
    const ended = new AbortController();
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    let loading = false;
    let begunAt = -Infinity;
    let retryAt = Infinity;
    let seen = "";
    let missed = false;
    const moved = () => `${positions(wanted.current.when)} ${wanted.current.and}`;
    const load = async () => {
      clearTimeout(timer);
      if (loading || ended.signal.aborted) return;
      loading = true;
      begunAt = performance.now();
      seen = moved();
      missed = false;
      try {
        const data = await get(path, { signal: ended.signal, timeout: wanted.current.timeout });
        retryAt = Infinity;
        if (!ended.signal.aborted) setState({ path, data, error: null, old: missed, at: Date.now() });
      } catch (error) {
        if (ended.signal.aborted) return;
        // What was asked wrongly is not asked again before something has changed.
        const status = /** @type {any} */ (error).status ?? 0;
        retryAt = status >= 400 && status < 500 ? Infinity : performance.now() + RETRY;
        setState((last) => ({
          ...(last.path === path ? last : { data: null, at: null }),
          path,
          error,
          old: true,
        }));
      } finally {
        loading = false;
      }
      look();
    };
    const look = () => {
      const { when, every, least } = wanted.current;
      if (live.value.link !== "live" && !missed && (when.length > 0 || every > 0)) {
        missed = true;
        setState((last) => (last.data === null ? last : { ...last, old: true }));
      }
      if (ended.signal.aborted || loading || live.value.link !== "live") return;
      const now = performance.now();
      if (missed || moved() !== seen || now >= retryAt || (every > 0 && now - begunAt >= every)) {
        clearTimeout(timer);
        timer = setTimeout(load, Math.max(0, begunAt + least - now));
      }
    };
    again.current = load;
    load();
    const unwatch = live.watch(look);
    return () => {
      ended.abort();
      unwatch();
      clearTimeout(timer);
    };
  }, [path]);
  const mine = state.path === path;
  return {
    data: mine ? state.data : null,
    error: mine ? state.error : null,
    old: mine && state.old,
    loading: path !== null && !(mine && (state.data !== null || state.error !== null)),
    at: mine ? state.at : null,
    reload: useCallback(() => again.current(), []),
  };
}
