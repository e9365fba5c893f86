// How the page asks the server. Addresses are relative, so that any prefix does; a token lives in this
// tab's session only, and goes nowhere but to this server.
import { Cell } from "./cell.js";

const TOKEN = "observer.token";
const KEPT = 64;

/** @typedef {{ kind: "bearer" | "key", value: string }} Token */

/** Whether the server wants a token that it has not been given (or not a valid one). */
export const locked = new Cell(false);

/** What went wrong, as the server said it (RFC 9457) or as `code`: network, timeout, unreadable. */
export class ApiError extends Error {
  /**
   * @param {"network" | "timeout" | "unreadable" | "http"} code
   * @param {string} detail
   * @param {number} [status]
   * @param {Record<string, any>} [problem]
   */
  constructor(code, detail, status = 0, problem = {}) {
    super(detail);
    this.code = code;
    this.status = status;
    this.problem = problem;
  }
}

/** @returns {Token | null} */
function token() {
  try {
    return JSON.parse(sessionStorage.getItem(TOKEN) ?? "null");
  } catch {
    return null;
  }
}

/** @param {Token | null} given */
export function keepToken(given) {
  try {
    if (given) sessionStorage.setItem(TOKEN, JSON.stringify(given));
    else sessionStorage.removeItem(TOKEN);
  } catch {
    // Without session storage there is no logging in.
  }
  answers.clear();
  locked.set(false);
}

export const hasToken = () => token() !== null;

/** Answers with their ETag: what has not changed is not sent again, and stays the same object. */
/** @type {Map<string, { etag: string, data: any }>} */
const answers = new Map();

/**
 * @param {string} path relative, as "v1/board?domain=x"
 * @param {{ timeout?: number, signal?: AbortSignal }} [options]
 * @returns {Promise<any>} the JSON; throws `ApiError`, or AbortError when `signal` says so
 */
export async function get(path, options = {}) {
  const known = answers.get(path);
  const response = await send("GET", path, known ? { "If-None-Match": known.etag } : {}, undefined, options);
  if (known && response.status === 304) return known.data;
  const data = await content(response);
  const etag = response.headers.get("ETag");
  answers.delete(path);
  if (etag) {
    answers.set(path, { etag, data });
    if (answers.size > KEPT) answers.delete(/** @type {string} */ (answers.keys().next().value));
  }
  return data;
}

/**
 * What is answered as the text that came: numbers keep digits that JavaScript's do not have.
 * @param {string} path
 * @param {{ timeout?: number, signal?: AbortSignal }} [options]
 */
export async function getText(path, options = {}) {
  const response = await send("GET", path, {}, undefined, options);
  return response.text();
}

/**
 * @param {string} path
 * @param {object} body
 * @param {{ timeout?: number, signal?: AbortSignal, key?: string }} [options] `key`: the same request under
 *   the same key is recorded once, however often it is sent
 * @returns {Promise<any>} the JSON; throws `ApiError`
 */
export async function post(path, body, options = {}) {
  /** @type {Record<string, string>} */
  const headers = { "Content-Type": "application/json" };
  if (options.key) headers["Idempotency-Key"] = options.key;
  return content(await send("POST", path, headers, JSON.stringify(body), options));
}

/**
 * "v1/decisions" with a query; what is null, undefined or "" is left out.
 * @param {string} path
 * @param {Record<string, string | number | boolean | null | undefined>} query
 */
export function withQuery(path, query) {
  const found = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== "") found.set(name, String(value));
  }
  return found.size ? `${path}?${found}` : path;
}

/**
 * @param {string} method
 * @param {string} path
 * @param {Record<string, string>} headers
 * @param {string | undefined} body
 * @param {{ timeout?: number, signal?: AbortSignal }} options
 */
async function send(method, path, headers, body, { timeout = 10_000, signal }) {
  const given = token();
  if (given?.kind === "bearer") headers.Authorization = `Bearer ${given.value}`;
  if (given?.kind === "key") headers["x-functions-key"] = given.value;
  headers.Accept = "application/json";
  const patience = AbortSignal.timeout(timeout);
  let response;
  try {
    response = await fetch(new URL(path, document.baseURI), {
      method,
      headers,
      body,
      cache: "no-store",
      redirect: "error",
      signal: signal ? AbortSignal.any([signal, patience]) : patience,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    if (patience.aborted) throw new ApiError("timeout", `no answer within ${timeout / 1000} s`);
    throw new ApiError("network", error instanceof Error ? error.message : String(error));
  }
  if (response.ok || response.status === 304) return response;
  const problem = await response.json().catch(() => ({}));
  if (response.status === 401) locked.set(true);
  const said = typeof problem?.detail === "string" ? problem.detail : response.statusText;
  throw new ApiError("http", said || `status ${response.status}`, response.status, problem ?? {});
}

/** @param {Response} response */
async function content(response) {
  try {
    return await response.json();
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    if (error instanceof DOMException) throw new ApiError("timeout", "the answer broke off");
    if (error instanceof TypeError) throw new ApiError("network", error.message);
    throw new ApiError("unreadable", "the answer is not JSON", response.status);
  }
}
