// A graph from picture to picture: before and after, and back where another graph leads there.

import { button, element, latest, slider } from "./dom.js";
import { graphs, rowOf } from "./graphs.js";
import { inWords, isPicture, isSetting } from "./ports.js";
import { settingSlider } from "./drawing.js";
import { paintRow, savePng, viewOf } from "./views.js";
import { pictureSource } from "./source.js";
import { manifest } from "./data.js";

/** Returns the panel of a graph that takes one picture; what comes out may be another picture, or numbers. */
export function picturePanel(graph) {
  const input = graph.required[0];
  const output = graph.outputs[0];
  const state = { seed: 1, settings: {} };
  const compare = isPicture(output) && comparison(output);
  const views = compare ? [] : graph.outputs.map((port) => ({ port, ...viewOf(port) }));
  const way = isPicture(output) && wayBack(input, output);
  const backView = way && viewOf(way.outputs[0]);
  const time = element("p", { class: "quiet", role: "status" });

  const render = latest(async () => {
    const { data, sizes } = source.read();
    const started = performance.now();
    const found = await graph.run(graph.feeds([{ [input.name]: data, ...state.settings }], state.seed, sizes));
    time.textContent = `${Math.round(performance.now() - started)} ms`;
    if (compare) compare.show(source.canvas, rowOf(found[output.name]));
    for (const view of views) view.show(rowOf(found[view.port.name]));
    if (way) {
      const there = rowOf(found[output.name]);
      const back = await way.run(way.feeds([{ [way.required[0].name]: there.data }], state.seed, sizes));
      backView.show(rowOf(back[way.outputs[0].name]));
    }
  });
  const source = pictureSource(input, render);
  const draws = graph.inputs.some((port) => port.prior === "normal" || port.prior === "uniform");
  const tools = [
    draws && button("Other noise", () => { state.seed += 1; render(); }),
    ...graph.inputs.filter(isSetting).map((port) => settingSlider(port, state.settings, render)),
  ];
  const columns = element("div", { class: "columns" },
    element("section", {}, source.node),
    element("section", {}, element("h2", {}, graph.outputs.map((port) => inWords(port.domain || port.name)).join(", ")),
      compare ? compare.node : element("div", { class: "stack" }, ...views.map((view) => view.node)), ...tools, time),
    way ? element("section", {}, element("h2", {}, `and back: ${inWords(way.name)}`), backView.node) : "");
  return {
    parts: [columns],
    title: graph.name,
    about: `${output.kind} from ${inWords(input.name)}`,
    start: () => source.begin(),
    state: () => ({}),
    restore: () => source.begin(),
  };
}

/** Returns the graph that leads from the domain of an output to that of an input, if there is one. */
function wayBack(input, output) {
  if (!output.domain || output.domain === input.domain) return null;
  return graphs.find((other) => !other.isStep && other.required.length === 1 && isPicture(other.required[0]) && isPicture(other.outputs[0])
    && other.required[0].domain === output.domain && other.outputs[0].domain === input.domain);
}

/** Two pictures on top of each other, with a slider between them. */
function comparison(port) {
  const before = element("canvas", { role: "img", "aria-label": "before" });
  const after = element("canvas", { role: "img", "aria-label": `after: ${inWords(port.name)}` });
  const box = element("div", { class: "compare" }, before, after);
  const cut = slider("Before", { low: 0, high: 100, value: 0, step: 1 }, (value) => {
    box.style.setProperty("--cut", `${value}%`);
    box.classList.toggle("cut", value > 0);
  });
  box.style.setProperty("--cut", "0%");
  const show = (source, row) => {
    paintRow(after, port, row);
    Object.assign(before, { width: after.width, height: after.height });
    before.classList.toggle("coarse", after.classList.contains("coarse"));
    before.getContext("2d").drawImage(source, 0, 0, after.width, after.height);
  };
  const node = element("div", { class: "stack" }, box, cut.node,
    button("Save PNG", () => savePng(after, `${manifest.identity.model}-${port.name}.png`)));
  return { node, show };
}
