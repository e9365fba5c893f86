// A field that one of very many names is chosen in: type some of it, go by arrow keys, Enter. The combobox
// of the ARIA Authoring Practices. Of ten thousand names only the first that match are in the list.
import { html, useEffect, useId, useMemo, useRef, useState } from "./html.js";
import { t } from "./i18n.js";
import { nameText } from "./parts.js";

const MOST = 60;

/**
 * @param {{ label: string, names: readonly string[], value: string, onChoose: (name: string) => void,
 *   hotkey?: string }} props `hotkey`: `/` focuses it
 */
export function Choose({ label, names, value, onChoose, hotkey }) {
  const [typed, setTyped] = useState(/** @type {string | null} */ (null));
  const [at, setAt] = useState(0);
  const id = useId();
  const list = useRef(/** @type {HTMLUListElement | null} */ (null));
  const field = useRef(/** @type {HTMLInputElement | null} */ (null));
  const open = typed !== null;
  const lower = useMemo(() => names.map((name) => name.toLowerCase()), [names]);
  const found = useMemo(() => (open ? matching(names, lower, typed) : []), [names, lower, typed, open]);
  const shown = found.slice(0, MOST);
  useEffect(() => {
    list.current?.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: "nearest" });
  }, [at, found]);

  const start = () => {
    if (open) return;
    setTyped("");
    setAt(0);
  };
  /** @param {string | undefined} name */
  const choose = (name) => {
    setTyped(null);
    field.current?.blur();
    if (name !== undefined && name !== value) onChoose(name);
  };
  /** @param {KeyboardEvent} event */
  const press = (event) => {
    if (event.isComposing) return;
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 }[event.key];
    if (step) {
      start();
      setAt(Math.min(shown.length - 1, Math.max(0, at + (open ? step : 0))));
    } else if (event.key === "Enter" && open) choose(shown[at]);
    else if (event.key === "Escape" && open) setTyped(null);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  return html`<span class="choose">
    <input ref=${field} type="text" role="combobox" aria-label=${label} aria-expanded=${open ? "true" : "false"}
      aria-controls=${id} aria-autocomplete="list" aria-activedescendant=${open && shown.length ? `${id}-${at}` : undefined}
      aria-keyshortcuts=${hotkey} data-search=${hotkey !== undefined || undefined} autocomplete="off" spellcheck=${false}
      placeholder=${open ? nameText(value) : ""} value=${typed ?? nameText(value)} title=${value}
      onFocus=${start} onClick=${start} onBlur=${() => setTyped(null)} onKeyDown=${press}
      onInput=${(/** @type {any} */ event) => {
        setTyped(event.target.value);
        setAt(0);
      }} />
    <div class="choices" hidden=${!open}>
      <ul ref=${list} id=${id} role="listbox" aria-label=${label}>${shown.map(
        (name, index) => html`<li key=${name} id=${`${id}-${index}`} role="option" class="clip" title=${name}
          aria-selected=${index === at ? "true" : "false"}
          onMouseDown=${(/** @type {Event} */ event) => event.preventDefault()} onClick=${() => choose(name)}>${nameText(name)}</li>`,
      )}</ul>
      <p class="muted" role="status">${open && (found.length > MOST ? t("series.matches.more", { n: found.length, most: MOST }) : t("series.matches", { n: found.length }))}</p>
    </div>
  </span>`;
}

/**
 * Those that have all words in them; those that begin with the text first.
 * @param {readonly string[]} names
 * @param {readonly string[]} lower
 * @param {string} text
 */
function matching(names, lower, text) {
  const whole = text.trim().toLowerCase();
  if (!whole) return names;
  const words = whole.split(/\s+/);
  /** @type {string[]} */
  const first = [];
  /** @type {string[]} */
  const others = [];
  for (let index = 0; index < names.length; index += 1) {
    if (!words.every((word) => lower[index].includes(word))) continue;
    (lower[index].startsWith(whole) ? first : others).push(names[index]);
  }
  return [...first, ...others];
}
