// Two graphs: from a picture to its code, and from the code back to a picture.

import { button, element, latest } from "./dom.js";
import { graphs, rowOf } from "./graphs.js";
import { filledRow, inWords, isCode, isPicture } from "./ports.js";
import { CodeExplorer } from "./explorer.js";
import { pictureSource } from "./source.js";
import { viewOf } from "./views.js";

/** Returns the graph that takes codes of the shape of an output of an encoder, with its ports. */
export function decoderOf(encoder) {
  for (const code of encoder.outputs.filter(isCode)) {
    for (const graph of graphs) {
      const port = graph.inputs.find((each) => isCode(each) && !each.next && String(each.shape.slice(1)) === String(code.shape.slice(1)));
      const fills = port && graph.required.every((each) => each === port);
      if (fills && !graph.isStep && isPicture(graph.outputs[0])) return { graph, port, code };
    }
  }
  return null;
}

/** Returns the panel of an encoder and a decoder: draw, look at the code, change it, see what becomes of it. */
export function rebuildingPanel(encoder, decoder) {
  const input = encoder.required[0];
  const state = { codes: null, label: 0 };
  const others = () => ({ given: decoder.graph.label ? { [decoder.graph.label.name]: filledRow(decoder.graph.label, state.label) } : {}, seed: 1 });
  const explorer = new CodeExplorer(decoder.graph, decoder.port, others, () => (reset.disabled = false));
  const more = encoder.outputs.filter((port) => port !== decoder.code).map((port) => ({ port, ...viewOf(port) }));
  const encode = latest(async () => {
    const { data, sizes } = source.read();
    const found = await encoder.run(encoder.feeds([{ [input.name]: data }], 1, sizes));
    state.codes = rowOf(found[decoder.code.name]).data;
    for (const view of more) view.show(rowOf(found[view.port.name]));
    reset.disabled = true;
    explorer.spread(state.codes);
    await explorer.jump(Float32Array.from(state.codes));
  });
  const source = pictureSource(input, encode);
  const reset = button("Back to the code of the picture", () => { reset.disabled = true; explorer.move(Float32Array.from(state.codes)); }, { disabled: true });
  const beside = more.map(({ node }) => element("details", {}, element("summary", {}, "The encoder also gives"), node));
  const about = `${inWords(encoder.name)} makes ${explorer.size} numbers of the picture, ${inWords(decoder.graph.name)} makes a picture of them. Move a number to see what it stands for.`;
  const columns = element("div", { class: "columns" },
    element("section", {}, source.node, ...beside), ...explorer.sections);
  return {
    parts: [element("p", {}, about), element("div", { class: "row" }, reset), columns],
    title: `${encoder.name} and ${decoder.graph.name}`,
    about: `${inWords(input.name)} to code to ${inWords(decoder.graph.outputs[0].name)}`,
    start: () => source.begin(),
    state: () => ({}),
    restore: () => source.begin(),
  };
}
