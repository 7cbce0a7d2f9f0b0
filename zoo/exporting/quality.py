"""Real inputs for files of reduced precision, and how much these files lose.

The metrics of a model are computed by `zoo.evaluation`; `substitute_graphs` returns a model whose
functions run the exported files, so that the same code measures the files.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from math import log10
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator
from torch import Tensor, nn

from zoo import pictures
from zoo.draws import draw
from zoo.errors import UsageError
from zoo.loops import drive, shown_rounds
from zoo.modalities import modality_of
from zoo.model.contract import Graph, Model
from zoo.model.inference import default_rounds, images_for, run_graph, some_of
from zoo.model.weights import Trained
from zoo.ports import Port, numbers_in_a_row
from zoo.runtime.reference import Difference, compare_outputs
from zoo.runtime.session import Arrays, Session, pad_rows
from zoo.sampling import as_port_takes

Images = Mapping[str, NDArray[Any]]  # uint8 (N, H, W, C), by name of the array
Batch = Mapping[str, NDArray[Any]]  # inputs by port name
Inputs = tuple[Port, Port, NDArray[Any]]  # a port, the same in the variant, and its rows

CALIBRATION_ROWS, CALIBRATION_SEED = 128, 1
MEASUREMENT_ROWS, MEASUREMENT_SEED = 64, 2
MAX_NUMBERS = 2**24  # of an image port, over all rows: larger images get fewer
BATCH = 8
ROUNDS = 16  # of a loop, whose inputs are among the rows


@dataclass(frozen=True)
class CalibrationData:
    """Images of two splits of the data; None where no graph needs images."""

    train: Images | None = None  # images that the model was trained on
    held_out: Images | None = None  # images that the model has not seen

    def calibration_batches(self, model: Model, name: str, graph: Graph) -> list[Arrays]:
        """Return batches of inputs, with training images, that int8 is calibrated with.

        The model encodes images where the graph, as the variant has it, takes codes without prior.
        `UsageError` if the graph takes an input that can neither be drawn nor computed.
        """
        return _batches(model, name, graph, self.train, CALIBRATION_ROWS, CALIBRATION_SEED)

    def measurement_batches(self, model: Model, name: str, graph: Graph) -> list[Arrays]:
        """Return batches of inputs, with held-out images, that the loss is measured on."""
        return _batches(model, name, graph, self.held_out, MEASUREMENT_ROWS, MEASUREMENT_SEED)


def _batches(
    model: Model, name: str, graph: Graph, images: Images | None, count: int, seed: int
) -> list[Arrays]:
    """Return batches of inputs by port name, of at most `count` rows in all."""
    real = [each for each in graph.inputs if not each.is_drawn]
    if real:
        numbers = max(model.data.numbers, *map(numbers_in_a_row, real))
        count = max(4, min(count, MAX_NUMBERS // numbers))
    rows = list(_inputs(model, name, graph, images, count, seed))
    if graph.signature.is_step:
        rows = _along_the_loop(model, name, rows, seed)
    whole = {wanted.name: _as_input(array, own, wanted) for own, wanted, array in rows}
    batch = graph.inputs[0].shape[0]
    size = batch if isinstance(batch, int) else BATCH
    count = min(map(len, whole.values()))
    return [
        {key: pad_rows(array, start, size) for key, array in whole.items()}
        for start in range(0, max(count - count % size, 1), size)
    ]


def _along_the_loop(model: Model, name: str, rows: Sequence[Inputs], seed: int) -> list[Inputs]:
    """Return as many rows as go into a step of a loop in some of its rounds, evenly spaced.

    What goes into the first round alone would not tell what flows through the graph later.
    """
    own_graph = model.graphs()[name]
    chosen = shown_rounds(default_rounds(own_graph), most=ROUNDS)
    count = max(1, min(len(array) for *_, array in rows) // len(chosen))
    first = {own.name: _as_input(array[:count], own, own) for own, _, array in rows}
    driven = drive(
        partial(run_graph, model, name), own_graph.signature, first, rounds=chosen[-1], seed=seed
    )
    inputs = [each.inputs for each in driven if each.number in chosen]
    return [
        (own, wanted, np.concatenate([each[own.name] for each in inputs]))
        if array.dtype != np.uint8
        else (own, wanted, np.concatenate([array[:count]] * len(chosen)))
        for own, wanted, array in rows
    ]


def _inputs(
    model: Model, name: str, graph: Graph, images: Images | None, count: int, seed: int
) -> Iterator[Inputs]:
    """Yield each port, its port in the variant, and its rows; images are uint8 pixels."""
    own_ports = model.graphs()[name].inputs
    drawn = draw([port for port in own_ports if port.is_drawn], count, seed)
    for own, wanted in zip(own_ports, graph.inputs, strict=True):
        if own.name in drawn:
            yield own, wanted, drawn[own.name]
        elif own.is_picture:
            yield own, wanted, _spread_out(model, own, images, count)
        elif images and (like := _like(model, own)):
            rows = some_of(images[like.name], count)
            yield own, wanted, modality_of(like).to_numbers(rows, like)
        else:
            yield own, wanted, _computed(model, name, own, images, count)


def _like(model: Model, port: Port) -> Port | None:
    """Return the port of the data whose rows go into a port of a graph; None if there is none."""
    return next(
        (each for each in model.data.ports
         if (each.kind, each.shape, each.dtype) == (port.kind, port.shape, port.dtype)), None,
    )  # fmt: skip


def _spread_out(model: Model, port: Port, images: Images | None, count: int) -> NDArray[Any]:
    """Return images of the port's domain, evenly spread over a split."""
    if images is None:
        raise UsageError("this needs pictures such as the model was trained on",
                         hint="--data NAME|PATH", code="which-data")  # fmt: skip
    given = images_for(model, port, images)
    places = np.linspace(0, len(given) - 1, min(count, len(given))).round().astype(int)
    return np.asarray(given[places])


def _computed(
    model: Model, name: str, port: Port, images: Images | None, count: int
) -> NDArray[Any]:
    """Compute an input from rows of the data with another graph, which has it as an output."""
    for giver, graph in model.graphs().items():
        needed = graph.signature.required
        gives = any((each.name, each.shape) == (port.name, port.shape) for each in graph.outputs)
        if len(needed) != 1 or not (needed[0].is_picture or (images and _like(model, needed[0]))):
            continue
        if gives:
            rows = list(_inputs(model, giver, graph, images, count, seed=0))
            least = min(len(array) for *_, array in rows)
            inputs = {own.name: _as_input(array[:least], own, own) for own, _, array in rows}
            return run_graph(model, giver, inputs)[port.name]
    raise UsageError(
        f"graph {name!r} takes {port.name}, which nothing draws and no other graph gives",
        cause="a file of reduced precision is made and measured with real inputs",
        hint="leave --half, --half-arithmetic and --int8 out",
        code="does-not-apply",
    )


def _as_input(array: NDArray[Any], own: Port, wanted: Port) -> NDArray[Any]:
    """Return images at the size and in the numbers of the variant; other arrays as they are."""
    if array.dtype != np.uint8 or not own.is_picture:
        return array
    return modality_of(wanted).to_numbers(as_port_takes(array, wanted), wanted)


@dataclass(frozen=True)
class QualityLoss(Difference):
    """How much one output of a file of reduced precision differs from the float32 file's.

    Its `loss`, a root of the mean squared difference, is in percent of the output's range.
    """

    @property
    def psnr(self) -> float | None:
        """The loss as a peak signal-to-noise ratio in dB; None where there is no loss."""
        return -20 * log10(self.loss / 100) if self.loss else None

    def to_json(self) -> dict[str, Any]:
        """Return all figures as plain JSON values."""
        return {**asdict(self), "psnr": self.psnr}


def quality_losses(
    float_session: Session, session: Session, batches: Iterable[Batch]
) -> dict[str, QualityLoss]:
    """Run a float32 file and one of reduced precision on the same batches; compare each output."""
    pairs = [(float_session.run(batch), session.run(batch)) for batch in batches]
    found = {}
    for port in float_session.description.signature.outputs:
        difference = compare_outputs(
            port, ((wanted[port.name], got[port.name]) for wanted, got in pairs)
        )
        found[port.name] = QualityLoss(**asdict(difference))
    return found


def quality_losses_in_float16(
    float_session: Session, path: Path, batch: Batch
) -> dict[str, QualityLoss]:
    """Run a file of float16 arithmetic so that every operator really rounds to 16 bits.

    ONNX Runtime computes such operators in 32 bits on a CPU; ONNX's own evaluator does as a GPU.
    Returns how far each output is off the float32 file's; nothing where the evaluator cannot run
    the file.
    """
    ports = float_session.description.signature.outputs
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            evaluator = ReferenceEvaluator(str(path))
            got = evaluator.run([port.name for port in ports], dict(batch))
    except Exception:  # it lacks some operators, and fails on others in its own ways
        return {}
    wanted = float_session.run(batch)
    return {
        port.name: QualityLoss(**asdict(compare_outputs(port, [(wanted[port.name], each)])))
        for port, each in zip(ports, got, strict=True)
    }


class SessionFunction:
    """A function that runs an exported file in the place of a function of the model.

    It takes tensors and returns tensors, in the ranges of the model's ports whatever the file's.
    The original function is called with anything that the file does not take.
    """

    def __init__(self, session: Session, graph: Graph, original: Callable[..., Any]) -> None:
        self.session = session
        self.graph = graph
        self.original = original
        self.calls = 0

    def __call__(self, *tensors: Any, **others: Any) -> Any:
        """Run the file on one tensor an input port."""
        signature = self.session.description.signature
        if others or not _fit(signature.inputs, tensors):
            return self.original(*tensors, **others)
        self.calls += 1
        given = zip(tensors, self.graph.inputs, signature.inputs, strict=True)
        outputs = self.session.run(
            {port.name: _to_file(each, own, port) for each, own, port in given}
        )
        returned = tuple(
            _to_model(outputs[port.name], own, port).to(tensors[0].device)
            for own, port in zip(self.graph.outputs, signature.outputs, strict=True)
        )
        return returned if len(returned) > 1 else returned[0]


@dataclass(frozen=True, kw_only=True)
class SubstitutedModel(Trained):
    """A trained model whose graphs are exported files."""

    functions: Mapping[str, SessionFunction]  # the files in their places, by name of the graph

    @property
    def called(self) -> tuple[str, ...]:
        """The graphs whose files have really been run, in the order of the model."""
        return tuple(name for name, function in self.functions.items() if function.calls)


def substitute_graphs(trained: Trained, sessions: Mapping[str, Session]) -> SubstitutedModel:
    """Return a copy of a model that runs exported files where it would run its own functions.

    The copy's graphs run the files. So does the model itself, such as in its validation step,
    wherever it calls a graph's function: a method of its own or one of its networks. What it
    computes in other ways (logits, say, where a graph gives an image) stays its own.
    """
    model = copy.deepcopy(trained.model)
    graphs = dict(model.graphs())
    functions = {}
    for name in graphs.keys() & sessions.keys():
        owner, attribute = _place(graphs[name].function)
        original = getattr(owner, attribute) if owner else graphs[name].function
        functions[name] = SessionFunction(sessions[name], graphs[name], original)
        if owner and not isinstance(original, SessionFunction):  # two graphs may have one function
            setattr(owner, attribute, functions[name])
        graphs[name] = replace(graphs[name], function=functions[name])
    vars(model)["graphs"] = lambda: graphs
    in_order = {name: functions[name] for name in graphs if name in functions}
    return SubstitutedModel(
        model, trained.identity, trained.path, trained.left_out, functions=in_order
    )


def _place(function: Callable[..., Any]) -> tuple[nn.Module | None, str]:
    """Return where a model calls a graph's function: a module and its attribute, or None."""
    if isinstance(function, nn.Module):
        return function, "forward"
    owner = getattr(function, "__self__", None)
    return (owner, function.__name__) if isinstance(owner, nn.Module) else (None, "")


def _fit(ports: Iterable[Port], tensors: tuple[Any, ...]) -> bool:
    """Whether these are tensors, one an input port, each of its port's rank and sizes."""
    ports = tuple(ports)
    return len(ports) == len(tensors) and all(
        isinstance(tensor, Tensor)
        and tensor.ndim == len(port.shape)
        and all(
            isinstance(size, str) or size == found
            for size, found in zip(_sizes(port), tensor.shape[1:], strict=True)
        )
        for port, tensor in zip(ports, tensors, strict=True)
    )


def _sizes(port: Port) -> tuple[int | str, ...]:
    """Return the sizes behind the batch as the model has them: of an image, channels first."""
    return (port.channels, *port.image_size) if port.is_picture else port.shape[1:]


def _to_file(tensor: Tensor, own: Port, port: Port) -> NDArray[Any]:
    """Return a model's tensor as the file takes it."""
    array: NDArray[Any] = tensor.detach().to("cpu", getattr(torch, own.dtype)).numpy()
    if port.dtype == own.dtype:
        return array
    return pictures.to_pixels(array, *_range(own))


def _to_model(array: NDArray[Any], own: Port, port: Port) -> Tensor:
    """Return what a file gave as the model would have."""
    if port.dtype != own.dtype:
        array = pictures.to_values(array, *_range(own))
    return torch.from_numpy(array)


def _range(port: Port) -> tuple[float, float]:
    assert port.range is not None  # only images with a range become pixels
    return port.range
