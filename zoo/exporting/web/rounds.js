// A graph that is one step of a loop: its rounds as they happen, with a stop.

import { button, choice, element, slider } from "./dom.js";
import { manifest } from "./data.js";
import { Random } from "./random.js";
import { rowOf, usualSizes } from "./graphs.js";
import { classNames, drawRow, filledRow, inWords, isDrawn, isLabel, isPicture, isSetting } from "./ports.js";
import { settingSlider } from "./drawing.js";
import { pictureSource } from "./source.js";
import { textOf, viewOf } from "./views.js";

const USUAL_ROUNDS = 50;
const KEPT = 200; // rounds that one can go back to

/** Returns the panel of a step graph whose inputs are drawn, have defaults, or are pictures. */
export function roundsPanel(graph) {
  const output = graph.outputs[0];
  const isText = output.kind === "text";
  const state = { seed: 1, settings: {}, label: 0, kept: [], running: false };
  const sources = graph.required.filter(isPicture).map((port) => ({ port, ...pictureSource(port, () => {}) }));
  const prompted = isText && graph.inputs.find((port) => port.next === output.name);
  const prompt = element("textarea", { "aria-label": "Beginning of the text" });
  const view = isText ? textView() : viewOf(output);
  const status = element("p", { class: "quiet", role: "status" });
  const bar = element("progress", { max: 1, value: 0, "aria-label": "Rounds that are done" });
  const rounds = element("input", { type: "number", min: 1, max: 100_000, value: graph.rounds ?? (isText ? 400 : USUAL_ROUNDS) });
  const seed = element("input", { type: "number", min: 0, step: 1, value: state.seed });
  const scrub = slider("Round", { low: 1, high: 1, value: 1, step: 1 }, (value) => view.show(state.kept[value - 1]));
  scrub.node.hidden = true;
  const start = button("Start", () => (state.running ? (state.running = false) : loop(Number(rounds.value))), { class: "main" });

  /** Returns the inputs of the first round, one row. */
  function first(sizes) {
    const given = { ...state.settings };
    if (graph.label) given[graph.label.name] = filledRow(graph.label, state.label);
    for (const source of sources) {
      const read = source.read();
      Object.assign(sizes, read.sizes);
      given[source.port.name] = read.data;
    }
    return graph.feeds([given], state.seed, sizes);
  }

  /** Runs the rounds; `begun` is called after the first. */
  async function loop(count, begun = () => {}) {
    state.running = true;
    state.seed = Math.abs(Math.trunc(Number(seed.value) || 0));
    state.kept = [];
    start.textContent = "Stop";
    scrub.node.hidden = true;
    const { numbers, unknown } = prompted ? symbolsOf(prompt.value, prompted) : { numbers: [], unknown: "" };
    const total = count + Math.max(0, numbers.length - 1);
    const every = Math.max(1, Math.ceil(total / KEPT));
    const sizes = usualSizes();
    if (isText) view.begin(numbers.map((number) => prompted.classes[number]).join(""));
    try {
      let feeds = first(sizes);
      for (let round = 1; round <= total && state.running; round += 1) {
        if (round <= numbers.length) feeds[prompted.name] = { dims: [1], data: BigInt64Array.of(BigInt(numbers[round - 1])) };
        const found = await graph.run(feeds);
        const row = rowOf(found[output.name]);
        if (isText) {
          if (round >= numbers.length) view.add(textOf(output, row.data));
        } else {
          view.show(row);
          if (round % every === 0 || round === total) state.kept.push({ dims: row.dims, data: row.data.slice() });
        }
        bar.value = round / total;
        status.textContent = `Round ${round} of ${total}${unknown ? `; left out, not in the alphabet: ${unknown}` : ""}`;
        if (round === 1) begun();
        feeds = following(feeds, found, round + 1, sizes);
        if (round % 8 === 0) await new Promise((resolve) => setTimeout(resolve)); // lets the page paint
      }
    } finally {
      state.running = false;
      start.textContent = "Start";
    }
    if (state.kept.length > 1) {
      const range = scrub.node.querySelector("input");
      range.max = state.kept.length;
      scrub.set(state.kept.length);
      scrub.node.hidden = false;
    }
  }

  /** Returns the inputs of the next round: what names an output is that output, noise is drawn anew. */
  function following(feeds, found, round, sizes) {
    const next = { ...feeds };
    graph.inputs.forEach((port, index) => {
      if (port.next) next[port.name] = { dims: found[port.next].dims, data: found[port.next].data };
      else if ((port.prior === "normal" || port.prior === "uniform") && !isLabel(port)) {
        next[port.name] = { dims: feeds[port.name].dims, data: drawRow(port, new Random(state.seed, index, round), sizes) };
      }
    });
    return next;
  }

  /** Starts the loop and waits for its first round. */
  const begin = () => new Promise((resolve, reject) => loop(Number(rounds.value), resolve).then(resolve, reject));

  const settings = graph.inputs.filter(isSetting).map((port) => settingSlider(port, state.settings, () => {}));
  const names = graph.label ? classNames(graph.label) : [];
  const low = Math.round(graph.label?.range?.[0] ?? 0);
  const classes = names.length > 0 && choice(inWords(graph.label.name), names, 0, (index) => (state.label = low + index));
  const columns = element("div", { class: "columns" },
    ...sources.map((source) => element("section", {}, source.node)),
    element("section", {}, element("h2", {}, inWords(output.name)),
      prompted && element("label", { class: "stack" }, "Begin with"), prompted && prompt, classes && classes.node, ...settings,
      element("div", { class: "row" }, element("label", {}, isText ? "Symbols" : "Rounds", rounds), element("label", {}, "Seed", seed), start),
      bar, status, view.node, scrub.node));
  return {
    parts: [columns],
    title: graph.name,
    about: `${output.kind}, round after round`,
    start: begin,
    state: () => ({ seed: Number(seed.value), rounds: Number(rounds.value), ...(prompted && { prompt: prompt.value.slice(0, 500) }) }),
    async restore(kept) {
      if (Number.isInteger(kept.seed)) seed.value = kept.seed;
      if (Number.isInteger(kept.rounds) && kept.rounds > 0 && kept.rounds <= 100_000) rounds.value = kept.rounds;
      if (prompted && typeof kept.prompt === "string") prompt.value = kept.prompt;
      await begin();
    },
  };
}

/** Whether the page can fill all inputs of a step graph. */
export function canLoop(graph) {
  return graph.isStep && graph.inputs.every((port) => isDrawn(port) || isPicture(port));
}

/** Returns the numbers of symbols, and those that the alphabet does not have. */
function symbolsOf(text, port) {
  const places = new Map(port.classes.map((symbol, index) => [symbol, index]));
  const numbers = [];
  const unknown = new Set();
  for (const symbol of text) {
    if (places.has(symbol)) numbers.push(places.get(symbol));
    else unknown.add(symbol);
  }
  return { numbers, unknown: [...unknown].slice(0, 10).join(" ") };
}

/** Text that grows, behind the beginning that was given. */
function textView() {
  const given = element("span", { class: "given" });
  const written = element("span");
  const box = element("div", { class: "written", tabindex: 0, role: "log", "aria-label": `Text by ${manifest.identity.model}` }, given, written);
  return {
    node: box,
    begin(text) {
      given.textContent = text;
      written.textContent = "";
    },
    add(text) {
      const atEnd = box.scrollTop + box.clientHeight >= box.scrollHeight - 8;
      written.append(text);
      if (atEnd) box.scrollTop = box.scrollHeight;
    },
  };
}
