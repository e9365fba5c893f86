// What every component is written with. Text is always text: nothing here or anywhere else parses HTML.
import htm from "./vendor/htm.js";
import { createElement } from "./vendor/preact.js";

export {
  useCallback,
  useContext,
  useEffect,
  useErrorBoundary,
  useId,
  useLayoutEffect,
  useMemo,
  useRef,
  useState,
} from "./vendor/hooks.js";
export { createContext, Fragment, render } from "./vendor/preact.js";

/** @type {(strings: TemplateStringsArray, ...values: any[]) => any} */
export const html = htm.bind(createElement);
