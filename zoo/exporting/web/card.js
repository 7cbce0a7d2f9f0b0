// What the model is: where it comes from, its licences, its files and how they were verified.

import { button, element, formatted } from "./dom.js";
import { manifest, sha256, unpackText } from "./data.js";
import { graphs } from "./graphs.js";

const bytesInWords = (bytes) => (bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`);

/** Fills the dialog with the model card. */
export function fillCard(dialog) {
  const { identity, written_by: versions } = manifest;
  const facts = [
    ["Model", identity.model],
    ["Package", `${identity.distribution} ${identity.version}`],
    ["Trained on", `${identity.data.name}, ${identity.step} steps`],
    ["Licence of the data", identity.data.licence || "not known"],
    ["Measured", Object.entries(identity.metrics).map(([name, value]) => `${name} ${formatted(value)}`).join(", ")],
    ["Options", Object.entries(identity.config).map(([name, value]) => `${name} ${JSON.stringify(value)}`).join(", ")],
    ["Written by", Object.entries(versions).map(([name, version]) => `${name} ${version}`).join(", ")],
  ];
  const terms = facts.filter(([, text]) => text).flatMap(([name, text]) => [element("dt", {}, name), element("dd", {}, text)]);
  const notices = element("pre", { tabindex: 0, hidden: true });
  dialog.replaceChildren(
    element("h2", { id: "card-title" }, "About this model"),
    element("dl", {}, ...terms),
    ...graphs.map(fileOf),
    element("p", {}, "The licence of the weights is for whoever trained them to choose."),
    element("div", { class: "row" },
      button("Licences of onnxruntime-web", async () => {
        notices.textContent = await unpackText("notices");
        notices.hidden = false;
      }),
      button("Close", () => dialog.close(), { class: "main" })),
    notices);
}

/** Returns what is known of one file; its hash is computed of the bytes in the page. */
function fileOf(graph) {
  const { file, bytes, sha256: listed, precision, checks } = graph.entry;
  const answer = element("span", { role: "status" });
  const verify = async () => {
    const found = await sha256(await graph.bytes());
    answer.textContent = found === "" ? "This browser computes no hash for a file." : found === listed ? "The bytes in this page are these." : `The page holds other bytes: ${found}`;
  };
  const checked = Object.entries(checks).map(([output, figures]) =>
    `${output}: ${Object.entries(figures).map(([name, value]) => `${name.replaceAll("_", " ")} ${formatted(value)}`).join(", ")}`);
  return element("details", {}, element("summary", {}, `${graph.name}: ${file}, ${bytesInWords(bytes)}, ${precision}`),
    element("p", { class: "hash" }, `sha256 ${listed}`),
    element("div", { class: "row" }, button("Compute the hash here", verify), answer),
    element("p", { class: "quiet" }, `Verified against the model before it took its name. ${checked.join("; ")}`));
}
