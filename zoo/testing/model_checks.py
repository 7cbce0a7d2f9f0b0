"""What must hold for a model: its card, and a training on a few images of a data set."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import asdict
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from zoo.data.batches import in_order
from zoo.data.decoding import decode_rows
from zoo.data.layouts import list_files
from zoo.data.store import open_store
from zoo.data.survey import decode_options
from zoo.modalities import OWN, modalities, modality_of
from zoo.model.checks import check_itself, monitors_of, source_line
from zoo.model.inference import evaluating, mean_metrics
from zoo.model.weights import describe, load_weights, save_weights
from zoo.testing.check import (
    CPU,
    Check,
    Finding,
    PrerequisiteFailed,
    Skip,
    innermost_line,
    last_assignment,
)
from zoo.testing.export_checks import inputs_of, outputs_of
from zoo.testing.model_under_test import (
    BATCH,
    SAVED,
    SLICE,
    ModelUnderTest,
    TrainingRecord,
    record_training,
    seed_everything,
)
from zoo.training.config import DATA_OPTIONS, resolve
from zoo.training.monitors import AlertError
from zoo.training.players import check_players, parameters_of

ODD = 3  # images of a batch that no usual batch size is a multiple of
AT_ONCE = 8  # items that are decoded together
LONGEST_SUMMARY = 90  # characters; a row of `zoo list` has room for no more
PLACEHOLDERS = re.compile(
    r"\b(TODO|FIXME|XXX)\b|\bA Paper\b|\bSomebody\b|(?i:\bexample\.(org|com|net)\b)"
)


def summary(model: ModelUnderTest) -> None:
    """The summary is one short line without a full stop."""
    text = model.card.summary
    if not text.strip():
        raise Finding("the card has no summary", model.line_of_card())
    if "\n" in text or len(text) > LONGEST_SUMMARY:
        wanted = f"one line of at most {LONGEST_SUMMARY} characters"
        raise Finding(f"the summary must be {wanted}, it has {len(text)}", model.line_of_card(text))
    if text.rstrip().endswith("."):
        raise Finding("the summary ends in a full stop", model.line_of_card(text))


def paper(model: ModelUnderTest) -> None:
    """The paper has a title, authors, a year and a link."""
    source = model.card.paper
    for field, value in asdict(source).items():
        if not value:
            raise Finding(f"the paper has no {field}", model.line_of_card())
    if not 1900 <= source.year <= date.today().year + 1:
        raise Finding(f"no paper is of the year {source.year}", model.line_of_card())
    if not re.match(r"https?://\S+\.\S+", source.url):
        raise Finding(f"{source.url!r} is no link to a paper", model.line_of_card(source.url))


def placeholders(model: ModelUnderTest) -> None:
    """The card holds no placeholder."""
    source = model.card.paper
    for text in (model.card.summary, source.title, source.authors, source.url):
        found = PLACEHOLDERS.search(text)
        if found:
            raise Finding(f"{text!r} is a placeholder: {found[0]}", model.line_of_card(text))


def model_class(model: ModelUnderTest) -> None:
    """The dotted path of the card leads to a class of a model with a configuration."""
    assert model.model_class


def presets(model: ModelUnderTest) -> None:
    """Every preset sets options that there are, to values that they take."""
    usual = asdict(model.model_class.training_defaults)
    for name, preset in model.card.presets.items():
        values = {key: value for key, value in preset.items() if key not in DATA_OPTIONS}
        try:
            resolve(model.model_class.Config, usual, [values])
        except Exception as problem:
            raise Finding(f"preset {name!r}: {problem}", model.line_of_card()) from problem


def data(model: ModelUnderTest) -> None:
    """The data set, the card's own if no other is named, holds what the model learns from."""
    assert model.split


def aligned(model: ModelUnderTest) -> None:
    """Rows that belong together, such as pairs, do so when they are decoded and in the batches."""
    spec, orders = model.spec, {name: model.spec.orders[name] for name in model.split}
    groups = [[name for name in orders if orders[name] == each] for each in {*orders.values()}]
    groups = [names for names in groups if len(names) > 1]
    if not groups:
        raise Skip("no two ports of the data belong together")
    _check_decoding(model)
    for names in groups:
        own = {name: model.split[name] for name in names}
        (rows,) = in_order(own, spec, SLICE, CPU)
        for batch in model.batches().epoch(0):
            for number in range(BATCH):
                same = [
                    torch.isclose(rows[name], batch[name][number], rtol=0, atol=0, equal_nan=True)
                    for name in names
                ]
                if (
                    not torch.stack([each.reshape(len(each), -1).all(1) for each in same])
                    .all(0)
                    .any()
                ):
                    what = f"rows of {' and '.join(names)} in a batch do not belong together"
                    raise Finding(what, model.line_of_card())


def _check_decoding(model: ModelUnderTest) -> None:
    """Decode some items, of kinds that plugins bring, together and one by one."""
    spec = open_store(model.location).spec  # with the names that the data has
    of_plugins = modalities().keys() - OWN.keys()
    if of_plugins.isdisjoint(port.kind for port in spec.ports):
        return
    with model.location.opened() as (root, notes):
        listing = list_files(model.location, root, notes, decode_options(spec))
        for name, side in listing.splits["train"].items():
            some = np.random.default_rng(0).permutation(len(side.items))[:AT_ONCE]
            kept, rows = decode_rows(side, some, spec[name])
            for number, row in zip(kept, rows, strict=True):
                _, alone = decode_rows(side, np.array([number]), spec[name])
                if not np.array_equal(alone[0], row):
                    what = (
                        f"{spec[name].kind}: items that are decoded together are in another order"
                    )
                    raise Finding(what, source_line(type(modality_of(spec[name])).blocks))


def builds(model: ModelUnderTest) -> None:
    """The model is built with its defaults for that data."""
    assert model.untrained


def players(model: ModelUnderTest) -> None:
    """Every parameter belongs to exactly one player, whose networks are the model's attributes."""
    untrained = model.untrained
    try:
        check_players(untrained, untrained.players())
        model.setup_players(untrained)
    except Exception as problem:
        raise Finding(
            str(problem).partition("\n")[0],
            innermost_line(problem, model.folder) or model.place("players"),
        ) from problem
    assert model.training


def finite(model: ModelUnderTest) -> None:
    """Twenty steps of training end without an error, and every term and gradient is finite."""
    training = model.training
    if isinstance(training.problem, AlertError):
        raise Finding(training.problem.message, training.where)
    if training.problem is not None:
        raise training.problem
    assert model.trained


def moves_only_its_player(model: ModelUnderTest) -> None:
    """Each update moves the player that it names, and nothing else moves anybody."""
    if model.training.foreign_change:
        raise Finding(*model.training.foreign_change)


def all_move(model: ModelUnderTest) -> None:
    """Every player is moved by an update of its own within twenty steps."""
    still = model.trained.players().keys() - model.training.moved
    if still:
        raise Finding(f"{_named(still)} never moved", model.place("training_step"))


def gradients(model: ModelUnderTest) -> None:
    """Every parameter is reached by a gradient within twenty steps."""
    trained, training = model.trained, model.training
    moved: set[int] = set()  # the others are the finding of `all_move`
    for name, player in trained.players().items():
        moved |= parameters_of(player).keys() if name in training.moved else set()
    names = {name for name, each in trained.named_parameters() if id(each) in moved}
    if names & training.unreached:
        raise Finding(
            f"no gradient ever reached {_named(names & training.unreached)}",
            model.place("training_step"),
        )


def validation(model: ModelUnderTest) -> None:
    """Validation gives finite scalars for whole and odd batches, and the goal is among them."""
    rows = {name: array[: BATCH + ODD] for name, array in model.split.items()}
    for batch in in_order(rows, model.spec, BATCH, CPU):
        for monitor in monitors_of(model.model_class):
            with evaluating(model.trained):
                check_itself(model.trained, monitor, batch)
    metrics = mean_metrics(model.trained, in_order(rows, model.spec, BATCH, CPU))
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise Finding(f"{name} is {value}", model.place("validation_step"))
    goal = model.model_class.goal
    if goal is not None and goal.metric not in metrics:
        raise Finding(
            f"the goal {goal.metric!r} is none of the metrics {_named(metrics)}",
            model.place("validation_step"),
        )


def same_seed(model: ModelUnderTest) -> None:
    """The same seed gives the same terms, to the bit."""
    again = model.repeated.first
    if again.problem is not None:
        raise again.problem
    if different := _difference(model.training, again, start=0):
        raise Finding(
            f"the same seed gave {different}: something random is drawn elsewhere than from "
            "torch's, NumPy's or Python's global generator, or kept outside of the model",
            model.place("training_step"),
        )


def resume(model: ModelUnderTest) -> None:
    """Saved, ended and gone on with, a training equals one that was not interrupted, to the bit."""
    repeat = model.repeated
    if repeat.first.problem or _difference(model.training, repeat.first, start=0):
        raise PrerequisiteFailed("training/same-seed")
    if repeat.problem is not None:
        raise repeat.problem
    assert repeat.rest is not None
    if repeat.rest.problem is not None:
        raise repeat.rest.problem
    different = _difference(model.training, repeat.rest, start=SAVED)
    if not different:
        return
    cause, where = "something is kept outside of networks and buffers", ""
    if unsaved := model.training.unsaved:
        forgotten = ", ".join(f"{name} of {kind.__name__}" for name, kind in unsaved)
        cause = f"no checkpoint holds {forgotten}: make it a buffer"
        where = last_assignment(*unsaved[0])
    message = f"going on from step {SAVED} gave {different}: {cause}"
    raise Finding(message, where or model.place("training_step"))


def batch_of_one(model: ModelUnderTest) -> None:
    """A batch of one image is learnt from."""
    _one_round(model, 1)


def odd_batch(model: ModelUnderTest) -> None:
    """A batch of an odd number of images is learnt from."""
    _one_round(model, ODD)


def weight_file(model: ModelUnderTest) -> None:
    """Written to a weight file and read again, the trained model does the same."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "model.safetensors")
        save_weights(path, model.trained, describe(model.trained, model.entry))
        loaded = load_weights(path, lambda _: model.trained.assets).model
    for name, graph in model.graphs.items():
        inputs = inputs_of(model, graph, count=2, seed=0)
        with evaluating(model.trained):
            before = outputs_of(model, name, graph, inputs)
        with evaluating(loaded):
            after = outputs_of(model, name, loaded.graphs()[name], inputs)
        for port, one, other in zip(graph.outputs, before, after, strict=True):
            # not to the bit: after training, weights lie in another order in memory
            if not torch.allclose(one.double(), other.double(), rtol=1e-4, atol=1e-5):
                raise Finding(
                    f"graph {name!r} gives another {port.name!r} after loading: something it uses "
                    "is no part of the weights",
                    model.place("graphs"),
                )


CARD_CHECKS = [
    Check("static", each) for each in (summary, paper, placeholders, model_class, presets)
]
TRAINING_CHECKS = [
    Check("training", data),
    Check("training", aligned, tasks=()),
    *(
        Check("training", each)
        for each in (
            builds, players, finite, moves_only_its_player, all_move, gradients, validation,
            same_seed, resume, batch_of_one, odd_batch, weight_file,
        )
    ),
]  # fmt: skip


def _one_round(model: ModelUnderTest, size: int) -> None:
    assert model.trained
    state = model.setup_players(model.untrained)
    seed_everything(1)
    training = record_training(state, model.batches(size), 1, keep=set())
    if isinstance(training.problem, AlertError):
        raise Finding(f"batch of {size}: {training.problem.message}", training.where)
    if training.problem is not None:
        where = innermost_line(training.problem, model.folder) or model.place("training_step")
        raise Finding(f"batch of {size}: {training.problem}"[:300], where) from training.problem


def _difference(whole: TrainingRecord, other: TrainingRecord, *, start: int) -> str:
    """Return the first difference of two trainings in words, or nothing."""
    for step, terms in enumerate(other.terms, start=start + 1):
        wanted = whole.terms[step - 1]
        if terms.keys() != wanted.keys():
            return f"other updates in step {step}"
        for name, value in terms.items():
            if value != wanted[name]:
                return f"{name} = {value:.9g} instead of {wanted[name]:.9g} in step {step}"
    for step in other.weights.keys() & whole.weights.keys():
        for name, tensor in other.weights[step].items():
            if not torch.equal(tensor, whole.weights[step][name]):
                return f"another {name!r} after step {step}"
    return ""


def _named(names: Iterable[str]) -> str:
    return ", ".join(repr(each) for each in sorted(names))
