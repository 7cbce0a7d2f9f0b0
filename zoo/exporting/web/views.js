// Shows what comes out of a graph: pictures, sounds, text, volumes, numbers.

import { button, element, formatted, save } from "./dom.js";
import { manifest } from "./data.js";
import { inWords, isPicture } from "./ports.js";
import { paintPicture } from "./pictures.js";
import { asWav, paintSound, play } from "./sounds.js";

const isSound = (port) => port.kind === "audio" && port.range !== null;
const MOST_BARS = 64;
const MOST_PIXELS = 2 ** 24; // of a canvas that somebody saves

/** Whether rows of a port are shown as a picture each. */
export const isPainted = (port) => isPicture(port) || isSound(port) || port.kind === "volume";

/** Paints a row of a port that is painted. */
export function paintRow(canvas, port, row) {
  if (isPicture(port)) paintPicture(canvas, port, row);
  else if (isSound(port)) paintSound(canvas, row);
  else paintVolume(canvas, row);
}

/** Paints the three projections of a volume side by side. */
function paintVolume(canvas, { dims, data }) {
  const sizes = dims.slice(-3);
  const [low, high] = data.reduce(([least, most], value) => [Math.min(least, value), Math.max(most, value)], [Infinity, -Infinity]);
  const side = Math.max(...sizes);
  Object.assign(canvas, { width: 3 * side, height: side });
  canvas.classList.add("coarse");
  const context = canvas.getContext("2d");
  [0, 1, 2].forEach((axis) => {
    const [first, second] = [0, 1, 2].filter((each) => each !== axis);
    const picture = new ImageData(sizes[second], sizes[first]);
    const place = [0, 0, 0];
    for (place[first] = 0; place[first] < sizes[first]; place[first] += 1) {
      for (place[second] = 0; place[second] < sizes[second]; place[second] += 1) {
        let sum = 0;
        for (place[axis] = 0; place[axis] < sizes[axis]; place[axis] += 1) {
          sum += data[(place[0] * sizes[1] + place[1]) * sizes[2] + place[2]] - low;
        }
        const grey = 255 * (1 - sum / sizes[axis] / (high - low || 1));
        picture.data.set([grey, grey, grey, 255], 4 * (place[first] * sizes[second] + place[second]));
      }
    }
    context.putImageData(picture, axis * side, 0);
  });
}

/** Returns the text of symbol numbers. */
export function textOf(port, numbers) {
  return Array.from(numbers, (number) => port.classes[Number(number)] ?? "\ufffd").join("").replace(/\0+$/, "");
}

/** Returns an element that shows rows of a port, and a function that shows one. */
export function viewOf(port) {
  if (isPainted(port)) return paintedView(port);
  const node = element("div", { class: "written", tabindex: 0, role: "region", "aria-label": inWords(port.name) });
  const show = ({ data }) => {
    if (port.kind === "text") node.textContent = textOf(port, data);
    else if (port.kind === "label") node.textContent = port.classes[Number(data[0])] ?? String(data[0]);
    else node.replaceChildren(barsOf(port, data));
  };
  return { node: element("div", { class: "stack" }, element("p", { class: "quiet" }, inWords(port.name)), node), show };
}

function barsOf(port, data) {
  const numbers = Array.from(data.subarray(0, MOST_BARS), Number);
  const most = Math.max(1e-12, ...numbers.map(Math.abs));
  const bars = numbers.map((number, index) =>
    element("label", { class: "slider" }, port.classes[index] ?? String(index),
      element("meter", { min: -most, max: most, value: number, low: 0 }), element("output", {}, formatted(number))));
  const more = data.length > numbers.length ? [element("p", { class: "quiet" }, `and ${data.length - numbers.length} more`)] : [];
  return element("div", {}, ...bars, ...more);
}

function paintedView(port) {
  const canvas = element("canvas", { role: "img", "aria-label": inWords(port.name) });
  let shown;
  const name = `${manifest.identity.model}-${port.name}`;
  const tools = isSound(port)
    ? [button("Play", () => play(shown, port.rate)), button("Save WAV", () => save(asWav(shown, port.rate), `${name}.wav`))]
    : [];
  tools.push(button("Save PNG", () => savePng(canvas, `${name}.png`)));
  const node = element("figure", { class: "large stack" }, canvas, element("div", { class: "row" }, ...tools));
  const show = (row) => {
    shown = row;
    paintRow(canvas, port, row);
  };
  return { node, canvas, show };
}

/** Saves a canvas as PNG; a small one with each pixel several times as large. */
export function savePng(canvas, name) {
  const scale = canvas.classList.contains("coarse") ? Math.max(1, Math.floor(512 / Math.max(canvas.width, canvas.height))) : 1;
  const large = element("canvas", { width: canvas.width * scale, height: canvas.height * scale });
  if (large.width * large.height > MOST_PIXELS) throw new Error("the picture is too large to be saved");
  const context = large.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(canvas, 0, 0, large.width, large.height);
  large.toBlob((blob) => save(blob, name), "image/png");
}
