"""Which graphs of a model make codes of pictures and pictures of codes, told by their ports.

The graphs may be a model's own or exported files: they are run by a function that takes the name
of a graph and arrays, and returns arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.draws import draw
from zoo.errors import UsageError
from zoo.modalities import modality_of, to_rows
from zoo.pictures import Pixels, fit_all
from zoo.ports import (
    DataSpec,
    Port,
    Signature,
    has_dynamic_size,
    is_code,
    is_pictorial,
    numbers_in_a_row,
)
from zoo.sampling import at_sizes

Array = NDArray[Any]
Arrays = dict[str, Array]
Run = Callable[[str, Arrays], Mapping[str, Array]]

MOST_ROWS = 64  # of a graph at a time …
MOST_NUMBERS = 2**20  # … unless rows are large: in the widest port


@dataclass(frozen=True)
class CodeGraph:
    """A graph from pictures to codes, or from codes to pictures."""

    name: str
    signature: Signature
    code: Port  # the input or output that is the code
    picture: Port  # the input or output that is the picture, at the size of the data

    @property
    def others(self) -> list[Port]:
        """The inputs beside code and picture, all of which can be drawn."""
        own = {self.code.name, self.picture.name}
        return [port for port in self.signature.inputs if port.name not in own]

    @property
    def label(self) -> Port | None:
        """The input that says of which class a picture is, where there is one."""
        return next((port for port in self.others if port.is_label), None)


@dataclass(frozen=True)
class LatentSpace:
    """The codes of a model, and the graphs that lead there and back; one of them may be missing."""

    model: str
    run: Run
    encoder: CodeGraph | None
    decoder: CodeGraph | None

    @property
    def size(self) -> int:
        """How many numbers a code has."""
        graph = self.decoder or self.encoder
        assert graph is not None
        return numbers_in_a_row(graph.code)

    @property
    def has_prior(self) -> bool:
        """Whether codes can be drawn."""
        return self.decoder is not None and self.decoder.code.prior in {"normal", "uniform"}

    @property
    def round_trip(self) -> bool:
        """Whether the codes of pictures become pictures again."""
        there, back = self.encoder, self.decoder
        return (
            there is not None and back is not None and there.code.shape[1:] == back.code.shape[1:]
        )

    def encode(
        self,
        pictures: Pixels,
        labels: Array | None = None,
        tick: Callable[[int], object] = lambda _: None,
    ) -> Array:
        """Return the codes (N, D) of pictures (N, H, W, C), whose size may be another.

        Args:
            pictures: at least one.
            labels: class numbers (N,), where the graph takes them.
            tick: called with the number of pictures that were done.

        Raises:
            UsageError: the graph takes the class of a picture, and there are no labels.
        """
        graph = self.encoder
        assert graph is not None
        if graph.label is not None and labels is None:
            raise UsageError(
                f"{graph.name} of {self.model} takes the class of a picture",
                hint="--class NAME, or --data with labels",
                code="missing-input",
            )
        port, codes = graph.picture, []
        step = _rows_at_once(graph.signature)
        for start in range(0, len(pictures), step):
            fitted = fit_all(np.asarray(pictures[start : start + step]), *_pixels_of(port))
            inputs = draw(graph.others, len(fitted), seed=0)
            inputs[port.name] = modality_of(port).to_numbers(fitted, port)
            if graph.label is not None and labels is not None:
                inputs[graph.label.name] = labels[start : start + step].astype(graph.label.dtype)
            found = self.run(graph.name, inputs)[graph.code.name]
            codes.append(found.reshape(len(fitted), -1).astype(np.float64))
            tick(len(fitted))
        return np.concatenate(codes)

    def decode(self, codes: Array, context: Arrays) -> Pixels:
        """Return the pictures (N, H, W, C) of codes (N, D); the context is one of `contexts`."""
        graph = self.decoder
        assert graph is not None
        shape = [int(size) for size in graph.code.shape[1:]]
        port, pictures = graph.picture, []
        step = _rows_at_once(graph.signature)
        for start in range(0, len(codes), step):
            part = codes[start : start + step].astype(graph.code.dtype).reshape(-1, *shape)
            inputs = {name: np.repeat(row, len(part), axis=0) for name, row in context.items()}
            inputs[graph.code.name] = part
            pictures.append(to_rows(self.run(graph.name, inputs)[port.name], port))
        return np.concatenate(pictures)

    def contexts(self, seed: int, classes: Sequence[int] | None = None) -> list[Arrays]:
        """Draw what goes into the decoder beside a code, one row; one for each class, if any.

        As `zoo sample` draws it for its first picture of that seed.
        """
        drawn = self._draw(1, seed, classes)
        rows = range(len(classes) if classes else 1)
        return [{name: each[row : row + 1] for name, each in drawn.items()
                 if self.decoder and name != self.decoder.code.name} for row in rows]  # fmt: skip

    def draw_codes(self, count: int, seed: int, classes: Sequence[int] | None = None) -> Array:
        """Draw codes (count, D) from the prior, those of the pictures that `zoo sample` draws."""
        assert self.decoder is not None
        codes = self._draw(count, seed, classes)[self.decoder.code.name]
        return codes[:count].reshape(count, -1).astype(np.float64)

    def _draw(self, count: int, seed: int, classes: Sequence[int] | None) -> Arrays:
        assert self.decoder is not None
        ports = [port for port in self.decoder.signature.inputs if port.is_drawn]
        return draw(ports, count, seed, classes)


def find_latent_space(
    model: str, run: Run, signatures: Mapping[str, Signature], data: DataSpec
) -> LatentSpace:
    """Return the codes of a model, by the ports of its graphs.

    An encoder takes one picture that somebody must supply, and gives a code. A decoder gives a
    picture, and nothing but the code must be supplied. Of several, those are taken whose codes have
    one shape.

    Raises:
        UsageError: there is neither.
    """
    encoders = [graph for each in signatures.items() for graph in _encoders(*each, data)]
    decoders = [graph for each in signatures.items() for graph in _decoders(*each, data)]
    if not (encoders or decoders):
        graphs = "; ".join(f"{name} takes {_kinds(each.inputs)}, gives {_kinds(each.outputs)}"
                           for name, each in list(signatures.items())[:3])  # fmt: skip
        raise UsageError(
            f"{model} has no codes to look into",
            cause=f"no graph leads from pictures to codes or back: {graphs}",
            hint="zoo sample shows what it makes",
            code="does-not-apply",
        )
    for decoder in decoders:
        for encoder in encoders:
            if encoder.code.shape[1:] == decoder.code.shape[1:]:
                return LatentSpace(model, run, encoder, decoder)
    return LatentSpace(model, run, next(iter(encoders), None), next(iter(decoders), None))


def _encoders(name: str, signature: Signature, data: DataSpec) -> list[CodeGraph]:
    """Return a graph with each of its outputs that is a code of the one picture that goes in."""
    required = [at_sizes(port, data.sizes) for port in signature.required]
    if signature.is_step or len(required) != 1 or not _is_fixed_picture(required[0]):
        return []
    graphs = [CodeGraph(name, signature, code, required[0])
              for code in filter(is_code, signature.outputs)]  # fmt: skip
    return [graph for graph in graphs if not any(map(has_dynamic_size, graph.others))]


def _decoders(name: str, signature: Signature, data: DataSpec) -> list[CodeGraph]:
    """Return a graph with each of its inputs that is the code of the picture that comes out."""
    first = at_sizes(signature.outputs[0], data.sizes)
    if signature.is_step or not _is_fixed_picture(first):
        return []
    required = {port.name for port in signature.required}
    codes = [port for port in signature.inputs if is_code(port) and required <= {port.name}]
    graphs = [CodeGraph(name, signature, code, first) for code in codes]
    return [graph for graph in graphs if not any(map(has_dynamic_size, graph.others))]


def _is_fixed_picture(port: Port) -> bool:
    return is_pictorial(port) and not has_dynamic_size(port)


def _pixels_of(port: Port) -> tuple[int, int, int]:
    return port.height, port.width, port.channels


def _rows_at_once(signature: Signature) -> int:
    widest = max(map(numbers_in_a_row, (*signature.inputs, *signature.outputs)))
    return max(1, min(MOST_ROWS, MOST_NUMBERS // widest))


def _kinds(ports: Sequence[Port]) -> str:
    return " and ".join(port.kind for port in ports)
