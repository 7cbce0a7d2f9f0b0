// Runs draw.mjs of docs/onnx.md as its page does: node page.mjs PACKAGE draw.mjs FOLDER RESULT
// The canvas and ImageData are stand-ins; the rest is onnxruntime-web's and Node's own.
import { writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [, , runtime, script, folder, result] = process.argv;
const ort = await import(runtime);
const { start } = await import(pathToFileURL(script));

globalThis.ImageData = class {
  constructor(width, height) {
    Object.assign(this, { width, height, data: new Uint8ClampedArray(4 * width * height) });
  }
};
const painted = [];
const context = {
  putImageData: ({ width, height, data }, x, y) =>
    painted.push({ x, y, width, height, data: [...data] }),
};
const canvas = { getContext: () => context };
const button = { disabled: true };

const inputs = [];
const create = ort.InferenceSession.create.bind(ort.InferenceSession);
ort.InferenceSession.create = async (...given) => {
  const session = await create(...given);
  const run = session.run.bind(session);
  session.run = (feed) => {
    const told = Object.entries(feed).map(([name, { type, dims, data }]) => [
      name,
      { type, dims, data: [...data].map(Number) },
    ]);
    inputs.push(Object.fromEntries(told));
    return run(feed);
  };
  return session;
};

await start(ort, new URL(folder), button, canvas);
await button.onclick();
const { width, height } = canvas;
writeFileSync(result, JSON.stringify({ width, height, enabled: !button.disabled, inputs, painted }));
process.exit(0); // onnxruntime-web leaves a worker behind
