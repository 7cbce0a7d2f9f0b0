// A code and what a graph makes of it: a pad over two directions, a slider a number.

import { announce, element, formatted, latest, slider } from "./dom.js";
import { rowOf } from "./graphs.js";
import { inWords, numbersIn, rowDims } from "./ports.js";
import { isPainted, paintRow, viewOf } from "./views.js";

const FEW = 12; // sliders that are shown at once
const MOST_SLIDERS = 64;
const TILE_SECONDS = 0.5; // for all tiles of the pad
const MOST_TILES = 11; // a side
const STEP = 1e-2; // of a finite difference
const TURNS = 12; // of the power iteration
const MOST_MEASURED = 512; // numbers of a code up to which directions are measured …
const MOST_NUMBERS = 2 ** 21; // … and of all its finite differences

/** Codes of one graph: which values they have, and how they are run. */
export class CodeExplorer {
  /**
   * @param graph that takes the code.
   * @param port of the code.
   * @param others returns the other inputs of a row, by name, and the seed of what is drawn.
   * @param changed is called when the user moved the code.
   */
  constructor(graph, port, others, changed = () => {}) {
    Object.assign(this, { graph, port, others, changed });
    this.output = graph.outputs[0];
    this.size = numbersIn(rowDims(port));
    this.code = new Float32Array(this.size);
    this.span = port.prior === "uniform" ? Math.max(...port.range.map(Math.abs)) : 3;
    this.axes = [this.axis(0), this.axis(Math.min(1, this.size - 1))];
    this.center = [0, 0]; // of the pad, along the axes
    this.view = viewOf(this.output);
    this.render = latest(() => this.renderOnce());
    this.renderTiles = latest((isStale) => this.renderTilesOnce(isStale));
    this.sections = this.build();
  }

  axis(index) {
    const vector = new Float32Array(this.size);
    vector[index] = 1;
    return vector;
  }

  /** Runs the graph on some codes. */
  async run(codes, seeds) {
    const { given, seed } = this.others();
    const rows = codes.map((code) => ({ ...given, [this.port.name]: code }));
    const found = await this.graph.run(this.graph.feeds(rows, seeds ?? seed));
    return found[this.output.name];
  }

  build() {
    const drawn = isPainted(this.output);
    this.tiles = element("canvas", { "aria-hidden": "true" });
    this.mark = element("div", { class: "mark" });
    this.pad = element("div", {
      class: "pad", tabindex: 0, role: "application",
      "aria-label": "Two directions of the code; arrow keys move by a little, with shift by more",
      "aria-roledescription": "pad",
    }, drawn && this.tiles, this.mark);
    this.listen();
    this.chosen = [0, 1].map((side) => this.axisSelect(side));
    this.sliders = Array.from({ length: Math.min(this.size, MOST_SLIDERS) }, (_, index) =>
      slider(`${inWords(this.port.name)} ${index}`, { low: -this.limit(), high: this.limit(), value: 0 }, (value) => {
        const code = this.code.slice();
        code[index] = value;
        this.move(code, { tell: true });
      }));
    const few = this.sliders.slice(0, FEW).map(({ node }) => node);
    const more = this.sliders.slice(FEW).map(({ node }) => node);
    const directions = element("div", { class: "row" }, ...this.chosen.map(({ node }) => node));
    return [
      element("section", { hidden: this.size < 2 }, element("h2", {}, "Pad"), this.pad, directions,
        element("p", { class: "quiet" }, "Drag, or use the arrow keys.")),
      element("section", {}, element("h2", {}, inWords(this.output.name)), this.view.node),
      element("section", {}, element("h2", {}, `The ${this.size} numbers of the code`),
        element("div", { class: "sliders" }, ...few, more.length > 0 && element("details", {}, element("summary", {}, `${more.length} more`), ...more)))];
  }

  limit() {
    return this.port.prior === "uniform" ? this.span : 4;
  }

  axisSelect(side) {
    const options = Array.from({ length: Math.min(this.size, MOST_MEASURED) }, (_, index) =>
      element("option", { value: index }, `${inWords(this.port.name)} ${index}`));
    const numbers = this.size * numbersIn(rowDims(this.output));
    const measured = this.size >= 2 && this.size <= MOST_MEASURED && numbers <= MOST_NUMBERS && isPainted(this.output);
    const node = element("select", { "aria-label": side ? "Upwards" : "Across" },
      measured && element("option", { value: "change" }, `changes most${side ? ", second" : ""}`), ...options);
    node.value = measured ? "change" : String(Math.min(side, this.size - 1));
    node.addEventListener("change", () => this.chooseAxes());
    return { node: element("label", {}, side ? "Upwards" : "Across", node), select: node };
  }

  /** Takes a code that is not near; the directions that change most are others there. */
  async jump(code) {
    await this.move(code);
    if (this.chosen.some(({ select }) => select.value === "change")) await this.chooseAxes();
  }

  /** Lets pad and sliders reach as far as the numbers of a code, where no prior says how far that is. */
  spread(code) {
    if (this.port.prior !== null) return;
    this.span = Math.max(1, 1.5 * code.reduce((most, value) => Math.max(most, Math.abs(value)), 0));
    for (const each of this.sliders) each.reach(-this.span, this.span);
  }

  /** Takes the axes that are chosen; those that change most are measured where the code is. */
  async chooseAxes() {
    const values = this.chosen.map(({ select }) => select.value);
    if (values.includes("change")) {
      const found = await this.measureDirections();
      this.axes = values.map((value, side) => (value === "change" ? found[side] : this.axis(Number(value))));
    } else {
      this.axes = values.map((value) => this.axis(Number(value)));
    }
    // a code of normal noise may lie far out along the direction of what changes most
    this.center = this.axes.map((axis) => (Math.abs(dot(this.code, axis)) > this.span ? dot(this.code, axis) : 0));
    await this.move(this.code);
  }

  /**
   * Returns the two orthogonal directions in which the output changes most: the leading
   * eigenvectors of JᵀJ, J the Jacobian by finite differences.
   */
  async measureDirections() {
    const codes = [this.code, ...Array.from({ length: this.size }, (_, index) => {
      const code = this.code.slice();
      code[index] += STEP;
      return code;
    })];
    const found = await this.run(codes);
    const base = rowOf(found, 0).data;
    const changes = codes.slice(1).map((_, index) => rowOf(found, index + 1).data.map((value, place) => (value - base[place]) / STEP));
    const directions = [];
    for (let which = 0; which < 2; which += 1) {
      let vector = Float64Array.from({ length: this.size }, (_, index) => 1 / (1 + index));
      for (let turn = 0; turn < TURNS; turn += 1) {
        const moved = new Float64Array(base.length);
        changes.forEach((change, index) => change.forEach((value, place) => (moved[place] += vector[index] * value)));
        vector = Float64Array.from(changes, (change) => change.reduce((sum, value, place) => sum + value * moved[place], 0));
        for (const other of directions) subtract(vector, other, dot(vector, other));
        const length = Math.hypot(...vector) || 1;
        vector = vector.map((value) => value / length);
      }
      directions.push(vector);
    }
    return directions.map((vector) => Float32Array.from(vector));
  }

  listen() {
    const at = (event) => {
      const area = this.pad.getBoundingClientRect();
      const across = Math.min(1, Math.max(0, (event.clientX - area.left) / area.width));
      const down = Math.min(1, Math.max(0, (event.clientY - area.top) / area.height));
      this.moveTo((2 * across - 1) * this.span, (1 - 2 * down) * this.span);
    };
    this.pad.addEventListener("pointerdown", (event) => {
      this.pad.setPointerCapture(event.pointerId);
      at(event);
    });
    this.pad.addEventListener("pointermove", (event) => this.pad.hasPointerCapture(event.pointerId) && at(event));
    this.pad.addEventListener("keydown", (event) => {
      const [across, up] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key] ?? [0, 0];
      if (!across && !up) return;
      event.preventDefault();
      const step = this.span * (event.shiftKey ? 0.2 : 0.04);
      const [u, v] = this.place();
      this.moveTo(this.clamped(u + across * step), this.clamped(v + up * step));
      announce(this.place().map(formatted).join(", "));
    });
  }

  clamped(value) {
    return Math.min(this.span, Math.max(-this.span, value));
  }

  /** Returns where the code is on the pad. */
  place() {
    return this.axes.map((axis, side) => dot(this.code, axis) - this.center[side]);
  }

  /** Moves the code within the plane of the pad. */
  moveTo(u, v) {
    const [x, y] = this.place();
    const code = this.code.slice();
    subtract(code, this.axes[0], x - u);
    if (this.axes[1].some((value, index) => value !== this.axes[0][index])) subtract(code, this.axes[1], y - v);
    this.move(code, { tell: true, inPlane: true });
  }

  /** Takes another code; `inPlane` says that the tiles stay as they are. */
  move(code, { tell = false, inPlane = false } = {}) {
    this.code = code;
    this.sliders.forEach((each, index) => each.set(code[index]));
    const [u, v] = this.place();
    this.mark.style.left = `${50 + (50 * this.clamped(u)) / this.span}%`;
    this.mark.style.top = `${50 - (50 * this.clamped(v)) / this.span}%`;
    if (tell) this.changed(code);
    if (!inPlane) this.refreshTiles();
    return this.render();
  }

  async renderOnce() {
    const started = performance.now();
    const found = await this.run([this.code]);
    this.seconds = (performance.now() - started) / 1000;
    this.view.show(rowOf(found));
  }

  /** Draws the tiles anew when nothing has moved for a moment. */
  refreshTiles() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.renderTiles(), 120);
  }

  /** Fills the pad with what the codes of its plane become, row by row. */
  async renderTilesOnce(isStale) {
    if (!isPainted(this.output) || this.output.kind !== "image" || this.size < 2) return;
    await this.render();
    const most = Math.floor(Math.sqrt(TILE_SECONDS / Math.max(this.seconds ?? 0.01, 1e-4)));
    const side = Math.max(3, Math.min(MOST_TILES, most - ((most + 1) % 2)));
    const tile = element("canvas");
    for (let row = 0; row < side; row += 1) {
      const codes = Array.from({ length: side }, (_, column) => this.codeAt(column, row, side));
      const found = await this.run(codes);
      if (isStale()) return;
      codes.forEach((_, column) => {
        paintRow(tile, this.output, rowOf(found, column));
        const { width, height } = tile;
        const sharp = Math.max(1, Math.round(480 / side / Math.max(width, height)));
        const [wide, high] = [width * sharp, height * sharp];
        if (this.tiles.width !== side * wide || this.tiles.height !== side * high) Object.assign(this.tiles, { width: side * wide, height: side * high });
        const context = this.tiles.getContext("2d");
        context.imageSmoothingEnabled = false;
        context.drawImage(tile, column * wide, row * high, wide, high);
      });
    }
  }

  /** Returns the code in the middle of a tile. */
  codeAt(column, row, side) {
    const [x, y] = this.place();
    const code = this.code.slice();
    const [u, v] = [(2 * (column + 0.5)) / side - 1, 1 - (2 * (row + 0.5)) / side];
    subtract(code, this.axes[0], x - u * this.span);
    subtract(code, this.axes[1], y - v * this.span);
    return code;
  }
}

function dot(first, second) {
  return first.reduce((sum, value, index) => sum + value * second[index], 0);
}

/** Subtracts a multiple of a vector from another, in place. */
function subtract(vector, other, times) {
  for (let index = 0; index < vector.length; index += 1) vector[index] -= times * other[index];
}
