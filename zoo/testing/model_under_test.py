"""What is checked: an installed distribution with the project behind it, and a model of it."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import tomllib
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar, cast
from urllib.parse import unquote, urlsplit

from zoo.catalog.card import Card
from zoo.catalog.lookup import ModelEntry, load_class
from zoo.catalog.plugins import Plugin, installed_plugins
from zoo.catalog.registry import normalised
from zoo.data.batches import Batches
from zoo.data.location import locate_data
from zoo.data.store import open_store
from zoo.errors import ZooError
from zoo.export.bundle import GRAPH_NAME
from zoo.export.exporter import export_graph
from zoo.export.metadata import describe_graph
from zoo.export.verify import verify
from zoo.model.contract import Graph, Model
from zoo.model.weights import Trained, describe
from zoo.options import configure
from zoo.ports import DataSpec
from zoo.testing.check import (
    CPU,
    Finding,
    PrerequisiteFailed,
    innermost_line,
    line_containing,
    source_line,
)
from zoo.testing.watched_training import (
    BATCH,
    LATER,
    SAVED,
    STEPS,
    RepeatedTraining,
    Split,
    WatchedTraining,
    repeat_training,
    seed_everything,
    watch_training,
)
from zoo.training import devices
from zoo.training.config import Settings, check_data
from zoo.training.state import random_state, set_random_state
from zoo.training.trainer import TrainState, setup_players

EXPECTED = "[tool.zoo.expected-failures"
Made = TypeVar("Made")
SLICE = 64  # images of the card's own data that the checks train on


@dataclass(frozen=True)
class Package:
    """One installed distribution.

    Args:
        name: of the distribution.
        plugins: its entry points.
    """

    name: str
    plugins: Sequence[Plugin]

    @classmethod
    def called(cls, name: str) -> Package:
        """Return the installed distribution of that name."""
        return cls(name, [each for each in installed_plugins() if each.distribution == name])

    @property
    def folder(self) -> Path | None:
        """Where its code lies; None where it cannot be found."""
        return folder_of(self.plugins[0].module) if self.plugins else None

    @property
    def metadata(self) -> Distribution | None:
        """What is known of the installed distribution."""
        try:
            return distribution(self.name)
        except PackageNotFoundError:
            return None

    @property
    def project(self) -> Path | None:
        """The folder it was installed from, where that is on this machine."""
        text = self.metadata.read_text("direct_url.json") if self.metadata else None
        facts = json.loads(text) if text else {}
        url = urlsplit(facts.get("url", ""))
        path = Path(unquote(url.path))
        is_here = url.scheme == "file" and "dir_info" in facts and path.is_dir()
        return path if is_here else None

    @property
    def project_file(self) -> Mapping[str, Any]:
        """What ``pyproject.toml`` says, where it can be found.

        Raises:
            PrerequisiteFailed: it cannot be read.
        """
        path = self.project / "pyproject.toml" if self.project else None
        if path is None or not path.is_file():
            return {}
        try:
            return tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as problem:
            found = Finding(f"it cannot be read: {problem}", line_containing(path))
            raise PrerequisiteFailed("static/project-file") from found

    @property
    def all_expected(self) -> Mapping[str, Mapping[str, str]]:
        """The checks that the author declares to fail, with the reasons.

        They stand in ``[tool.zoo.expected-failures.NAME]`` of ``pyproject.toml``, where NAME is a
        model or the distribution, here as installers compare it.

        Raises:
            PrerequisiteFailed: the file cannot be read, or they are no such tables.
        """
        tables: Any = self.project_file
        for key in ("tool", "zoo", "expected-failures"):
            tables = tables.get(key, {}) if isinstance(tables, dict) else None
        if not isinstance(tables, dict) or not all(map(_is_of_reasons, tables.values())):
            found = Finding(
                f"{EXPECTED}.NAME] must be a table of checks, each with the reason in quotes",
                self.line_of_metadata(EXPECTED, "expected-failures"),
            )
            raise PrerequisiteFailed("static/project-file") from found
        return {normalised(name): checks for name, checks in tables.items()}

    def line_of_metadata(self, *words: str) -> str:
        """Return where the metadata is written that holds one of the words: file and line."""
        if self.project and (self.project / "pyproject.toml").is_file():
            return line_containing(self.project / "pyproject.toml", *words)
        files = (self.metadata.files if self.metadata else None) or []
        paths = [Path(str(each.locate())) for each in files if each.name == "METADATA"]
        return line_containing(paths[0], *words) if paths else f"the metadata of {self.name}"

    def line_of_card(self, name: str, *words: str) -> str:
        """Return where a card or a data set stands, or some of its words: file and line."""
        for plugin in self.plugins:
            spec = importlib.util.find_spec(plugin.module.partition(":")[0])
            if spec and spec.origin and any(each.name == name for each in _provided(plugin)):
                return line_containing(
                    Path(spec.origin), *words, f'"{name}"', f"'{name}'", "zoo_models"
                )
        return ""


def folder_of(module: str) -> Path | None:
    """Return where the top package of a module lies, found without importing it.

    Of a module that stands alone, it is the file.
    """
    top = module.partition(":")[0].partition(".")[0]
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None:
        return None
    path = Path(os.path.abspath(spec.origin))  # noqa: PTH100 - as in tracebacks: links stay links
    return path.parent if path.name == "__init__.py" else path


def _is_of_reasons(checks: object) -> bool:
    return isinstance(checks, dict) and all(isinstance(each, str) for each in checks.values())


def _provided(plugin: Plugin) -> Sequence[Any]:
    return (*plugin.models, *plugin.datasets)


@dataclass(frozen=True)
class ModelUnderTest:
    """One model, and what several checks need of it, made once.

    Args:
        entry: its card, and the plugin that entries it.
        package: the distribution that it comes with.
    """

    entry: ModelEntry
    package: Package
    kept: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, entry: ModelEntry) -> ModelUnderTest:
        """Return an installed model with its distribution."""
        return cls(entry, Package.called(entry.plugin.distribution))

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
    def untrained(self) -> Model:
        """The model with its defaults, untrained, a new one each time with the same weights."""
        self._once("model", "training/builds", self.build)  # that it fails is told once
        return self.build()

    @property
    def training(self) -> WatchedTraining:
        """A training of some steps, watched; it may have ended early."""
        return self._once("training", "training/players", self._train)

    @property
    def trained(self) -> Model:
        """The model after that training, without the trainer. Nobody changes it."""
        return self._once("trained", "training/finite", self.load_trained)

    @property
    def repeated(self) -> RepeatedTraining:
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
        if self.training.problem is not None:
            raise self.training.problem
        model = self.build()
        model.load_state_dict(self.training.weights[STEPS])
        return model.eval()

    def place(self, method: str) -> str:
        """Return file and line of a method of the model's class."""
        return source_line(getattr(self.model_class, method))

    def _load_class(self) -> type[Model]:
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

    def _prepare(self) -> tuple[DataSpec, Split, bool]:
        wanted = self.card.needs == "two domains"
        store = open_store(replace(locate_data(self.card.data), two_domains=wanted))
        check_data(self.entry, self.card.data, store)
        split = {name: rows[:SLICE] for name, rows in store.splits["train"].items()}
        return store.spec, split, "train" in store.pairs

    def _train(self) -> WatchedTraining:
        state = self.setup_players(self.untrained)
        seed_everything(1)
        return watch_training(state, self.batches(), STEPS, keep={SAVED, LATER, STEPS})

    def _repeat(self) -> RepeatedTraining:
        assert self.trained
        state = self.setup_players(self.untrained)
        seed_everything(1)
        return repeat_training(self, state)

    def _export(self) -> dict[str, bytes]:
        trained = Trained(self.trained, describe(self.trained, self.entry), Path())
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
                    where = innermost_line(problem, self.folder) or source_line(graph.function)
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
                    message = f"{problem.message}; {problem.cause}"
                    raise Finding(message, source_line(self.graphs[name].function)) from problem
        return self.exported

    def _once(self, name: str, owner: str, make: Callable[[], Made]) -> Made:
        """Return what `make` makes, made once; that it fails is the finding of the check `owner`.

        Raises:
            PrerequisiteFailed: it fails, or something that it stands on does.
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
        if isinstance(problem, PrerequisiteFailed):
            raise problem
        if problem is not None:
            raise PrerequisiteFailed(owner) from problem
        return cast(Made, made)
