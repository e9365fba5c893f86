// A chart of one series: a line or candles with their volume, on one linear axis of time. Gaps stay gaps;
// patterns are marks above or below the curve, blocks are shaded bands. It draws what it is given and tells
// what a person does with it; where data come from is the view's concern (views/series.js).
//
// - Colours are the page's tokens, read anew by dress(). Nothing is told by colour alone: a candle that rose
//   is hollow, one that fell is filled; a mark's shape is its family, its side its direction, its size and
//   rim its severity.
// - Every gesture has a key and a button: see `press` here, and the buttons of the view.
import { numberTexts, roughly, TIME_STEPS, timeMarks, timeTexts } from "./ticks.js";
import uPlot from "./vendor/uplot.js";

/** @typedef {import("./types.js").Points} Points */
/** @typedef {import("./types.js").Marker} Marker */
/** @typedef {import("./types.js").Block} Block */
/** @typedef {{ from: number, to: number }} Span moments, in ms */

/**
 * @typedef {object} Shown
 * @property {Points} points
 * @property {readonly Marker[]} markers oldest first
 * @property {readonly Block[]} blocks
 * @property {Span} span what is to be seen of it
 * @property {number} now in the domain's own time, ms
 * @property {boolean} newest the points reach to the newest there is
 * @property {string | null} mark the ref of the marker that is picked out
 * @property {{ block: (block: Block) => string, volume: string }} texts
 */

/** @typedef {{ open: number, high: number, low: number, close: number }} Candle */

/**
 * Where the cursor is.
 * @typedef {object} At
 * @property {number} index of the points
 * @property {number} time the point's, or that of the place pointed at where there is none
 * @property {number | null} value null: a gap
 * @property {Candle | null} candle
 * @property {number | null} volume
 * @property {Marker[]} near those that are to be seen there
 * @property {number} left of the place, in px
 * @property {number} width of the whole
 * @property {boolean} keys moved there by keys
 */

/**
 * @typedef {object} Deeds
 * @property {(span: Span, settled: boolean) => void} zoom
 * @property {() => void} reset
 * @property {(at: At | null) => void} point
 * @property {(marker: Marker) => void} pick
 */

/** What is in it, for who cannot see it. */
/**
 * @typedef {object} Contents
 * @property {number} points
 * @property {number} gaps
 * @property {number | null} first
 * @property {number | null} last
 * @property {number | null} low
 * @property {number | null} high
 * @property {number | null} latest
 * @property {Candle | null} candle the latest
 * @property {number | null} volume
 */

const LEAST_SPAN = 1_000;
const MOST_SPAN = 40 * 365 * 86_400_000;
const REACH = 9;
/** Of the axis of values, at least. */
const NARROW = 52;
/** Of marks, by severity. */
export const RADIUS = { critical: 7, warning: 6, info: 4.5 };
const STACK = 15;
const MOST_STACKED = 4;
/** The part of the height that volume has. */
const VOLUME = 0.2;
const ROW = 17;
const BAND_ROWS = 3;

/** @type {Record<string, "move" | "unrest" | "feed" | "relation">} */
const FAMILIES = {
  spike: "move",
  level_shift: "move",
  price_shock: "move",
  bad_tick: "move",
  drawdown: "move",
  drawdown_over: "move",
  feed_stale: "feed",
  feed_resumed: "feed",
  feed_flat: "feed",
  feed_unavailable: "feed",
  feed_available: "feed",
  venue_halt: "feed",
  venue_resumed: "feed",
  crossed_book: "feed",
  book_uncrossed: "feed",
  relation_break: "relation",
  relation_restored: "relation",
  correlation_break: "relation",
  correlation_restored: "relation",
};

/** What a pattern is about: a move, unrest (volume, variance, shape), the feed, a relation. @param {string} pattern */
export const familyOf = (pattern) => FAMILIES[pattern] ?? "unrest";

/** Ends of what another pattern began are drawn hollow. @param {string} pattern */
export const isEnd = (pattern) => /_(?:over|resumed|available|normal|uncrossed|restored)$/.test(pattern);

/** @type {Promise<void> | null} */
let sheet = null;

/** The style sheet of uPlot, once. */
export function dressed() {
  sheet ??= new Promise((done) => {
    const link = document.createElement("link");
    link.rel = "stylesheet";
    link.href = new URL("./vendor/uplot.css", import.meta.url).href;
    link.onload = link.onerror = () => done();
    document.head.append(link);
  });
  return sheet;
}

const TOKENS = /** @type {const} */ ({
  ink: "--ink",
  muted: "--muted",
  grid: "--line",
  surface: "--surface",
  raised: "--raised",
  line: "--curve",
  up: "--rise",
  down: "--fall",
  block: "--bad",
  critical: "--bad",
  warning: "--warn",
  info: "--info",
  strong: "--strong",
});

/** @typedef {Record<keyof typeof TOKENS | "font", string>} Ink */

/** A marker in its place. @typedef {{ marker: Marker, x: number, y: number, size: number }} Placed */

export class Chart {
  #host;
  #deeds;
  /** @type {uPlot | null} */
  #plot = null;
  /** @type {Shown | null} */
  #shown = null;
  /** @type {number[]} */
  #times = [];
  /** @type {(number | null)[]} */
  #values = [];
  /** @type {Placed[]} */
  #placed = [];
  #kind = "";
  /** @type {Ink} */
  #ink = /** @type {any} */ ({});
  #probe = document.createElement("i");
  #tag = document.createElement("span");
  #ended = new AbortController();
  #resizing;
  #axis = NARROW;
  #name = "";
  #keyed = -1;
  /** @type {(value: number) => string} */
  #text = String;
  /** How long the last drawing took, in ms. */
  drawn = 0;

  /**
   * @param {HTMLElement} host has its size from the style sheet
   * @param {Deeds} deeds
   */
  constructor(host, deeds) {
    this.#host = host;
    this.#deeds = deeds;
    this.#probe.hidden = true;
    host.append(this.#probe);
    this.#tag.className = "tag";
    this.#tag.hidden = true;
    this.#resizing = new ResizeObserver(() => this.#fit());
    this.#resizing.observe(host);
    // Before uPlot's own: from then on the mouse says where the cursor is.
    const options = { capture: true, signal: this.#ended.signal };
    host.addEventListener("mousemove", () => (this.#keyed = -1), options);
    this.#readTokens();
  }

  end() {
    this.#ended.abort();
    this.#resizing.disconnect();
    this.#plot?.destroy();
    this.#host.textContent = "";
  }

  /** Colours, language or zone have changed. */
  dress() {
    this.#readTokens();
    this.#plot?.redraw(false, true);
  }

  /** @param {Shown} shown */
  show(shown) {
    const before = this.#shown;
    this.#shown = shown;
    const { points, span } = shown;
    const kind = `${points.form} ${points.volume ? "volume" : ""}`;
    const name = JSON.stringify([points.source, points.subject, points.field]);
    if (name !== this.#name) this.#axis = NARROW;
    this.#name = name;
    if (before?.points !== points || this.#kind !== kind) this.#take(points, kind);
    else this.#write();
    const scale = this.#plot?.scales.x;
    const same = before?.points === points && scale?.min === span.from && scale.max === span.to;
    if (same) this.#plot?.redraw(false, false);
    else this.#plot?.setScale("x", { min: span.from, max: span.to });
  }

  /** Another part of what is there, at once. @param {Span} span */
  see(span) {
    if (!this.#shown) return;
    this.#shown = { ...this.#shown, span };
    this.#plot?.setScale("x", { min: span.from, max: span.to });
  }

  /** The cursor goes to a moment. @param {number} time */
  goTo(time) {
    this.#keyTo(this.#nearest(this.#middleOf(time)));
  }

  /** No cursor any more. */
  leave() {
    this.#keyed = -1;
    this.#plot?.setCursor({ left: -10, top: -10 });
  }

  /** A name of the keyboard's. @param {KeyboardEvent} event @returns {boolean} whether it meant something */
  press(event) {
    const shown = this.#shown;
    if (!shown || event.altKey || event.metaKey) return false;
    const { from, to } = shown.span;
    const wide = to - from;
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key] ?? 0;
    if (step && (event.shiftKey || event.ctrlKey))
      this.#zoom(from + (step * wide) / 4, to + (step * wide) / 4);
    else if (step) this.#step(step);
    else if (event.key === "Home") this.#keyTo(this.#inside(0, 1));
    else if (event.key === "End") this.#keyTo(this.#inside(this.#times.length - 1, -1));
    else if (event.key === "PageDown") this.#toMarker(1);
    else if (event.key === "PageUp") this.#toMarker(-1);
    else if (event.key === "+" || event.key === "=") this.zoomBy(0.5);
    else if (event.key === "-") this.zoomBy(2);
    else if (event.key === "Enter") this.#pickHere();
    else if (event.key === "Escape") this.leave();
    else return false;
    return true;
  }

  /** Closer (< 1) or wider: about the cursor, else about the newest point if it is seen, else about the middle. @param {number} by */
  zoomBy(by) {
    const shown = this.#shown;
    if (!shown) return;
    const { from, to } = shown.span;
    const at = this.#times[this.#keyed >= 0 ? this.#keyed : this.#newestSeen()] ?? (from + to) / 2;
    this.#zoom(at - (at - from) * by, at + (to - at) * by);
  }

  /** Back or on by a part of what is seen. @param {number} by */
  panBy(by) {
    const shown = this.#shown;
    if (!shown) return;
    const wide = (shown.span.to - shown.span.from) * by;
    this.#zoom(shown.span.from + wide, shown.span.to + wide);
  }

  /** What is to be seen now. @returns {Contents} */
  contents() {
    /** @type {Contents} */
    const found = {
      points: 0,
      gaps: 0,
      first: null,
      last: null,
      low: null,
      high: null,
      latest: null,
      candle: null,
      volume: null,
    };
    const shown = this.#shown;
    if (!shown) return found;
    const { from, to } = shown.span;
    const { high, low } = shown.points;
    let gap = false;
    let newest = -1;
    for (let index = this.#above(from); index < this.#times.length && this.#times[index] <= to; index += 1) {
      const value = this.#values[index];
      if (value === null) {
        gap = found.points > 0;
        continue;
      }
      if (gap) found.gaps += 1;
      gap = false;
      found.points += 1;
      found.first ??= this.#timeOf(index);
      found.last = this.#timeOf(index);
      found.latest = value;
      found.low = Math.min(found.low ?? Infinity, low?.[index] ?? value);
      found.high = Math.max(found.high ?? -Infinity, high?.[index] ?? value);
      newest = index;
    }
    found.candle = this.#candle(newest);
    found.volume = shown.points.volume?.[newest] ?? null;
    return found;
  }

  /** A value as exactly as the scale asks for. @param {number | null | undefined} value */
  text(value) {
    return value === null || value === undefined ? "–" : this.#text(value);
  }

  // ---------------------------------------------------------------- taking in

  #readTokens() {
    for (const [name, token] of Object.entries(TOKENS)) {
      this.#probe.style.color = `var(${token})`;
      this.#ink[/** @type {keyof typeof TOKENS} */ (name)] = getComputedStyle(this.#probe).color;
    }
    const style = getComputedStyle(this.#host);
    this.#ink.font = `${style.fontSize} ${style.fontFamily}`;
  }

  /** @param {Points} points @param {string} kind */
  #take(points, kind) {
    // A candle stands in the middle of its time.
    const half = (points.bucket_ms ?? 0) / 2;
    const before = this.#times[this.#keyed] ?? 0;
    this.#times = half ? points.time_ms.map((time) => time + half) : points.time_ms;
    this.#values = (points.form === "candles" ? points.close : points.value) ?? [];
    /** @type {any} */
    const data = [this.#times, this.#values];
    if (points.volume) data.push(points.volume);
    if (this.#keyed >= 0) this.#keyed = this.#nearest(before);
    this.#write();
    if (this.#plot && this.#kind === kind) {
      this.#plot.setData(data, false);
      return;
    }
    this.#plot?.destroy();
    this.#kind = kind;
    this.#plot = this.#build(data, points.form, Boolean(points.volume));
  }

  /**
   * @param {any} data
   * @param {"line" | "candles"} form
   * @param {boolean} volume
   */
  #build(data, form, volume) {
    const ink = this.#ink;
    /** @type {any[]} */
    const series = [{}];
    series.push({
      scale: "y",
      stroke: () => ink.line,
      width: 1.5,
      spanGaps: false,
      paths: form === "line" ? undefined : () => null,
      points: {
        show: form === "line",
        size: 5,
        width: 1,
        stroke: () => ink.line,
        fill: () => ink.line,
        filter: () => (form === "line" ? this.#dots() : null),
      },
    });
    if (volume) series.push({ scale: "volume", paths: () => null, points: { show: false } });
    let begun = 0;
    /** @type {uPlot.Options} */
    const options = {
      width: this.#host.clientWidth || 600,
      height: this.#host.clientHeight || 300,
      ms: 1,
      padding: [0, 0, 0, 0],
      legend: { show: false },
      focus: { alpha: 1 },
      scales: {
        x: { time: false, auto: false },
        y: { range: () => this.#range(volume) },
        volume: { range: () => [0, this.#mostVolume() / (VOLUME - 0.02)] },
      },
      axes: [
        {
          stroke: () => ink.muted,
          font: ink.font,
          size: 40,
          gap: 4,
          space: 86,
          incrs: TIME_STEPS,
          grid: { stroke: () => ink.grid, width: 1 },
          ticks: { stroke: () => ink.grid, width: 1, size: 5 },
          splits: (_, __, min, max, step) => timeMarks(min, max, step),
          values: (plot, marks, _, __, step) => timeTexts(marks, step, this.#clipped(plot)),
        },
        {
          scale: "y",
          side: 1,
          stroke: () => ink.muted,
          font: ink.font,
          gap: 6,
          space: 40,
          size: (plot, texts) => this.#axisSize(plot, texts),
          grid: {
            stroke: () => ink.grid,
            width: 1,
            filter: (plot, marks) => this.#aboveVolume(plot, marks, volume),
          },
          ticks: { show: false },
          filter: (plot, marks) => this.#besideNewest(plot, this.#aboveVolume(plot, marks, volume)),
          values: (plot, marks, _, __, step) => {
            const { min = 0, max = 0 } = plot.scales.y;
            const most = Math.max(Math.abs(min ?? 0), Math.abs(max ?? 0));
            const texts = numberTexts(most, step);
            return marks.map((mark) => (mark === null ? "" : texts(mark)));
          },
        },
      ],
      series,
      cursor: {
        points: { show: form === "line", size: 8, width: 2, stroke: () => ink.surface, fill: () => ink.line },
        drag: { x: true, y: false, dist: 6, setScale: false },
        focus: { prox: -1 },
        bind: {
          dblclick: () => () => {
            this.#deeds.reset();
            return null;
          },
        },
      },
      hooks: {
        drawClear: [
          (plot) => {
            begun = performance.now();
            this.#under(plot);
          },
        ],
        draw: [
          (plot) => {
            this.#over(plot);
            if (this.#keyed >= 0) this.#place();
            this.drawn = performance.now() - begun;
          },
        ],
        setSelect: [(plot) => this.#selected(plot)],
        setCursor: [(plot) => this.#pointed(plot)],
      },
    };
    const plot = new uPlot(options, data, this.#host);
    plot.over.append(this.#tag);
    this.#listen(plot);
    return plot;
  }

  #fit() {
    const { clientWidth: width, clientHeight: height } = this.#host;
    const plot = this.#plot;
    if (!plot || width === 0 || (plot.width === width && plot.height === height)) return;
    plot.setSize({ width, height });
  }

  // ---------------------------------------------------------------- scales

  /** The first of the points that is not before a moment. @param {number} time */
  #above(time) {
    const times = this.#times;
    let low = 0;
    let high = times.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (times[middle] < time) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The points that are drawn: those inside, and one on each side. @returns {[number, number]} */
  #drawnPoints() {
    const { from, to } = this.#shown?.span ?? { from: 0, to: 0 };
    const last = this.#times.length - 1;
    return [Math.max(0, this.#above(from) - 1), Math.min(last, this.#above(to))];
  }

  /**
   * So that all that is seen has its place, with room for marks above and below.
   * @param {boolean} volume
   * @returns {[number, number]}
   */
  #range(volume) {
    const points = this.#shown?.points;
    let least = Infinity;
    let most = -Infinity;
    const highs = points?.high ?? this.#values;
    const lows = points?.low ?? this.#values;
    const [first, last] = this.#drawnPoints();
    for (let index = first; index <= last; index += 1) {
      const high = highs[index];
      const low = lows[index];
      if (high != null && high > most) most = high;
      if (low != null && low < least) least = low;
    }
    if (least > most) return [0, 1];
    let wide = most - least;
    if (wide === 0) wide = Math.abs(most) * 2e-3 || 1;
    const middle = (most + least) / 2;
    const bottom = volume ? VOLUME + 0.09 : 0.1;
    const scale = wide / (1 - bottom - 0.12);
    return [middle - wide / 2 - scale * bottom, middle + wide / 2 + scale * 0.12];
  }

  /** How values are written: as they were recorded, to seven digits, and finer where all are close together. */
  #write() {
    const [least, most] = this.#range(false);
    const largest = Math.max(Math.abs(least), Math.abs(most), 1e-300);
    const some = this.#values.slice(-40).map((value) => String(value ?? "").split(".", 2)[1]?.length ?? 0);
    const close = -Math.floor(Math.log10((most - least) / 1_000));
    const digits = Math.max(6 - Math.floor(Math.log10(largest)), close, 0);
    this.#text = numberTexts(largest, 10 ** -Math.min(Math.max(0, ...some), digits));
  }

  #mostVolume() {
    const volume = this.#shown?.points.volume ?? [];
    const [first, last] = this.#drawnPoints();
    let most = 0;
    for (let index = first; index <= last; index += 1) most = Math.max(most, volume[index] ?? 0);
    return most || 1;
  }

  /** @param {uPlot} plot @param {readonly number[]} marks @param {boolean} volume */
  #aboveVolume(plot, marks, volume) {
    const { min = 0, max = 1 } = plot.scales.y;
    const wide = (max ?? 1) - (min ?? 0);
    const least = (min ?? 0) + wide * (volume ? VOLUME + 0.03 : 0.02);
    const most = (max ?? 1) - wide * 0.02;
    const none = this.#values.every((value) => value === null);
    return marks.map((mark) => (none || mark < least || mark > most ? null : mark));
  }

  /** Before this moment a text at the axis would not be seen as a whole. @param {uPlot} plot */
  #clipped(plot) {
    const { min, max } = plot.scales.x;
    const wide = plot.bbox.width / uPlot.pxRatio || plot.width;
    return min == null || max == null ? -Infinity : min + ((max - min) * 24) / wide;
  }

  /** Without those that the newest value's number would lie upon. @param {uPlot} plot @param {(number | null)[]} marks */
  #besideNewest(plot, marks) {
    const { min = 0, max = 1 } = plot.scales.y;
    const near = ((max ?? 1) - (min ?? 0)) * ((15 * uPlot.pxRatio) / (plot.bbox.height || 400));
    const value = this.#values[this.#newestSeen()] ?? null;
    return value === null
      ? marks
      : marks.map((mark) => (mark !== null && Math.abs(mark - value) < near ? null : mark));
  }

  /** The newest point there is, if it is seen; else -1. */
  #newestSeen() {
    const index = this.#inside(this.#times.length - 1, -1);
    return this.#values.slice(index + 1).some((value) => value !== null) ? -1 : index;
  }

  /** It widens with its texts, and does not shrink again. @param {uPlot} plot @param {readonly string[] | null} texts */
  #axisSize(plot, texts) {
    plot.ctx.save();
    plot.ctx.font = this.#ink.font;
    const newest = this.text(this.#values[this.#newestSeen()]);
    const wide = Math.max(
      0,
      ...[...(texts ?? []), newest].map((text) => plot.ctx.measureText(text ?? "").width),
    );
    plot.ctx.restore();
    this.#axis = Math.max(this.#axis, Math.ceil((wide + 20) / 8) * 8);
    return this.#axis;
  }

  /** Points that have no line to be seen by, or all where there are few. @returns {number[] | null} */
  #dots() {
    const [first, last] = this.#drawnPoints();
    const wide = this.#plot ? this.#plot.bbox.width / uPlot.pxRatio : 600;
    const few = last - first < wide / 14;
    const values = this.#values;
    const found = [];
    for (let index = first; index <= last; index += 1) {
      if (values[index] === null) continue;
      if (few || (values[index - 1] ?? null) === null) {
        if (few || (values[index + 1] ?? null) === null) found.push(index);
      }
    }
    return found;
  }

  // ---------------------------------------------------------------- drawing

  /** Below grid and curve: gaps and blocks. @param {uPlot} plot */
  #under(plot) {
    const shown = this.#shown;
    if (!shown) return;
    const { ctx } = plot;
    const { left, top, width, height } = plot.bbox;
    const ratio = uPlot.pxRatio;
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, top, width, height);
    ctx.clip();
    for (const [from, to] of this.#gaps()) {
      const start = plot.valToPos(from, "x", true);
      const end = plot.valToPos(to, "x", true);
      if (end - start < 6 * ratio || end < left || start > left + width) continue;
      hatch(
        ctx,
        Math.max(start, left),
        top,
        Math.min(end, left + width),
        top + height,
        this.#ink.grid,
        ratio,
      );
    }
    for (const block of shown.blocks) {
      const [start, end] = this.#placeOf(plot, block);
      if (end < left || start > left + width) continue;
      ctx.globalAlpha = block.lifted ? 0.05 : 0.13;
      ctx.fillStyle = this.#ink.block;
      ctx.fillRect(start, top, Math.max(end - start, ratio), height);
      ctx.globalAlpha = 1;
      ctx.strokeStyle = this.#ink.block;
      ctx.lineWidth = ratio;
      ctx.setLineDash(block.lifted ? [4 * ratio, 3 * ratio] : []);
      ctx.beginPath();
      for (const x of [start, end]) {
        ctx.moveTo(Math.round(x) + 0.5, top);
        ctx.lineTo(Math.round(x) + 0.5, top + height);
      }
      ctx.stroke();
      ctx.setLineDash([]);
    }
    ctx.restore();
  }

  /** Where nothing was observed: of a line each, of candles those that are longer than a long weekend. */
  #gaps() {
    const shown = this.#shown;
    const half = (shown?.points.bucket_ms ?? 0) / 2;
    const least = half ? 4 : 1;
    /** @type {[number, number][]} */
    const found = [];
    /** @type {number[]} */
    const apart = [];
    let before = -1;
    for (let index = 0; index < this.#values.length; index += 1) {
      if (this.#values[index] === null) continue;
      if (before >= 0 && index - before > least) {
        found.push([this.#times[before] + half, this.#times[index] - half]);
      } else if (before >= 0) apart.push(this.#times[index] - this.#times[before]);
      before = index;
    }
    // Since the newest, when that is longer ago than points commonly are apart.
    const usual = apart.slice(-50).sort((one, other) => one - other);
    const long = half ? 2 * half * (least + 1) : 4 * (usual[usual.length >> 1] ?? Infinity);
    if (shown?.newest && before >= 0 && shown.now - this.#times[before] > long) {
      found.push([this.#times[before] + half, shown.now]);
    }
    return found;
  }

  /** From where to where a block is drawn. @param {uPlot} plot @param {Block} block @returns {[number, number]} */
  #placeOf(plot, { since_ns, until_ns, released_ns }) {
    const ended = released_ns ?? until_ns;
    const start = plot.valToPos(since_ns / 1e6, "x", true);
    const edge = plot.bbox.left + plot.bbox.width + 10;
    return [start, ended === null ? edge : plot.valToPos(ended / 1e6, "x", true)];
  }

  /** Candles, the newest value, names of blocks, marks. @param {uPlot} plot */
  #over(plot) {
    const shown = this.#shown;
    if (!shown) return;
    const { ctx } = plot;
    const { left, top, width, height } = plot.bbox;
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, top, width, height);
    ctx.clip();
    if (shown.points.form === "candles") this.#candles(plot, shown.points);
    this.#names(plot);
    this.#marks(plot);
    ctx.restore();
    this.#newest(plot);
  }

  /** @param {uPlot} plot @param {Points} points */
  #candles(plot, points) {
    const { ctx } = plot;
    const ratio = uPlot.pxRatio;
    const bucket = points.bucket_ms ?? 60_000;
    const slot = plot.valToPos(bucket, "x", true) - plot.valToPos(0, "x", true);
    // An odd number of pixels has a middle one for the wick.
    let body = Math.max(1, Math.floor(Math.min(slot * 0.7, 18 * ratio)));
    if (body > 1 && body % 2 === 0) body -= 1;
    const thin = Math.max(1, Math.round(ratio));
    const bare = body < 3 * thin;
    const [first, last] = this.#drawnPoints();
    const wicks = { up: new Path2D(), down: new Path2D() };
    const hollow = new Path2D();
    const filled = new Path2D();
    const volumes = { up: new Path2D(), down: new Path2D() };
    const floor = plot.bbox.top + plot.bbox.height;
    const { open, high, low, close, volume } = points;
    for (let index = first; index <= last; index += 1) {
      const [o, h, l, c] = [open?.[index], high?.[index], low?.[index], close?.[index]];
      if (o == null || h == null || l == null || c == null) continue;
      const x = Math.round(plot.valToPos(this.#times[index], "x", true) - body / 2);
      const middle = x + (body - thin) / 2;
      const up = c >= o;
      const side = up ? "up" : "down";
      const yHigh = Math.round(plot.valToPos(h, "y", true));
      const yLow = Math.round(plot.valToPos(l, "y", true));
      const yTop = Math.round(plot.valToPos(Math.max(o, c), "y", true));
      const tall = Math.max(thin, Math.round(plot.valToPos(Math.min(o, c), "y", true)) - yTop);
      if (bare) wicks[side].rect(middle, yHigh, thin, Math.max(thin, yLow - yHigh));
      else {
        wicks[side].rect(middle, yHigh, thin, yTop - yHigh);
        wicks[side].rect(middle, yTop + tall, thin, yLow - yTop - tall);
        if (up) hollow.rect(x + thin / 2, yTop + thin / 2, body - thin, Math.max(0, tall - thin));
        else filled.rect(x, yTop, body, tall);
      }
      const traded = volume?.[index];
      if (traded != null) {
        const yVolume = Math.round(plot.valToPos(traded, "volume", true));
        volumes[side].rect(x, yVolume, body, floor - yVolume);
      }
    }
    for (const side of /** @type {const} */ (["up", "down"])) {
      ctx.fillStyle = this.#ink[side];
      ctx.globalAlpha = side === "up" ? 0.3 : 0.6;
      ctx.fill(volumes[side]);
      ctx.globalAlpha = 1;
      ctx.fill(wicks[side]);
    }
    ctx.fill(filled);
    ctx.lineWidth = thin;
    ctx.strokeStyle = this.#ink.up;
    ctx.stroke(hollow);
    if (volume) {
      ctx.font = this.#font(0.9);
      ctx.fillStyle = this.#ink.muted;
      ctx.textBaseline = "bottom";
      ctx.textAlign = "start";
      const y = floor - plot.bbox.height * VOLUME;
      ctx.fillText(
        `${this.#shown?.texts.volume} ≤ ${roughly(this.#mostVolume())}`,
        plot.bbox.left + 6 * ratio,
        y,
      );
    }
  }

  /** What the blocks are called, at the top, in rows where they overlap. @param {uPlot} plot */
  #names(plot) {
    const { ctx } = plot;
    const ratio = uPlot.pxRatio;
    const { left, top, width } = plot.bbox;
    /** @type {number[]} */
    const ends = [];
    ctx.font = this.#font(0.9);
    ctx.textBaseline = "middle";
    ctx.textAlign = "start";
    const blocks = [...(this.#shown?.blocks ?? [])].sort((one, other) => one.since_ns - other.since_ns);
    for (const block of blocks) {
      const [start, end] = this.#placeOf(plot, block);
      if (end < left || start > left + width) continue;
      const from = Math.max(start, left);
      const text = this.#shown?.texts.block(block) ?? "";
      const wide = ctx.measureText(text).width + 12 * ratio;
      const at = Math.min(from, left + width - Math.min(wide, width));
      let row = ends.findIndex((busy) => busy <= at);
      if (row < 0) row = ends.length;
      if (row >= BAND_ROWS) continue;
      ends[row] = at + wide + 4 * ratio;
      const y = top + row * ROW * ratio;
      ctx.fillStyle = this.#ink.surface;
      ctx.fillRect(at, y, wide, ROW * ratio);
      ctx.fillStyle = this.#ink.block;
      ctx.fillRect(at, y, 3 * ratio, ROW * ratio);
      ctx.fillText(text, at + 7 * ratio, y + (ROW / 2) * ratio);
    }
  }

  /** The value of now: a line across and its number at the axis. @param {uPlot} plot */
  #newest(plot) {
    const index = this.#newestSeen();
    const value = index < 0 ? null : this.#values[index];
    if (value === null) return;
    const { ctx } = plot;
    const ratio = uPlot.pxRatio;
    const { left, top, width, height } = plot.bbox;
    const y = Math.round(plot.valToPos(value, "y", true));
    if (y < top || y > top + height) return;
    const open = this.#shown?.points.open?.[index];
    const colour = open == null ? this.#ink.line : value >= open ? this.#ink.up : this.#ink.down;
    ctx.save();
    ctx.strokeStyle = colour;
    ctx.lineWidth = ratio;
    ctx.setLineDash([2 * ratio, 3 * ratio]);
    ctx.beginPath();
    ctx.moveTo(left, y + 0.5);
    ctx.lineTo(left + width, y + 0.5);
    ctx.stroke();
    ctx.setLineDash([]);
    const tall = 18 * ratio;
    ctx.fillStyle = colour;
    ctx.fillRect(left + width + ratio, y - tall / 2, this.#axis * ratio - 2 * ratio, tall);
    ctx.fillStyle = this.#ink.surface;
    ctx.font = this.#font(1, 600);
    ctx.textBaseline = "middle";
    ctx.textAlign = "start";
    ctx.fillText(this.#text(value), left + width + 6 * ratio, y + ratio, (this.#axis - 9) * ratio);
    ctx.restore();
  }

  /** @param {number} by @param {number} [weight] */
  #font(by, weight = 400) {
    const size = Number.parseFloat(this.#ink.font);
    const family = this.#ink.font.slice(this.#ink.font.indexOf(" ") + 1);
    return `${weight} ${Math.round(size * by * uPlot.pxRatio)}px ${family}`;
  }

  /** Puts each marker where it belongs and draws it. @param {uPlot} plot */
  #marks(plot) {
    this.#placed = [];
    const shown = this.#shown;
    if (!shown) return;
    const ratio = uPlot.pxRatio;
    const { left, top, width, height } = plot.bbox;
    /** How many stand at a place already. @type {{ x: number, side: number, count: number }[]} */
    const places = [];
    const first = shown.span.from;
    const last = shown.span.to;
    for (const marker of shown.markers) {
      if (marker.time_ms < first || marker.time_ms > last) continue;
      const side = marker.direction === "down" ? 1 : -1;
      const x = plot.valToPos(this.#middleOf(marker.time_ms), "x", true);
      let place = places.findLast((found) => found.side === side && Math.abs(found.x - x) < 11 * ratio);
      if (!place) {
        place = { x, side, count: 0 };
        places.push(place);
      }
      const size = RADIUS[marker.severity] * ratio;
      const least = top + (shown.blocks.length ? ROW : 0) * ratio + 10 * ratio;
      const wanted =
        this.#edgeOf(plot, this.#middleOf(marker.time_ms), side) +
        side * (14 * ratio + place.count * STACK * ratio);
      const y = Math.min(Math.max(wanted, least), top + height - 10 * ratio);
      const stacked = Math.min(place.count, MOST_STACKED);
      place.count += 1;
      if (stacked === MOST_STACKED) {
        this.#placed.push({ marker, x: place.x, y: this.#placed.at(-1)?.y ?? y, size });
        continue;
      }
      const at = { marker, x: place.x, y, size };
      this.#placed.push(at);
      if (place.x >= left - 10 && place.x <= left + width + 10) this.#mark(plot.ctx, at, ratio);
    }
    plot.ctx.font = this.#font(0.85, 600);
    plot.ctx.fillStyle = this.#ink.ink;
    plot.ctx.textBaseline = "middle";
    plot.ctx.textAlign = "start";
    for (const { x, side, count } of places) {
      if (count <= MOST_STACKED) continue;
      const found = this.#placed.findLast(
        (at) => at.x === x && (at.marker.direction === "down") === side > 0,
      );
      if (found) plot.ctx.fillText(`+${count - MOST_STACKED}`, x + 9 * ratio, found.y);
    }
  }

  /** @param {CanvasRenderingContext2D} ctx @param {Placed} at @param {number} ratio */
  #mark(ctx, { marker, x, y, size }, ratio) {
    const path = new Path2D(outline(marker.pattern, marker.direction, x, y, size));
    const colour = this.#ink[marker.severity];
    ctx.lineJoin = "round";
    if (this.#shown?.mark === marker.ref) {
      ctx.beginPath();
      ctx.arc(x, y, size + 5 * ratio, 0, 7);
      ctx.strokeStyle = this.#ink.ink;
      ctx.lineWidth = 1.5 * ratio;
      ctx.stroke();
    }
    ctx.strokeStyle = this.#ink.surface;
    ctx.lineWidth = 4 * ratio;
    ctx.stroke(path);
    ctx.fillStyle = isEnd(marker.pattern) ? this.#ink.surface : colour;
    ctx.fill(path);
    ctx.strokeStyle = marker.severity === "critical" ? this.#ink.ink : colour;
    ctx.lineWidth = 1.5 * ratio;
    ctx.stroke(path);
  }

  /** A pattern of a candle is at its middle. @param {number} time */
  #middleOf(time) {
    const bucket = this.#shown?.points.bucket_ms;
    if (!bucket) return time;
    const next = this.#above(time);
    for (const index of [next - 1, next]) {
      const middle = this.#times[index];
      if (middle !== undefined && time >= middle - bucket / 2 && time < middle + bucket / 2) return middle;
    }
    return time;
  }

  /** Where the curve is at a moment; where there is none, where it was. @param {uPlot} plot @param {number} time @param {number} side */
  #edgeOf(plot, time, side) {
    const index = this.#nearest(time);
    if (index < 0) return plot.bbox.top + plot.bbox.height * 0.4;
    const { high, low } = this.#shown?.points ?? {};
    const value = (side < 0 ? high : low)?.[index] ?? this.#values[index] ?? 0;
    return plot.valToPos(value, "y", true);
  }

  // ---------------------------------------------------------------- the cursor

  /** The point nearest to a moment, of those that are there; -1: none. @param {number} time */
  #nearest(time) {
    const after = this.#above(time);
    let next = after;
    while (next < this.#values.length && this.#values[next] === null) next += 1;
    let before = after - 1;
    while (before >= 0 && this.#values[before] === null) before -= 1;
    if (next >= this.#values.length) return before;
    if (before < 0) return next;
    return this.#times[next] - time < time - this.#times[before] ? next : before;
  }

  /** The first of the points seen, from one on in a direction. @param {number} index @param {1 | -1} step */
  #inside(index, step) {
    const { from, to } = this.#shown?.span ?? { from: 0, to: 0 };
    for (let at = index; at >= 0 && at < this.#times.length; at += step) {
      if (this.#values[at] !== null && this.#times[at] >= from && this.#times[at] <= to) return at;
    }
    return -1;
  }

  /** @param {number} step */
  #step(step) {
    if (this.#keyed < 0) {
      this.#keyTo(this.#inside(this.#times.length - 1, -1));
      return;
    }
    let index = this.#keyed + step;
    while (index >= 0 && index < this.#values.length && this.#values[index] === null) index += step;
    if (index < 0 || index >= this.#values.length) return;
    const { from, to } = this.#shown?.span ?? { from: 0, to: 0 };
    const time = this.#times[index];
    if (time < from || time > to) {
      const by = (step * (to - from)) / 4;
      this.#zoom(from + by, to + by);
    }
    this.#keyTo(index);
  }

  /** @param {number} index */
  #keyTo(index) {
    if (index < 0) return;
    this.#keyed = index;
    this.#place();
  }

  /** The cursor stands at the point that keys have brought it to, wherever that is drawn now. */
  #place() {
    const plot = this.#plot;
    const { from, to } = this.#shown?.span ?? { from: 0, to: 0 };
    const time = this.#times[this.#keyed];
    if (!plot || time === undefined) return;
    if (time < from || time > to) this.leave();
    else
      plot.setCursor({
        left: plot.valToPos(time, "x"),
        top: plot.valToPos(this.#values[this.#keyed] ?? 0, "y"),
      });
  }

  /** @param {1 | -1} step */
  #toMarker(step) {
    const shown = this.#shown;
    if (!shown) return;
    const times = this.#placed
      .map(({ marker }) => this.#nearest(this.#middleOf(marker.time_ms)))
      .sort((a, b) => a - b);
    const here = this.#keyed < 0 ? (step > 0 ? -1 : Infinity) : this.#keyed;
    const next = step > 0 ? times.find((index) => index > here) : times.findLast((index) => index < here);
    if (next !== undefined) this.#keyTo(next);
  }

  #pickHere() {
    const plot = this.#plot;
    if (!plot || this.#keyed < 0) return;
    const [marker] = this.#near(plot.valToPos(this.#times[this.#keyed], "x", true));
    if (marker) this.#deeds.pick(marker);
  }

  /** Those whose marks are at a place, the gravest first. @param {number} x of the canvas */
  #near(x) {
    const reach = REACH * uPlot.pxRatio;
    const found = this.#placed.filter((at) => Math.abs(at.x - x) <= reach).map(({ marker }) => marker);
    return found.sort(
      (one, other) => RADIUS[other.severity] - RADIUS[one.severity] || other.score - one.score,
    );
  }

  /** @param {number} index @returns {Candle | null} */
  #candle(index) {
    const points = this.#shown?.points;
    const [open, high, low, close] = [points?.open, points?.high, points?.low, points?.close].map(
      (column) => column?.[index] ?? null,
    );
    return open === null || high === null || low === null || close === null
      ? null
      : { open, high, low, close };
  }

  /** @param {number} index */
  #timeOf(index) {
    return this.#times[index] - (this.#shown?.points.bucket_ms ?? 0) / 2;
  }

  /** Tells where the cursor is now. @param {uPlot} plot */
  #pointed(plot) {
    const keyed = this.#keyed;
    const points = this.#shown?.points;
    const { left = -1, top = -1, idx } = plot.cursor;
    const value = this.#tag;
    if (!points || left < 0 || idx == null) {
      value.hidden = true;
      this.#deeds.point(null);
      return;
    }
    const ratio = uPlot.pxRatio;
    const index = keyed >= 0 ? keyed : idx;
    const at = plot.posToVal(left, "x");
    // Between two points on both sides of a gap there is nothing.
    const missing = keyed < 0 && this.#values[index] === null;
    value.hidden = keyed >= 0;
    value.textContent = this.#text(plot.posToVal(top, "y"));
    value.style.transform = `translate(${plot.bbox.width / ratio + 1}px, ${top - 9}px)`;
    this.#deeds.point({
      index,
      time: missing ? at : this.#timeOf(index),
      value: missing ? null : this.#values[index],
      candle: missing ? null : this.#candle(index),
      volume: missing ? null : (points.volume?.[index] ?? null),
      near: this.#near(plot.bbox.left + left * ratio),
      left: plot.bbox.left / ratio + left,
      width: plot.width,
      keys: keyed >= 0,
    });
    plot.over.classList.toggle("hit", this.#hit(left, top) !== null);
  }

  /** The mark under a place of the plot, in CSS px. @param {number} left @param {number} top @returns {Marker | null} */
  #hit(left, top) {
    const plot = this.#plot;
    if (!plot) return null;
    const ratio = uPlot.pxRatio;
    const x = plot.bbox.left + left * ratio;
    const y = plot.bbox.top + top * ratio;
    let best = null;
    let least = (REACH + 2) * ratio;
    for (const at of this.#placed) {
      const far = Math.hypot(at.x - x, at.y - y);
      if (far < least) {
        least = far;
        best = at.marker;
      }
    }
    return best;
  }

  // ---------------------------------------------------------------- zooming

  /** @param {number} from @param {number} to @param {boolean} [settled] */
  #zoom(from, to, settled = true) {
    const wide = Math.min(MOST_SPAN, Math.max(LEAST_SPAN, to - from));
    const middle = (from + to) / 2;
    const span = { from: Math.max(0, middle - wide / 2), to: middle + wide / 2 };
    this.see(span);
    this.#deeds.zoom(span, settled);
  }

  /** @param {uPlot} plot */
  #selected(plot) {
    const { left, width } = plot.select;
    if (width < 1) return;
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    this.#zoom(plot.posToVal(left, "x"), plot.posToVal(left + width, "x"));
  }

  /** @param {uPlot} plot */
  #listen(plot) {
    const { over } = plot;
    const { signal } = this.#ended;
    let pressed = { x: 0, y: 0 };
    over.addEventListener("mousedown", (event) => {
      pressed = { x: event.clientX, y: event.clientY };
    });
    over.addEventListener("click", (event) => {
      if (Math.hypot(event.clientX - pressed.x, event.clientY - pressed.y) > 5) return;
      const box = over.getBoundingClientRect();
      const marker = this.#hit(event.clientX - box.left, event.clientY - box.top);
      if (marker) this.#deeds.pick(marker);
    });
    over.addEventListener("wheel", (event) => this.#wheel(event, over), { passive: false, signal });
    this.#touch(over);
  }

  /** @param {WheelEvent} event @param {HTMLElement} over */
  #wheel(event, over) {
    const shown = this.#shown;
    if (!shown) return;
    const { from, to } = shown.span;
    const box = over.getBoundingClientRect();
    const unit = event.deltaMode === 1 ? 16 : 1;
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      const by = Math.exp(Math.min(60, Math.max(-60, event.deltaY * unit)) / 120);
      const at = from + ((event.clientX - box.left) / box.width) * (to - from);
      this.#zoom(at - (at - from) * by, at + (to - at) * by, false);
      return;
    }
    const sideways = event.shiftKey ? event.deltaX || event.deltaY : event.deltaX;
    if (Math.abs(sideways) <= Math.abs(event.shiftKey ? 0 : event.deltaY)) return;
    event.preventDefault();
    const by = ((sideways * unit) / box.width) * (to - from);
    this.#zoom(from + by, to + by, false);
  }

  /** One finger moves it sideways, two pinch it; up and down is the page's. @param {HTMLElement} over */
  #touch(over) {
    /** @type {Map<number, number>} */
    const fingers = new Map();
    /** What each finger holds. @type {Map<number, number>} */
    const held = new Map();
    let moved = false;
    const hold = () => {
      const plot = this.#plot;
      const box = over.getBoundingClientRect();
      held.clear();
      if (plot) for (const [id, x] of fingers) held.set(id, plot.posToVal(x - box.left, "x"));
    };
    over.addEventListener("pointerdown", (event) => {
      if (event.pointerType !== "touch") return;
      fingers.set(event.pointerId, event.clientX);
      moved = fingers.size > 1;
      hold();
    });
    over.addEventListener("pointermove", (event) => {
      const began = fingers.get(event.pointerId);
      const shown = this.#shown;
      if (began === undefined || !shown) return;
      if (!moved && Math.abs(event.clientX - began) < 8) return;
      if (!moved) {
        moved = true;
        over.setPointerCapture(event.pointerId);
      }
      fingers.set(event.pointerId, event.clientX);
      const box = over.getBoundingClientRect();
      const { from, to } = shown.span;
      const [one, other] = fingers.keys();
      const x = (/** @type {number} */ id) => ((fingers.get(id) ?? 0) - box.left) / box.width;
      const t = (/** @type {number} */ id) => held.get(id) ?? from;
      if (other === undefined) {
        const by = t(one) - (from + x(one) * (to - from));
        this.#zoom(from + by, to + by, false);
      } else if (Math.abs(x(one) - x(other)) > 0.02) {
        const each = (t(one) - t(other)) / (x(one) - x(other));
        if (each > 0) this.#zoom(t(one) - x(one) * each, t(one) + (1 - x(one)) * each, false);
      }
    });
    const up = (/** @type {PointerEvent} */ event) => {
      if (!fingers.delete(event.pointerId)) return;
      hold();
      const span = this.#shown?.span;
      if (moved && fingers.size === 0 && span) this.#deeds.zoom(span, true);
    };
    over.addEventListener("pointerup", up);
    over.addEventListener("pointercancel", up);
  }
}

/** @type {Record<string, [number, number][]>} */
const CORNERS = {
  move: [
    [0, -1],
    [1, 0.8],
    [-1, 0.8],
  ],
  unrest: [
    [0, -1],
    [0.85, -0.15],
    [0.85, 0.85],
    [-0.85, 0.85],
    [-0.85, -0.15],
  ],
  feed: [
    [-0.8, -0.8],
    [0.8, -0.8],
    [0.8, 0.8],
    [-0.8, 0.8],
  ],
  relation: [
    [0, -1],
    [1, 0],
    [0, 1],
    [-1, 0],
  ],
};

/**
 * The outline of a mark, as SVG and Path2D take it: a triangle for a move, a house for unrest, a square for
 * the feed, a diamond for a relation; it points where the pattern does. What goes nowhere is a circle.
 * @param {string} pattern
 * @param {Marker["direction"]} direction
 * @param {number} x
 * @param {number} y
 * @param {number} size
 */
export function outline(pattern, direction, x, y, size) {
  const family = familyOf(pattern);
  if (direction === "none" && (family === "move" || family === "unrest")) {
    const r = 0.85 * size;
    return `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0Z`;
  }
  const turn = direction === "down" ? -1 : 1;
  return `M${CORNERS[family].map(([right, down]) => `${x + right * size} ${y + turn * down * size}`).join("L")}Z`;
}

/**
 * @param {CanvasRenderingContext2D} ctx
 * @param {number} left
 * @param {number} top
 * @param {number} right
 * @param {number} bottom
 * @param {string} colour
 * @param {number} ratio
 */
function hatch(ctx, left, top, right, bottom, colour, ratio) {
  const tall = bottom - top;
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, top, right - left, tall);
  ctx.clip();
  ctx.beginPath();
  const step = 9 * ratio;
  for (let x = Math.floor((left - tall) / step) * step; x < right; x += step) {
    ctx.moveTo(x, bottom);
    ctx.lineTo(x + tall, top);
  }
  ctx.strokeStyle = colour;
  ctx.lineWidth = ratio;
  ctx.stroke();
  ctx.restore();
}
