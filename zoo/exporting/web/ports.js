// What a port is: its kind, its shape, what can be drawn for it. A page knows no more of a model.

const ARRAYS = { float32: Float32Array, int64: BigInt64Array, uint8: Uint8Array };
const OPEN_SIZE = 16; // of a dimension whose size is not known

export const isPicture = (port) =>
  port.kind === "image" && port.range !== null && [1, 3].includes(channelsOf(port));
export const isLabel = (port) => port.kind === "label" && port.shape.length === 1;
export const isDrawn = (port) => port.prior !== null || port.default !== null;
export const isFixed = (port) => port.shape.slice(1).every((size) => typeof size === "number");
export const isCode = (port) => port.kind === "latent" && port.dtype === "float32" && isFixed(port);
// A setting, such as a temperature: one number that has a default.
export const isSetting = (port) =>
  port.default !== null && !port.next && port.range !== null && !isLabel(port) && isFixed(port);

export const numbersIn = (dims) => dims.reduce((product, size) => product * size, 1);

/** Returns the channels of a port of pictures. */
export function channelsOf(port) {
  return port.shape[port.layout === "NHWC" ? 3 : 1];
}

/** Returns height and width of a port of pictures; words where they may vary. */
export function pictureSize(port) {
  return port.layout === "NHWC" ? port.shape.slice(1, 3) : port.shape.slice(2);
}

/** Returns the dimensions of one row; `sizes` are those of dimensions that may vary, by word. */
export function rowDims(port, sizes = {}) {
  return port.shape.slice(1).map((size) => (typeof size === "number" ? size : sizes[size] ?? port.rate ?? OPEN_SIZE));
}

/** Returns an array of the port's type from numbers. */
export function arrayFor(port, numbers) {
  if (port.dtype === "int64") return BigInt64Array.from(numbers, (number) => BigInt(Math.round(Number(number))));
  return ARRAYS[port.dtype].from(numbers);
}

/** Returns one row of a port, filled with a number. */
export function filledRow(port, number, sizes) {
  return arrayFor(port, new Array(numbersIn(rowDims(port, sizes))).fill(number));
}

/** Draws one row from the prior of a port, or returns one of its default. */
export function drawRow(port, random, sizes) {
  const count = numbersIn(rowDims(port, sizes));
  if (port.prior === "normal") return arrayFor(port, Array.from({ length: count }, () => random.normal()));
  if (port.prior !== "uniform") return filledRow(port, port.default ?? 0, sizes);
  const [low, high] = port.range;
  const draw =
    port.dtype === "float32"
      ? () => low + (high - low) * random.uniform()
      : () => low + Math.floor((high - low + 1) * random.uniform());
  return arrayFor(port, Array.from({ length: count }, draw));
}

/** Returns the names of the classes of a label, or the first hundred numbers. */
export function classNames(port) {
  if (port.classes.length) return port.classes;
  const [low, high] = port.range ?? [0, 0];
  return Array.from({ length: Math.min(100, high - low + 1) }, (_, index) => String(low + index));
}

/** Returns a name with spaces in the place of underlines. */
export function inWords(name) {
  return name.replaceAll("_", " ");
}
