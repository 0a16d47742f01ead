// Chat with any model of the fleet, or with two at once, and see how fast each answers.

import { ApiError, json } from "./api.js";
import { byId, h, keepAtEnd, keyed, setText } from "./dom.js";
import * as format from "./format.js";
import { chat } from "./stream.js";

const LANES = ["Left model", "Right model"];

/** Make the view; `show()` fetches the models that serve now. */
export function playgroundView() {
  const lanes = LANES.map((label) => new Lane(label));
  const compare = byId("compare");
  const prompt = byId("prompt");
  byId("lanes").append(...lanes.map((lane) => lane.element));

  const shown = () => (compare.checked ? lanes : lanes.slice(0, 1));
  const arrange = () => {
    lanes[1].element.hidden = !compare.checked;
    byId("lanes").classList.toggle("two", compare.checked);
  };
  compare.addEventListener("change", arrange);
  byId("clear").addEventListener("click", () => {
    for (const lane of lanes) lane.clear();
  });
  byId("stop").addEventListener("click", () => {
    for (const lane of lanes) lane.stop();
  });
  prompt.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    byId("ask").requestSubmit();
  });
  byId("ask").addEventListener("submit", async (event) => {
    event.preventDefault();
    const text = prompt.value.trim();
    if (!text || lanes.some((lane) => lane.busy)) return;
    prompt.value = "";
    byId("stop").hidden = false;
    byId("send").disabled = true;
    await Promise.all(shown().map((lane) => lane.ask(text, options())));
    byId("stop").hidden = true;
    byId("send").disabled = false;
    prompt.focus();
  });
  arrange();

  let first = true;
  return async function show() {
    const names = (await json("v1/models")).data.map((model) => model.id);
    for (const [index, lane] of lanes.entries()) lane.offer(names, index);
    if (first && names.length > 1) compare.checked = true;
    first = first && names.length === 0;
    arrange();
  };
}

function options() {
  const number = (id) => (byId(id).validity.valid && byId(id).value !== "" ? byId(id).valueAsNumber : undefined);
  return { max_tokens: number("max-tokens"), temperature: number("temperature") };
}

/** One model and the conversation with it. */
class Lane {
  #messages = [];
  #abort = null;
  #select;
  #list;

  constructor(label) {
    this.#select = h("select");
    this.#list = h("ol", { class: "talk", tabindex: 0, "aria-label": `Conversation, ${label.toLowerCase()}` });
    this.element = h("section", { "aria-label": label }, h("label", {}, `${label} `, this.#select), this.#list);
  }

  get busy() {
    return this.#abort !== null;
  }

  /** Offer these models; the chosen one stays chosen, even while it does not serve. */
  offer(names, preferred) {
    const chosen = this.#select.value;
    const offered = chosen && !names.includes(chosen) ? [...names, chosen] : names;
    keyed(
      this.#select,
      offered,
      (name) => name,
      (name) => h("option", { value: name }, name),
    );
    if (!chosen && offered.length) this.#select.value = offered[Math.min(preferred, offered.length - 1)];
  }

  clear() {
    this.stop();
    this.#abort = null;
    this.#messages = [];
    this.#list.replaceChildren();
  }

  stop() {
    this.#abort?.abort();
  }

  /** Send a message with the conversation so far, and show the answer as it comes. */
  async ask(text, settings) {
    const model = this.#select.value;
    if (!model) return this.#tell("No model serves now. Load one under Overview.");
    const abort = new AbortController();
    this.#abort = abort;
    const messages = [...this.#messages, { role: "user", content: text }];
    const answer = new AnswerView(model);
    this.#list.append(h("li", { class: "user" }, h("p", {}, text)), answer.element);
    this.#list.scrollTop = this.#list.scrollHeight;
    try {
      const onText = (piece) => answer.add(piece);
      const result = await chat({ model, messages, ...settings }, { signal: abort.signal, onText });
      answer.done(result);
    } catch (error) {
      if (error.name === "AbortError") answer.fail("Stopped.");
      else if (error instanceof ApiError) answer.fail(error.message);
      else answer.fail(`The answer broke off: ${error.message}`);
    }
    if (this.#abort !== abort) return; // cleared meanwhile
    this.#abort = null;
    // A stopped answer stays part of the conversation, as far as it came; a question without one does not.
    if (answer.text) this.#messages = [...messages, { role: "assistant", content: answer.text }];
  }

  #tell(text) {
    this.#list.append(h("li", { class: "answer" }, h("p", { class: "failed", role: "status" }, text)));
  }
}

/** An answer on its way: text is added once a frame, and read out only when it is complete. */
class AnswerView {
  text = "";
  #shown = document.createTextNode("");
  #note = h("p", { class: "measured", role: "status" });
  #body;
  #drawing = false;

  constructor(model) {
    this.#body = h("p", { "aria-live": "polite", "aria-busy": "true" }, this.#shown);
    this.element = h("li", { class: "answer" }, h("b", {}, model), this.#body, this.#note);
    setText(this.#note, "waiting for the first token");
  }

  add(piece) {
    if (!this.text) setText(this.#note, "answering");
    this.text += piece;
    if (this.#drawing) return;
    this.#drawing = true;
    requestAnimationFrame(() => this.#draw());
  }

  done({ ttftSeconds, tokens, tokensPerSecond, finish }) {
    this.#draw();
    this.#body.removeAttribute("aria-busy");
    const cut = finish === "length" ? ", cut off at the most tokens" : "";
    const speed = tokensPerSecond == null ? "" : `, ${format.rate(tokensPerSecond)} tokens/s`;
    setText(this.#note, `TTFT ${format.seconds(ttftSeconds)}${speed}, ${format.count(tokens)} tokens${cut}`);
  }

  fail(message) {
    this.#draw();
    this.#body.removeAttribute("aria-busy");
    this.#note.classList.add("failed");
    setText(this.#note, message);
  }

  #draw() {
    this.#drawing = false;
    const more = () => this.#shown.appendData(this.text.slice(this.#shown.length));
    // Not in the page any more: the conversation was cleared.
    if (this.element.parentElement) keepAtEnd(this.element.parentElement, more);
    else more();
  }
}
