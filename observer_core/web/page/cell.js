// A value that components and others watch.
import { useLayoutEffect, useState } from "./html.js";

/** @template T */
export class Cell {
  /** @type {Set<(value: T) => void>} */
  #watchers = new Set();
  /** @type {T} */
  #value;

  /** @param {T} value */
  constructor(value) {
    this.#value = value;
  }

  get value() {
    return this.#value;
  }

  /** @param {T} value */
  set(value) {
    if (Object.is(value, this.#value)) return;
    this.#value = value;
    for (const watcher of [...this.#watchers]) watcher(value);
  }

  /**
   * @param {(value: T) => void} watcher
   * @returns {() => void} what ends it
   */
  watch(watcher) {
    this.#watchers.add(watcher);
    return () => {
      this.#watchers.delete(watcher);
    };
  }
}

/**
 * What `select` makes of the cell's value; the component is drawn again when that changes.
 * @template T
 * @template [S=T]
 * @param {Cell<T>} cell
 * @param {(value: T) => S} [select] must give equal results as the same object, or a primitive
 * @returns {S}
 */
export function useCell(cell, select = (value) => /** @type {any} */ (value)) {
  const [, draw] = useState(0);
  const selected = select(cell.value);
  useLayoutEffect(() => {
    let last = selected;
    const look = () => {
      const next = select(cell.value);
      if (Object.is(next, last)) return;
      last = next;
      draw((count) => count + 1);
    };
    look();
    return cell.watch(look);
  });
  return selected;
}
