// A graph that makes pictures, sounds or other rows from noise: explorer, classes, seeds, gallery.

import { button, choice, element, latest, slider } from "./dom.js";
import { Random } from "./random.js";
import { rowOf } from "./graphs.js";
import { classNames, drawRow, filledRow, inWords, isCode, isSetting } from "./ports.js";
import { CodeExplorer } from "./explorer.js";
import { isPainted, paintRow, viewOf } from "./views.js";

const MOST_SEED = 2 ** 31;
const MANY = 16; // pictures of the gallery
const BETWEEN = 8; // pictures of an interpolation
const MOST_CLASSES = 40; // that get a button each

/** Returns the panel of a graph whose inputs can all be drawn. */
export function drawingPanel(graph) {
  const output = graph.outputs[0];
  const codePort = graph.inputs.find((port) => isCode(port) && port.prior !== null);
  const state = { seed: 1, label: 0, settings: {} };
  const label = graph.label;
  const given = () => ({
    ...(label && { [label.name]: filledRow(label, state.label) }),
    ...state.settings,
  });
  const others = () => ({ given: given(), seed: state.seed });
  const codeOf = (seed) => drawRow(codePort, new Random(seed, graph.inputs.indexOf(codePort)));
  const explorer = codePort && new CodeExplorer(graph, codePort, others, () => (state.moved = true));
  const alone = explorer ? null : viewOf(output);
  const run = async (seeds, rows) => (await graph.run(graph.feeds(rows ?? seeds.map(given), seeds)))[output.name];

  const showSeed = latest(async () => {
    state.moved = false;
    seedInput.value = state.seed;
    if (explorer) await explorer.jump(codeOf(state.seed));
    else alone.show(rowOf(await run([state.seed])));
  });
  const refresh = async () => {
    if (explorer) await explorer.move(explorer.code);
    else await showSeed();
    await Promise.all(parts.map((part) => part.refresh()));
  };
  const seedInput = element("input", { type: "number", min: 0, max: MOST_SEED - 1, step: 1, value: state.seed,
    onchange: () => { state.seed = Math.abs(Math.trunc(seedInput.valueAsNumber || 0)) % MOST_SEED; showSeed(); } });
  const another = button("Another", () => { state.seed = Math.floor(Math.random() * MOST_SEED); showSeed(); }, { class: "main" });
  const tools = element("div", { class: "row" }, element("label", {}, "Seed", seedInput), another);

  const names = label ? classNames(label) : [];
  const setClass = (index) => { state.label = Math.round(label.range?.[0] ?? 0) + index; refresh(); };
  const classes = label && (names.length <= MOST_CLASSES
    ? choice(inWords(label.name), names, 0, setClass)
    : selectOf(inWords(label.name), names, setClass));
  const settings = graph.inputs.filter((port) => isSetting(port)).map((port) => settingSlider(port, state.settings, refresh));

  const parts = [];
  if (isPainted(output)) {
    if (label && names.length > 1 && names.length <= MOST_CLASSES) parts.push(sideBySide(graph, names, state, run, given, explorer));
    if (codePort) {
      parts.push(interpolation(graph, codePort, codeOf, state, run, given));
      parts.push(arithmetic(graph, codePort, codeOf, state, run, given));
    }
    parts.push(gallery(output, run, (seed) => { state.seed = seed; showSeed(); seedInput.scrollIntoView({ block: "nearest" }); }));
  }
  const shown = explorer ? element("div", { class: "columns" }, ...explorer.sections) : element("section", {}, alone.node);
  return {
    parts: [classes?.node, tools, ...settings, shown, ...parts.map((part) => part.node)].filter(Boolean),
    title: graph.name,
    about: `${output.kind} from ${graph.inputs.map((port) => inWords(port.name)).join(", ")}`,
    async start() {
      await showSeed();
      await Promise.all(parts.map((part) => part.refresh()));
    },
    state: () => ({ seed: state.seed, ...(label && { label: state.label }),
      ...(state.moved && { code: [...explorer.code].map((value) => Number(value.toFixed(3))) }) }),
    async restore({ seed, label: number, code }) {
      if (Number.isInteger(seed)) state.seed = seed;
      if (label && names[number - Math.round(label.range?.[0] ?? 0)] !== undefined) {
        state.label = number;
        classes.choose(number - Math.round(label.range?.[0] ?? 0));
      }
      await showSeed();
      if (explorer && code?.length === explorer.size && code.every(Number.isFinite)) {
        state.moved = true;
        await explorer.move(Float32Array.from(code));
      }
      await Promise.all(parts.map((part) => part.refresh()));
    },
  };
}

function selectOf(text, names, input) {
  const select = element("select", { onchange: () => input(select.selectedIndex) }, ...names.map((name) => element("option", {}, name)));
  return { node: element("label", {}, text, select), choose: (index) => (select.selectedIndex = index) };
}

/** Returns a slider for an input that has a default, such as a temperature. */
export function settingSlider(port, settings, changed) {
  const [low, high] = port.range;
  const step = port.dtype === "float32" ? (high - low) / 200 : 1;
  return slider(inWords(port.name), { low, high, value: port.default, step }, (value) => {
    settings[port.name] = filledRow(port, value);
    changed();
  }).node;
}

function canvases(count, output) {
  return Array.from({ length: count }, () => element("canvas", { role: "img", "aria-label": inWords(output.name) }));
}

const wide = (output) => (output.kind === "image" ? "" : "wide");

/** The same noise as every class. */
function sideBySide(graph, names, state, run, given, explorer) {
  const output = graph.outputs[0];
  const shown = canvases(names.length, output);
  const low = Math.round(graph.label.range?.[0] ?? 0);
  const code = explorer && explorer.port.name;
  const refresh = latest(async () => {
    const rows = names.map((_, index) => ({ ...given(), ...(code && { [code]: explorer.code }), [graph.label.name]: filledRow(graph.label, low + index) }));
    const found = await run(names.map(() => state.seed), rows);
    shown.forEach((canvas, index) => paintRow(canvas, output, rowOf(found, index)));
  });
  const node = element("section", {}, element("h2", {}, "The same noise as every class"),
    button("With the noise above", refresh),
    element("div", { class: `gallery ${wide(output)}` }, ...shown.map((canvas, index) => element("figure", {}, canvas, element("figcaption", {}, names[index])))));
  return { node, refresh };
}

/** What lies between the codes of two seeds. */
function interpolation(graph, port, codeOf, state, run, given) {
  const output = graph.outputs[0];
  const shown = canvases(BETWEEN, output);
  const seeds = [1, 2];
  const refresh = latest(async () => {
    const ends = seeds.map(codeOf);
    const rows = shown.map((_, index) => ({ ...given(), [port.name]: between(...ends, index / (BETWEEN - 1), port.prior === "normal") }));
    const found = await run(shown.map(() => state.seed), rows);
    shown.forEach((canvas, index) => paintRow(canvas, output, rowOf(found, index)));
  });
  const inputs = ["From seed", "to seed"].map((text, side) => seedField(text, seeds, side, refresh));
  const strip = element("div", { class: "strip" }, ...shown);
  strip.style.gridTemplateColumns = `repeat(${output.kind === "image" ? BETWEEN : BETWEEN / 2}, 1fr)`;
  return { node: element("section", {}, element("h2", {}, "Between two seeds"), element("div", { class: "row" }, ...inputs), strip), refresh };
}

/** Codes added and subtracted: what the first has and the second lacks, given to the third. */
function arithmetic(graph, port, codeOf, state, run, given) {
  const output = graph.outputs[0];
  const shown = canvases(4, output);
  const seeds = [1, 2, 3];
  const [low, high] = port.prior === "uniform" ? port.range : [-Infinity, Infinity];
  const refresh = latest(async () => {
    const codes = seeds.map(codeOf);
    codes.push(codes[0].map((value, index) => Math.min(high, Math.max(low, value - codes[1][index] + codes[2][index]))));
    const found = await run(codes.map(() => state.seed), codes.map((code) => ({ ...given(), [port.name]: code })));
    shown.forEach((canvas, index) => paintRow(canvas, output, rowOf(found, index)));
  });
  const fields = ["Seed", "− seed", "+ seed"].map((text, index) => seedField(text, seeds, index, refresh));
  const figures = shown.map((canvas, index) => element("figure", { class: "stack" }, canvas, fields[index] ?? element("figcaption", {}, "=")));
  const node = element("section", {}, element("h2", {}, "Adding and subtracting codes"), element("div", { class: "sums" }, ...figures));
  return { node, refresh };
}

/** Returns an input for one of several seeds. */
function seedField(text, seeds, index, changed) {
  const input = element("input", { type: "number", min: 0, step: 1, value: seeds[index],
    onchange: () => { seeds[index] = Math.abs(Math.trunc(input.valueAsNumber || 0)); changed(); } });
  return element("label", {}, text, input);
}

/** Returns a code between two: on the arc for normal noise (White, 2016), else on the line. */
function between(first, second, share, onArc) {
  let [weight, other] = [1 - share, share];
  const length = (vector) => Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0));
  const cosine = first.reduce((sum, value, index) => sum + value * second[index], 0) / (length(first) * length(second) || 1);
  const angle = Math.acos(Math.min(1, Math.max(-1, cosine)));
  if (onArc && Math.sin(angle) > 1e-3) {
    [weight, other] = [Math.sin((1 - share) * angle) / Math.sin(angle), Math.sin(share * angle) / Math.sin(angle)];
  }
  return first.map((value, index) => weight * value + other * second[index]);
}

/** Many at once; a click takes one. */
function gallery(output, run, take) {
  const shown = canvases(MANY, output);
  let first = 1;
  const refresh = latest(async () => {
    const seeds = shown.map((_, index) => first + index);
    const found = await run(seeds);
    shown.forEach((canvas, index) => paintRow(canvas, output, rowOf(found, index)));
  });
  const cells = shown.map((canvas, index) => element("button", { type: "button", onclick: () => take(first + index), "aria-label": `Take number ${index + 1}` }, canvas));
  const node = element("section", {}, element("h2", {}, "Gallery"),
    button(`${MANY} more`, () => { first += MANY; refresh(); }),
    element("div", { class: `gallery ${wide(output)}` }, ...cells));
  return { node, refresh };
}
