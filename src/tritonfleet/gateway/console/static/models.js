// The table of models, the totals above it and the addresses below.

import { byId, h, keyed, setAttribute, setText } from "./dom.js";
import * as format from "./format.js";
import { actions, serves, shareText, shownState, tone } from "./state.js";

const COLUMNS = ["Model", "State", "Device", "Running", "Waiting", "Tokens/s", "TTFT", "Restarts", "Actions"];
const NUMBERS = new Set(["Running", "Waiting", "Tokens/s", "TTFT", "Restarts"]);
const DOORS = {
  openai: "OpenAI API and console",
  http: "KServe HTTP",
  grpc: "KServe gRPC",
  metrics: "Triton's metrics",
};

/** Make the view; `act(action, model)` is called for a button. */
export function modelsView(act) {
  const table = byId("models");

  return (status, history) => {
    showTotals(status);
    keyed(
      table,
      status.models,
      (model) => model.model,
      (model) => makeModel(model.model, act),
      (body, model) => updateModel(body, model, history),
    );
    keyed(
      byId("shares"),
      status.shares,
      (group) => group.group,
      () => h("li"),
      (entry, group) => setText(entry, shareText(group)),
    );
    const others = byId("others");
    others.hidden = status.others.length === 0;
    setText(others, `Other models in Triton: ${status.others.join(", ")}`);
    showDoors(status.doors);
  };
}

function showTotals(status) {
  const replicas = status.models.flatMap((model) => model.replicas);
  const ready = status.models.filter(serves).length;
  pairs(byId("totals"), {
    "Models ready": `${ready} of ${status.models.length}`,
    "Requests running": format.count(format.sum(replicas.map((replica) => replica.running))),
    "Requests waiting": format.count(format.sum(replicas.map((replica) => replica.waiting))),
    "Tokens/s": format.rate(format.sum(replicas.map((replica) => replica.tokens_per_second))),
    "Up for": format.duration(status.uptime_seconds),
  });
}

function showDoors(doors) {
  const shown = Object.entries(DOORS).filter(([name]) => doors[name]);
  pairs(byId("doors"), Object.fromEntries(shown.map(([name, text]) => [text, doors[name]])));
}

function pairs(list, values) {
  const make = ([name]) => h("div", {}, h("dt", {}, name), h("dd"));
  keyed(
    list,
    Object.entries(values),
    ([name]) => name,
    make,
    (entry, [, value]) => setText(entry.lastChild, value),
  );
}

function makeModel(name, act) {
  const body = h("tbody", { role: "rowgroup" });
  const main = makeRow("row");
  main.cells[0].replaceWith(h("th", { role: "rowheader", scope: "row", "data-label": "Model" }, h("b"), h("small")));
  main.cells[1].append(h("span", { class: "state" }));
  main.cells[8].addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) act(button.dataset.action, name);
  });
  body.append(
    main,
    h("tr", { role: "row", class: "why", hidden: true }, h("td", { role: "cell", colspan: 9 }, h("pre"))),
  );
  return body;
}

function makeRow(key) {
  const cell = (name) => h("td", { role: "cell", "data-label": name, class: NUMBERS.has(name) && "number" });
  const row = h("tr", { role: "row" }, ...COLUMNS.map(cell));
  if (key !== "row") row.classList.add("replica");
  return row;
}

function updateModel(body, model, history) {
  const [main, why] = body.rows;
  const { replicas } = model;
  const [name, engine] = main.cells[0].children;
  setText(name, model.model);
  setText(engine, `${model.engine}, ${model.source}`);
  showState(main.cells[1].firstChild, shownState(model));
  fill(main, {
    device: [...new Set(replicas.map((replica) => replica.device))].join("; "),
    running: format.sum(replicas.map((replica) => replica.running)),
    waiting: format.sum([...replicas.map((replica) => replica.waiting), model.turn?.waiting]),
    tokens_per_second: format.sum(replicas.map((replica) => replica.tokens_per_second)),
    ttft: format.seconds(history.latest(model.model, "ttft_seconds", 60)),
    restarts: replicas.reduce((total, replica) => total + replica.restarts, 0),
  });
  showActions(main.cells[8], model);
  why.hidden = !model.reason;
  setText(why.querySelector("pre"), model.reason);
  showReplicas(body, replicas.length > 1 ? replicas : []);
}

function fill(row, { device, running, waiting, tokens_per_second: tokens, ttft, restarts }) {
  const texts = [
    device,
    format.count(running),
    format.count(waiting),
    format.rate(tokens),
    ttft,
    format.count(restarts),
  ];
  for (const [index, text] of texts.entries()) setText(row.cells[index + 2], text);
}

function showReplicas(body, replicas) {
  const make = (replica) => {
    const row = makeRow("replica");
    setText(row.cells[0], `replica ${replica.replica}`);
    row.cells[0].removeAttribute("data-label");
    row.cells[1].append(h("span", { class: "state" }));
    return row;
  };
  keyed(
    body,
    replicas,
    (replica) => replica.replica,
    make,
    (row, replica) => {
      showState(row.cells[1].firstChild, replica.state);
      fill(row, { ...replica, ttft: "" });
    },
  );
}

/** Show a state as words and a tone; the words carry the meaning, the colour repeats it. */
export function showState(element, state) {
  setText(element, state);
  setAttribute(element, "data-tone", tone(state));
}

function showActions(cell, model) {
  const make = ([action, label]) =>
    h("button", { type: "button", "data-action": action, "aria-label": `${label} ${model.model}` }, label);
  keyed(cell, actions(model), ([action, label]) => action + label, make);
}
