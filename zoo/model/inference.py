"""Using a model without training it: its graphs on arrays, and its metrics.

A graph whose inputs all have a prior is drawn from noise; one from image to image takes images that
somebody gives. One that is a step of a loop is run for its rounds. Images are uint8 (N, H, W, C);
other kinds are as decoded data has them.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo import sampling
from zoo.draws import draw_example
from zoo.errors import NotFoundError, UsageError
from zoo.modalities import can_sample
from zoo.model.contract import Batch, Graph, Model
from zoo.ports import DataSpec, Port

Array = np.ndarray[Any, Any]
Arrays = Mapping[str, Array]

MOST_ROWS = 500  # evaluated at a time; without gradients they take little memory …
MOST_NUMBERS = 2**21  # … unless they are large: in one port, whose layers hold many times that
EXAMPLE_BATCH = 2  # the exporter would take a batch of one for a constant
EVALUATION_SEED = 0  # noise of every evaluation, so that two evaluations can be compared

MOST_ROUNDS = 6400  # of all samples together, where previews and monitors drive a loop …
FEWEST_SAMPLES = 8  # … but so many samples are drawn, however many rounds each takes
ROUNDING = 1e-4  # grey levels; one pixel of a million that differs by one makes ten times as much


@contextmanager
def evaluating(model: Model) -> Iterator[None]:
    """Put the model in evaluation mode without gradients, and leave it as it was found.

    What is measured, drawn and exported is the model as it is written: no network runs compiled.

    Random numbers drawn inside, torch's, NumPy's and Python's, start from a fixed seed and do not
    disturb those outside.
    """
    was_training = model.training
    model.eval()
    device = device_of(model)
    others = [] if device.type == "cpu" else [device]
    generators = random.getstate(), np.random.get_state()
    try:
        generator = torch.random.fork_rng(others, device_type=device.type)
        with generator, torch.no_grad(), as_written(model):
            torch.manual_seed(EVALUATION_SEED)
            random.seed(EVALUATION_SEED)
            np.random.seed(EVALUATION_SEED)
            yield
    finally:
        random.setstate(generators[0])
        np.random.set_state(generators[1])
        model.train(was_training)


@contextmanager
def as_written(model: Model) -> Iterator[None]:
    """Run networks that a training has compiled as they are written while the block lasts."""
    compiled = [(each, each._compiled_call_impl) for each in model.children()]
    for network, call in compiled:
        if call is not None:
            network._compiled_call_impl = None
    try:
        yield
    finally:
        for network, call in compiled:
            if call is not None:
                network._compiled_call_impl = call


def device_of(model: Model) -> torch.device:
    """Return the device of the model's parameters."""
    return next(iter(model.parameters())).device


def evaluation_batch(data: DataSpec) -> int:
    """Return how many images of the data are evaluated at a time."""
    return _rows_at_once(data.numbers)


def _rows_at_once(numbers: int) -> int:
    """Return how many rows are run together when each holds so many numbers."""
    return max(1, min(MOST_ROWS, MOST_NUMBERS // numbers))


def run_graph(model: Model, name: str, inputs: Arrays) -> dict[str, Array]:
    """Run one graph of the model on arrays, as `run_in_torch` does."""
    return run_in_torch(model, model.graphs()[name], inputs)


def run_in_torch(model: Model, graph: Graph, inputs: Arrays) -> dict[str, Array]:
    """Run a graph on arrays, one an input port, and return one an output port.

    Rows are run some at a time, so that memory stays bounded, unless the graph has a fixed batch.

    Raises:
        NotFoundError: the graph uses a network that the weight file leaves out.
    """
    device = device_of(model)
    rows = len(inputs[graph.inputs[0].name])
    found: dict[str, list[Array]] = {port.name: [] for port in graph.outputs}
    given_sizes = (inputs[port.name][0].size for port in graph.inputs)
    made_sizes = (
        math.prod(size for size in port.shape[1:] if isinstance(size, int))
        for port in graph.outputs
    )
    batch = graph.inputs[0].shape[0]
    size = batch if isinstance(batch, int) else _rows_at_once(max(*given_sizes, *made_sizes))
    with evaluating(model):
        for start in range(0, rows, size):
            portion = slice(start, start + size)
            given = [torch.from_numpy(inputs[port.name][portion]) for port in graph.inputs]
            outputs = as_tuple(graph.function(*(tensor.to(device) for tensor in given)))
            _check_present(model, outputs)
            for port, tensor in zip(graph.outputs, outputs, strict=True):
                found[port.name].append(tensor.to("cpu").numpy())
    return {key: np.concatenate(parts) for key, parts in found.items()}


def _check_present(model: Model, outputs: Sequence[Tensor]) -> None:
    """Raise if outputs are NaN because a network was not in the weight file.

    `zoo.model.weights.load_weights` makes such a network's parameters NaN.
    """
    if not any(tensor.is_floating_point() and tensor.isnan().any() for tensor in outputs):
        return
    for name, network in model.named_children():
        parameters = list(network.parameters())
        if parameters and all(parameter.isnan().all() for parameter in parameters):
            raise NotFoundError(
                f"these weights leave out {name!r}, which this needs",
                hint="the weights of the whole run, or another graph",
                code="weights-do-not-fit",
            )


def example_inputs(model: Model, graph: Graph) -> dict[str, Array]:
    """Draw inputs that the graph could take, two rows of the size of the model's data."""
    generator = np.random.default_rng(0)
    return {
        port.name: draw_example(port, EXAMPLE_BATCH, model.data.sizes, generator)
        for port in graph.inputs
    }


def as_tuple(outputs: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return what a graph's function returned as a tuple."""
    return outputs if isinstance(outputs, tuple) else (outputs,)


def mean_metrics(model: Model, batches: Iterable[Batch]) -> dict[str, float]:
    """Return the validation metrics averaged over all images."""
    sums: dict[str, float] = {}
    images = 0
    with evaluating(model):
        for batch in batches:
            size = len(next(iter(batch.values())))
            images += size
            for name, value in model.validation_step(batch).items():
                sums[name] = sums.get(name, 0.0) + float(value) * size
    return {name: total / images for name, total in sums.items()}


def samplers(model: Model) -> list[str]:
    """Return the graphs that make pictures, sounds or text from nothing but draws."""
    return [name for name, graph in model.graphs().items() if can_sample(graph.signature)]


def mappers(model: Model) -> list[str]:
    """Return the graphs that make a picture of a picture, except cycles through both domains.

    What a cycle makes is shown behind its first half, as the way back.
    """
    found = []
    for name, graph in model.graphs().items():
        if graph.signature.maps_images:
            source, target = domains_of(graph)
            if not source or source != target:
                found.append(name)
    return found


def domains_of(graph: Graph) -> tuple[str, str]:
    """Return the domain of the image that goes into a graph, and of the one that comes out."""
    (given,) = graph.signature.required
    return given.domain, graph.outputs[0].domain


def affordable_samples(graph: Graph, most: int, budget: int = MOST_ROUNDS) -> int:
    """Return how many samples to draw of a graph: fewer than `most` where each takes many rounds.

    The rounds of all samples together are at most the budget, but `FEWEST_SAMPLES` are drawn
    always. Their rounds are not cut short: what a loop has begun is no sample yet.
    """
    rounds = default_rounds(graph)
    return min(most, max(FEWEST_SAMPLES, budget // rounds))


def default_rounds(graph: Graph) -> int:
    """Return how many rounds a sample of a graph takes when nobody says: 1 where it is no step."""
    return sampling.default_rounds(graph.signature)


def draw_samples(
    model: Model,
    name: str,
    *,
    count: int,
    seed: int,
    classes: Sequence[int] | None = None,
    given: Arrays | None = None,
    rounds: int | None = None,
) -> Array:
    """Return the samples that `sample_rounds` comes to."""
    for rows in sample_rounds(
        model, name, count=count, seed=seed, classes=classes, given=given, rounds=rounds
    ):
        last = rows
    return last


def sample_rounds(
    model: Model,
    name: str,
    *,
    count: int,
    seed: int,
    classes: Sequence[int] | None = None,
    given: Arrays | None = None,
    rounds: int | None = None,
) -> Iterator[Array]:
    """Yield samples of a graph; of a step of a loop, those of every round.

    Of a sequence, such as text, that is all of it up to the round. Of the classes that are asked
    for by number there are `count` each, with the same noise, class after class.

    Args:
        model: with the graph.
        name: of the graph.
        count: samples, or samples of each class.
        seed: of the noise.
        classes: numbers of classes that are asked for.
        given: for each input that is not drawn, one row for all, as `zoo.draws.read_values` returns
            it, or `count` rows, as `zoo.model.beginnings` takes them from data.
        rounds: of a step of a loop; its own number, when not given.
    """
    graph = model.graphs()[name]
    yield from sampling.sample_rounds(
        partial(run_in_torch, model, graph), graph.signature, model.data.sizes,
        count=count, seed=seed, classes=classes, given=given, rounds=rounds,
    )  # fmt: skip


def map_images(model: Model, name: str, images: Array, *, rounds: int | None = None) -> Array:
    """Return what a graph from image to image makes of images.

    The images are brought to the channels and the size that the graph takes. Inputs beside them are
    drawn from their priors. A step of a loop is run for `rounds`, or its own number of them.
    """
    graph = model.graphs()[name]
    step = partial(run_in_torch, model, graph)
    return sampling.map_images(step, graph.signature, images, rounds=rounds)


def images_for(model: Model, port: Port, images: Mapping[str, Array]) -> Array:
    """Return the images of a split that go into a port: those of its domain.

    Raises:
        UsageError: the port is for one of two domains, and the data has one set of images.
    """
    if not port.domain:
        return next(iter(images.values()))
    if "b" not in images:
        raise UsageError(
            f"{model.data.name} has two domains; this data has one set of images for {port.domain}",
            code="does-not-apply",
        )
    return images[model.data.side_of(port.domain)]


def relative_distances(images: Array, real: Array) -> tuple[float, float] | None:
    """Return the two `distances` of images as shares of those of as many real ones.

    Both are about 1 for images as different as real ones, and near 0 when all are alike, the
    second also when a few are repeated. None where real images are no different from one another.
    """
    spread, nearest = distances(images)
    real_spread, real_nearest = distances(real)
    return (spread / real_spread, nearest / real_nearest) if real_nearest else None


def distances(images: Array) -> tuple[float, float]:
    """Return the mean distance of two of at least two images, and of each from the nearest one.

    Root mean square over pixels, so that pictures of two sizes can be compared. Images that are
    equal have the distance 0 exactly.
    """
    rows = images.reshape(len(images), -1).astype(np.float64)
    rows -= rows.mean(axis=0)  # distances stay, and small ones are not lost in rounding
    squares = (rows**2).sum(axis=1)
    apart = np.sqrt(np.maximum(squares[:, None] + squares - 2 * rows @ rows.T, 0) / rows.shape[1])
    apart[apart < ROUNDING] = 0
    np.fill_diagonal(apart, np.nan)
    return float(np.nanmean(apart)), float(np.nanmin(apart, axis=1).mean())


def some_of(images: Array, count: int) -> Array:
    """Return at most `count` images from all over an array, which may be sorted."""
    count = min(count, len(images))
    return np.asarray(images[np.linspace(0, len(images) - 1, count).round().astype(int)])
