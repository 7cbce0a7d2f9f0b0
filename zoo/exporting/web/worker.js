// Runs in a worker: opens ONNX graphs with onnxruntime-web and runs them, one after the other.
// A message is { number, kind, ... }; the answer is { number, result } or { number, problem }.

let ort;
const sessions = new Map();
let before = Promise.resolve();

const answers = {
  async start({ library, binary }) {
    const address = URL.createObjectURL(new Blob([library], { type: "text/javascript" }));
    ort = await import(address);
    URL.revokeObjectURL(address);
    ort.env.wasm.wasmBinary = binary;
    ort.env.wasm.numThreads = 1; // more would need headers of a server
    ort.env.logLevel = "error";
  },
  async open({ graph, bytes }) {
    sessions.set(graph, await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] }));
  },
  async run({ graph, feeds }) {
    const given = {};
    for (const [name, { type, data, dims }] of Object.entries(feeds)) {
      given[name] = new ort.Tensor(type, data, dims);
    }
    const found = await sessions.get(graph).run(given);
    const results = {};
    for (const [name, tensor] of Object.entries(found)) {
      results[name] = { type: tensor.type, data: tensor.data.slice(), dims: [...tensor.dims] };
      tensor.dispose();
    }
    return results;
  },
};

self.onmessage = ({ data: message }) => {
  before = before.then(async () => {
    try {
      self.postMessage({ number: message.number, result: await answers[message.kind](message) });
    } catch (problem) {
      self.postMessage({ number: message.number, problem: String(problem?.message ?? problem) });
    }
  });
};
