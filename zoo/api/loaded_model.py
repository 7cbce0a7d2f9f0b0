"""A trained model or its exported files, as an object whose graphs are run on arrays."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from zoo.api.data import choose_split, open_like_training, source_for
from zoo.draws import choose_classes, read_values
from zoo.errors import UsageError, did_you_mean
from zoo.identity import Identity
from zoo.loops import choose_rounds
from zoo.messages import Log, say, silent
from zoo.modalities import can_sample, modality_of
from zoo.ports import DataSpec, Fit, Port, Signature, describe_port
from zoo.sampling import at_sizes, check_count, map_images, sample_rounds

if TYPE_CHECKING:
    import torch

    from zoo.exploration.latent_space import LatentSpace
    from zoo.model.contract import Model
    from zoo.model.weights import Trained

Array: TypeAlias = NDArray[Any]
Numbers = TypeVar("Numbers", "NDArray[Any]", "torch.Tensor")
Classes: TypeAlias = str | int | Sequence[str | int]
Run: TypeAlias = Callable[[str, dict[str, Array]], Mapping[str, Array]]  # a graph by its name


class LoadedModel:
    """A trained model, or the exported files of one.

    Pictures are uint8 (N, H, W, C); what `run` takes and gives are the numbers of the graph's
    ports, such as float32 (N, C, H, W) in [-1, 1].

    Attributes:
        identity: what the model is: its name, plugin, options, data, step and metrics.
        path: of the weights, or of the exported file or folder.
        graphs: inputs and outputs of each graph, by its name.
    """

    def __init__(
        self,
        identity: Identity,
        path: Path,
        graphs: Mapping[str, Signature],
        run: Run,
        trained: Trained | None = None,
    ) -> None:
        self.identity = identity
        self.path = path
        self.graphs = graphs
        self._run = run
        self._trained = trained

    def __repr__(self) -> str:
        return f"<{self.name} of {self.path}: {', '.join(self.graphs)}>"

    @property
    def name(self) -> str:
        """The name of the model, such as the one that `zoo list` shows."""
        return self.identity.model

    @property
    def data(self) -> DataSpec:
        """What the data that it was trained on offers."""
        return self.identity.data

    @property
    def config(self) -> Mapping[str, Any]:
        """The model's options, by name."""
        return self.identity.config

    @property
    def trained(self) -> Trained:
        """The model with its identity and the path of its weights.

        Raises:
            UsageError: these are exported files.
        """
        if self._trained is None:
            raise UsageError(
                f"{self.path} holds exported files, and no model in torch",
                hint="the run or the weight file that they were exported from",
                code="does-not-apply",
            )
        return self._trained

    @property
    def model(self) -> Model:
        """The model as an `nn.Module`, in evaluation mode on the CPU.

        Raises:
            UsageError: these are exported files.
        """
        return self.trained.model

    # Numbers

    def run(self, graph: str, /, **inputs: Array | torch.Tensor) -> dict[str, Any]:
        """Run one graph on arrays or tensors, without gradients.

        Args:
            graph: its name.
            inputs: one for each input port, by its name, with the same number of rows: float32
                numbers in the port's range, or class numbers. What has a default, or begins with
                zeros, may be left out. Nothing is drawn.

        Returns:
            The outputs by name of the port: tensors on the same device where an input was one,
            else arrays.

        Raises:
            UsageError: there is no such graph or port, an input is missing, or of another shape
                or out of range.
            NotFoundError: an input holds values that are not finite.
        """
        signature = self._signature(graph)
        ports = {port.name: port for port in signature.inputs}
        for name in inputs:
            if name not in ports:
                raise UsageError(
                    f"{graph} has no input {name[:40]!r}.{did_you_mean(name, ports)}",
                    hint=f"it takes {'; '.join(map(describe_port, ports.values()))}",
                    code="unknown-port",
                )
        from zoo.runtime.array_files import to_port

        arrays = {name: to_port(name, ports[name], _as_array(each))
                  for name, each in inputs.items()}  # fmt: skip
        rows = {len(each) for each in arrays.values()} or {1}
        if len(rows) > 1:
            raise UsageError(
                f"the inputs have different numbers of rows: {sorted(rows)}", code="bad-input"
            )
        for port in signature.inputs:
            if port.name not in arrays:
                arrays[port.name] = self._filled(graph, port, *rows)
        return _like(self._run(graph, arrays), inputs.values())

    def _filled(self, graph: str, port: Port, rows: int) -> Array:
        """Return an input that was left out; `UsageError` where somebody has to give it."""
        port = at_sizes(port, self.data.sizes)
        if port.default is None and port.prior != "zeros":
            raise UsageError(
                f"{graph} needs {port.name}",
                cause=f"it takes {describe_port(port)}",
                hint=f"run({graph!r}, {port.name}=...)",
                code="missing-input",
            )
        return port.draw(rows, np.random.default_rng(0))

    def _signature(self, graph: str) -> Signature:
        if graph not in self.graphs:
            raise UsageError(
                f"{self.name} has no graph {str(graph)[:40]!r}.{did_you_mean(graph, self.graphs)}",
                hint=f"one of: {', '.join(self.graphs)}",
                code="does-not-apply",
            )
        return self.graphs[graph]

    # Samples

    @property
    def sampler(self) -> str | None:
        """The graph that `sample` runs: the first that takes nothing but draws; None without."""
        names = (name for name, signature in self.graphs.items() if can_sample(signature))
        return next(names, None)

    def sample(
        self,
        n: int | None = None,
        *,
        seed: int = 0,
        classes: Classes | None = None,
        rounds: int | None = None,
        **values: object,
    ) -> Array:
        """Draw samples, the same ones as ``zoo sample``.

        Args:
            n: how many; of several classes, how many of each, class after class. As many as
                ``zoo sample`` draws, when not given.
            seed: of the noise.
            classes: names or numbers of classes, or ``"all"``.
            rounds: of a model whose graph is one step of a loop; as the model says, when not given.
            values: of inputs that are not to be drawn, by name: a number, the name of a class, or
                text that a text begins with, such as ``prompt="..."``.

        Returns:
            Pictures, uint8 (N, H, W, C); sounds, int16 (N, samples, channels); texts, as strings
            (N,); of other kinds, what decoded data holds.

        Raises:
            UsageError: the model does not make samples of noise alone, has no such class or input,
                or no loop.
        """
        port = self._signature(self._sampler()).outputs[0]
        for last in self.sample_rounds(n, seed=seed, classes=classes, rounds=rounds, **values):
            rows = last
        modality = modality_of(port)
        return np.array([modality.to_text(row, port) for row in rows]) if modality.printed else rows

    def sample_rounds(
        self,
        n: int | None = None,
        *,
        seed: int = 0,
        classes: Classes | None = None,
        rounds: int | None = None,
        **values: object,
    ) -> Iterator[Array]:
        """Yield the samples after each round of a loop, as decoded data holds them.

        The arguments and errors are those of `sample`. Where there is no loop, there is one round.
        """
        name = self._sampler()
        signature = self.graphs[name]
        rounds = choose_rounds(signature, rounds, name)
        words = [f"{port}={each}" for port, each in values.items()
                 if not isinstance(each, np.ndarray)]  # fmt: skip
        rows = {port: each for port, each in values.items() if isinstance(each, np.ndarray)}
        fixed = {**rows, **read_values(words, signature.inputs)}
        drawn = [port for port in signature.inputs if port.name not in fixed]
        chosen = None if classes is None else choose_classes(classes, drawn)
        count = n or modality_of(signature.outputs[0]).samples
        check_count(count, chosen)
        yield from sample_rounds(
            partial(self._run, name), signature, self.data.sizes,
            count=count, seed=seed, classes=chosen, given=fixed, rounds=rounds,
        )  # fmt: skip

    def _sampler(self) -> str:
        """Return the graph that is drawn from noise; `UsageError` where there is none."""
        name = self.sampler
        if name is None:
            needs = [f"{name} needs {', '.join(port.name for port in each.required)}"
                     for name, each in self.graphs.items() if each.required]  # fmt: skip
            raise UsageError(
                f"{self.name} makes no samples of noise alone",
                cause="; ".join(needs),
                hint=f"run, with {' or '.join(self.graphs)}",
                code="does-not-apply",
            )
        return name

    # Pictures of pictures

    def transform(
        self, images: Numbers, graph: str | None = None, *, rounds: int | None = None
    ) -> Numbers:
        """Return what a graph from pictures to pictures makes of pictures, uint8 (N, H, W, C).

        Args:
            images: uint8 (N, H, W, C), brought to the size and the colours that the graph takes.
            graph: its name; needed where the model has several.
            rounds: of a step of a loop; as the model says, when not given.

        Raises:
            UsageError: the model has no such graph, or several, or these are no pictures.
        """
        names = [name for name, each in self.graphs.items() if each.maps_images]
        if graph is None and len(names) > 1:
            raise UsageError(
                f"{self.name} makes pictures of pictures by {len(names)} graphs; by which?",
                hint=f"one of: {', '.join(names)}",
                code="which-graph",
            )
        name = graph or next(iter(names), "")
        if name not in names:
            raise UsageError(
                f"{self.name} makes no pictures of pictures"
                + (f" by {name[:40]!r}.{did_you_mean(name, names)}" if name else ""),
                hint=f"one of: {', '.join(names)}" if names else "sample, encode, decode or run",
                code="does-not-apply",
            )
        signature = self.graphs[name]
        made = map_images(
            partial(self._run, name), signature, _pictures(images, name),
            rounds=choose_rounds(signature, rounds, name),
        )  # fmt: skip
        found: Numbers = _like({"": made}, [images])[""]
        return found

    # Codes

    @cached_property
    def latent_space(self) -> LatentSpace:
        """The graphs that make codes of pictures, and pictures of codes.

        Raises:
            UsageError: there are none.
        """
        from zoo.exploration.latent_space import find_latent_space

        return find_latent_space(self.name, self._run, self.graphs, self.data)

    def encode(self, pictures: Numbers, labels: Numbers | None = None) -> Numbers:
        """Return the codes (N, D) of pictures.

        Args:
            pictures: uint8 (N, H, W, C), of any size: they are brought to the model's.
            labels: class numbers (N,), where the model takes them.

        Raises:
            UsageError: the model makes no codes of pictures, or these are none.
        """
        if self.latent_space.encoder is None:
            raise UsageError(f"{self.name} makes no codes of pictures", code="does-not-apply")
        pixels = _pictures(pictures, self.latent_space.encoder.name)
        label, classes = self.latent_space.encoder.label, None
        if labels is not None and label is not None:
            from zoo.runtime.array_files import to_port

            classes = to_port("labels", label, _as_array(labels))
        codes = self.latent_space.encode(pixels, classes).astype(np.float32)
        found: Numbers = _like({"": codes}, [pictures])[""]
        return found

    def decode(self, codes: Numbers, *, classes: Classes | None = None, seed: int = 0) -> Numbers:
        """Return the pictures of codes, uint8 (N, H, W, C).

        Args:
            codes: (N, D), such as those of `encode`.
            classes: of which class the pictures are to be, where the model takes it; of several,
                all codes of the first come first. Drawn by the seed, when not given.
            seed: of what else goes in beside the codes.

        Raises:
            UsageError: the model makes no pictures of codes, or these are none.
        """
        space = self.latent_space
        if space.decoder is None:
            raise UsageError(f"{self.name} makes no pictures of codes", code="does-not-apply")
        numbers = _as_array(codes)
        if numbers.ndim != 2 or numbers.shape[1] != space.size or not len(numbers):
            raise UsageError(
                f"decode takes codes (N, {space.size})",
                cause=f"these are {numbers.dtype} {numbers.shape}",
                hint=f"codes[None] makes one row of one code, ({space.size},)",
                code="bad-input",
            )
        if not (numbers.dtype.kind in "fiu" and np.isfinite(numbers).all()):
            raise UsageError("the codes hold values that are not numbers", code="bad-input")
        chosen = None if classes is None else choose_classes(classes, space.decoder.others)
        pictures = [space.decode(numbers, each) for each in space.contexts(seed, chosen)]
        found: Numbers = _like({"": np.concatenate(pictures)}, [codes])[""]
        return found

    # Data

    def load_data(
        self,
        data: str | os.PathLike[str] | None = None,
        *,
        split: str | None = None,
        fit: Fit | None = None,
        log: Log | None = say,
    ) -> dict[str, Array]:
        """Return a split of data, decoded as that of the training was.

        Args:
            data: name or path; what the model was trained on, when not given.
            split: train, validation or test; test where the data has it, else validation, when
                not given.
            fit: how pictures of other proportions are brought to the size.
            log: takes messages; on stderr, when not given; None for silence.

        Returns:
            Arrays by port, mapped into memory where they are large: pictures, uint8 (N, H, W, C);
            ``label``, class numbers (N,).

        Raises:
            UsageError: the data has no such split, or is of another form than in the training.
            NotFoundError: there is no such data.
        """
        log = log or silent
        place = None if data is None else os.fspath(data)
        store = open_like_training(self, source_for(self, place, log), fit, log)
        return dict(store.splits[choose_split(store, split)])


def _pictures(given: object, graph: str) -> Array:
    """Return pictures as an array; `UsageError` where they are none."""
    pixels = _as_array(given)
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[3] not in {1, 3}:
        raise UsageError(
            "pictures are uint8 (N, H, W, C), grey or RGB",
            cause=f"these are {pixels.dtype} {pixels.shape}",
            hint=f"run({graph!r}, ...) takes the numbers of its ports",
            code="bad-input",
        )
    if not pixels.size:
        raise UsageError("there are no pictures", code="bad-input")
    return pixels


def _as_array(numbers: object) -> Array:
    """Return an array or a tensor as an array."""
    if _is_tensor(numbers):
        tensor: Any = numbers
        tensor = tensor.detach().cpu()
        return np.asarray(tensor.float() if tensor.is_floating_point() else tensor)
    return np.asarray(numbers)


def _is_tensor(numbers: object) -> bool:
    torch = sys.modules.get("torch")  # nobody has a tensor who has not imported it
    return torch is not None and isinstance(numbers, torch.Tensor)


def _like(arrays: Mapping[str, Array], inputs: Any) -> dict[str, Any]:
    """Return arrays as tensors on the device of the first tensor among the inputs, if any."""
    tensor = next(filter(_is_tensor, inputs), None)
    if tensor is None:
        return dict(arrays)
    import torch

    return {name: torch.from_numpy(each).to(tensor.device) for name, each in arrays.items()}
