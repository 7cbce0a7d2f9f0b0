"""What `zoo explore` works on: the codes of TARGET, and what words and data stand for in them."""

from __future__ import annotations

import glob
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from zoo.api.data import choose_split, open_like_training, source_for
from zoo.api.load import is_exported, load_exported, loaded
from zoo.api.targets import load_target
from zoo.draws import class_labels, class_name, read_classes
from zoo.errors import UsageError
from zoo.exploration.directions import Surroundings
from zoo.exploration.views import Group
from zoo.grids import legible
from zoo.messages import say
from zoo.pictures import BadPictureError, fit, fit_all, suffixes
from zoo.ports import Port

if TYPE_CHECKING:
    from zoo.data.store import Store
    from zoo.exploration.latent_space import Array, Arrays, CodeGraph, LatentSpace
    from zoo.identity import Identity
    from zoo.pictures import Pixels
    from zoo.ports import Fit

CLASS = "class:"  # before a word that would be read as a file or a seed
MOST_IN_GROUP = 1000  # pictures of a class, evenly from all of them
REFERENCE = 2000  # pictures whose codes tell centre, spread and directions …
MOST_NUMBERS = 2**24  # … or as many numbers in their codes
MOST_FILES = 10_000  # pictures that are read for one word
MOST_ROWS = 64  # of directions
LONG = 4000  # pictures; encoding more shows a bar on a terminal


@dataclass(frozen=True)
class Exploration:
    """The codes of a target, and the options that say on which data and with what draws."""

    target: str  # as the user wrote it
    space: LatentSpace
    identity: Identity
    path: Path  # of the weights, or of exported files
    data: str | None = None
    fit: Fit | None = None
    classes: tuple[int, ...] | None = None  # of --class
    seed: int = 0
    output: Path | None = None  # which is not written over a picture that is read

    # What the model has

    def encoder(self, what: str) -> CodeGraph:
        """Return the graph from pictures to codes; `UsageError` where `what` needs one in vain."""
        if self.space.encoder is None:
            raise self._lacks(
                "makes no codes of pictures", what, "interpolate 0 1, traverse, manifold"
            )
        return self.space.encoder

    def decoder(self, what: str) -> CodeGraph:
        """Return the graph from codes to pictures; `UsageError` where `what` needs one in vain."""
        if self.space.decoder is None:
            raise self._lacks("makes no pictures of codes", what, "map, neighbours")
        return self.space.decoder

    def round_trip(self, what: str) -> None:
        """Raise a `UsageError` where the codes of pictures do not become pictures again."""
        self.encoder(what)
        self.decoder(what)
        if not self.space.round_trip:
            raise self._lacks(
                "makes codes of pictures that become no pictures again", what, "map, neighbours"
            )

    def _lacks(self, lack: str, what: str, works: str) -> UsageError:
        """Return the error for `what` that needs a graph which is not there, with what `works`."""
        if self.path.suffix == ".onnx" and len(self.identity.graphs) > 1:
            return UsageError(
                f"{self.path.name} {lack}",
                cause=f"{what} needs that; the model has more graphs than this file",
                hint=f"zoo explore {self.path.parent}, where other files of the export are",
                code="does-not-apply",
            )
        return UsageError(
            f"{self.space.model} {lack}",
            cause=f"{what} needs that, and no graph of the model does it",
            hint=" or ".join(f"zoo explore {self.target} {view}" for view in works.split(", ")),
            code="does-not-apply",
        )

    def context(self) -> Arrays:
        """Draw what goes into the decoder beside a code, for the one class that is asked for."""
        if self.classes and len(self.classes) > 1:
            raise UsageError("--class: one class at a time here", code="does-not-apply")
        (context,) = self.contexts()
        return context

    def contexts(self) -> list[Arrays]:
        """Draw what goes into the decoder beside a code, for each class that is asked for."""
        contexts = self.space.contexts(self.seed, self.classes)
        label = self.space.decoder.label if self.space.decoder else None
        if label is not None and self.classes is None:
            name = class_name(int(contexts[0][label.name][0]), [label])
            say(f"{label.name} {name}, which seed {self.seed} draws; --class chooses another")
        return contexts

    def class_titles(self) -> tuple[str, ...]:
        """Return what stands beside a row of each class that is asked for."""
        label = self.space.decoder.label if self.space.decoder else None
        return class_labels(self.classes or (), [label]) if label else ()

    # Data

    @cached_property
    def store(self) -> Store:
        """The data that the user named, or that the model was trained on, decoded."""
        return open_like_training(self, source_for(self, self.data), self.fit)

    @property
    def held_out(self) -> str:
        """The split that a model is looked at with."""
        return choose_split(self.store)

    def pictures(self, split: str) -> tuple[Pixels, Array | None]:
        """Return the pictures of a split, (N, H, W, C), and their labels, (N,), if there are any.

        Raises:
            UsageError: there is no such split.
        """
        arrays = self.store.splits[choose_split(self.store, split)]
        port = self.encoder("data").picture
        name = port.name if port.name in arrays else self.store.spec.pictures.name
        return arrays[name], arrays.get("label")

    def some_pictures(self, split: str, count: int) -> tuple[Pixels, Array | None]:
        """Return at most `count` pictures of a split, chosen by the seed, with their labels."""
        pictures, labels = self.pictures(split)
        if len(pictures) <= count:
            return pictures, labels
        chosen = np.random.default_rng(self.seed).choice(len(pictures), count, replace=False)
        chosen.sort()  # so that pages look alike, and files are read from front to back
        return pictures[chosen], None if labels is None else labels[chosen]

    def titles(self, labels: Sequence[int]) -> list[str]:
        """Return the name of each class number, as pages show it."""
        return list(class_labels(labels, [Port.label("label", self.store.spec.classes)]))

    def surroundings(self) -> Surroundings:
        """Return where codes come from: draws, and pictures that were held out."""
        return Surroundings(self.space, lambda: self.reference, self.seed, self.classes)

    @cached_property
    def reference(self) -> Array:
        """The codes (N, D) of held-out pictures, which tell centre, spread and directions."""
        count = max(2, min(REFERENCE, MOST_NUMBERS // self.space.size))
        return self.encode(*self.some_pictures(self.held_out, count))

    def encode(self, pictures: Pixels, labels: Array | None = None) -> Array:
        """Return the codes (N, D) of pictures; of many, a terminal shows how far that is."""
        if labels is None and self.classes:
            labels = np.full(len(pictures), self.classes[0])
        hidden = len(pictures) < LONG or not sys.stderr.isatty()
        with click.progressbar(length=len(pictures), file=sys.stderr, hidden=hidden) as bar:
            return self.space.encode(pictures, labels, bar.update)

    # What words stand for

    def group(self, word: str) -> Group:
        """Return what a word stands for: seeds, pictures or a class.

        Raises:
            UsageError: it is none of them, or the model cannot take it.
            NotFoundError: a file is missing or damaged.
        """
        if word.startswith(CLASS):
            return self._of_class(word.removeprefix(CLASS))
        parts = [part.strip() for part in word.split(",")]
        is_path = Path(word).exists() or glob.has_magic(word)
        if not is_path and all(part.isascii() and part.isdecimal() for part in parts):
            return self._of_seeds(word, [int(part) for part in parts])
        if is_path or any(Path(part).suffix.lower() in suffixes() for part in parts):
            self.round_trip(f"a picture, {word[:40]}")
            names, pictures = self.read_pictures([word] if is_path else parts)
            name = names[0] if len(names) == 1 else legible(Path(word).name, "pictures")
            return Group(name, self.encode(pictures), self._as_decoded(pictures))
        return self._of_class(word)

    def _of_seeds(self, word: str, seeds: Sequence[int]) -> Group:
        self.decoder("a seed")
        if not self.space.has_prior:
            raise UsageError(
                f"{word}: a seed draws a code, and the codes of {self.space.model} have no prior",
                hint=f"pictures, a class, or {CLASS}{word} where that is one",
                code="does-not-apply",
            )
        codes = [self.space.draw_codes(1, seed, self.classes) for seed in seeds]
        return Group(f"seed {word}", np.concatenate(codes))

    def _of_class(self, word: str) -> Group:
        label = self.space.decoder.label if self.space.decoder else None
        if self.space.encoder is None and label is not None:
            raise UsageError(
                f"{word[:40]} is no code",
                cause=f"a class is an input of {self.space.model} beside the code, and nothing "
                "lies between two classes",
                hint=f"zoo explore {self.target} interpolate 0 1 --class all",
                code="does-not-apply",
            )
        self.round_trip(f"a picture or class, {word[:40]!r}")
        classes = self.store.spec.classes
        if not classes:
            raise UsageError(
                f"{word[:40]!r} is no file and no folder",
                cause=f"it is no class either: {self.store.spec.name} has none",
                code="bad-value",
            )
        numbers = read_classes(word, [Port.label("label", classes)])
        pictures, labels = self.pictures(self.held_out)
        own = np.flatnonzero(np.isin(labels, numbers)) if labels is not None else np.empty(0, int)
        if not len(own):
            raise UsageError(
                f"{self.store.spec.name} has no {self.held_out} pictures of {word[:40]}",
                code="bad-value",
            )
        places = np.linspace(0, len(own) - 1, min(MOST_IN_GROUP, len(own))).round().astype(int)
        chosen = own[places]
        names = class_labels(numbers, [Port.label("label", classes)])
        assert labels is not None
        codes = self.encode(pictures[chosen], labels[chosen])
        return Group(", ".join(names), codes, self._as_decoded(pictures[chosen]))

    def read_pictures(self, words: Sequence[str]) -> tuple[list[str], Pixels]:
        """Read pictures, folders and patterns; return a name for each, and pixels (N, H, W, C).

        What cannot be read in a folder is left out with a word.

        Raises:
            NotFoundError: a file that was named is missing or damaged, or none can be read.
        """
        from zoo.runtime.inputs import find_inputs, find_pictures

        port = self.encoder("a picture").picture
        learnt = self.identity.data.ports[0]
        found = find_pictures(find_inputs(words, None))
        if self.output and any(each.file.path.resolve() == self.output.resolve() for each in found):
            raise UsageError(
                f"-o {self.output} is one of the pictures that are read",
                hint="another name",
                code="bad-output",
            )
        if len(found) > MOST_FILES:
            raise UsageError(f"{len(found):,} pictures are too many", code="too-many")
        names: list[str] = []
        pixels: list[Pixels] = []
        for each in found:
            try:
                image = each.file.read_picture(learnt.value_range)
            except BadPictureError as problem:
                if each.named:
                    raise
                say(f"left out: {problem.message}: {problem.cause}")
                continue
            how = self.fit or learnt.fit
            pixels.append(fit(image, port.height, port.width, port.channels, how))
            names.append(legible(Path(each.name).name, f"picture {len(names) + 1}"))
        if not pixels:
            raise BadPictureError(f"none of the {len(found)} pictures could be read")
        return names, np.stack(pixels)

    def _as_decoded(self, pictures: Pixels) -> Pixels:
        """Return pictures of the size and the colours of those that the decoder gives."""
        if self.space.decoder is None:
            return pictures
        port = self.space.decoder.picture
        return fit_all(pictures, port.height, port.width, port.channels)


def read_ends(
    words: tuple[str, ...], start: str | None, end: str | None, seed: int
) -> tuple[str, str]:
    """Return the words for both ends of a path; `UsageError` where there are more, or too few."""
    if words and (len(words) != 2 or start or end):
        raise UsageError(
            "a path has two ends: FROM and TO",
            hint="zoo explore TARGET interpolate FROM TO",
            code="bad-value",
        )
    first, last = words or (start or str(seed), end)
    return first, last or str(int(first) + 1 if first.isdecimal() else seed)


def read_dims(text: str, size: int) -> list[int]:
    """Read which dimensions of a code are meant; `UsageError` if one is none of them."""
    found = [part.strip() for part in text.split(",")]
    numbers = [int(part) if part.isascii() and part.isdecimal() else -1 for part in found]
    for part, number in zip(found, numbers, strict=True):
        if not 0 <= number < size:
            raise UsageError(
                f"--dims: {part[:20]!r} is no dimension of the code",
                hint=f"from 0 to {size - 1}, several with commas",
                code="bad-value",
            )
    if len(numbers) > MOST_ROWS:
        raise UsageError(f"--dims: at most {MOST_ROWS} rows", code="too-many")
    return list(dict.fromkeys(numbers))


def open_exploration(
    target: str, *, classes: str | None = None, data: str | None = None, **options: Any
) -> Exploration:
    """Open the codes of TARGET: a run, a model, a weight file; or exported files, without torch.

    Raises:
        UsageError: it has no codes, or no such class.
        NotFoundError: nothing matches, or a file is missing or damaged.
        PluginError: of weights: torch or the model's plugin is not installed.
    """
    if is_exported(Path(target)):
        from zoo.data.location import check_data_is_there

        if data is not None:
            check_data_is_there(data)
        model = load_exported(Path(target))
    else:
        model = loaded(load_target(target, data))
    space = model.latent_space
    if space.encoder is None and (data is not None or options.get("fit") is not None):
        raise UsageError(
            f"{space.model} makes no codes of pictures, and needs no data",
            hint="the same command without --data and --fit",
            code="does-not-apply",
        )
    chosen = None
    if classes is not None:
        graph = space.decoder or space.encoder
        chosen = tuple(read_classes(classes, graph.signature.inputs if graph else []))
    return Exploration(target, space, model.identity, model.path, data, classes=chosen, **options)
