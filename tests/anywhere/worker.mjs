// Runs ONNX files for worker.py, with the package that the command line names.
import { readFileSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";

const imported = await import(process.argv[2]);
const ort = imported.default ?? imported;
ort.env.logLevel = "error";
ort.env.wasm.numThreads = 1;

const ARRAYS = { float32: Float32Array, int64: BigInt64Array, uint8: Uint8Array };

const opened = { path: null, session: null };

async function run([path, folder, ...fields]) {
  if (opened.path !== path) {
    await opened.session?.release();
    opened.path = null;
    opened.session = await ort.InferenceSession.create(new Uint8Array(readFileSync(path)), {
      executionProviders: [process.argv[2] === "onnxruntime-web" ? "wasm" : "cpu"],
      intraOpNumThreads: 1,
    });
    opened.path = path;
  }
  const inputs = {};
  for (let i = 0; i < fields.length; i += 3) {
    const [name, type, shape] = fields.slice(i, i + 3);
    const bytes = new Uint8Array(readFileSync(`${folder}/${name}.in`));
    inputs[name] = new ort.Tensor(type, new ARRAYS[type](bytes.buffer), shape.split(",").map(Number));
  }
  const outputs = await opened.session.run(inputs);
  return Object.entries(outputs).flatMap(([name, tensor]) => {
    writeFileSync(`${folder}/${name}.out`, tensor.data);
    return [name, tensor.type, tensor.dims.join(",")];
  });
}

for await (const line of createInterface({ input: process.stdin })) {
  try {
    console.log(["ok", ...(await run(line.split("\t")))].join("\t"));
  } catch (problem) {
    console.log(`error\t${problem.message.replace(/\s+/g, " ")}`);
  }
}
