// Builds the page: a panel for what each graph takes and gives, and the state in the address.

import { announce, element } from "./dom.js";
import { manifest } from "./data.js";
import { graphs } from "./graphs.js";
import { missingInBrowser, startRuntime } from "./runtime.js";
import { inWords, isPicture } from "./ports.js";
import { drawingPanel } from "./drawing.js";
import { picturePanel } from "./translation.js";
import { decoderOf, rebuildingPanel } from "./rebuilding.js";
import { canLoop, roundsPanel } from "./rounds.js";
import { fillCard } from "./card.js";

const main = document.getElementById("main");
const status = document.getElementById("status");
const bar = document.getElementById("progress");

/** Returns a panel maker for what can be done with each graph, in the order of the tabs. */
function panelsOf() {
  const found = [];
  for (const graph of graphs) {
    const takesPicture = graph.required.length === 1 && isPicture(graph.required[0]);
    const decoder = takesPicture && !graph.isStep && decoderOf(graph);
    if (graph.isStep) found.push([0, graph, canLoop(graph) ? roundsPanel : otherPanel]);
    else if (!graph.required.length) found.push([0, graph, drawingPanel]);
    else if (decoder) found.push([1, graph, () => rebuildingPanel(graph, decoder)]);
    else if (takesPicture) found.push([isPicture(graph.outputs[0]) ? 2 : 3, graph, picturePanel]);
    else if (!graphs.some((other) => other.required.length && decoderOf(other)?.graph === graph)) found.push([4, graph, otherPanel]);
  }
  return found.sort(([first], [second]) => first - second).map(([, graph, make]) => make(graph));
}

/** Returns a panel that says what a graph would need. */
function otherPanel(graph) {
  const needs = graph.required.map((port) => `${port.name} (${port.shape.join(", ")})`).join(", ");
  const text = `This page cannot fill ${needs} of ${graph.name}. The file ${graph.entry.file} takes it elsewhere: zoo run ${graph.entry.file}`;
  const nothing = async () => {};
  return { parts: [element("section", {}, text)], title: graph.name, about: "", start: nothing, state: () => ({}), restore: nothing };
}

/** Shows what went wrong, in the place of a panel or above it. */
function report(problem) {
  console.error(problem);
  main.querySelector(".problem")?.remove();
  main.prepend(element("p", { class: "problem", role: "alert" }, `This did not work: ${problem.message ?? problem}`));
}

const panels = panelsOf();
let current = 0;

/** Builds the tabs; each panel starts when it is first shown. */
function showPanels() {
  const started = new Set();
  const tabs = panels.map((panel, index) => {
    const text = inWords(panel.title);
    return element("button", { type: "button", role: "tab", id: `tab-${index}`, "aria-controls": `panel-${index}`, title: panel.about, onclick: () => select(index) }, text);
  });
  const boxes = panels.map((panel, index) =>
    element("div", { role: "tabpanel", id: `panel-${index}`, class: "panel", "aria-labelledby": `tab-${index}` }, ...panel.parts));
  const list = element("div", { role: "tablist", "aria-label": "What the model does", hidden: panels.length < 2 }, ...tabs);
  list.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    select((current + step + tabs.length) % tabs.length);
    tabs[current].focus();
  });
  const select = async (index, kept) => {
    current = index;
    tabs.forEach((tab, other) => {
      tab.setAttribute("aria-selected", other === index);
      tab.tabIndex = other === index ? 0 : -1;
      boxes[other].hidden = other !== index;
    });
    if (started.has(index)) return;
    started.add(index);
    await (kept ? panels[index].restore(kept) : panels[index].start());
  };
  main.replaceChildren(list, ...boxes);
  return select;
}

/** Returns the panel and its state that the address names; the first panel if it names none. */
function readAddress() {
  try {
    const { panel, ...kept } = JSON.parse(decodeURIComponent(location.hash.slice(1)));
    if (panels[panel]) return [panel, kept];
  } catch {
    // no state, or one that was cut short on its way
  }
  return [0, null];
}

async function copyLink(event) {
  const kept = JSON.stringify({ panel: current, ...panels[current].state() });
  history.replaceState(null, "", `#${encodeURIComponent(kept)}`);
  try {
    await navigator.clipboard.writeText(location.href);
    event.target.textContent = "Copied";
  } catch {
    event.target.textContent = "It is in the address line";
  }
  announce(event.target.textContent);
  setTimeout(() => (event.target.textContent = "Copy link"), 2000);
}

/** Lets a program run a graph on given rows: what verified the page did so. */
globalThis.zoo = {
  manifest,
  async run(name, feeds) {
    return graphs.find((graph) => graph.name === name).run(feeds);
  },
};

const { identity } = manifest;
document.getElementById("summary").textContent =
  `${identity.distribution} ${identity.version}, trained on ${identity.data.name}, ${identity.step} steps. Runs in this page; nothing is sent anywhere.`;
const dialog = document.getElementById("card");
document.getElementById("open-card").addEventListener("click", () => {
  fillCard(dialog);
  dialog.showModal();
});
document.getElementById("copy-link").addEventListener("click", copyLink);

async function start() {
  const missing = missingInBrowser();
  if (missing) throw new Error(`this browser has no ${missing}; a current Chromium, Firefox or Safari has`);
  status.textContent = `Loading the runtime and ${identity.model} …`;
  await startRuntime((share) => (bar.value = share));
  globalThis.addEventListener("unhandledrejection", ({ reason }) => report(reason));
  const [panel, kept] = readAddress();
  const select = showPanels();
  document.getElementById("copy-link").disabled = false;
  await select(panel, kept);
  document.documentElement.dataset.ready = "yes"; // the first result is there
}

start().catch((problem) => {
  document.documentElement.dataset.ready = "failed";
  report(problem);
});
