"""A model that is checked, with what several checks need of it, made once.

That is above all a short training that is recorded: who moves when, what the terms are, what is
not saved.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Generic, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from zoo.catalog.card import Card
from zoo.catalog.lookup import ModelEntry, load_class
from zoo.data.batches import Batches
from zoo.data.download import asset_files, fetch
from zoo.data.location import DataLocation, locate_data
from zoo.data.store import Store, open_store, with_names
from zoo.errors import ZooError
from zoo.exporting.bundle import GRAPH_NAME
from zoo.exporting.exporter import export_graph
from zoo.exporting.metadata import describe_graph
from zoo.exporting.verify import verify
from zoo.model.checks import checked_updates, line_of_generator, line_of_graph, source_line
from zoo.model.contract import Batch, Graph, Model, Update
from zoo.model.weights import Trained, build, describe, save_weights
from zoo.options import configure
from zoo.ports import DataSpec
from zoo.testing.check import CPU, Finding, PrerequisiteFailed, Skip, innermost_line
from zoo.testing.package_checks import Package
from zoo.training import devices
from zoo.training.checkpoint import Checkpoint
from zoo.training.config import Settings, check_data
from zoo.training.players import TrainState, setup_players
from zoo.training.state import (
    TENSORS,
    WEIGHTS,
    random_state,
    rank_file,
    rank_state,
    restore,
    set_random_state,
    shared_state,
)
from zoo.training.trainer import Budget, Cursor, train_steps

Made = TypeVar("Made")
SLICE = 64  # images of the data that the checks train on
BATCH = 2
STEPS = 20
START = Cursor()
OWN = frozenset(vars(nn.Module()))  # attributes that every module has
SAVED, LATER = 7, 9  # steps at which a repeated training is saved, and then is compared


@dataclass
class TrainingRecord:
    """What was seen of a training."""

    terms: list[Mapping[str, float]] = field(default_factory=list)  # of a step, as `player/term`
    weights: dict[int, dict[str, Tensor]] = field(default_factory=dict)  # after some of the steps
    moved: set[str] = field(default_factory=set)  # players that an update of theirs has moved
    unreached: set[str] = field(default_factory=set)  # parameters without a gradient, by name
    cursor: Cursor = START  # after the last step
    foreign_change: tuple[str, str] | None = None  # of a player, by anything but its own update
    where: str = ""  # file and line of the last update
    unsaved: list[tuple[str, type]] = field(default_factory=list)  # changed, in no checkpoint
    problem: Exception | None = None  # what ended it early


def seed_everything(seed: int) -> None:
    """Put every random generator that a plugin may draw from to a known place."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def record_training(
    state: TrainState, batches: Batches, end: int, *, start: Cursor = START, keep: set[int]
) -> TrainingRecord:
    """Train from `start` to step `end`, and keep the weights after the steps `keep`.

    The schedules go by `STEPS`, wherever it ends.
    """
    parameters = state.model.named_parameters()
    record = TrainingRecord(unreached={n for n, each in parameters if each.requires_grad})
    before = attributes(state.model)
    # in the instance's own dictionary, where it comes before the method of the class
    vars(state.model)["training_step"] = _StepRecorder(state, record).training_step
    try:
        for result in train_steps(state, batches, Budget(STEPS, float("inf")), start=start):
            record.terms.append(result.terms)
            record.cursor = result.cursor
            if result.step in keep:
                weights = state.model.state_dict()
                record.weights[result.step] = {key: each.clone() for key, each in weights.items()}
            if result.step == end:
                break
    except Exception as problem:  # whatever a model raises; a check reports it
        record.problem = problem
    finally:
        del vars(state.model)["training_step"]
    after = attributes(state.model)
    record.unsaved = [key for key, value in after.items() if before.get(key) != value]
    return record


def attributes(model: Model) -> dict[tuple[str, type], str]:
    """Return what a model's modules hold outside of parameters and buffers, as text."""
    found = {}
    for module in model.modules():
        if not type(module).__module__.startswith("torch."):
            for name in vars(module).keys() - OWN - {"config", "data", "progress", "training_step"}:
                found[name, type(module)] = repr(vars(module)[name])[:2000]
    return found


class _StepRecorder:
    """The training step of a model; every parameter is compared before and after each update."""

    def __init__(self, state: TrainState, record: TrainingRecord) -> None:
        self.state, self.record = state, record
        self.original_step = state.model.training_step
        self.parameters = {
            id(each): each for player in state.players.values() for each in player.parameters
        }
        self.seen = {key: each.detach().clone() for key, each in self.parameters.items()}

    def training_step(self, batch: Batch) -> Iterator[Update]:
        original = self.original_step(batch)
        updates = checked_updates(self.state.model, original, self.state.players)
        begin, last = source_line(self.original_step), ""
        while True:
            update = next(updates, None)
            here = line_of_generator(original) or source_line(self.original_step)
            self._note_foreign(
                self._changed() - self._own(last), f"after {begin}, before {here}", here
            )
            if update is None:
                return
            self.record.where = here
            yield update
            changed, own = self._changed(), self._own(update.player)
            self._note_foreign(changed - own, f"by the update of {update.player!r}", here)
            if changed & own:
                self.record.moved.add(update.player)
            self.record.unreached -= {
                name for name, each in self.state.model.named_parameters() if each.grad is not None
            }
            begin, last = here, update.player

    def _own(self, player: str) -> set[int]:
        """Return the parameters of a player, by identity; of no player, none."""
        state = self.state.players.get(player)
        return {id(each) for each in state.parameters} if state else set()

    def _changed(self) -> set[int]:
        """Return the parameters that have changed since the last time, by identity."""
        found = set()
        for key, parameter in self.parameters.items():
            if not torch.equal(self.seen[key], parameter):
                self.seen[key] = parameter.detach().clone()
                found.add(key)
        return found

    def _note_foreign(self, changed: set[int], how: str, where: str) -> None:
        if changed and self.record.foreign_change is None:
            players = [name for name in self.state.players if self._own(name) & changed]
            who = " and ".join(repr(each) for each in sorted(players))
            self.record.foreign_change = f"the parameters of {who} were changed {how}", where


class MadeOnce(Generic[Made]):
    """A property that is computed once; that it fails is the finding of the check `owner`.

    Reading it raises `PrerequisiteFailed` where the computation, or what it stands on, fails.
    """

    def __init__(self, owner: str, make: Callable[[Any], Made]) -> None:
        self.owner, self.make = owner, make

    def __get__(self, model: ModelUnderTest, kind: type[ModelUnderTest]) -> Made:
        kept, name = model.kept, self.make.__name__
        if name not in kept:
            before = random_state(CPU)
            try:
                kept[name] = self.make(model), None
            except (Exception, SystemExit) as raised:
                kept[name] = None, raised
            finally:
                set_random_state(before, CPU)
        made, problem = kept[name]
        if isinstance(problem, PrerequisiteFailed):
            raise problem
        if problem is not None:
            raise PrerequisiteFailed(self.owner) from problem
        return cast(Made, made)


def made_once(owner: str) -> Callable[[Callable[[Any], Made]], MadeOnce[Made]]:
    """Return a decorator that makes a method a `MadeOnce`."""
    return functools.partial(MadeOnce, owner)


@dataclass
class ResumedTraining:
    """A training that was saved, and gone on with by a model that was built anew."""

    first: TrainingRecord  # up to the step at which it was saved
    rest: TrainingRecord | None = None  # from there, by the new model; None where it could not
    problem: Exception | None = None  # why not


@dataclass(frozen=True)
class ModelUnderTest:
    """One model, and what several checks need of it, made once."""

    entry: ModelEntry  # its card, and the plugin that offers it
    package: Package  # the distribution that it comes with
    other_data: str | None = None  # name or path of the data to check it on; None: its card's
    kept: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, entry: ModelEntry, data: str | None = None) -> ModelUnderTest:
        """Return an installed model with its distribution, on its card's data or on another."""
        return cls(entry, Package.called(entry.plugin.distribution), data)

    @property
    def name(self) -> str:
        """What the model is called."""
        return self.entry.card.name

    @property
    def card(self) -> Card:
        """What it says of itself."""
        return self.entry.card

    @property
    def folder(self) -> Path | None:
        """Where the plugin's code lies."""
        return self.package.folder

    @made_once("static/model-class")
    def model_class(self) -> type[Model]:
        """The class that the card names."""
        try:
            found = load_class(self.entry)
        except ZooError as problem:
            where = innermost_line(problem, self.folder) or self.line_of_card()
            raise Finding(problem.message, where) from problem
        if not issubclass(found, Model):
            raise Finding(f"{found.__name__} is not a zoo.Model", source_line(found))
        if not dataclasses.is_dataclass(getattr(found, "Config", None)):
            raise Finding(f"{found.__name__} has no Config that is a dataclass", source_line(found))
        return found

    @made_once("training/data")
    def store(self) -> Store:
        """The data set, decoded: the card's own, if no other was named."""
        store = with_names(open_store(self.location), self.card.needs, {})
        check_data(self.entry, self.other_data or self.card.data, store)
        return store

    @property
    def location(self) -> DataLocation:
        """Where the data lies: the card's own, if no other was named."""
        place = self.other_data or self.card.data
        if not place:
            raise Skip("the card names no data: zoo plugins check --data NAME|PATH tries some")
        found = locate_data(place)
        return replace(found, two_domains=self.card.needs_two_domains)

    @property
    def spec(self) -> DataSpec:
        """What the data set holds."""
        return self.store.spec

    @property
    def split(self) -> Mapping[str, NDArray[Any]]:
        """The first images of the data set."""
        return {name: rows[:SLICE] for name, rows in self.store.splits["train"].items()}

    @made_once("training/builds")
    def first_build(self) -> Model:
        """The model as it is built for the first time, which is where it may fail."""
        return self.build()

    @property
    def untrained(self) -> Model:
        """The model with its defaults, untrained, a new one each time with the same weights."""
        assert self.first_build
        return self.build()

    @made_once("training/players")
    def training(self) -> TrainingRecord:
        """A training of some steps, recorded; it may have ended early."""
        state = self.setup_players(self.untrained)
        seed_everything(1)
        return record_training(state, self.batches(), STEPS, keep={SAVED, LATER, STEPS})

    @made_once("training/finite")
    def trained(self) -> Model:
        """The model after that training, without the trainer. Nobody changes it."""
        return self.load_trained()

    @made_once("training/same-seed")
    def repeated(self) -> ResumedTraining:
        """The beginning of that training once more, saved, and gone on with by another model.

        Everything goes through files, and from one model to the other nothing else does.
        """
        assert self.trained
        state = self.setup_players(self.untrained)
        seed_everything(1)
        outcome = ResumedTraining(record_training(state, self.batches(), SAVED, keep={SAVED}))
        with TemporaryDirectory() as folder:
            try:
                checkpoint = self._save(state, Path(folder))
                another = self.setup_players(self.untrained)
                seed_everything(2)  # as in a new process: nothing is where it was
                restore(another, checkpoint, rank=0, ranks=1)
                start = outcome.first.cursor
                outcome.rest = record_training(
                    another, self.batches(), LATER, start=start, keep={LATER}
                )
            except Exception as problem:  # a plugin may remember anything; a check reports it
                outcome.problem = problem
        return outcome

    def _save(self, state: TrainState, folder: Path) -> Checkpoint:
        tensors, players = shared_state(state, {})
        save_weights(folder / WEIGHTS, state.model, describe(state.model, self.entry))
        (folder / TENSORS).write_bytes(tensors)
        (folder / rank_file(0)).write_bytes(rank_state(state))
        content = {"step": SAVED, "ranks": 1, "players": players}
        return Checkpoint(folder, json.loads(json.dumps(content)))

    @made_once("training/builds")
    def graphs(self) -> Mapping[str, Graph]:
        """The graphs of the trained model."""
        return dict(self.trained.graphs())

    @made_once("export/exports")
    def exported(self) -> Mapping[str, bytes]:
        """An ONNX file of every graph, not yet verified."""
        trained = Trained(self.trained, describe(self.trained, self.entry), Path())
        files = {}
        with TemporaryDirectory() as folder:
            for name, graph in self.graphs.items():
                path = Path(folder, "graph.onnx")
                if not GRAPH_NAME.fullmatch(name):
                    raise Finding(f"graph {name!r} cannot name a file", self.place("graphs"))
                try:
                    about = describe_graph(trained, name, graph, weights_sha256="0" * 64)
                    export_graph(self.trained, graph, about, path)
                except ZooError as problem:
                    where = innermost_line(problem, self.folder) or line_of_graph(
                        self.trained, graph
                    )
                    raise Finding(problem.message, where) from problem
                files[name] = path.read_bytes()
        return files

    @made_once("export/agrees")
    def verified(self) -> Mapping[str, bytes]:
        """The same files, which have passed the gate."""
        with TemporaryDirectory() as folder:
            for name, content in self.exported.items():
                path = Path(folder, f"{name}.onnx")
                path.write_bytes(content)
                try:
                    verify(self.trained, self.graphs[name], path)
                except ZooError as problem:
                    message = f"{problem.message}; {problem.cause}"
                    raise Finding(
                        message, line_of_graph(self.trained, self.graphs[name])
                    ) from problem
        return self.exported

    def line_of_card(self, *words: str) -> str:
        """Return where the card stands, or some of its words: file and line."""
        return self.package.line_of_card(self.name, *words)

    def place(self, method: str) -> str:
        """Return file and line of a method of the model's class."""
        return source_line(getattr(self.model_class, method))

    def build(self) -> Model:
        """Build the model with its defaults."""
        seed_everything(0)
        assets = asset_files(self.card.assets, fetch)
        model = build(self.model_class, configure(self.model_class.Config, {}), self.spec, assets)
        model.graphs()
        return model

    def setup_players(self, model: Model) -> TrainState:
        """Set up the players of a model on the CPU."""
        return setup_players(model, devices.start_ranks(Settings(device="cpu")), nullcontext())

    def batches(self, size: int = BATCH) -> Batches:
        """Return the slice of data in batches."""
        return Batches(self.split, self.spec, size, seed=0, device=CPU)

    def load_trained(self) -> Model:
        """Return a new model with the weights that the recorded training came to."""
        if self.training.problem is not None:
            raise self.training.problem
        model = self.build()
        model.load_state_dict(self.training.weights[STEPS])
        return model.eval()
