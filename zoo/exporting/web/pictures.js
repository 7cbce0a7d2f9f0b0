// Pictures: from the numbers of a port to a canvas, and back.

import { channelsOf, pictureSize, rowDims } from "./ports.js";

const COARSE = 128; // pixels a side up to which a picture is shown with sharp pixels

/** Returns how the numbers of a row lie: height, width, channels, and the place of a number. */
function layoutOf(port, dims) {
  const channels = channelsOf(port);
  const [height, width] = port.layout === "NHWC" ? dims : dims.slice(1);
  const place =
    port.layout === "NHWC"
      ? (pixel, channel) => pixel * channels + channel
      : (pixel, channel) => channel * height * width + pixel;
  return { height, width, channels, place };
}

/** Paints a row of a port of pictures onto a canvas, which becomes as large as the picture. */
export function paintPicture(canvas, port, { dims, data }) {
  const { height, width, channels, place } = layoutOf(port, dims);
  const [low, high] = port.range;
  const scale = 255 / (high - low);
  const pixels = new Uint8ClampedArray(4 * height * width);
  for (let pixel = 0; pixel < height * width; pixel += 1) {
    for (let channel = 0; channel < 3; channel += 1) {
      pixels[4 * pixel + channel] = (data[place(pixel, channels === 1 ? 0 : channel)] - low) * scale;
    }
    pixels[4 * pixel + 3] = 255;
  }
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  canvas.classList.toggle("coarse", Math.max(width, height) <= COARSE);
  canvas.getContext("2d").putImageData(new ImageData(pixels, width, height), 0, 0);
}

/** Returns what a canvas shows as a row of a port; the canvas has the size that the port takes. */
export function readCanvas(canvas, port) {
  const sizes = sizesOf(port, canvas);
  const dims = rowDims(port, sizes);
  const { height, width, channels, place } = layoutOf(port, dims);
  const pixels = canvas.getContext("2d", { willReadFrequently: true }).getImageData(0, 0, width, height).data;
  const [low, high] = port.range;
  const data = port.dtype === "uint8" ? new Uint8Array(height * width * channels) : new Float32Array(height * width * channels);
  for (let pixel = 0; pixel < height * width; pixel += 1) {
    const [red, green, blue] = pixels.subarray(4 * pixel, 4 * pixel + 3);
    // grey as Pillow has it: ITU-R 601
    const values = channels === 1 ? [0.299 * red + 0.587 * green + 0.114 * blue] : [red, green, blue];
    values.forEach((value, channel) => {
      data[place(pixel, channel)] = low + (value / 255) * (high - low);
    });
  }
  return { dims, data, sizes };
}

/** Returns the sizes of dimensions that a port of pictures leaves open, by word. */
function sizesOf(port, { height, width }) {
  const [high, wide] = pictureSize(port);
  return { ...(typeof high === "string" && { [high]: height }), ...(typeof wide === "string" && { [wide]: width }) };
}

/**
 * Draws a picture onto a canvas, which it fills as `fit` says: "cover" cuts off what stands over,
 * "contain" leaves a margin, "stretch" changes the proportions.
 */
export function drawFitted(canvas, picture, fit) {
  const { width, height } = canvas;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.fillStyle = "#ffffff"; // what is transparent becomes white, as in training
  context.fillRect(0, 0, width, height);
  const scales = [width / picture.width, height / picture.height];
  const scale = fit === "contain" ? Math.min(...scales) : Math.max(...scales);
  const [wide, high] = fit === "stretch" ? [width, height] : [picture.width * scale, picture.height * scale];
  const source = halved(picture, wide, high);
  context.drawImage(source, (width - wide) / 2, (height - high) / 2, wide, high);
}

/** Makes a picture smaller by halves until it is less than twice as large as it shall be. */
function halved(picture, wide, high) {
  let source = picture;
  while (source.width >= 2 * wide && source.height >= 2 * high) {
    const canvas = document.createElement("canvas");
    canvas.width = Math.ceil(source.width / 2);
    canvas.height = Math.ceil(source.height / 2);
    canvas.getContext("2d").drawImage(source, 0, 0, canvas.width, canvas.height);
    source = canvas;
  }
  return source;
}
