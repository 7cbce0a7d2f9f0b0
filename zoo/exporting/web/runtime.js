// The worker that runs graphs, so that the page stays alive while they compute.

import { unpack } from "./data.js";

// A module of one function that uses a SIMD instruction: what onnxruntime-web is compiled to.
const WITH_SIMD = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11,
]);

let worker;
let questions = 0;
const waiting = new Map();

/** Returns what is missing in this browser, in words; "" if nothing is. */
export function missingInBrowser() {
  if (typeof DecompressionStream === "undefined") return "DecompressionStream";
  if (typeof WebAssembly === "undefined") return "WebAssembly";
  if (!WebAssembly.validate(WITH_SIMD)) return "WebAssembly SIMD";
  return "";
}

/** Starts the worker and the runtime in it; `progress` is called with a share from 0 to 1. */
export async function startRuntime(progress) {
  const source = document.getElementById("worker").textContent;
  const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  worker = new Worker(address);
  worker.onmessage = ({ data: { number, result, problem } }) => {
    const { resolve, reject } = waiting.get(number);
    waiting.delete(number);
    if (problem === undefined) resolve(result);
    else reject(new Error(problem));
  };
  worker.onerror = (event) => {
    for (const { reject } of waiting.values()) reject(new Error(event.message || "the worker failed"));
    waiting.clear();
  };
  progress(0.1);
  const library = await unpack("runtime-library");
  progress(0.2);
  const binary = await unpack("runtime-binary");
  progress(0.6);
  await ask({ kind: "start", library, binary }, [library.buffer, binary.buffer]);
  progress(0.8);
}

/** Sends a message to the worker and waits for its answer. */
export function ask(message, moved = []) {
  const number = (questions += 1);
  return new Promise((resolve, reject) => {
    waiting.set(number, { resolve, reject });
    worker.postMessage({ ...message, number }, moved);
  });
}
