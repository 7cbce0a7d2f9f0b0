"""What an export has written, and what was measured of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zoo.export.leaf import Leaf
from zoo.runtime.reference import Gap
from zoo.runtime.session import Session


@dataclass(frozen=True)
class Judgement:
    """How good the model is, and how good with its exported files in the place of its functions.

    Args:
        name: of the figure.
        model: the figure of the model in torch.
        files: the figure with the files.
        loss: by how many percent the files are worse; None where nobody says which way is better.
        graphs: whose files took part.
    """

    name: str
    model: float
    files: float
    loss: float | None
    graphs: tuple[str, ...]


Judge = Callable[[Mapping[str, Session]], Sequence[Judgement]]  # of files by graph


@dataclass(frozen=True)
class Bundle:
    """What an export has written.

    Args:
        files: every file, the ONNX files first.
        removed: files of other weights that were there.
        leaves: the ONNX files by graph, where they lay before they were moved.
        judgements: of smaller files, how good the model is with them.
    """

    files: list[Path]
    removed: list[Path]
    leaves: dict[str, Leaf]
    judgements: Sequence[Judgement] = ()

    @property
    def gaps(self) -> dict[str, Gap]:
        """How far the outputs are off, as ``graph/output``."""
        return {
            f"{name}/{output}": gap
            for name, leaf in self.leaves.items()
            for output, gap in leaf.gaps.items()
        }

    @property
    def noise(self) -> dict[str, list[str]]:
        """By graph, inputs that could not be compared, because rounding errors decide there."""
        return {name: leaf.noise for name, leaf in self.leaves.items() if leaf.noise}

    def to_json(self) -> dict[str, Any]:
        """Return what ``zoo export --json`` prints."""
        return {
            "files": [str(path) for path in self.files],
            "removed": [str(path) for path in self.removed],
            "verified": True,
            "trials": sum(leaf.trials for leaf in self.leaves.values()),
            "noise": self.noise,
            "max_abs_difference": {name: gap.greatest for name, gap in self.gaps.items()},
            "mean_abs_difference": {name: gap.mean for name, gap in self.gaps.items()},
            "savings": {
                name: {
                    "size": leaf.saving.size,
                    "speed": leaf.saving.speed,
                    "costs": {key: cost.to_json() for key, cost in leaf.saving.costs.items()},
                }
                for name, leaf in self.leaves.items()
                if leaf.saving
            },
            "judgements": [asdict(each) for each in self.judgements],
        }
