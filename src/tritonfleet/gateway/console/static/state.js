// What state a model is shown in, and what can be done about it. No DOM.

/** The states of a model and their tone: good, busy, bad or quiet. */
const TONES = {
  ready: "good",
  starting: "busy",
  loading: "busy",
  restarting: "busy",
  draining: "busy",
  stopping: "busy",
  waking: "busy",
  sleeping: "busy",
  degraded: "bad",
  failed: "bad",
  broken: "bad",
  asleep: "quiet",
  stopped: "quiet",
};

/** Phases of a model that takes turns on its device which say more than its state does. */
const PHASES = new Set(["waking", "sleeping", "asleep", "broken"]);

export const tone = (state) => TONES[state] ?? "busy";

/** States of a model that answers requests, if need be after it was woken. */
const SERVES = new Set(["ready", "asleep", "waking", "sleeping"]);

/** Give every model its place in its share group as `turn`; one with a device of its own has none. */
export function withTurns(status) {
  const members = status.shares.flatMap((group) => group.members);
  for (const model of status.models) model.turn = members.find((member) => member.model === model.model);
}

export const serves = (model) => SERVES.has(shownState(model));

/** The state of a model as a person sees it: an engine that is ready but not yet in Triton is still loading. */
export function shownState(model) {
  if (!["ready", "asleep"].includes(model.state)) return model.state;
  if (!model.in_triton) return "loading";
  return PHASES.has(model.turn?.phase) ? model.turn.phase : model.state;
}

/** What a model that takes turns can be asked for in its phase. */
const TURNS = { asleep: [["wake", "Wake"]], awake: [["sleep", "Sleep"]] };

/** What can be asked for, as [action, label]. */
export function actions(model) {
  const runs = model.replicas.some((replica) => !["failed", "stopped"].includes(replica.state));
  if (model.state === "stopped") return [["load", "Load"]];
  if (model.state === "failed") return [["load", "Try again"], ...(runs ? [["unload", "Unload"]] : [])];
  if (["draining", "stopping"].includes(model.state)) return [];
  return [...(TURNS[model.turn?.phase] ?? []), ["unload", "Unload"]];
}

/** What a person should know before an action; null where nothing is lost. */
export function warning(action, name) {
  if (action !== "unload") return null;
  return `Running requests of ${name} finish first; new ones are refused until it is loaded again.`;
}

/** A share group in one sentence. */
export function shareText(group) {
  const awake = group.members.filter((member) => ["awake", "draining"].includes(member.phase));
  const waiting = group.members.reduce((total, member) => total + member.waiting, 0);
  const mean = group.switches ? `, ${(group.switch_seconds_sum / group.switches).toFixed(2)} s each` : "";
  const names = awake.length ? awake.map((member) => member.model).join(", ") : "nobody";
  return `${group.group} on ${group.device}: ${names} awake; ${waiting} waiting; ${group.switches} switches${mean}`;
}
