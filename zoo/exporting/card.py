"""The card of a trained model: ``README.md`` with the front matter of Hugging Face's model cards.

Source of the keys: the model card specification of the Hugging Face hub. The front matter is YAML,
of which JSON is a part: every value is written as JSON, so that no text of a plugin or of a data
set ends it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zoo.identity import ExportedFile, Identity
from zoo.measurements import EvaluationRecord, Measurement
from zoo.modalities import can_sample, modality_of
from zoo.ports import Signature, describe_port, slugify, translates_to

CARD = "README.md"
PICTURES = "pictures"
# What the hub calls the licences that data sets and weights have here.
LICENCES = {
    "MIT": "mit", "Apache-2.0": "apache-2.0", "CC0": "cc0-1.0", "CC BY 4.0": "cc-by-4.0",
    "CC BY-SA 3.0": "cc-by-sa-3.0", "CC BY-SA 4.0": "cc-by-sa-4.0",
}  # fmt: skip


@dataclass(frozen=True)
class CardFacts:
    """What a card says beside what the weights say of themselves.

    Attributes:
        evaluation: what was measured of the weights; what lies beside them, when None.
        licence: under which they are published; empty where nobody said.
        images: rows of a split by port, of which pictures are made; only what is drawn from noise
            is shown, when None.
    """

    evaluation: EvaluationRecord | None = None
    licence: str = ""
    images: Mapping[str, Any] | None = None


def render_card(
    identity: Identity,
    files: Collection[ExportedFile] = (),
    facts: CardFacts = CardFacts(),
    pictures: Sequence[str] = (),
) -> str:
    """Return the card as Markdown.

    Args:
        identity: of the model.
        files: that lie beside the card.
        facts: what is known from elsewhere.
        pictures: paths of pictures to show, from the card.
    """
    evaluation, licence = facts.evaluation, facts.licence
    spec = identity.data
    lines = [
        "---",
        *front_matter(identity, files, evaluation, licence),
        "---",
        f"# {identity.model}",
        "",
        f"Trained with {identity.distribution} {identity.version} on {spec.name} "
        f"({' × '.join(map(str, spec.ports[0].shape[1:]))}), {identity.step:,} steps.",
        "",
        *(f"![{path.rpartition('/')[2]}]({path})\n" for path in pictures),
        _licences(identity, licence),
        "",
        *_figures(identity, evaluation),
        *_files(files),
    ]
    return "\n".join(lines) + "\n"


def front_matter(
    identity: Identity,
    files: Collection[ExportedFile],
    evaluation: EvaluationRecord | None,
    licence: str,
) -> Iterator[str]:
    """Yield the lines of the front matter, one key each."""
    tags = ["zoo", identity.distribution, identity.model, *(["onnx"] if files else [])]
    found: dict[str, Any] = {"library_name": "zoo", "tags": tags}
    if task := hub_task(identity):
        found["pipeline_tag"] = task
    if licence:
        found |= _hub_licence(licence)
    if identity.data.name:
        found["datasets"] = [slugify(identity.data.name)]
    if evaluation and evaluation.measurements:
        dataset = {"type": slugify(evaluation.data), "name": evaluation.data,
                   "split": evaluation.split}  # fmt: skip
        metrics = [
            {"type": each.name, "name": _title(each), "value": each.value}
            for each in evaluation.measurements
        ]
        results = {"task": {"type": task or "other"}, "dataset": dataset, "metrics": metrics}
        found["model-index"] = [{"name": identity.model, "results": [results]}]
    for key, value in found.items():
        yield f"{key}: {json.dumps(value, ensure_ascii=False)}"


def hub_task(identity: Identity) -> str:
    """Return the hub's word for the task of a model, by its graphs; nothing where it has none."""
    signatures = identity.graphs.values()
    drawn = [modality_of(each.outputs[0]).hub_task for each in signatures if can_sample(each)]
    if tasks := list(filter(None, drawn)):
        return tasks[0]
    return "image-to-image" if any(each.maps_images for each in signatures) else ""


def _hub_licence(licence: str) -> dict[str, str]:
    """Return the keys that give a licence."""
    plain = re.sub(r" *\(.*", "", licence)
    if plain in LICENCES:
        return {"license": LICENCES[plain]}
    return {"license": "other", "license_name": licence}


def _licences(identity: Identity, licence: str) -> str:
    """Return what is known of the licences of the weights, the data and the code."""
    given = identity.data.licence or "not known to zoo"
    none = " Without a licence, its pictures may not be passed on." if "none given" in given else ""
    weights = f"{licence}." if licence else "whoever trained them chooses it."
    return (
        f"Licence of the weights: {weights} What they learnt from keeps its "
        f"own, {identity.data.name}: {given}.{none} The code of {identity.distribution} has its "
        "own."
    )


def _figures(identity: Identity, evaluation: EvaluationRecord | None) -> Iterator[str]:
    """Yield a table of what was measured, else the metrics of the training's last validation."""
    if evaluation is None or not evaluation.measurements:
        for name, value in identity.metrics.items():
            yield f"* {name}: {value:.4g} (validation while it was trained)"
        yield ""
        return
    yield (f"Measured by `zoo eval` on the {evaluation.split} split of {evaluation.data}, "
           f"{evaluation.items:,} items:")  # fmt: skip
    yield from ("", "| metric | value | spread | protocol |", "|---|--:|---|---|")
    for each in evaluation.measurements:
        spread = each.spread
        within = f"{spread.low:.4g} to {spread.high:.4g} ({spread.of})" if spread else ""
        protocol = "; ".join(
            f"{key.replace('_', ' ')} {_plain(value)}" for key, value in each.protocol.items()
        )
        measured = f"{each.value:.4g} {each.unit}".strip()
        yield f"| {_title(each)} | {measured} | {within} | {_cell(protocol)} |"
    yield ""


def _title(measurement: Measurement) -> str:
    """Return a metric's name, and the graph that was measured."""
    return measurement.name + (f", {measurement.graph}" if measurement.graph else "")


def _plain(value: object) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else str(value)


def _cell(text: str) -> str:
    """Return text that does not end a cell of a table."""
    return text.replace("|", "\\|").replace("\n", " ")


def _files(files: Collection[ExportedFile]) -> Iterator[str]:
    """Yield a table of the files, and how to run them."""
    if not files:
        return
    yield from ("| file | takes | gives |", "|---|---|---|")
    for each in files:
        takes = "; ".join(map(describe_port, each.signature.inputs))
        gives = "; ".join(map(describe_port, each.signature.outputs))
        yield f"| `{each.file}` | {takes} | {gives} |"
    yield ""
    yield ("Each file says the same of itself in its metadata, under the key `zoo`; "
           "`zoo show FILE` prints it, `zoo export --check FILE` verifies the file where it is. "
           "To run one without torch, install zoo from a clone of its repository (no package "
           "index has it yet):")  # fmt: skip
    yield from ("", "```sh", "pip install .  # in the clone")
    runs = [f"zoo run {_example(each.file, each.signature)}" for each in files
            if can_sample(each.signature) or each.signature.maps_images]  # fmt: skip
    yield from dict.fromkeys(runs)  # a translation is found by where it leads, in any variant
    yield "```"


def _example(name: str, signature: Signature) -> str:
    """Return example arguments of ``zoo run``, for the folder of the bundle."""
    rounds = " --rounds 10" if signature.is_step and signature.rounds is None else ""
    if can_sample(signature):
        if modality_of(signature.outputs[0]).printed:
            return f"{name}{rounds}"
        labels = any(port.is_label for port in signature.inputs)
        return f"{name} {'--class all' if labels else '-n 16'}{rounds} -o grid.png"
    domain = translates_to(signature)
    if domain:
        return f". photos/ --to {domain}{rounds} -o {domain}/"
    return f"{name} photo.png{rounds} -o out/"
