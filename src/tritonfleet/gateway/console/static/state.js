// What state a model is shown in, and what can be done about it. No DOM.

/** The states of a model and their tone: good, busy, bad or quiet. */
const TONES = {
  ready: "good",
  awake: "good",
  starting: "busy",
  loading: "busy",
  restarting: "busy",
  draining: "busy",
  stopping: "busy",
  waking: "busy",
  degraded: "bad",
  failed: "bad",
  asleep: "quiet",
  stopped: "quiet",
};

export const tone = (state) => TONES[state] ?? "busy";

/** The state of a model as a person sees it: an engine that is ready but not yet in Triton is still loading. */
export function shownState(model) {
  if (model.state === "ready" && !model.in_triton) return "loading";
  return model.state;
}

/** What can be asked for, as [action, label]. */
export function actions(model) {
  if (model.state === "failed")
    return [
      ["load", "Try again"],
      ["unload", "Unload"],
    ];
  if (model.state === "stopped") return [["load", "Load"]];
  if (["draining", "stopping"].includes(model.state)) return [];
  return [...turns(model), ["unload", "Unload"]];
}

function turns(model) {
  if (!model.share || model.state !== "ready") return [];
  return model.phase === "asleep" ? [["wake", "Wake"]] : [["sleep", "Sleep"]];
}

/** What a person should know before an action; null where nothing is lost. */
export function warning(action, name) {
  if (action !== "unload") return null;
  return `Running requests of ${name} finish first; new ones are refused until it is loaded again.`;
}
