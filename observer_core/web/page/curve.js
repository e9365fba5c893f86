// A small curve with one moment marked, as an SVG that scales with its card; its values can be read as a table.
import { clock, dayClock, number } from "./format.js";
import { html } from "./html.js";
import { t } from "./i18n.js";
import { Time } from "./parts.js";

const WIDTH = 1_000;
const HEIGHT = 300;
/** Room for the labels above and below. */
const PAD = 44;
const DAY = 86_400_000;

/** @param {{ curve: import("./types.js").Curve }} props */
export function SmallCurve({ curve }) {
  const { name, label, time_ms: times, value: values, marked_ms: marked } = curve;
  const known = /** @type {number[]} */ (values.filter((value) => value !== null));
  const lowest = Math.min(...known);
  const highest = Math.max(...known);
  const first = times[0];
  const last = times[times.length - 1];
  const wide = last - first || 1;
  const x = (/** @type {number} */ time) => ((time - first) / wide) * WIDTH;
  const y = (/** @type {number} */ value) =>
    highest > lowest
      ? HEIGHT - PAD - ((value - lowest) / (highest - lowest)) * (HEIGHT - 2 * PAD)
      : HEIGHT / 2;
  const at = nearest(times, values, marked);
  const there = at === null ? null : values[at];
  const place = x(marked) / 10;
  const when = wide > DAY ? dayClock : clock;
  const says = t("curve.says", {
    name,
    n: known.length,
    from: dayClock(first),
    to: dayClock(last),
    low: number(lowest),
    high: number(highest),
    label,
    at: dayClock(marked),
    value: number(there),
  });
  return html`<figure class="curve">
    <figcaption><b>${name}</b> <span class="curve-mark">${label}</span></figcaption>
    <div class="curve-box">
      <span class="high">${number(highest)}</span><span class="low">${number(lowest)}</span>
      <svg viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label=${says}>
        <path class="curve-line" d=${lineOf(times, values, x, y)} />
        <path class="curve-at" d=${`M${x(marked)} 0V${HEIGHT}`} />
        ${at !== null && there !== null && html`<path class="curve-dot" d=${`M${x(times[at])} ${y(/** @type {number} */ (there))}h0`} />`}
      </svg>
    </div>
    <div class="curve-times"><span>${place > 25 && when(first)}</span><span class="at" style=${{ left: `${Math.min(88, Math.max(12, place))}%` }}>${when(marked)}</span><span>${place < 75 && when(last)}</span></div>
    <details><summary>${t("curve.values", { n: times.length })}</summary>
      <div class="curve-table" tabindex="0" role="region" aria-label=${t("curve.values", { n: times.length })}><table><tbody>${times.map(
        (
          time,
          index,
        ) => html`<tr key=${index} class=${index === at ? "marked" : ""}><th scope="row"><${Time} ns=${time * 1e6} form="day" /></th>
        <td>${values[index] === null ? t("curve.missing") : html`<span title=${String(values[index])}>${number(values[index])}</span>`}</td></tr>`,
      )}</tbody></table></div></details>
  </figure>`;
}

/**
 * What was not observed is a gap.
 * @param {number[]} times
 * @param {(number | null)[]} values
 * @param {(time: number) => number} x
 * @param {(value: number) => number} y
 */
function lineOf(times, values, x, y) {
  let path = "";
  let pen = "M";
  times.forEach((time, index) => {
    const value = values[index];
    if (value === null) {
      pen = "M";
      return;
    }
    const alone = pen === "M" && (values[index + 1] ?? null) === null;
    path += `${pen}${x(time).toFixed(1)} ${y(value).toFixed(1)}${alone ? "h0" : ""}`;
    pen = "L";
  });
  return path;
}

/**
 * The observation nearest to a moment.
 * @param {number[]} times
 * @param {(number | null)[]} values
 * @param {number} moment
 * @returns {number | null}
 */
function nearest(times, values, moment) {
  let found = null;
  for (let index = 0; index < times.length; index += 1) {
    if (values[index] === null) continue;
    if (found === null || Math.abs(times[index] - moment) < Math.abs(times[found] - moment)) found = index;
  }
  return found;
}
