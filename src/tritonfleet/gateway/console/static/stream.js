// A streamed chat answer: events out of bytes, and what was measured on the way. No DOM.

import { ApiError, request } from "./api.js";

/** Yield the data of each server-sent event of a response, decoded, until `[DONE]` or the end. */
export async function* events(body) {
  let held = "";
  for await (const text of texts(body)) {
    held += text;
    const parts = held.split(/\r?\n\r?\n/);
    held = parts.pop();
    for (const part of parts) {
      const data = part
        .split(/\r?\n/)
        .filter((line) => line.startsWith("data:"))
        .map((line) => line.slice(5).trimStart())
        .join("\n");
      if (data === "[DONE]") return;
      if (data) yield JSON.parse(data);
    }
  }
}

async function* texts(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {}); // left early: the gateway then ends the request in the engine
  }
}

/**
 * Ask a model and hand over its answer piece by piece; return what was measured.
 *
 * `onText(text)` gets each piece. The result has `ttftSeconds` (from the request to the first piece), `tokens` (the
 * engine's own count, or the pieces where it tells none), `tokensPerSecond` (after the first) and `finish`.
 */
export async function chat(body, { signal, onText, now = () => performance.now() }) {
  const began = now();
  const response = await request("v1/chat/completions", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
    signal,
  });
  const measured = new Measured(began);
  for await (const event of events(response.body)) {
    if (event.error) throw new ApiError(502, event.error.code, event.error.message);
    const choice = event.choices?.[0];
    const text = choice?.delta?.content || choice?.delta?.reasoning_content || choice?.delta?.reasoning;
    if (text) {
      measured.piece(now());
      onText(text);
    }
    measured.finish = choice?.finish_reason ?? measured.finish;
    measured.tokens = event.usage?.completion_tokens ?? measured.tokens;
  }
  return measured.result();
}

class Measured {
  tokens = null;
  finish = null;
  #began;
  #first = null;
  #last = null;
  #pieces = 0;

  constructor(began) {
    this.#began = began;
  }

  piece(at) {
    this.#first ??= at;
    this.#last = at;
    this.#pieces += 1;
  }

  result() {
    const tokens = this.tokens ?? this.#pieces;
    const spent = (this.#last - this.#first) / 1000;
    return {
      ttftSeconds: this.#first == null ? null : (this.#first - this.#began) / 1000,
      tokens,
      tokensPerSecond: tokens > 1 && spent > 0 ? (tokens - 1) / spent : null,
      finish: this.finish,
    };
  }
}
