// The memory as the plan gives it out: one bar for each pool, and the same in a table.

import { ApiError, json } from "./api.js";
import { byId, h } from "./dom.js";
import * as format from "./format.js";

const PARTS = ["weights", "KV cache", "activations", "graphs", "context", "asleep"];

/** Fetch the plan's memory map and show it. */
export async function showMemory() {
  const place = byId("memory");
  try {
    const { pools, notes } = await json("console/api/memory");
    place.replaceChildren(...pools.map(pool), ...notes.map((note) => h("p", { class: "note" }, note)));
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    place.replaceChildren(h("p", { class: "note" }, error.message));
    return error.status !== 0 && error.status < 500;
  }
  return true;
}

function pool(found) {
  const used = found.total_bytes - found.free_bytes;
  const title = `${found.name}: ${format.bytes(used)} of ${format.bytes(found.total_bytes)} given out`;
  return h("div", { class: "pool" }, h("h3", {}, title), bar(found), found.segments.length ? table(found) : "");
}

function bar(found) {
  const pieces = found.segments.map((segment) => {
    const text = `${segment.owner} ${segment.part} ${format.bytes(segment.bytes)}`;
    const share = segment.bytes / found.total_bytes;
    const piece = h("span", { "data-part": segment.part, title: text }, share > 0.12 ? segment.owner : "");
    piece.style.flexGrow = segment.bytes;
    return piece;
  });
  const free = h("span", { title: `free ${format.bytes(found.free_bytes)}` });
  free.style.flexGrow = found.free_bytes;
  return h("div", { class: "bar", "aria-hidden": "true" }, ...pieces, free);
}

function table(found) {
  const parts = PARTS.filter((part) => found.segments.some((segment) => segment.part === part));
  const owners = [...new Set(found.segments.map((segment) => segment.owner))];
  const size = (owner, part) =>
    format.sum(
      found.segments.filter((entry) => entry.owner === owner && entry.part === part).map((entry) => entry.bytes),
    );
  const cell = (value) => h("td", { class: "number" }, value == null ? "" : format.bytes(value));
  const head = parts.map((part) =>
    h(
      "th",
      { scope: "col", class: "number" },
      h("i", { class: "swatch", "data-part": part, "aria-hidden": "true" }),
      part,
    ),
  );
  const rows = owners.map((owner) =>
    h("tr", {}, h("th", { scope: "row" }, owner), ...parts.map((part) => cell(size(owner, part)))),
  );
  return h(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": `${found.name} by engine` },
    h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Engine"), ...head)), h("tbody", {}, ...rows)),
  );
}
