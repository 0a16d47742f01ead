/* global uPlot */
// The charts of the last 15 minutes: one line for each model, the same colour in all of them.

import { byId, h, keyed, setAttribute, setText } from "./dom.js";
import * as format from "./format.js";
import { KEPT_SECONDS } from "./history.js";

const COLOURS = 8;
const HEIGHT = 170;
const WHOLE = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];
const CHARTS = [
  { column: "tokens_per_second", title: "Tokens per second", show: format.rate },
  { column: "running", title: "Requests running", show: format.count, steps: WHOLE },
  { column: "waiting", title: "Requests waiting in the engines", show: format.count, steps: WHOLE },
  { column: "ttft_seconds", title: "Time to first token (mean)", show: format.seconds, dots: true },
];

/** Make the view; it draws anew when models come and go, or the theme changes, and else only moves the lines. */
export function chartsView() {
  const charts = CHARTS.map((spec) => new Chart(spec));
  byId("charts").append(...charts.map((chart) => chart.element));
  let shown = null;
  const draw = () => {
    if (shown) for (const chart of charts) chart.make(shown);
  };
  document.addEventListener("themechange", draw);

  return (history) => {
    const before = shown?.names.join();
    shown = { history, names: history.names() };
    showLegend(shown.names);
    if (shown.names.join() !== before) draw();
    else for (const chart of charts) chart.move(shown);
  };
}

function showLegend(names) {
  const make = () => h("li", {}, h("i", { class: "swatch", "aria-hidden": "true" }), h("span"));
  keyed(
    byId("legend"),
    names.map((name, index) => ({ name, index })),
    ({ name }) => name,
    make,
    (entry, item) => {
      setAttribute(entry.firstChild, "data-colour", item.index % COLOURS);
      setText(entry.lastChild, item.name);
    },
  );
}

class Chart {
  #spec;
  #plot = null;
  #place = h("div", { class: "plot", role: "img" });
  #caption = h("p", { class: "at" });

  constructor(spec) {
    this.#spec = spec;
    this.element = h("figure", {}, h("figcaption", {}, spec.title), this.#place, this.#caption);
    new ResizeObserver(() => this.#plot?.setSize(this.#size())).observe(this.#place);
  }

  /** Draw anew. */
  make({ history, names }) {
    this.#plot?.destroy();
    const ink = resolved("--ink-soft");
    const axis = { stroke: ink, grid: { stroke: resolved("--line"), width: 1 }, ticks: { show: false } };
    const options = {
      ...this.#size(),
      legend: { show: false },
      cursor: { y: false, sync: { key: "console" }, drag: { x: false, y: false } },
      scales: { x: { range: window15 }, y: { range: nice } },
      axes: [
        { ...axis, size: 30, space: 60, values: "{HH}:{mm}" },
        { ...axis, size: 60, space: 34, incrs: this.#spec.steps, values: (_plot, ticks) => ticks.map(this.#spec.show) },
      ],
      series: [{}, ...names.map((name, index) => this.#line(name, index))],
      hooks: { setCursor: [() => this.#tell(names, history)] },
    };
    this.#plot = new uPlot(options, this.#data(history, names), this.#place);
    this.#tell(names, history);
  }

  /** Take the newest samples. */
  move({ history, names }) {
    this.#plot?.setData(this.#data(history, names));
    this.#tell(names, history);
  }

  #size() {
    return { width: Math.max(200, this.#place.clientWidth), height: HEIGHT };
  }

  #line(name, index) {
    const stroke = resolved(`--series-${index % COLOURS}`);
    const dash = index < COLOURS ? undefined : [6, 3]; // colours come again, dashed
    return { label: name, stroke, width: 2, dash, points: { show: Boolean(this.#spec.dots), size: 5, fill: stroke } };
  }

  #data(history, names) {
    return [history.times, ...names.map((name) => history.models.get(name)[this.#spec.column])];
  }

  /** Say in words what the lines show: under the pointer, else now. */
  #tell(names, history) {
    const at = this.#plot?.cursor.idx;
    const values = names.map((name) => {
      const column = history.models.get(name)?.[this.#spec.column] ?? [];
      const value = at == null ? history.latest(name, this.#spec.column, 60) : column[at];
      return `${name} ${this.#spec.show(value)}`;
    });
    const when = at == null ? "now" : new Date(history.times[at] * 1000).toLocaleTimeString("en-GB");
    const text = values.length ? `${when}: ${values.join(", ")}` : "no data yet";
    setText(this.#caption, text);
    if (at == null) setAttribute(this.#place, "aria-label", `${this.#spec.title}, last 15 minutes. ${text}`);
  }
}

/** The range of the horizontal axis: always 15 minutes, so that a young fleet's lines come in from the right. */
function window15(_plot, _min, max) {
  const end = max ?? Date.now() / 1000;
  return [end - KEPT_SECONDS, end];
}

/** The range of the vertical axis: from zero, and never without height. */
function nice(_plot, _min, max) {
  return [0, max > 0 ? max * 1.1 : 1];
}

/** The value of a colour variable as a canvas understands it. */
function resolved(variable) {
  const probe = byId("charts");
  probe.style.color = `var(${variable})`;
  const colour = getComputedStyle(probe).color;
  probe.style.color = "";
  return colour;
}
