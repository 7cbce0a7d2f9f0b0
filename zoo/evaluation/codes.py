"""What an encoder's code tells of a picture: its class, and how many of its units are used."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from zoo.data.store import Store
from zoo.evaluation.measurement import mean_of_items
from zoo.measurements import Measurement
from zoo.model.contract import Model
from zoo.model.inference import run_graph, some_of
from zoo.pictures import to_values
from zoo.ports import is_pictorial
from zoo.sampling import as_port_takes

MOST_TRAINING_ROWS = 10_000  # whose codes the probe learns from
MOST_ITERATIONS = 200  # of L-BFGS
WEIGHT_DECAY = 1e-3
ACTIVE_VARIANCE = 0.01  # of the mean of q(z|x) over the data; Burda et al. 2016, section 5.2
SILENT = 1e-6  # greatest absolute activation of a unit that does not fire
SPARSE = 0.01  # least share of silent activations from which a code is called sparse
AT_ONCE = 500  # images
FOUND = 10  # pictures of a search

Codes = NDArray[np.float32]
Classes = NDArray[np.int64]


def encoders(model: Model) -> dict[str, str]:
    """Return the graphs that make one row of numbers of a picture, and the output that holds it.

    Of several outputs the first counts: that of a variational encoder is the mean of q(z|x).
    """
    found = {}
    for name, graph in model.graphs().items():
        first, required = graph.outputs[0], graph.signature.required
        of_picture = len(required) == 1 and is_pictorial(required[0])
        if of_picture and len(first.shape) == 2 and first.dtype == "float32" and not first.classes:
            found[name] = first.name
    return found


def measure_code(model: Model, graph: str, store: Store, split: str) -> Iterator[Measurement]:
    """Measure the code that a graph makes of the images of a split.

    The units of the code that vary with the image; where the code is sparse, how much of it is
    silent; and where the data has labels, the accuracy of a linear probe and how many of the
    nearest training images are of the class of each image.
    """
    codes = encode(model, graph, store.splits[split]["image"])
    variance = codes.astype(np.float64).var(axis=0)
    units = {"units": codes.shape[1]}
    yield Measurement(
        "active_units", float((variance > ACTIVE_VARIANCE).sum()), graph=graph,
        protocol={**units, "active": f"variance over the images above {ACTIVE_VARIANCE}"},
    )  # fmt: skip
    silent = np.abs(codes) <= SILENT
    if silent.mean() >= SPARSE:
        yield mean_of_items("active_share", 1 - silent.mean(axis=1), graph=graph, protocol=units)
        dead = float(silent.all(axis=0).sum())
        yield Measurement("dead_units", dead, "lowest", graph, protocol=units)
    if all("label" in store.splits[each] for each in ("train", split)):
        rows = some_of(np.arange(len(store.splits["train"]["image"])), MOST_TRAINING_ROWS)
        learnt_from = encode(model, graph, store.splits["train"]["image"][rows])
        right = probe(
            learnt_from, store.splits["train"]["label"][rows],
            codes, store.splits[split]["label"], len(store.spec.classes),
        )  # fmt: skip
        yield mean_of_items(
            "linear_probe_accuracy", right, better="highest", graph=graph,
            protocol={
                "probe": "logistic regression on standardised codes, L-BFGS",
                "weight_decay": WEIGHT_DECAY, "training_images": len(rows),
            },
        )  # fmt: skip
        distance = "hamming" if is_binary(learnt_from) else "cosine"
        share = precision_of_search(
            learnt_from, store.splits["train"]["label"][rows],
            codes, store.splits[split]["label"], distance,
        )  # fmt: skip
        yield mean_of_items(
            f"precision_at_{FOUND}", share, better="highest", graph=graph,
            protocol={"distance": distance, "searched_images": len(rows)},
        )  # fmt: skip


def encode(model: Model, graph: str, images: NDArray[np.uint8]) -> Codes:
    """Return the codes (N, units) of images, uint8 (N, H, W, C)."""
    (port,) = model.graphs()[graph].signature.required
    output, parts = encoders(model)[graph], []
    for start in range(0, len(images), AT_ONCE):
        pixels = as_port_takes(images[start : start + AT_ONCE], port)
        numbers = to_values(pixels, *(port.range or (-1.0, 1.0)))
        parts.append(run_graph(model, graph, {port.name: numbers})[output])
    return np.concatenate(parts)


def is_binary(codes: Codes) -> bool:
    """Whether a code is bits: no more than two different numbers in all of it."""
    return bool(((codes == codes.min()) | (codes == codes.max())).all())


def precision_of_search(
    codes: Codes, labels: Classes, queries: Codes, query_labels: Classes, distance: str
) -> NDArray[np.float64]:
    """Return which share of the `FOUND` nearest codes (N, units) is of the class of each query.

    The distance is ``hamming``, the number of bits that differ, or ``cosine``. Of codes that are as
    far, the earlier is taken.
    """

    def directions(each: Codes) -> Codes:
        each = each - (codes.min() + codes.max()) / 2 if distance == "hamming" else each
        norms = np.linalg.norm(each, axis=1, keepdims=True)
        return np.asarray(each / np.maximum(norms, 1e-12), np.float32)

    there, shares = directions(codes), []
    for start in range(0, len(queries), AT_ONCE):
        likeness = (
            directions(queries[start : start + AT_ONCE]) @ there.T
        )  # of bits: all of one norm
        nearest = np.argsort(-likeness.round(6), axis=1, kind="stable")[:, :FOUND]
        right = np.asarray(labels)[nearest] == query_labels[start : start + AT_ONCE, None]
        shares.append(right.mean(axis=1))
    found: NDArray[np.float64] = np.concatenate(shares)
    return found


def probe(
    codes: Codes, labels: Classes, held_out: Codes, held_out_labels: Classes, classes: int
) -> NDArray[np.float64]:
    """Return 1 for each held-out code (N, units) that a linear extractor classifies rightly.

    Multinomial logistic regression on codes of mean 0 and variance 1, which minimises
    cross-entropy + ½ λ ‖W‖² by L-BFGS.
    """
    mean, deviation = codes.mean(axis=0), codes.std(axis=0) + 1e-6
    inputs, others = (
        torch.from_numpy((each - mean) / deviation).float() for each in (codes, held_out)
    )
    wanted = torch.from_numpy(np.asarray(labels, np.int64))
    weight = torch.zeros(classes, codes.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [weight, bias], max_iter=MOST_ITERATIONS, history_size=20, line_search_fn="strong_wolfe"
    )

    def objective() -> Tensor:
        optimiser.zero_grad()
        loss = cross_entropy(inputs @ weight.T + bias, wanted)
        loss = loss + 0.5 * WEIGHT_DECAY * (weight**2).sum()
        loss.backward()  # type: ignore[no-untyped-call] # torch's stub lacks it
        return loss

    optimiser.step(objective)  # type: ignore[no-untyped-call] # torch's stub lacks it
    with torch.no_grad():
        likeliest = (others @ weight.T + bias).argmax(dim=1).numpy()
    right: NDArray[np.float64] = (likeliest == held_out_labels).astype(np.float64)
    return right
