// The end of a log, followed while somebody looks at it.

import { ApiError, request } from "./api.js";
import { byId, h, keepAtEnd, keyed, setText } from "./dom.js";

const FOLLOW_MS = 2000;
const LINES = 500;
const SHARED = ["supervisor", "triton", "gateway"];

/** Make the view; `show(names)` names the models, `active` says whether it is looked at. */
export function logsView() {
  const select = byId("log-name");
  const filter = byId("log-filter");
  const follow = byId("log-follow");
  const view = { active: false, show, refresh };
  let text = "";
  let timer = 0;

  select.addEventListener("change", refresh);
  filter.addEventListener("input", draw);
  follow.addEventListener("change", refresh);

  function show(models) {
    const names = [...models, ...SHARED];
    keyed(
      select,
      names,
      (name) => name,
      (name) => h("option", { value: name }, name),
    );
  }

  async function refresh() {
    clearTimeout(timer);
    const name = select.value;
    if (!view.active || !name) return;
    try {
      const response = await request(`console/api/logs/${encodeURIComponent(name)}?lines=${LINES}`);
      const found = await response.text();
      if (name !== select.value) return; // another log was chosen meanwhile
      text = found;
      draw();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      text = "";
      draw();
      setText(byId("log-note"), error.message);
    }
    if (follow.checked && !document.hidden) timer = setTimeout(refresh, FOLLOW_MS);
  }

  function draw() {
    const wanted = filter.value.toLowerCase();
    const lines = text ? text.split("\n") : [];
    const kept = wanted ? lines.filter((line) => line.toLowerCase().includes(wanted)) : lines;
    setText(byId("log-note"), kept.length ? "" : lines.length ? "No line has this text." : "Nothing was logged yet.");
    const place = byId("log");
    keepAtEnd(place, () => setText(place, kept.join("\n")));
  }

  return view;
}
