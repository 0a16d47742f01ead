// The console: asks the gateway for the fleet's state every two seconds while somebody looks, and shows it.

import { ApiError, hasKey, json, request, setKey, takeTokenFromAddress } from "./api.js";
import { chartsView } from "./charts.js";
import { byId, setAttribute, setText } from "./dom.js";
import { History } from "./history.js";
import { logsView } from "./logs.js";
import { showMemory } from "./memory.js";
import { modelsView, showState } from "./models.js";
import { playgroundView } from "./playground.js";
import { serves, shownState, warning, withTurns } from "./state.js";

const POLL_MS = 2000;
const PARTS = ["overview", "playground", "logs"];
const history = new History();
const logs = logsView();
const showPlayground = playgroundView();
const showCharts = chartsView();
const showModels = modelsView(act);

let you = { admin: false };
let states = new Map();
let serving = "";
let memoryShown = false;
let timer = 0;
let asking = false;
let shownPart = PARTS[0];
/** When the state that is shown was told. */
let seenAt = null;

takeTokenFromAddress();
addEventListener("hashchange", showPart);
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  poll();
  logs.refresh();
});
byId("key-button").addEventListener("click", () => askForKey(""));
byId("refusal")
  .querySelector("button")
  .addEventListener("click", () => refusal(""));
showPart();
poll();

/** Ask for what is new, show it, and come again. A page that nobody sees asks nothing. */
async function poll() {
  clearTimeout(timer);
  if (document.hidden || asking) return;
  asking = true;
  try {
    const after = history.last;
    const live = await json(`console/api/live?after=${after}`);
    if (after === history.last) show(live); // else another key was set meanwhile
    trouble("");
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    const asOf = seenAt ? ` The state below is that of ${seenAt.toLocaleTimeString()}.` : "";
    trouble(error.status === 0 ? `${error.message} Trying again.${asOf}` : error.message);
    if (error.status === 401) return askForKey(error.message);
  } finally {
    asking = false;
  }
  timer = setTimeout(poll, POLL_MS);
}

function show(live) {
  seenAt = new Date();
  you = live.you;
  history.add(live.history);
  const { status } = live;
  withTurns(status);
  setText(byId("fleet-name"), status.fleet);
  document.title = `${status.fleet}: ${status.state}`;
  showState(byId("fleet-state"), status.state);
  setText(byId("key-button"), keyText());
  showModels(status, history);
  showCharts(history);
  logs.show(status.models.map((model) => model.model));
  tellNews(status);
  const names = status.models
    .filter(serves)
    .map((model) => model.model)
    .join();
  if (names !== serving) {
    serving = names;
    quietly(showPlayground());
  }
  if (!memoryShown) {
    memoryShown = true;
    quietly(showMemory().then((done) => (memoryShown = done)));
  }
}

/** Say what the key that is set is good for; where none is needed, only the token of this run is good for anything. */
function keyText() {
  if (you.admin) return "Admin";
  if (!hasKey()) return "API key";
  return you.keys_required ? "Key set" : "Key unknown";
}

/** Say in the status line what changed, for screen readers. */
function tellNews(status) {
  const fresh = new Map(status.models.map((model) => [model.model, shownState(model)]));
  const changes = [...fresh].filter(([name, state]) => states.size && states.get(name) !== state);
  if (changes.length) setText(byId("news"), changes.map(([name, state]) => `${name} is ${state}`).join(". "));
  states = fresh;
}

function trouble(message) {
  const place = byId("trouble");
  setText(place, message);
  place.hidden = message === "";
  document.body.classList.toggle("stale", message !== "");
}

/** Say why an action was refused, until it is dismissed or another one is asked for. */
function refusal(message) {
  const place = byId("refusal");
  setText(place.querySelector("span"), message);
  place.hidden = message === "";
}

/** Show the part of the page that the address names; the skip link's target is in whatever is shown. */
function showPart() {
  const skipped = location.hash === "#main";
  const wanted = skipped ? shownPart : (PARTS.find((part) => location.hash === `#${part}`) ?? PARTS[0]);
  shownPart = wanted;
  for (const part of PARTS) {
    byId(part).hidden = part !== wanted;
    setAttribute(document.querySelector(`nav a[href="#${part}"]`), "aria-current", part === wanted && "page");
  }
  logs.active = wanted === "logs";
  logs.refresh();
  if (wanted === "playground" && !skipped) byId("prompt").focus();
}

/** Load, unload, put to sleep or wake a model. */
async function act(action, model) {
  if (!you.admin) {
    const other = hasKey() ? " The key that is set is not one: it may be another fleet's, or of an earlier run." : "";
    return askForKey(`To ${action} ${model} takes an admin key.${other}`);
  }
  if (!(await sure(action, model))) return;
  refusal("");
  try {
    await request(`console/api/models/${encodeURIComponent(model)}/${action}`, { method: "POST" });
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.status === 401 || error.status === 403) return askForKey(error.message);
    return refusal(`${model}: ${error.message}`);
  }
  setText(byId("news"), `asked to ${action} ${model}`);
  poll();
}

async function sure(action, model) {
  const text = warning(action, model);
  if (!text) return true;
  const label = `${action[0].toUpperCase()}${action.slice(1)} ${model}`;
  setText(byId("sure-title"), `${label}?`);
  setText(byId("sure-text"), text);
  setText(byId("sure-yes"), label);
  return (await choice(byId("sure"))) === "yes";
}

async function askForKey(why) {
  const dialog = byId("key-dialog");
  if (dialog.open) return;
  setText(byId("key-why"), why);
  byId("key").value = "";
  const chosen = await choice(dialog);
  const key = byId("key").value;
  byId("key").value = "";
  if (chosen !== "use" && chosen !== "forget") return;
  setKey(chosen === "use" ? key : "");
  history.clear(); // another key may see other models
  memoryShown = false;
  serving = "";
  logs.refresh();
  poll();
}

/** Show a dialog and return the value of the button that closed it; Escape is "". */
function choice(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true });
  });
}

/** Let work go on by itself; an error of the gateway is shown by the next poll anyway. */
function quietly(work) {
  work.catch((error) => {
    if (!(error instanceof ApiError)) throw error;
  });
}
