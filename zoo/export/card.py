"""The README of a bundle: what it is, what each file takes and gives, how to run one."""

from __future__ import annotations

from collections.abc import Mapping

from zoo.model.weights import Header
from zoo.runtime.description import Description, describe_port, translates_to


def card(header: Header, files: Mapping[str, Description]) -> str:
    """Return the card of a bundle as Markdown.

    Args:
        header: what the weight file says.
        files: what each ONNX file says of itself, by name.
    """
    spec = header.data
    lines = [
        f"# {header.model}",
        "",
        f"Trained with {header.distribution} {header.version} on {spec.name} "
        f"({spec.channels} × {spec.height} × {spec.width}), {header.step:,} steps.",
        "",
        _licences(header),
        "",
        *(f"* {name}: {value:.4g}" for name, value in header.metrics.items()),
        "",
        "| file | takes | gives |",
        "|---|---|---|",
    ]
    for name, about in files.items():
        takes = "; ".join(map(describe_port, about.signature.inputs))
        gives = "; ".join(map(describe_port, about.signature.outputs))
        lines.append(f"| `{name}` | {takes} | {gives} |")
    lines += ["", "Each file says the same of itself in its metadata, under the key `zoo`; "
              "`zoo show FILE` prints it, `zoo export --check FILE` verifies the file where it is. "
              "To run one without torch, install zoo from a clone of its repository (no package "
              "index has it yet):", "", "```sh", "pip install .  # in the clone"]  # fmt: skip
    runs = [f"zoo run {_example(name, about)}" for name, about in files.items()
            if about.signature.can_sample or about.signature.maps_images]  # fmt: skip
    lines += dict.fromkeys(runs)  # a translation is found by where it leads, whatever its form
    return "\n".join([*lines, "```", ""])


def _licences(header: Header) -> str:
    """Return what is known of the licences of the weights, the data and the code."""
    given = header.data.licence or "not known to zoo"
    none = " Without a licence, its pictures may not be passed on." if "none given" in given else ""
    return (
        "Licence of the weights: whoever trained them chooses it. What they learnt from keeps its "
        f"own, {header.data.name}: {given}.{none} The code of {header.distribution} has its own."
    )


def _example(name: str, about: Description) -> str:
    """Return what to type after ``zoo run``, in the folder of the bundle."""
    signature = about.signature
    if signature.can_sample:
        labels = any(port.kind == "label" for port in signature.inputs)
        return f"{name} {'--class all' if labels else '-n 16'} -o grid.png"
    domain = translates_to(signature)
    return f". photos/ --to {domain} -o {domain}/" if domain else f"{name} photo.png -o out/"
