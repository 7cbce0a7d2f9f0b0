"""The description in the metadata of an exported file: enough to run it without its plugin."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from zoo.ports import DataSpec, Port, Signature

METADATA_KEY = "zoo"  # of the entry in the ONNX file's metadata
SCHEMA = 2
MAX_TEXT = 4 * 2**20  # characters; a thousand class names on every port need far less
MAX_NAME = 100  # characters
MAX_FIGURES = 64  # of one output or metric; outputs or metrics in a manifest's entry
MAX_ITEM = 2**26  # numbers in one row of a port, which is a picture of 4700 x 4700 in colour

Precision = Literal["float32", "float16 weights", "float16", "int8"]

# Of the values in JSON, beside the data and the ports, which read themselves.
KINDS: Mapping[str, type] = {
    "model": str, "graph": str, "distribution": str, "version": str, "config": dict, "step": int,
    "metrics": dict, "precision": str, "normalisation": list, "dropout": str,
    "weights_sha256": str, "written_by": dict,
}  # fmt: skip


@dataclass(frozen=True)
class Description:
    """One exported graph, as its file describes it; docs/onnx.md has the JSON schema.

    Args:
        model: name of the model in the catalogue.
        graph: name of the graph, such as ``"decode"``.
        distribution: installed package that provided the model.
        version: version of that package.
        data: what the model was trained on.
        signature: the ports of the graph.
        config: the model's full configuration, as plain values and lists of them.
        step: training steps behind the weights.
        metrics: validation metrics at that step, all finite.
        precision: of the numbers in the file.
        normalisation: how each kind of normalising layer in the graph works, in words.
        dropout: whether units are left out at random, in a word; an export never does.
        weights_sha256: of the safetensors file that the graph was exported from, in hexadecimal.
        written_by: versions of the packages that wrote the file.

    Raises:
        ValueError: a part has the wrong type, or promises what nobody could run.
    """

    model: str
    graph: str
    distribution: str
    version: str
    data: DataSpec
    signature: Signature
    config: Mapping[str, Any]
    step: int
    metrics: Mapping[str, float]
    precision: Precision = "float32"
    normalisation: tuple[str, ...] = ()
    dropout: str = "none"
    weights_sha256: str = ""
    written_by: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key in ("model", "graph", "distribution", "version"):
            _require(_is_printable_name(getattr(self, key)), key)
        for ports in (self.signature.inputs, self.signature.outputs):
            _check_ports(ports)
        config, metrics = self.config, self.metrics
        _require(isinstance(config, Mapping) and all(map(_is_printable_name, config)), "config")
        _require(all(map(_is_plain, config.values())), "value in config")
        _require(isinstance(metrics, Mapping) and all(map(_is_printable_name, metrics)), "metrics")
        _require(all(map(_is_number, metrics.values())), "value in metrics")
        _require(_is_integer(self.step) and 0 <= self.step < 2**63, "step")
        self._check_origin()

    def _check_origin(self) -> None:
        """Check the fields about precision, layers, weights and versions."""
        _require(self.precision in get_args(Precision), "precision")
        words = (self.dropout, *self.normalisation, *self.written_by, *self.written_by.values())
        _require(
            all(map(_is_printable_name, words)), "word about normalisation, dropout or versions"
        )
        _require(bool(re.fullmatch(r"(?:[0-9a-f]{64})?", self.weights_sha256)), "weights_sha256")

    @property
    def takes(self) -> str:
        """The inputs in words: ``decode takes latent (batch, 20), standard normal``."""
        return f"{self.graph} takes {_in_words(self.signature.inputs)}"

    @property
    def gives(self) -> str:
        """The outputs in words: ``decode gives image (batch, 1, 28, 28) in [-1, 1]``."""
        return f"{self.graph} gives {_in_words(self.signature.outputs)}"

    def to_json(self) -> dict[str, Any]:
        """Return the description as plain JSON values."""
        return {
            "schema": SCHEMA,
            "model": self.model,
            "graph": self.graph,
            "distribution": self.distribution,
            "version": self.version,
            "data": self.data.to_json(),
            "signature": self.signature.to_json(),
            "config": dict(self.config),
            "step": self.step,
            "metrics": dict(self.metrics),
            "precision": self.precision,
            "normalisation": list(self.normalisation),
            "dropout": self.dropout,
            "weights_sha256": self.weights_sha256,
            "written_by": dict(self.written_by),
        }

    @classmethod
    def from_json(cls, value: object) -> Description:
        """Read what `to_json` wrote; unknown keys are ignored.

        Raises:
            ValueError: the value is not a description, or one of a newer schema.
        """
        _require(isinstance(value, Mapping), "description")
        assert isinstance(value, Mapping)
        schema: Any = value.get("schema")
        if _is_integer(schema) and schema > SCHEMA:
            raise ValueError(f"written by a newer zoo (schema {schema:.0f}); update zoo-core")
        if _is_integer(schema) and schema < SCHEMA:
            raise ValueError(f"written by an older zoo (schema {schema:.0f}); export it anew")
        _require(_is_integer(schema) and schema == SCHEMA, "schema")
        for key, kind in KINDS.items():
            _require(isinstance(value.get(key), kind), key)
        plain: dict[str, Any] = {key: value[key] for key in KINDS}
        plain["normalisation"] = tuple(plain["normalisation"])
        return cls(
            **plain,
            data=DataSpec.from_json(value.get("data")),
            signature=Signature.from_json(value.get("signature")),
        )

    def to_text(self) -> str:
        """Return the text that goes into the file's metadata under `METADATA_KEY`."""
        return json.dumps(self.to_json(), ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_text(cls, text: str) -> Description:
        """Read what `to_text` wrote.

        Raises:
            ValueError: the text is too long, not JSON, or not a description.
        """
        _require(len(text) <= MAX_TEXT, f"length: {len(text):,} characters")
        try:
            return cls.from_json(json.loads(text))
        except RecursionError:
            raise ValueError("nested too deeply") from None


@dataclass(frozen=True)
class Measurements:
    """What was measured of an exported file, as its entry in ``manifest.json`` holds it.

    Args:
        checks: figures by name of the output: differences from the model in torch or, of a file of
            reduced precision, losses against the float32 file.
        quality: of a file of reduced precision, metrics of the model by name: ``float32`` is the
            model's own, ``this`` the same with the file in the place of the model's function.

    Raises:
        ValueError: a part has the wrong type, or a figure is not finite.
    """

    checks: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    quality: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key, groups in self.to_json().items():
            _require(len(groups) <= MAX_FIGURES and all(map(_is_printable_name, groups)), key)
            for figures in groups.values():
                _require(len(figures) <= MAX_FIGURES and all(map(_is_printable_name, figures)), key)
                _require(all(map(_is_number, figures.values())), f"figure in {key}")

    def to_json(self) -> dict[str, dict[str, dict[str, float]]]:
        """Return the figures as plain JSON values."""
        return {
            "checks": {output: dict(figures) for output, figures in self.checks.items()},
            "quality": {name: dict(figures) for name, figures in self.quality.items()},
        }

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Measurements:
        """Read the entry of a file in a manifest.

        Raises:
            ValueError: the entry has no figures, or unusable ones.
        """
        for key in ("checks", "quality"):
            groups = entry.get(key)
            _require(isinstance(groups, Mapping), key)
            assert isinstance(groups, Mapping)
            _require(all(isinstance(figures, Mapping) for figures in groups.values()), key)
        return cls(entry["checks"], entry["quality"])


def describe_port(port: Port) -> str:
    """Return a port in words: ``label (batch), uniform in [0, 9], 10 classes``."""
    words = [f"{port.name} ({', '.join(map(str, port.shape))})"]
    if port.kind not in {port.name, "value"}:
        words = [f"{port.kind} {words[0]}"]
    span = f" in [{port.range[0]:g}, {port.range[1]:g}]" if port.range else ""
    if port.dtype == "uint8":
        span = f" of uint8{span}"
    if port.prior is None:
        words[0] += span
    else:
        words.append("standard normal" if port.prior == "normal" else "uniform" + span)
    if port.domain:
        words.append(f"of {port.domain}")
    if port.classes:
        words.append(f"{len(port.classes)} classes")
    return ", ".join(words)


def is_pictorial(port: Port) -> bool:
    """Whether pictures can be read into a port, or written from it."""
    return port.kind == "image" and port.channels in (1, 3) and port.range is not None


def translates_to(signature: Signature) -> str:
    """Return the domain of the pictures that come out, where they come from another one."""
    domain = signature.outputs[0].domain
    return "" if domain in {port.domain for port in signature.inputs} else domain


def has_dynamic_size(port: Port) -> bool:
    """Whether a dimension beside the batch may vary."""
    return any(isinstance(size, str) for size in port.shape[1:])


def numbers_in_a_row(port: Port) -> int:
    """Return how many numbers one row of a port holds; a size that may vary counts once."""
    return math.prod(size for size in port.shape[1:] if isinstance(size, int))


def _in_words(ports: Iterable[Port]) -> str:
    return "; ".join(map(describe_port, ports))


def _check_ports(ports: tuple[Port, ...]) -> None:
    names = [port.name for port in ports]
    _require(0 < len(names) == len(set(names)), "ports: none, or two of one name")
    for port in ports:
        words = [port.name, *(size for size in port.shape if isinstance(size, str))]
        _require(all(map(_is_printable_name, words)), "name in a port")
        _require(
            port.domain == "" or _is_printable_name(port.domain), f"domain of port {port.name!r}"
        )
        _require(numbers_in_a_row(port) <= MAX_ITEM, f"size of port {port.name!r}")


def _is_printable_name(value: object) -> bool:
    """Whether a value can stand in a message as it is: short, no control characters."""
    return isinstance(value, str) and 0 < len(value) <= MAX_NAME and value.isprintable()


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_scalar, value))
    return _is_scalar(value)


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, str | bool) or _is_number(value)


def _is_number(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return _is_integer(value)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(f"unusable {what}")
