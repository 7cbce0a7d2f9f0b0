"""A model that is being checked, and what several checks need of it, made once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar, cast

from zoo.catalog.card import Card
from zoo.catalog.lookup import Offer, load_class
from zoo.catalog.plugins import installed
from zoo.data.batches import Batches
from zoo.data.source import find_source
from zoo.data.store import prepare
from zoo.errors import ZooError
from zoo.export.account import describe_graph
from zoo.export.bundle import GRAPH_NAME
from zoo.export.onnx import export_graph
from zoo.export.verify import verify
from zoo.model.contract import Graph, Model
from zoo.model.weights import Trained, describe
from zoo.options import configure
from zoo.ports import DataSpec
from zoo.testing.check import CPU, Finding, Obstacle
from zoo.testing.course import BATCH, LATER, SAVED, STEPS, Course, Split, seed_everything, watch
from zoo.testing.package import Package
from zoo.testing.places import blame, place_of
from zoo.testing.repeat import Repeat, repeat
from zoo.training import devices
from zoo.training.config import Settings, check_data
from zoo.training.state import random_state, set_random_state
from zoo.training.trainer import TrainState, setup_players

Made = TypeVar("Made")

SLICE = 64  # images of the card's own data that the checks train on


@dataclass(frozen=True)
class Subject:
    """One model.

    Args:
        offer: its card, and the plugin that offers it.
        package: the distribution that it comes with.
    """

    offer: Offer
    package: Package
    kept: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, offer: Offer) -> Subject:
        """Return an installed model as a subject."""
        name = offer.plugin.distribution
        return cls(
            offer, Package(name, [each for each in installed() if each.distribution == name])
        )

    @property
    def name(self) -> str:
        """What the model is called."""
        return self.offer.card.name

    @property
    def card(self) -> Card:
        """What it says of itself."""
        return self.offer.card

    @property
    def folder(self) -> Path | None:
        """Where the plugin's code lies."""
        return self.package.folder

    @property
    def model_class(self) -> type[Model]:
        """The class that the card names."""
        return self._once("class", "static/model-class", self._load_class)

    @property
    def spec(self) -> DataSpec:
        """What the card's own data set holds."""
        return self._once("data", "training/data", self._prepare)[0]

    @property
    def split(self) -> Split:
        """The first images of the card's own data set."""
        return self._once("data", "training/data", self._prepare)[1]

    @property
    def paired(self) -> bool:
        """Whether row i of both domains shows one thing in these images."""
        return self._once("data", "training/data", self._prepare)[2]

    @property
    def fresh(self) -> Model:
        """The model with its defaults, untrained, a new one each time with the same weights."""
        self._once("model", "training/builds", self.build)  # that it fails is told once
        return self.build()

    @property
    def course(self) -> Course:
        """A training of some steps, watched; it may have ended early."""
        return self._once("course", "training/players", self._play)

    @property
    def trained(self) -> Model:
        """The model after that training, without the trainer. Nobody changes it."""
        return self._once("trained", "training/finite", self.load_trained)

    @property
    def repeat(self) -> Repeat:
        """The beginning of that training once more, saved, and gone on with by another model."""
        return self._once("repeat", "training/same-seed", self._repeat)

    @property
    def graphs(self) -> Mapping[str, Graph]:
        """The graphs of the trained model."""
        return self._once("graphs", "training/builds", lambda: dict(self.trained.graphs()))

    @property
    def exported(self) -> Mapping[str, bytes]:
        """An ONNX file of every graph, not yet verified."""
        return self._once("exported", "export/exports", self._export)

    @property
    def verified(self) -> Mapping[str, bytes]:
        """The same files, which have passed the gate."""
        return self._once("verified", "export/agrees", self._verify)

    def line_of_card(self, *words: str) -> str:
        """Return where the card stands, or some of its words: file and line."""
        return self.package.line_of_card(self.name, *words)

    def build(self) -> Model:
        """Build the model with its defaults."""
        seed_everything(0)
        model = self.model_class(configure(self.model_class.Config, {}), self.spec)
        model.graphs()
        return model

    def setup_players(self, model: Model) -> TrainState:
        """Set up the players of a model on the CPU."""
        return setup_players(model, devices.start_fabric(Settings(device="cpu")), nullcontext())

    def batches(self, size: int = BATCH) -> Batches:
        """Return the slice of data in batches."""
        return Batches(self.split, size, seed=0, device=CPU, paired=self.paired)

    def load_trained(self) -> Model:
        """Return a new model with the weights that the watched training came to."""
        if self.course.problem is not None:
            raise self.course.problem
        model = self.build()
        model.load_state_dict(self.course.weights[STEPS])
        return model.eval()

    def place(self, method: str) -> str:
        """Return file and line of a method of the model's class."""
        return place_of(getattr(self.model_class, method))

    def _load_class(self) -> type[Model]:
        try:
            found = load_class(self.offer)
        except ZooError as problem:
            where = blame(problem, self.folder) or self.line_of_card()
            raise Finding(problem.message, where) from problem
        if not issubclass(found, Model):
            raise Finding(f"{found.__name__} is not a zoo.Model", place_of(found))
        if not dataclasses.is_dataclass(getattr(found, "Config", None)):
            raise Finding(f"{found.__name__} has no Config that is a dataclass", place_of(found))
        return found

    def _prepare(self) -> tuple[DataSpec, Split, bool]:
        wanted = self.card.learns_from == "two domains"
        store = prepare(replace(find_source(self.card.data), two_domains=wanted))
        check_data(self.offer, self.card.data, store)
        split = {name: rows[:SLICE] for name, rows in store.splits["train"].items()}
        return store.spec, split, "train" in store.pairs

    def _play(self) -> Course:
        state = self.setup_players(self.fresh)
        seed_everything(1)
        return watch(state, self.batches(), STEPS, keep={SAVED, LATER, STEPS})

    def _repeat(self) -> Repeat:
        assert self.trained
        state = self.setup_players(self.fresh)
        seed_everything(1)
        return repeat(self, state)

    def _export(self) -> dict[str, bytes]:
        trained = Trained(self.trained, describe(self.trained, self.offer), Path())
        files = {}
        with TemporaryDirectory() as folder:
            for name, graph in self.graphs.items():
                path = Path(folder, "graph.onnx")
                if not GRAPH_NAME.fullmatch(name):
                    raise Finding(f"graph {name!r} cannot name a file", self.place("graphs"))
                try:
                    about = describe_graph(trained, name, graph, weights_sha256="")
                    export_graph(self.trained, graph, about, path)
                except ZooError as problem:
                    where = blame(problem, self.folder) or place_of(graph.function)
                    raise Finding(problem.message, where) from problem
                files[name] = path.read_bytes()
        return files

    def _verify(self) -> Mapping[str, bytes]:
        with TemporaryDirectory() as folder:
            for name, content in self.exported.items():
                path = Path(folder, f"{name}.onnx")
                path.write_bytes(content)
                try:
                    verify(self.trained, self.graphs[name], path)
                except ZooError as problem:
                    said = f"{problem.message}; {problem.cause}"
                    raise Finding(said, place_of(self.graphs[name].function)) from problem
        return self.exported

    def _once(self, name: str, owner: str, make: Callable[[], Made]) -> Made:
        """Return what `make` makes, made once; that it fails is the finding of the check `owner`.

        Raises:
            Obstacle: it fails, or something that it stands on does.
        """
        if name not in self.kept:
            before = random_state(CPU)
            try:
                self.kept[name] = make(), None
            except (Exception, SystemExit) as raised:
                self.kept[name] = None, raised
            finally:
                set_random_state(before, CPU)
        made, problem = self.kept[name]
        if isinstance(problem, Obstacle):
            raise problem
        if problem is not None:
            raise Obstacle(owner) from problem
        return cast(Made, made)
