// One series as a chart, with its patterns and its blocks. What is seen is in the address: source, subject,
// field, form, since (a span before now that is followed, "all", or a moment), until, mark.
import { get, withQuery } from "../api.js";
import { Cell, useCell } from "../cell.js";
import { Chart, dressed, isEnd, outline, RADIUS } from "../chart.js";
import { Choose } from "../choose.js";
import {
  clock,
  dayClock,
  fullTime,
  number,
  score,
  shortTime,
  span as spanText,
  zoneName,
} from "../format.js";
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../html.js";
import { t, useLang } from "../i18n.js";
import { domainHere, domainNow, live, second, useDomain, useFresh, useResource } from "../live.js";
import {
  Badge,
  Bar,
  Card,
  Empty,
  ErrorBox,
  errorText,
  Facts,
  nameText,
  SeriesLink,
  Skeleton,
  State,
  scopeText,
  Table,
  Time,
  ViewHead,
} from "../parts.js";
import { prefer, prefs } from "../prefs.js";
import { href, replaceParams, route } from "../route.js";
import { dayText, offset } from "../ticks.js";

/** @typedef {import("../types.js").SourceSeries} SourceSeries */
/** @typedef {import("../types.js").Points} Points */
/** @typedef {import("../types.js").Marker} Marker */
/** @typedef {import("../types.js").Block} Block */
/** @typedef {import("../chart.js").Span} Span */
/** @typedef {import("../chart.js").At} At */
/** @typedef {import("../chart.js").Contents} Contents */

/**
 * What is looked at.
 * @typedef {object} Series
 * @property {string} source
 * @property {string} subject
 * @property {string} field
 * @property {"line" | "candles"} form
 * @property {boolean} all patterns of the subject's other fields and of the whole source as well
 * @property {string} domain
 */

/** What part of it: the newest so many ms, all, or from one moment to another. */
/** @typedef {{ kind: "newest", wide: number } | { kind: "all" } | { kind: "fixed", from: number, to: number }} Part */

const SECOND = 1_000;
const DAY = 86_400 * SECOND;
const UNITS = /** @type {Record<string, number>} */ ({
  s: SECOND,
  m: 60 * SECOND,
  h: 3_600 * SECOND,
  d: DAY,
});
const SPANS = /** @type {const} */ (["1m", "5m", "15m", "1h", "4h", "1d", "7d", "30d"]);
const USUAL = /** @type {const} */ ({ kind: "newest", wide: DAY });
/** Fewer rows than this in the usual span, and all of it is shown instead. */
const FEW = 30;
const SETTLING = 160;
const MOST_POINTS = 4_000;
const PREFERRED = ["close", "last", "price", "mid", "mark_price", "value"];
const PRICES = /(?:^|_)(?:open|high|low|close)$/;

/** @param {{ params: Record<string, string> }} props */
export default function SeriesView({ params }) {
  useLang();
  const list = useResource("v1/series", { every: 30_000 });
  const items = /** @type {SourceSeries[] | null} */ (list.data?.items ?? null);
  const domain = useDomain()?.domain ?? null;
  useDomainOf(params, items, domain);
  const mine = useMemo(() => items?.filter((item) => item.domain === domain) ?? [], [items, domain]);
  const series = items && chosen(params, items, mine, domain ?? "");
  if (!series) {
    return html`<${ViewHead} title=${t("nav.series")} /><section class="card chart-card"><div class="chart">${
      list.error && items === null
        ? html`<${ErrorBox} error=${list.error} retry=${list.reload} />`
        : items === null
          ? html`<${Skeleton} rows=${8} />`
          : html`<${Empty} title=${t("series.none")}>${t("series.none.why")}<//>`
    }</div></section>`;
  }
  const item = items?.find((found) => found.source === series.source) ?? null;
  return html`<${Looked} series=${series} item=${item} sources=${mine} params=${params} />`;
}

/**
 * The domain of what is looked at is that of the page: a link decides it, and then the header's choice.
 * @param {Record<string, string>} params
 * @param {SourceSeries[] | null} items
 * @param {string | null} domain
 */
function useDomainOf(params, items, domain) {
  const before = useRef(domain);
  const wanted = items && (items.find((item) => item.source === params.source)?.domain ?? params.domain);
  useEffect(() => {
    const known = live.value.status?.domains.some((found) => found.domain === wanted);
    if (wanted && known && wanted !== domainHere()?.domain) prefer({ domain: wanted });
  }, [wanted]);
  useEffect(() => {
    if (before.current !== null && domain !== before.current && wanted && wanted !== domain)
      replaceParams({});
    before.current = domain;
  }, [domain]);
}

/**
 * What the address names, and what it leaves out.
 * @param {Record<string, string>} params
 * @param {SourceSeries[]} items
 * @param {SourceSeries[]} mine those of the domain
 * @param {string} domain
 * @returns {Series | null} null: there is nothing to choose from
 */
function chosen(params, items, mine, domain) {
  const { source, subject } = params;
  const item =
    items.find((found) => found.source === source) ??
    (source ? null : (mine.find((found) => found.subjects.includes(subject)) ?? mine[0] ?? null));
  if (!item && !source) return null;
  const fields = item?.fields ?? [];
  const usual = PREFERRED.find((name) => fields.includes(name)) ?? fields[0] ?? "price";
  const field = params.field && params.field !== "*" ? params.field : usual;
  const bars = Boolean(item?.candles) && PRICES.test(field);
  const able = field !== "volume" && !field.endsWith("_volume");
  const form = able && (params.form ? params.form === "candles" : bars) ? "candles" : "line";
  return {
    source: item?.source ?? source,
    subject: subject && subject !== "*" ? subject : (item?.subjects[0] ?? ""),
    field,
    form,
    all: params.all ? params.all === "true" : form === "candles",
    domain: item?.domain ?? domain,
  };
}

/** @param {string | undefined} text "15m" @returns {number | null} */
function wideOf(text) {
  const found = /^(\d{1,6})([smhd])$/.exec(text ?? "");
  return found ? Math.max(SECOND, Number(found[1]) * UNITS[found[2]]) : null;
}

/** @param {Record<string, string>} params @returns {Part | null} null: the address does not say */
function partOf({ since, until }) {
  if (since === "all") return { kind: "all" };
  const wide = wideOf(since);
  if (wide !== null) return { kind: "newest", wide };
  const from = Date.parse(since ?? "");
  const to = until ? Date.parse(until) : domainNow(domainHere());
  if (Number.isNaN(from) || Number.isNaN(to) || from >= to) return null;
  return { kind: "fixed", from, to: Math.max(to, from + SECOND) };
}

/** @param {number} ms */
const moment = (ms) => new Date(Math.max(0, Math.round(ms))).toISOString();

/** Other parameters, and the page stays where it is. @param {Record<string, string | null>} changed */
function change(changed) {
  const { scrollX, scrollY } = window;
  replaceParams({ ...route.value.params, ...changed });
  window.scrollTo(scrollX, scrollY);
}

// ---------------------------------------------------------------- one series

/** @param {{ series: Series, item: SourceSeries | null, sources: SourceSeries[], params: Record<string, string> }} props */
function Looked({ series, item, sources, params }) {
  const { source, subject, field } = series;
  const domain = useDomain();
  const feed = domain?.sources.find((found) => found.source === source);
  return html`<${ViewHead} title=${html`<span class="series-title"><span class="clip" title=${subject}>${nameText(subject)}</span> <span class="muted clip" title=${`${field} · ${source}`}>${nameText(field)} · ${source}</span></span>`}>
      ${
        feed &&
        domain?.mode === "live" &&
        html`<span class="series-feed" title=${feed.error ?? undefined}><${State} of="feed" value=${feed.status} quiet />
        ${feed.age_ns !== null && feed.status === "stale" && html`<span class="muted">${t("series.newest", { span: spanText(feed.age_ns / 1e6) })}</span>`}</span>`
      }<//>
    <${Chooser} series=${series} item=${item} sources=${sources} />
    <${Charted} series=${series} item=${item} params=${params} />`;
}

/** @param {{ series: Series, item: SourceSeries | null, sources: SourceSeries[] }} props */
function Chooser({ series, item, sources }) {
  const subjects = item?.subjects ?? [];
  const at = subjects.indexOf(series.subject);
  /** @param {number} step */
  const go = (step) => {
    const next = subjects[(at + step + subjects.length) % subjects.length];
    if (next !== undefined && subjects.length > 1) change({ ...named(series), subject: next, mark: null });
  };
  const keyed = useRef(go);
  keyed.current = go;
  useEffect(() => {
    /** @param {KeyboardEvent} event */
    const press = (event) => {
      const typing = /** @type {HTMLElement} */ (event.target).closest("input, textarea, select");
      if (typing || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
      if (!prefs.value.shortcuts || document.querySelector("dialog[open]")) return;
      if (event.key === "[") keyed.current(-1);
      else if (event.key === "]") keyed.current(1);
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);
  const known = sources.some((found) => found.source === series.source);
  return html`<div class="chooser" role="group" aria-label=${t("series.choose")}>
    <label><span>${t("series.source")}</span>
      <select value=${series.source} onChange=${(/** @type {any} */ event) => change({ source: event.target.value, subject: null, field: null, form: null, all: null, mark: null })}>
        ${!known && html`<option value=${series.source} selected>${series.source}</option>`}
        ${sources.map((found) => html`<option key=${found.source} value=${found.source} selected=${found.source === series.source}>${found.source}</option>`)}
      </select></label>
    <span class="subject"><span class="label" aria-hidden="true">${t("series.subject")}</span>
      <button type="button" class="icon" disabled=${subjects.length < 2} onClick=${() => go(-1)} aria-label=${t("series.previous")}
        title=${`${t("series.previous")}  [`} aria-keyshortcuts="[">‹</button>
      <${Choose} label=${t("series.subject")} names=${subjects} value=${series.subject} hotkey="/"
        onChoose=${(/** @type {string} */ name) => change({ ...named(series), subject: name, mark: null })} />
      <button type="button" class="icon" disabled=${subjects.length < 2} onClick=${() => go(1)} aria-label=${t("series.next")}
        title=${`${t("series.next")}  ]`} aria-keyshortcuts="]">›</button>
      <span class="muted place">${at >= 0 && `${(at + 1).toLocaleString()} / ${subjects.length.toLocaleString()}`}</span></span>
    <label><span>${t("series.field")}</span>
      <select value=${series.field} onChange=${(/** @type {any} */ event) => change({ ...named(series), field: event.target.value, form: null, mark: null })}>
        ${!item?.fields.includes(series.field) && html`<option value=${series.field} selected>${series.field}</option>`}
        ${item?.fields.map((name) => html`<option key=${name} value=${name} selected=${name === series.field}>${nameText(name)}</option>`)}
      </select></label>
  </div>`;
}

/** What an address needs so that nothing is left to guess. @param {Series} series */
const named = ({ source, subject, field }) => ({ source, subject, field });

// ---------------------------------------------------------------- its chart

/** @param {{ series: Series, item: SourceSeries | null, params: Record<string, string> }} props */
function Charted({ series, item, params }) {
  const key = JSON.stringify([series.source, series.subject, series.field, series.form]);
  const given = partOf(params);
  /** The series whose usual part has too little in it. */
  const [sparse, setSparse] = useState("");
  /** @type {Part} */
  const part = given ?? (sparse === key ? { kind: "all" } : USUAL);
  const firstMs = (item?.first_ns ?? 0) / 1e6;
  const now = useNow(part, firstMs);
  const span = spanOf(part, now, firstMs);
  const found = useSeries(series, key, part, now, firstMs);
  const { points } = found;
  const guessed = !given && sparse !== key;
  const few = guessed && points?.complete && inside(points, span) < FEW && firstMs > 0 && firstMs < span.from;
  useLayoutEffect(() => {
    if (few) setSparse(key);
  }, [few, key]);
  const [mark, setMark] = [params.mark ?? null, (/** @type {string | null} */ ref) => change({ mark: ref })];
  const seen = useSame(
    found.markers.filter((marker) => marker.time_ms >= span.from && marker.time_ms <= span.to),
  );
  const goTo = useRef((/** @type {number} */ _) => {});
  return html`<${ChartCard} key="chart" series=${series} of=${key} part=${part} span=${span} now=${now} found=${found} seen=${seen} empty=${few}
      mark=${mark} onMark=${setMark} item=${item} goTo=${goTo} />
    <div class="beside">
      <${Patterns} series=${series} markers=${seen} found=${found} mark=${mark} onMark=${(
        /** @type {Marker} */ marker,
      ) => {
        setMark(marker.ref);
        goTo.current(marker.time_ms);
      }} />
      <${Evidence} mark=${mark} marker=${found.markers.find((marker) => marker.ref === mark) ?? null} series=${series} />
      <${Blocks} blocks=${found.blocks} span=${span} of=${found} />
    </div>`;
}

/**
 * Now in the domain's own time. It goes on in steps that are to be seen in what is looked at.
 * @param {Part} part
 * @param {number} first
 */
function useNow(part, first) {
  useCell(live, domainOfLive);
  const wide =
    part.kind === "newest" ? part.wide : part.kind === "all" ? domainNow(domainHere()) - first : DAY;
  const step = Math.max(SECOND, 2 ** Math.round(Math.log2(wide / 1_500)));
  return useCell(second, () => Math.ceil(domainNow(domainHere()) / step) * step);
}

/** @param {import("../live.js").Live} value */
const domainOfLive = (value) => value.status !== null;

/** @param {Part} part @param {number} now @param {number} first @returns {Span} */
function spanOf(part, now, first) {
  if (part.kind === "fixed") return { from: part.from, to: part.to };
  const start = first > 0 && first < now ? first : now - DAY;
  const wide = part.kind === "all" ? Math.max(SECOND, now - start) : part.wide;
  const from = part.kind === "all" ? start : Math.max(now - wide, Math.min(start, now - wide / 20));
  // A little room, so that what is newest is not at the edge.
  return { from: from - (now - from) * 0.01, to: now + (now - from) * 0.02 };
}

/** The array of before while it has the same in it. @template T @param {T[]} list @returns {T[]} */
function useSame(list) {
  const last = useRef(list);
  const same = last.current.length === list.length && list.every((one, index) => one === last.current[index]);
  if (!same) last.current = list;
  return last.current;
}

/** How many observations are in a part. @param {Points} points @param {Span} span */
function inside(points, span) {
  const column = points.value ?? points.close ?? [];
  return points.time_ms.filter(
    (time, index) => column[index] !== null && time >= span.from && time <= span.to,
  ).length;
}

/**
 * @typedef {object} Found
 * @property {Points | null} points of this series; those of another part of it while this one is loaded
 * @property {Marker[]} markers
 * @property {boolean} truncated there are more markers
 * @property {Block[]} blocks
 * @property {boolean} newest they reach to the newest there is
 * @property {boolean} loading
 * @property {import("../api.js").ApiError | null} error
 * @property {boolean} old
 * @property {number | null} at
 * @property {() => void} reload
 */

/**
 * Points, patterns and blocks of a part of a series, kept up to date.
 * @param {Series} series
 * @param {string} key
 * @param {Part} part
 * @param {number} now
 * @param {number} first
 * @returns {Found}
 */
function useSeries(series, key, part, now, first) {
  const width = useWidth();
  const last = useRef(nothingYet(""));
  if (last.current.key !== key) last.current = nothingYet(key);
  const kept = last.current;
  const asked = windowOf(part, now, first, kept.apart);
  const { source, subject, field, form } = series;
  const [since, until] = [moment(asked.from), asked.to === null ? null : moment(asked.to)];
  const query = { source, subject, field, since, until };
  const snapshots = asked.to === null ? [`snapshots.${source}`] : [];
  const line = form === "line";
  const most = line ? Math.min(MOST_POINTS, 2 * width * asked.share) : (width / 4.5) * asked.share;
  const reading = kept.points?.complete === false;
  const base = useResource(
    withQuery("v1/series/points", { ...query, form, points: Math.round(Math.max(10, most)) }),
    {
      when: line ? [] : snapshots,
      every: reading ? SECOND : asked.to === null ? 60 * SECOND : 0,
    },
  );
  // What has come since is fetched alone, and put behind it.
  const from = line && asked.to === null ? lastOf(base.data) : null;
  const tail = useResource(
    from === null
      ? null
      : withQuery("v1/series/points", { ...query, since: moment(from), form, points: 1_000 }),
    { when: snapshots },
  );
  const merged = useMemo(() => joined(base.data, tail.data), [base.data, tail.data]);
  const markers = useResource(withQuery("v1/series/markers", { ...query, all: series.all || null }), {
    when: [`patterns.${source}`],
  });
  const blocks = useResource(
    withQuery("v1/blocks", { domain: series.domain, standing: false, subject, since, until, limit: 200 }),
    { when: ["decisions"] },
  );
  if (merged) {
    kept.points = merged;
    kept.apart = apartOf(kept.apart, merged);
  }
  if (markers.data) kept.markers = markers.data;
  if (blocks.data) kept.blocks = blocks.data;
  return {
    points: kept.points,
    markers: kept.markers?.items ?? NONE,
    truncated: Boolean(kept.markers?.truncated),
    blocks: kept.blocks?.items ?? NONE,
    newest: asked.to === null,
    loading: base.loading,
    error: base.error ?? markers.error ?? blocks.error,
    old: base.old || markers.old || blocks.old,
    at: base.at,
    reload: () => {
      for (const one of [base, tail, markers, blocks]) one.reload();
    },
  };
}

/** @type {any[]} */
const NONE = [];
const UNKNOWN_APART = 2 ** 16;

/** @param {string} key */
const nothingYet = (key) => ({
  key,
  points: /** @type {Points | null} */ (null),
  markers: /** @type {import("../types.js").Markers | null} */ (null),
  blocks: /** @type {import("../types.js").BlockPage | null} */ (null),
  apart: UNKNOWN_APART,
});

/**
 * What is asked for: more than is seen, so that curves go on to the edges, and so that the address of what
 * is followed changes only now and then. `to` null: the newest there is; `share`: of what is seen.
 * @param {Part} part
 * @param {number} now
 * @param {number} first
 * @param {number} apart how far apart the rows are
 * @returns {{ from: number, to: number | null, share: number }}
 */
function windowOf(part, now, first, apart) {
  if (part.kind === "all") return { from: first || now - DAY, to: null, share: 1 };
  if (part.kind === "newest") {
    const step = Math.max(SECOND, part.wide / 8);
    return { from: Math.floor((now - 1.1 * part.wide - 2 * apart) / step) * step, to: null, share: 1.25 };
  }
  // With two more rows on each side there is a line through the narrowest part.
  const wide = part.to - part.from;
  const more = Math.max(wide / 8, 2.5 * apart);
  const to = part.to < now ? Math.ceil(part.to + more) : null;
  return { from: Math.floor(part.from - more), to, share: Math.min(4, 1 + (2 * more) / wide) };
}

/**
 * How far apart rows are, about; it changes seldom, since it is in the address of what is asked.
 * @param {number} before
 * @param {Points} points
 */
function apartOf(before, { rows, first_ms, last_ms }) {
  if (rows < 3 || first_ms === null || last_ms === null || first_ms === last_ms) return before;
  return Math.min(before, 2 ** Math.ceil(Math.log2((last_ms - first_ms) / (rows - 1))));
}

/** @param {Points | null} points */
function lastOf(points) {
  return points?.time_ms.length ? points.time_ms[points.time_ms.length - 1] : null;
}

/**
 * A line with what has come since: the tail begins with the line's last point.
 * @param {Points | null} base
 * @param {Points | null} tail
 * @returns {Points | null}
 */
function joined(base, tail) {
  const last = lastOf(base);
  if (!base?.value || !tail?.value || last === null || tail.time_ms[0] !== last || tail.time_ms.length < 2)
    return base;
  return {
    ...base,
    rows: base.rows + tail.rows - 1,
    last_ms: tail.last_ms,
    time_ms: [...base.time_ms, ...tail.time_ms.slice(1)],
    value: [...base.value, ...tail.value.slice(1)],
  };
}

/** How wide the chart is, about. */
function useWidth() {
  const rounded = () => Math.max(200, Math.ceil((innerWidth - 80) / 100) * 100);
  const [width, setWidth] = useState(rounded);
  useEffect(() => {
    const look = () => setWidth(rounded());
    addEventListener("resize", look);
    return () => removeEventListener("resize", look);
  }, []);
  return width;
}

/**
 * @param {{ series: Series, of: string, part: Part, span: Span, now: number, found: Found, seen: Marker[], empty: boolean,
 *   mark: string | null, onMark: (ref: string | null) => void, item: SourceSeries | null, goTo: { current: (time: number) => void } }} props
 */
function ChartCard({ series, of, part, span, now, found, seen, empty, mark, onMark, item, goTo }) {
  const host = useRef(/** @type {HTMLDivElement | null} */ (null));
  const chart = useRef(/** @type {Chart | null} */ (null));
  const at = useMemo(() => new Cell(/** @type {At | null} */ (null)), []);
  const [ready, setReady] = useState(false);
  const [contents, setContents] = useState(/** @type {Contents | null} */ (null));
  /** Where a gesture has come to that the address does not know of yet. */
  const [draft, setDraft] = useState(/** @type {Span | null} */ (null));
  const settle = useRef(/** @type {ReturnType<typeof setTimeout> | undefined} */ (undefined));
  const past = useRef(
    /** @type {{ key: string, places: { since: string | null, until: string | null }[] }} */ ({
      key: "",
      places: [],
    }),
  );
  if (past.current.key !== of) past.current = { key: of, places: [] };
  const fresh = useFresh();
  const { points } = found;

  /** @param {{ since: string | null, until: string | null }} next @param {boolean} [keeps] */
  const go = (next, keeps = true) => {
    if (keeps)
      past.current.places.push({
        since: route.value.params.since ?? null,
        until: route.value.params.until ?? null,
      });
    past.current.places.splice(0, past.current.places.length - 50);
    setDraft(null);
    change({ ...named(series), ...next });
  };
  const deeds = useRef(/** @type {import("../chart.js").Deeds} */ (/** @type {any} */ ({})));
  deeds.current = {
    zoom: (next) => {
      setDraft(next);
      clearTimeout(settle.current);
      settle.current = setTimeout(() => go({ since: moment(next.from), until: moment(next.to) }), SETTLING);
    },
    reset: () => go({ since: null, until: null }),
    point: (next) => at.set(next),
    pick: (marker) => onMark(marker.ref),
  };
  goTo.current = (time) => chart.current?.goTo(time);

  useEffect(() => {
    let gone = false;
    dressed().then(() => {
      if (gone || !host.current) return;
      chart.current = new Chart(host.current, {
        zoom: (next, settled) => deeds.current.zoom(next, settled),
        reset: () => deeds.current.reset(),
        point: (next) => deeds.current.point(next),
        pick: (marker) => deeds.current.pick(marker),
      });
      setReady(true);
    });
    return () => {
      gone = true;
      clearTimeout(settle.current);
      chart.current?.end();
      chart.current = null;
    };
  }, []);
  useDress(() => chart.current?.dress());

  const shown = draft ?? span;
  const usable = ready && points !== null && !empty;
  useLayoutEffect(() => {
    if (!usable || !points || !chart.current) return;
    const texts = {
      block: (/** @type {Block} */ block) => blockName(block),
      volume: t("series.volume"),
    };
    chart.current.show({
      points,
      markers: found.markers,
      blocks: found.blocks,
      span: shown,
      now,
      newest: found.newest,
      mark,
      texts,
    });
    setContents((last) => {
      const next = chart.current?.contents() ?? null;
      return JSON.stringify(next) === JSON.stringify(last) ? last : next;
    });
  });

  const nothing = usable && contents?.points === 0 && !found.loading && !draft;
  const blocks = found.blocks.filter((block) => overlaps(block, shown)).length;
  const busy = found.loading || draft !== null;
  const told =
    contents && usable ? describe(series, points, contents, seen.length, blocks, shown) : t("loading");
  const follows = part.kind !== "fixed" && !draft;
  /** @param {number} wide @param {string} text */
  const pick = (wide, text) => {
    if (part.kind !== "fixed") return go({ since: text, until: null });
    const middle = Math.min((part.from + part.to) / 2, now - wide / 2);
    return go({ since: moment(middle - wide / 2), until: moment(middle + wide / 2) });
  };
  const back = () => {
    const before = past.current.places.pop();
    if (before) go(before, false);
  };
  const isLive = domainHere()?.mode === "live";
  return html`<section class="card chart-card" aria-label=${t("series.chart")}>
    <header>
      <div class="picks" role="group" aria-label=${t("series.form")}>${
        /** @type {const} */ (["line", "candles"]).map(
          (form) => html`<button key=${form} type="button" aria-pressed=${series.form === form}
        disabled=${form === "candles" && /(?:^|_)volume$/.test(series.field)}
        onClick=${() => change({ ...named(series), form })}>${t(`series.${form}`)}</button>`,
        )
      }</div>
      <div class="tools">
        <div class="picks spans" role="group" aria-label=${t("series.span")}>
          ${SPANS.map((text) => {
            const wide = wideOf(text) ?? DAY;
            return html`<button key=${text} type="button" aria-pressed=${part.kind === "newest" && part.wide === wide}
              aria-label=${`${t(`series.span.${text}`)}: ${spanText(wide)}`} onClick=${() => pick(wide, text)}>${t(`series.span.${text}`)}</button>`;
          })}
          <button type="button" aria-pressed=${part.kind === "all"} onClick=${() => go({ since: "all", until: null })}>${t("series.span.all")}</button>
        </div>
        <div class="picks moves" role="group" aria-label=${t("series.moves")}>
          <button type="button" class="icon" onClick=${() => chart.current?.panBy(-0.5)} aria-label=${t("series.earlier")} title=${`${t("series.earlier")}  Shift ←`}>←</button>
          <button type="button" class="icon" onClick=${() => chart.current?.panBy(0.5)} aria-label=${t("series.later")} title=${`${t("series.later")}  Shift →`}>→</button>
          <button type="button" class="icon" onClick=${() => chart.current?.zoomBy(0.5)} aria-label=${t("series.closer")} title=${`${t("series.closer")}  +`}>+</button>
          <button type="button" class="icon" onClick=${() => chart.current?.zoomBy(2)} aria-label=${t("series.wider")} title=${`${t("series.wider")}  −`}>−</button>
          <button type="button" disabled=${past.current.places.length === 0} onClick=${back}>${t("series.back")}</button>
          <button type="button" aria-pressed=${follows} onClick=${() => follows || go({ since: `${Math.max(1, Math.round((shown.to - shown.from) / SECOND))}s`, until: null })}>${t(isLive ? "series.live" : "series.end")}</button>
        </div>
      </div>
    </header>
    ${
      found.error &&
      points &&
      html`<p class="strip" role="alert"><span>${t("stale.part", { time: clock(found.at ?? 0) })} ${errorText(found.error)}</span>
        <button type="button" onClick=${found.reload}>${t("retry")}</button></p>`
    }
    <${Readout} at=${at} chart=${chart} points=${usable ? points : null} contents=${contents} />
    <div class="chart-frame">
      <div class=${`chart${busy && points ? " waiting" : ""}${found.error ? " outdated" : ""}`} role="application" tabindex="0" aria-busy=${busy ? "true" : "false"}
        aria-roledescription=${t("series.chart")} aria-label=${`${nameText(series.subject)} ${series.field}`} aria-describedby="series-hint"
        onKeyDown=${(/** @type {KeyboardEvent} */ event) => {
          if (event.target !== event.currentTarget || !chart.current?.press(event)) return;
          event.preventDefault();
          event.stopPropagation();
        }} onBlur=${() => chart.current?.leave()}>
        <div ref=${host} class="plot" role="img" aria-label=${told}></div>
        <p class="unit muted" aria-hidden="true">${points?.unit && points.unit !== "1" ? points.unit : points?.unit === "1" ? t("series.ratio") : ""}</p>
        ${usable && html`<${Near} at=${at} />`}
      </div>
      ${
        !usable &&
        !(found.error && !points) &&
        html`<div class="over-chart later"><${Skeleton} rows=${8} /></div>`
      }
      ${
        found.error &&
        !points &&
        html`<div class="over-chart">${
          [400, 404].includes(found.error.status)
            ? html`<${Empty} title=${t("series.unknown")}>${t("series.unknown.why")}<br />${found.error.message}<//>`
            : html`<${ErrorBox} error=${found.error} retry=${found.reload} />`
        }</div>`
      }
      ${
        nothing &&
        html`<div class="over-chart"><${Empty} title=${points.complete ? t("series.empty") : t("series.reading")}>
          ${item?.last_ns && html`${t("series.empty.newest", { time: shortTime(item.last_ns / 1e6, now) })} `}
          <button type="button" onClick=${() => go({ since: "all", until: null })}>${t("series.empty.all")}</button><//></div>`
      }
      <p class="chart-notes">
        ${!fresh && html`<span class="chart-note bad" role="status">${t("series.lost", { time: clock(live.value.answeredAt ?? 0) })}</span>`}
        ${points?.complete === false && html`<span class="chart-note" role="status">${t("series.incomplete")}</span>`}
        ${found.truncated && html`<span class="chart-note">${t("series.truncated", { n: found.markers.length })}</span>`}
      </p>
    </div>
    <footer class="muted"><span class="chart-hint" id="series-hint">${t("series.hint")}</span>
      <span>${contents && usable && html`${t("series.count", { n: contents.points })}${points.rows > points.time_ms.length && html` · ${t("series.reduced", { n: points.rows })}`}${points.bucket_ms && html` · ${t("series.bucket", { span: spanText(points.bucket_ms) })}`} · ${zoneName()}`}</span></footer>
  </section>`;
}

/** Called when colours, language or zone have changed. @param {() => void} dress */
function useDress(dress) {
  const { theme, zone } = useCell(prefs);
  const language = useLang();
  const { link } = useCell(live);
  const wanted = useRef(dress);
  wanted.current = dress;
  useEffect(() => {
    // The attributes that colours hang on are set after this.
    const frame = requestAnimationFrame(() => wanted.current());
    return () => cancelAnimationFrame(frame);
  }, [theme, zone, language, link]);
  useEffect(() => {
    const asked = ["(prefers-color-scheme: dark)", "(forced-colors: active)"].map((query) =>
      matchMedia(query),
    );
    const changed = () => wanted.current();
    for (const query of asked) query.addEventListener("change", changed);
    return () => {
      for (const query of asked) query.removeEventListener("change", changed);
    };
  }, []);
}

/** @param {Block} block @param {Span} span */
function overlaps({ since_ns, until_ns, released_ns }, { from, to }) {
  const end = released_ns ?? until_ns;
  return since_ns / 1e6 <= to && (end === null || end / 1e6 >= from);
}

/** @param {Block} block */
const blockName = (block) =>
  `${block.lifted ? `(${block.policy})` : block.policy}${block.scope.startsWith("subject:") ? "" : ` · ${scopeText(block.scope)}`}`;

/**
 * What a chart shows, in words.
 * @param {Series} series
 * @param {Points} points
 * @param {Contents} contents
 * @param {number} markers
 * @param {number} blocks
 * @param {Span} span
 */
function describe(series, points, contents, markers, blocks, span) {
  const about = {
    name: `${nameText(series.subject)} ${series.field}`,
    form: t(`series.${points.form}`),
    from: fullTime(span.from),
    to: fullTime(span.to),
    zone: zoneName(),
  };
  const counts = t("series.told.counts", { points: contents.points, gaps: contents.gaps, markers, blocks });
  const range =
    contents.points > 0
      ? ` ${t("series.told.range", { low: number(contents.low), high: number(contents.high), latest: number(contents.latest) })}`
      : "";
  return `${t("series.told", about)} ${counts}${range}`;
}

/**
 * The value where the cursor is, else the newest seen; said aloud when keys have moved it.
 * @param {{ at: Cell<At | null>, chart: { current: Chart | null }, points: Points | null, contents: Contents | null }} props
 */
function Readout({ at, chart, points, contents }) {
  const here = useCell(at);
  useCell(prefs);
  const [said, setSaid] = useState("");
  const text = here && words(here, chart.current);
  useEffect(() => {
    if (!here?.keys || !text) return;
    const timer = setTimeout(() => setSaid(text), 150);
    return () => clearTimeout(timer);
  }, [text, here?.keys]);
  const write = (/** @type {number | null | undefined} */ value) => chart.current?.text(value) ?? "–";
  const time = here ? here.time : contents?.last;
  const { candle, volume } = here ?? contents ?? { candle: null, volume: null };
  return html`<p class="readout">${
    points &&
    time != null &&
    html`<b class="when">${moments(time, points)}</b> ${
      candle
        ? html`<span class="bar-of"><i>${t("series.o")}</i> ${write(candle.open)}</span> <span class="bar-of"><i>${t("series.h")}</i> ${write(candle.high)}</span> <span class="bar-of"><i>${t("series.l")}</i> ${write(candle.low)}</span>
          <span class="bar-of"><i>${t("series.c")}</i> <b>${write(candle.close)}</b></span> <span class=${candle.close >= candle.open ? "rose" : "fell"}>${candle.close >= candle.open ? "▲" : "▼"} ${percent(candle.close / candle.open - 1)}</span>`
        : here && here.value === null
          ? html`<span class="muted">${t("series.gap")}</span>`
          : html`<b>${write(here ? here.value : contents?.latest)}</b>`
    } ${volume !== null && html`<span><i>${t("series.v")}</i> ${number(volume)}</span>`}`
  }</p><p class="unseen" role="status" aria-live="polite">${said}</p>`;
}

/** @param {number} value */
const percent = (value) =>
  Number.isFinite(value)
    ? `${value >= 0 ? "+" : "−"}${Math.abs(value * 100).toFixed(Math.abs(value) < 0.1 ? 2 : 1)} %`
    : "";

/** With fractions of a second where they matter. @param {number} ms @param {Points} points */
function moments(ms, points) {
  if ((points.bucket_ms ?? 0) >= DAY) return dayText(ms + offset(ms));
  const text = dayClock(ms);
  const rest = ((ms % 1_000) + 1_000) % 1_000;
  const fine = rest !== 0 && points.rows <= 2 * points.time_ms.length;
  return fine && points.form === "line" ? `${text}.${String(Math.floor(rest)).padStart(3, "0")}` : text;
}

/** What is said of a place. @param {At} here @param {Chart | null} chart */
function words(here, chart) {
  const write = (/** @type {number | null} */ value) => chart?.text(value) ?? "–";
  const parts = [`${dayClock(here.time)} ${zoneName()}`];
  if (here.candle) {
    const { open, high, low, close } = here.candle;
    parts.push(
      t("series.said.candle", { open: write(open), high: write(high), low: write(low), close: write(close) }),
    );
  } else parts.push(here.value === null ? t("series.gap") : write(here.value));
  for (const marker of here.near)
    parts.push(
      `${marker.pattern}, ${t(`severity.${marker.severity}`)}, ${t(`series.direction.${marker.direction}`)}`,
    );
  return parts.join("; ");
}

/** The evidence of the patterns that the cursor is at. @param {{ at: Cell<At | null> }} props */
function Near({ at }) {
  const here = useCell(at);
  if (!here || here.near.length === 0) return null;
  const left = here.left > here.width / 2;
  return html`<div class="near" aria-hidden="true" style=${left ? { right: `${here.width - here.left + 14}px` } : { left: `${here.left + 14}px` }}>
    ${here.near.slice(0, 3).map(
      (
        marker,
      ) => html`<div key=${marker.ref}><p><${Mark} marker=${marker} /> <b>${marker.pattern}</b> <span class="muted">${t(`series.direction.${marker.direction}`)} · ${clock(marker.time_ms)} · ${score(marker.score)}</span></p>
        <dl>${lineOf(marker.evidence).map(([name, text]) => html`<div key=${name}><dt>${name}</dt><dd>${text}</dd></div>`)}</dl></div>`,
    )}
    ${here.near.length > 3 && html`<p class="muted">${t("series.near.more", { n: here.near.length - 3 })}</p>`}
  </div>`;
}

/** As in the chart. @param {{ marker: Marker }} props */
const Mark = ({
  marker: { pattern, direction, severity },
}) => html`<svg class=${`mark ${severity}${isEnd(pattern) ? " over" : ""}`} viewBox="-9 -9 18 18" aria-hidden="true">
  <path d=${outline(pattern, direction, 0, 0, RADIUS[severity])} /></svg>`;

/** Numbers by name, those of a list from the first to the last. @param {[string, any][]} entries @returns {[string, string][]} */
const written = (entries) =>
  entries.map(([name, value]) => {
    const list = Array.isArray(value) ? value : [value];
    const texts = [...new Set(list.slice(0, 100).map((one) => valueText(name, one)))];
    return [labelOf(name), texts.length > 4 ? `${texts.slice(0, 4).join(", ")} …` : texts.join(", ")];
  });

/** @param {string} name */
const labelOf = (name) => (name.endsWith("_ns") ? name.slice(0, -3) : name);

/** What says little by itself. */
const DULL = new Set(["horizon", "others", "recurrences", "return_period", "waited", "limit", "onset"]);

/** What tells most of it. @param {Record<string, any>} evidence */
const lineOf = (evidence) =>
  written(
    Object.entries(evidence)
      .filter(([name]) => !DULL.has(labelOf(name)))
      .slice(0, 4),
  );

/** @param {string} name @param {any} value */
function valueText(name, value) {
  if (typeof value === "number") {
    if (!name.endsWith("_ns")) return number(value);
    return value > 1e17 ? dayClock(value / 1e6) : spanText(value / 1e6);
  }
  return typeof value === "string" ? value : JSON.stringify(value);
}

// ---------------------------------------------------------------- below it

/** @param {{ series: Series, markers: Marker[], found: Found, mark: string | null, onMark: (marker: Marker) => void }} props */
function Patterns({ series, markers, found, mark, onMark }) {
  const { zone } = useCell(prefs);
  const language = useLang();
  const holds = useFresh();
  const choose = useRef(onMark);
  choose.current = onMark;
  const tools = html`<label class="check"><input type="checkbox" checked=${series.all} onChange=${() => change({ all: series.all ? "false" : "true", mark: null })} /> ${t("series.all")}</label>`;
  const columns = [
    {
      id: "pattern",
      title: t("series.pattern"),
      size: "c-m",
      cell: (/** @type {Marker} */ marker) =>
        html`<button type="button" class="link" onClick=${() => choose.current(marker)}><${Mark} marker=${marker} /> ${marker.pattern}</button>`,
    },
    {
      id: "numbers",
      title: t("series.evidence"),
      cell: (/** @type {Marker} */ marker) =>
        html`<span class="muted clip numbers">${lineOf(marker.evidence)
          .map(([name, text]) => `${name} ${text}`)
          .join(" · ")}</span>`,
    },
    {
      id: "time",
      title: t("series.time"),
      size: "c-time",
      cell: (/** @type {Marker} */ marker) => html`<${Time} ns=${marker.time_ms * 1e6} form="day" />`,
    },
    {
      id: "severity",
      title: t("series.severity"),
      size: "c-s",
      cell: (/** @type {Marker} */ marker) => html`<${Badge} of="severity" value=${marker.severity} quiet />`,
    },
    {
      id: "direction",
      title: t("series.direction"),
      size: "c-num",
      cell: (/** @type {Marker} */ marker) => t(`series.direction.${marker.direction}`),
    },
    {
      id: "score",
      title: t("series.score"),
      size: "c-num",
      end: true,
      cell: (/** @type {Marker} */ marker) => score(marker.score),
    },
  ];
  // Five hundred rows are not written anew each second.
  const table = useMemo(
    () =>
      html`<${Table} caption=${t("series.patterns")} columns=${columns} rows=${[...markers].reverse()} keyOf=${(/** @type {Marker} */ marker) => marker.ref} selected=${mark} />`,
    [markers, mark, zone, language, holds],
  );
  return html`<${Card} title=${t("series.patterns")} count=${found.points ? markers.length : null} size="flush series-patterns" tools=${tools} scrolls=${markers.length === 0}>
    ${
      markers.length === 0
        ? html`<${Empty} title=${found.loading ? t("loading") : t("series.patterns.none")} />`
        : table
    }<//>`;
}

/** @param {{ mark: string | null, marker: Marker | null, series: Series }} props */
function Evidence({ mark, marker, series }) {
  const record = useResource(mark && `v1/records/${encodeURIComponent(mark)}`);
  const found = record.data?.record ?? null;
  const led = useLed(mark, found, series);
  const what = marker ?? (found && { ...found, time_ms: found.event_ns / 1e6 });
  return html`<${Card} title=${t("series.evidence")} size="series-evidence" scrolls>
    ${!mark && html`<${Empty} title=${t("series.evidence.none")}>${t("series.evidence.how")}<//>`}
    ${mark && !what && (record.error ? html`<${ErrorBox} error=${record.error} retry=${record.reload} small />` : html`<${Skeleton} />`)}
    ${
      mark &&
      what &&
      html`<div class="lead"><p class="title"><${Mark} marker=${what} /> <b>${what.pattern}</b> <${Badge} of="severity" value=${what.severity} quiet /></p>
        <p><${Time} ns=${what.time_ms * 1e6} form="full" /> ${zoneName()} · ${t(`series.direction.${what.direction}`)} · ${t("series.score")} ${score(what.score)} <${Bar} part=${what.score} over=${what.severity !== "info"} /></p></div>
      <${Facts} of=${written(Object.entries(what.evidence))} />
      <div class="links">
        ${found?.series?.slice(0, 6).map((/** @type {[string, string, string]} */ one) => html`<p key=${one.join(" ")}><${SeriesLink} series=${one} /></p>`)}
        ${led.incident && html`<p><a href=${href("incident", led.incident)}>${t("series.incident")}</a></p>`}
        ${led.decisions.map((item) => html`<p key=${item.ref}><a href=${href("decision", item.ref)}>${t("series.decision", { verdict: t(`verdict.${item.record.verdict}`), policy: item.record.policy })}</a></p>`)}
        <p class="muted mono">${mark}${found?.detector && ` · ${found.detector}`}</p>
      </div>`
    }<//>`;
}

/**
 * What a pattern led to: the incident of its event, and the decisions that cite this.
 * @param {string | null} ref
 * @param {Record<string, any> | null} pattern
 * @param {Series} series
 */
function useLed(ref, pattern, series) {
  const [led, setLed] = useState(
    /** @type {{ ref: string | null, incident: string | null, decisions: import("../types.js").RecordItem[] }} */ ({
      ref: null,
      incident: null,
      decisions: [],
    }),
  );
  useEffect(() => {
    if (!ref || !pattern) return;
    const ended = new AbortController();
    const span = {
      domain: series.domain,
      since: moment(pattern.time_ns / 1e6 - 1),
      until: moment(pattern.time_ns / 1e6 + 600_000),
      limit: 200,
    };
    const options = { signal: ended.signal };
    Promise.all([
      get(withQuery("v1/events", { ...span, source: pattern.series[0][0] }), options),
      get(withQuery("v1/decisions", span), options),
    ]).then(
      ([events, decisions]) => {
        const mine = events.items.filter((/** @type {any} */ item) => item.record.causationid === ref);
        const refs = new Set(mine.map((/** @type {any} */ item) => item.ref));
        setLed({
          ref,
          incident:
            mine.find((/** @type {any} */ item) => item.record.correlationid)?.record.correlationid ?? null,
          decisions: decisions.items
            .filter((/** @type {any} */ item) =>
              item.record.causation?.some((/** @type {string} */ cause) => refs.has(cause)),
            )
            .slice(0, 5),
        });
      },
      () => {},
    );
    return () => ended.abort();
  }, [ref, pattern]);
  return led.ref === ref ? led : { ref, incident: null, decisions: [] };
}

/** @param {{ blocks: Block[], span: Span, of: Found }} props */
function Blocks({ blocks, span, of }) {
  const rows = blocks.filter((block) => overlaps(block, span));
  const columns = [
    {
      id: "policy",
      title: t("series.policy"),
      size: "c-m",
      cell: (/** @type {Block} */ block) =>
        html`<a href=${href("decision", block.decision)}>${block.policy}</a>`,
    },
    {
      id: "scope",
      title: t("series.scope"),
      size: "c-m",
      cell: (/** @type {Block} */ block) => scopeText(block.scope),
    },
    {
      id: "since",
      title: t("series.since"),
      size: "c-time",
      cell: (/** @type {Block} */ block) => html`<${Time} ns=${block.since_ns} form="day" />`,
    },
    {
      id: "until",
      title: t("series.until"),
      size: "c-time",
      cell: (/** @type {Block} */ block) =>
        block.released_ns !== null
          ? html`<${Time} ns=${block.released_ns} form="day" />`
          : block.until_ns !== null
            ? html`<${Time} ns=${block.until_ns} form="day" />`
            : t("until.open"),
    },
    {
      id: "reason",
      title: t("series.reason"),
      cell: (/** @type {Block} */ block) =>
        html`${block.reason}${block.lifted && html` <span class="muted">(${t("series.lifted")})</span>`}`,
    },
  ];
  return html`<${Card} title=${t("series.blocks")} count=${of.points ? rows.length : null} size="flush series-blocks" scrolls=${rows.length === 0}>
    ${
      rows.length === 0
        ? html`<${Empty} title=${of.loading ? t("loading") : t("series.blocks.none")} />`
        : html`<${Table} caption=${t("series.blocks")} columns=${columns} rows=${rows} keyOf=${(/** @type {Block} */ block) => block.decision} />`
    }<//>`;
}
