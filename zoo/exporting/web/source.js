// Where a picture comes from: a file, the clipboard, a drawing, or a graph that draws pictures.

import { button, choice, element, slider } from "./dom.js";
import { manifest } from "./data.js";
import { drawerFor, rowOf, usualSizes } from "./graphs.js";
import { channelsOf, inWords, pictureSize } from "./ports.js";
import { drawFitted, paintPicture, readCanvas } from "./pictures.js";

const LARGEST = 512; // pixels of the longer side, where a graph takes any size

/** Returns an element to choose or draw the picture for a port; `changed` is called after each change. */
export function pictureSource(port, changed) {
  const canvas = element("canvas", { tabindex: 0, "aria-label": `${inWords(port.name)}: draw here, or paste a picture` });
  const note = element("p", { class: "quiet", role: "status" });
  const pen = { colour: channelsOf(port) === 1 ? "#ffffff" : "#d03030", width: 0.08 };
  const box = element("div", { class: "source" }, canvas);
  const [fixedHeight, fixedWidth] = pictureSize(port);
  const isFree = typeof fixedHeight === "string" || typeof fixedWidth === "string";
  const usual = usualSizes();
  const fit = manifest.identity.data.ports.find((each) => each.kind === port.kind)?.fit ?? "cover";

  function resize(height, width) {
    canvas.height = typeof fixedHeight === "number" ? fixedHeight : height;
    canvas.width = typeof fixedWidth === "number" ? fixedWidth : width;
    canvas.classList.toggle("coarse", Math.max(canvas.width, canvas.height) <= 128);
  }

  function clear() {
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.fillStyle = channelsOf(port) === 1 ? "#000000" : "#ffffff";
    context.fillRect(0, 0, canvas.width, canvas.height);
  }

  /** Draws a ring and a stroke, so that there is something to begin with. */
  function sketch() {
    clear();
    const { width, height } = canvas;
    const context = canvas.getContext("2d");
    prepare(context);
    context.beginPath();
    context.ellipse(width / 2, height * 0.38, width * 0.2, height * 0.2, 0, 0, 2 * Math.PI);
    context.moveTo(width / 2, height * 0.58);
    context.lineTo(width * 0.4, height * 0.88);
    context.stroke();
  }

  function prepare(context) {
    context.strokeStyle = pen.colour;
    context.lineWidth = Math.max(1, pen.width * Math.min(canvas.width, canvas.height));
    context.lineCap = "round";
    context.lineJoin = "round";
  }

  async function take(blob) {
    let picture;
    try {
      picture = await createImageBitmap(blob, { imageOrientation: "from-image" });
    } catch {
      note.textContent = "That is no picture that this browser reads.";
      return;
    }
    note.textContent = "";
    if (isFree) {
      const scale = Math.min(1, LARGEST / Math.max(picture.width, picture.height));
      resize(Math.max(1, Math.round(picture.height * scale)), Math.max(1, Math.round(picture.width * scale)));
      if (scale < 1) note.textContent = `Scaled from ${picture.width} × ${picture.height} to ${canvas.width} × ${canvas.height} pixels.`;
    }
    drawFitted(canvas, picture, fit);
    picture.close();
    changed();
  }

  let last = null;
  const point = (event) => {
    const area = canvas.getBoundingClientRect();
    return [((event.clientX - area.left) / area.width) * canvas.width, ((event.clientY - area.top) / area.height) * canvas.height];
  };
  const draw = (event) => {
    const context = canvas.getContext("2d");
    prepare(context);
    context.beginPath();
    context.moveTo(...last);
    last = point(event);
    context.lineTo(...last);
    context.stroke();
    changed();
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    last = point(event);
    draw(event);
  });
  canvas.addEventListener("pointermove", (event) => last && draw(event));
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (last = null));
  box.addEventListener("dragover", (event) => {
    event.preventDefault();
    box.classList.add("over");
  });
  box.addEventListener("dragleave", () => box.classList.remove("over"));
  box.addEventListener("drop", (event) => {
    event.preventDefault();
    box.classList.remove("over");
    if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
  });
  document.addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files].find(({ type }) => type.startsWith("image/"));
    if (file && canvas.checkVisibility?.() !== false) take(file);
  });

  const file = element("input", { type: "file", accept: "image/*", class: "hidden", tabindex: -1, "aria-hidden": "true",
    onchange: () => file.files[0] && take(file.files[0]) });
  const drawer = drawerFor(port);
  const sample = async () => {
    const found = await drawer.run(drawer.feeds([{}], Math.floor(Math.random() * 2 ** 31)));
    paintPicture(canvas, drawer.outputs[0], rowOf(found[drawer.outputs[0].name]));
    changed();
  };
  const colours = channelsOf(port) === 1
    ? [choice("Pen", ["White pen", "Black pen"], 0, (index) => (pen.colour = ["#ffffff", "#000000"][index])).node]
    : [element("label", {}, "Pen", element("input", { type: "color", value: pen.colour, oninput: (event) => (pen.colour = event.target.value) }))];
  const width = slider("Pen width", { low: 0.02, high: 0.25, value: pen.width, step: 0.01 }, (value) => (pen.width = value));
  const tools = element("div", { class: "row" },
    button("Choose a picture", () => file.click()),
    drawer && button("Let the model draw one", sample),
    button("Clear", () => { clear(); changed(); }), ...colours);
  resize(usual.height ?? 64, usual.width ?? 64);
  sketch();
  const hint = element("p", { class: "quiet" }, "Draw on it, drop a file on it, or paste a picture. Nothing leaves this page.");
  return {
    node: element("div", { class: "stack" }, element("h2", {}, inWords(port.domain || port.name)), box, tools, width.node, file, note, hint),
    canvas,
    begin: async () => (drawer ? sample() : changed()),
    read: () => readCanvas(canvas, port),
  };
}
