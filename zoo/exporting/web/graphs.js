// The graphs of the page: rows of arrays go in, rows come out.

import { manifest, unpack } from "./data.js";
import { Random } from "./random.js";
import { ask } from "./runtime.js";
import { drawRow, isDrawn, isLabel, isPicture, numbersIn, rowDims } from "./ports.js";

const ranges = JSON.parse(document.getElementById("ranges").textContent);

/** One verified ONNX file. */
export class Graph {
  constructor(entry, index) {
    this.entry = entry;
    this.name = entry.graph;
    this.inputs = entry.signature.inputs;
    this.outputs = entry.signature.outputs;
    this.rounds = entry.signature.rounds;
    this.place = `graph-${index}`;
    this.ranges = ranges[index];
    this.required = this.inputs.filter((port) => !isDrawn(port));
    this.isStep = this.inputs.some((port) => port.next);
    this.label = this.inputs.find(isLabel);
  }

  /** Returns the bytes of the file: ranges of the files before it, and what is new in it. */
  async bytes() {
    const fresh = await unpack(this.place);
    const bytes = new Uint8Array(this.entry.bytes);
    const others = new Map();
    let done = 0;
    for (const [file, start, length] of this.ranges) {
      if (file >= 0 && !others.has(file)) others.set(file, await graphs[file].bytes());
      const source = file >= 0 ? others.get(file) : fresh;
      bytes.set(source.subarray(start, start + length), done);
      done += length;
    }
    return bytes;
  }

  /** Loads the file into the runtime, once. */
  open() {
    this.opened ??= this.bytes().then((bytes) => ask({ kind: "open", graph: this.name, bytes }, [bytes.buffer]));
    return this.opened;
  }

  /**
   * Runs the graph.
   *
   * @param feeds by port name, { dims, data } with the rows first.
   * @returns the outputs in the same form.
   */
  async run(feeds) {
    await this.open();
    const given = {};
    for (const port of this.inputs) given[port.name] = { type: port.dtype, ...feeds[port.name] };
    const rows = given[this.inputs[0].name].dims[0];
    const batch = this.inputs[0].shape[0];
    if (typeof batch !== "number" || batch === rows) return ask({ kind: "run", graph: this.name, feeds: given });
    return this.runInBatches(given, rows, batch);
  }

  /** Runs a file of a fixed batch size on any number of rows; the last batch is filled up. */
  async runInBatches(given, rows, batch) {
    const joined = {};
    for (let start = 0; start < rows; start += batch) {
      const part = {};
      for (const [name, { type, dims, data }] of Object.entries(given)) {
        const length = data.length / rows;
        const chosen = new data.constructor(batch * length);
        for (let row = 0; row < batch; row += 1) {
          const from = Math.min(start + row, rows - 1) * length;
          chosen.set(data.subarray(from, from + length), row * length);
        }
        part[name] = { type, data: chosen, dims: [batch, ...dims.slice(1)] };
      }
      const found = await ask({ kind: "run", graph: this.name, feeds: part });
      for (const [name, { type, dims, data }] of Object.entries(found)) {
        const length = data.length / batch;
        joined[name] ??= { type, dims: [rows, ...dims.slice(1)], data: new data.constructor(rows * length) };
        joined[name].data.set(data.subarray(0, Math.min(batch, rows - start) * length), start * length);
      }
    }
    return joined;
  }

  /**
   * Returns feeds of some rows.
   *
   * @param rows for each row, the arrays that are given for it, by port name.
   * @param seeds of what is drawn in each row; one number serves all rows.
   * @param sizes of dimensions that may vary, by word.
   */
  feeds(rows, seeds, sizes = {}) {
    const feeds = {};
    this.inputs.forEach((port, index) => {
      const parts = rows.map((given, row) => {
        const seed = Array.isArray(seeds) ? seeds[row] : seeds;
        return given[port.name] ?? drawRow(port, new Random(seed, index), sizes);
      });
      const data = new parts[0].constructor(parts.length * parts[0].length);
      parts.forEach((part, row) => data.set(part, row * part.length));
      feeds[port.name] = { dims: [rows.length, ...rowDims(port, sizes)], data };
    });
    return feeds;
  }
}

export const graphs = Object.values(manifest.files).map((entry, index) => new Graph(entry, index));

/** Returns one row of an array with rows, and its dimensions. */
export function rowOf({ dims, data }, row = 0) {
  const length = numbersIn(dims.slice(1));
  return { dims: dims.slice(1), data: data.subarray(row * length, (row + 1) * length) };
}

/** Returns the sizes of the training data by word, for dimensions that a graph leaves open. */
export function usualSizes() {
  const words = { image: ["channels", "height", "width"], audio: ["channels", "length"], volume: ["channels", "depth", "height", "width"] };
  const sizes = {};
  for (const port of manifest.identity.data.ports) {
    (words[port.kind] ?? []).forEach((word, index) => {
      const size = port.shape[index + 1];
      if (typeof size === "number") sizes[word] ??= size;
    });
  }
  return sizes;
}

/** Returns a graph that draws pictures of the size of a port from noise alone, if there is one. */
export function drawerFor(port) {
  return graphs.find(
    ({ isStep, required, outputs: [first] }) =>
      !isStep && !required.length && isPicture(first) && String(first.shape.slice(1)) === String(port.shape.slice(1)) && first.layout === port.layout,
  );
}
