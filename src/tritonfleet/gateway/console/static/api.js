// Requests to the gateway, with the key in a header: no cookie, so no other site can act in this user's name.

const ANSWER_MS = 15_000;
const STORED = "tritonfleet-key";
let key = readKey();

/** An answer that is not a success; `status` is 0 when there was no answer. */
export class ApiError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** Whether a key or token is set. */
export const hasKey = () => key !== "";

/** Use another key; an empty one forgets it. It is kept for this tab only. */
export function setKey(value) {
  key = value.trim();
  try {
    if (key) sessionStorage.setItem(STORED, key);
    else sessionStorage.removeItem(STORED);
  } catch {
    // storage is off: the key counts until the page is left
  }
}

/** Take the token out of the address that `tritonfleet console` prints, so that it is not left in sight. */
export function takeTokenFromAddress() {
  const found = /^#token=([\w-]+)$/.exec(location.hash);
  if (!found) return;
  setKey(found[1]);
  history.replaceState(null, "", location.pathname + location.search);
}

/** Send a request; raise ApiError unless it succeeds. Paths are relative, so the console works below a prefix. */
export async function request(path, options = {}) {
  const headers = { ...options.headers };
  if (key) headers.authorization = `Bearer ${key}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers, credentials: "omit", cache: "no-store" });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new ApiError(0, "no_answer", "The gateway does not answer.");
  }
  if (!response.ok) throw await problem(response);
  return response;
}

/** Send a request and return the JSON of its answer, which has to come within a few seconds. */
export async function json(path) {
  const signal = AbortSignal.timeout(ANSWER_MS);
  try {
    return await (await request(path, { signal })).json();
  } catch (error) {
    if (!signal.aborted) throw error;
    throw new ApiError(0, "no_answer", `The gateway did not answer within ${ANSWER_MS / 1000} s.`);
  }
}

async function problem(response) {
  let error = {};
  try {
    error = (await response.json()).error ?? {};
  } catch {
    // not the gateway's own error: something in between
  }
  return new ApiError(response.status, error.code, error.message ?? `The gateway answered ${response.status}.`);
}

function readKey() {
  try {
    return sessionStorage.getItem(STORED) ?? "";
  } catch {
    return "";
  }
}
