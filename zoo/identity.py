"""What a trained model is, in one record, and the files that hold it.

The same `Identity` stands under the key ``identity`` in the header of a weight file, in the
metadata of an ONNX file, in ``manifest.json`` beside exported files and in ``run.json``.
docs/records.schema.json is their JSON schema, generated from the classes here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar

from msgspec import Meta

from zoo.ports import MAX_ROUNDS, DataSpec, Signature, describe_port, numbers_in_a_row
from zoo.records import to_plain, typed
from zoo.validation import require

Schema = Literal[3]
SCHEMA: Schema = 3  # of all records here; a greater number may mean other things
MAX_TEXT = 4 * 2**20  # characters of a record; a thousand class names on every port need far less
METADATA_KEY = "zoo"  # of the record in weight files and ONNX files
MAX_NAME = 100  # characters
MAX_FIGURES = 64  # of one output or metric; outputs or metrics of one file
MAX_ITEM = 2**26  # numbers in one row of a port, which is a picture of 4700 x 4700 in colour

Precision = Literal["float32", "float16 weights", "float16", "int8"]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", max_length=64)]  # in hexadecimal
Figures = Mapping[str, Mapping[str, float]]
Record = TypeVar("Record")


@dataclass(frozen=True)
class Identity:
    """What a trained model is.

    Raises:
        ValueError: a part is unusable.
    """

    model: str  # name of the model in the catalogue
    distribution: str  # installed package that provided it
    version: str  # version of that package
    config: Mapping[str, Any]  # its full configuration, as plain values and lists of them
    data: DataSpec  # what it was trained on
    graphs: Mapping[str, Signature]  # the ports of every graph that it exports
    # sha256 of pretrained networks that it stands on, by name of the network; weight files leave
    # their tensors out
    assets: Mapping[str, Sha256] = field(default_factory=dict)
    step: Annotated[int, Meta(ge=0)] = 0  # training steps behind its weights
    # validation metrics at that step, all finite
    metrics: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key in ("model", "distribution", "version"):
            require(_is_printable_name(getattr(self, key)), key)
        for name, signature in self.graphs.items():
            require(_is_printable_name(name), "name of a graph")
            check_signature(signature)
        require(all(map(_is_printable_name, self.config)), "config")
        require(all(map(_is_plain, self.config.values())), "value in config")
        require(all(map(_is_printable_name, self.metrics)), "metrics")
        require(all(map(_is_printable_name, self.assets)), "assets")


@dataclass(frozen=True, kw_only=True)
class WeightHeader:
    """The record in a weight file."""

    identity: Identity
    # networks whose tensors the file leaves out, such as a discriminator: no graph uses them
    left_out: tuple[str, ...] = ()
    schema: Schema = SCHEMA


@dataclass(frozen=True, kw_only=True)
class GraphFile:
    """How one graph was written into a file.

    Raises:
        ValueError: a part promises what nobody could run.
    """

    graph: str  # name of the graph, such as ``"decode"``
    signature: Signature  # its ports in this file
    precision: Precision  # of the numbers in the file
    # how each kind of normalising layer in the graph works, in words
    normalisation: tuple[str, ...]
    dropout: str  # whether units are left out at random, in a word; an export never does
    written_by: Mapping[str, str]  # versions of the packages that wrote the file

    def __post_init__(self) -> None:
        require(_is_printable_name(self.graph), "graph")
        check_signature(self.signature)
        words = (self.dropout, *self.normalisation, *self.written_by, *self.written_by.values())
        require(
            all(map(_is_printable_name, words)), "word about normalisation, dropout or versions"
        )


@dataclass(frozen=True, kw_only=True)
class Description(GraphFile):
    """The record in the metadata of an ONNX file: enough to run it without its plugin."""

    identity: Identity  # of the model
    weights_sha256: Sha256  # of the safetensors file that the graph was exported from
    schema: Schema = SCHEMA

    @property
    def takes(self) -> str:
        """The inputs in words: ``decode takes latent (batch, 20), standard normal``."""
        return f"{self.graph} takes {'; '.join(map(describe_port, self.signature.inputs))}"

    @property
    def gives(self) -> str:
        """The outputs in words: ``decode gives image (batch, 1, 28, 28) in [-1, 1]``."""
        return f"{self.graph} gives {'; '.join(map(describe_port, self.signature.outputs))}"


@dataclass(frozen=True, kw_only=True)
class FileFacts:
    """Name, size and sha256 of a file."""

    file: Annotated[str, Meta(min_length=1, max_length=260)]
    bytes: Annotated[int, Meta(ge=1)]
    sha256: Sha256


@dataclass(frozen=True, kw_only=True)
class ExportedFile(GraphFile, FileFacts):
    """What ``manifest.json`` says of one exported file."""

    # the file with inputs and the outputs that the model in torch gave for them
    reference: FileFacts
    # figures by name of the output: differences from the model in torch or, of a file of reduced
    # precision, losses against the float32 file
    checks: Figures
    # of a file of reduced precision, metrics of the model by name: ``float32`` is the model's own,
    # ``this`` the same with the file in the place of the model's function
    quality: Figures

    def __post_init__(self) -> None:
        super().__post_init__()
        outputs = {port.name for port in self.signature.outputs}
        require(outputs >= set(self.checks), "checks of outputs that the file does not have")
        for groups in (self.checks, self.quality):
            for names in (groups, *groups.values()):
                usable = len(names) <= MAX_FIGURES and all(map(_is_printable_name, names))
                require(usable, "figures of a file")


@dataclass(frozen=True, kw_only=True)
class PageFile(FileFacts):
    """What ``manifest.json`` says of a page that runs exported files in a browser."""

    runtime: str  # name and version of what runs them there
    graphs: Mapping[str, Sha256]  # the files in the page, by their key in the manifest
    # by browser that ran it, figures by graph and output; nothing where none was at hand
    checks: Mapping[str, Figures]

    def __post_init__(self) -> None:
        names = [self.runtime, *self.graphs, *self.checks]
        for groups in self.checks.values():
            names += [*groups, *(name for figures in groups.values() for name in figures)]
        require(all(map(_is_printable_name, names)), "page")


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """``manifest.json`` beside exported files."""

    identity: Identity  # of the model
    weights: FileFacts  # its weight file
    # by graph and, where a file is not the default, variant: ``decode.uint8``
    files: Mapping[str, ExportedFile]
    written_by: Mapping[str, str]  # versions of the packages that wrote the manifest
    page: PageFile | None = None
    schema: Schema = SCHEMA


def to_text(record: object) -> str:
    """Return a record as JSON text; not-a-number is refused with a ValueError."""
    return json.dumps(to_plain(record), ensure_ascii=False, allow_nan=False)


def from_text(text: str, kind: type[Record]) -> Record:
    """Read what `to_text` wrote.

    Raises:
        ValueError: the text is too long, no JSON or no such record, or one of another schema.
    """
    require(len(text) <= MAX_TEXT, f"length: {len(text):,} characters")
    try:
        return from_plain(json.loads(text), kind)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def from_plain(value: object, kind: type[Record]) -> Record:
    """Read what `to_plain` returned; unknown keys are passed over.

    Raises:
        ValueError: the value is no such record, or one of another schema.
    """
    schema = value.get("schema") if isinstance(value, Mapping) else None
    if not isinstance(schema, int) or isinstance(schema, bool):
        raise ValueError("unusable schema")
    if schema > SCHEMA:
        raise ValueError(f"written by a newer zoo (schema {schema:.0f}); update zoo-core")
    if schema < SCHEMA:
        raise ValueError(f"written by an older zoo (schema {schema:.0f}); write it anew")
    return typed(value, kind)


def check_signature(signature: Signature) -> None:
    """Require ports that can be run, and names that can be printed.

    Raises:
        ValueError: it has others.
    """
    for ports in (signature.inputs, signature.outputs):
        names = [port.name for port in ports]
        require(0 < len(names) == len(set(names)) <= 64, "ports: none, many, or two of one name")
        for port in ports:
            words = [port.name, *(size for size in port.shape if isinstance(size, str))]
            require(all(map(_is_printable_name, words)), "name in a port")
            domain = port.domain == "" or _is_printable_name(port.domain)
            require(domain, f"domain of port {port.name!r}")
            require(numbers_in_a_row(port) <= MAX_ITEM, f"size of port {port.name!r}")
    outputs = {port.name: port for port in signature.outputs}
    for port in signature.inputs:
        fed = outputs.get(port.next)
        require(
            not port.next
            or (fed is not None and fed.dtype == port.dtype and fed.shape == port.shape),
            f"next of port {port.name!r}: no output {port.next!r} of its shape and dtype",
        )
    rounds = signature.rounds
    require(rounds is None or (signature.is_step and 0 < rounds <= MAX_ROUNDS), "number of rounds")


def _is_printable_name(value: object) -> bool:
    """Whether a value can stand in a message as it is: short, no control characters."""
    return isinstance(value, str) and 0 < len(value) <= MAX_NAME and value.isprintable()


def _is_plain(value: object) -> bool:
    parts = value if isinstance(value, list | tuple) else [value]
    return all(part is None or isinstance(part, str | bool | int | float) for part in parts)
