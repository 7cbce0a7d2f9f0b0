"""One graph in one form -> one file that was verified, or measured where it is a smaller one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from zoo.errors import UsageError, ZooError
from zoo.export import smaller
from zoo.export.account import describe_graph
from zoo.export.form import Form, in_form
from zoo.export.material import CALIBRATING, MEASURING, Material
from zoo.export.onnx import annotate, examples, export_graph
from zoo.export.quality import Cost, costs, costs_in_half
from zoo.export.recheck import LIMIT, check_onnx, too_far
from zoo.export.verify import draw_extreme, trials, verify
from zoo.model.contract import Graph
from zoo.model.inference import run_in_torch
from zoo.model.weights import Trained
from zoo.runtime import timing
from zoo.runtime.description import Description
from zoo.runtime.reference import Example, Gap, measure
from zoo.runtime.session import Arrays, open_session

RUNS, WARMUP = 15, 2  # of each file, to compare their speed
KEPT = 2  # rows of a smaller file's reference


@dataclass(frozen=True)
class Saving:
    """What a file is beside the plain float one of the same graph.

    Args:
        size: bytes of its file, as a share of the other's.
        speed: how many times as fast it is, one row at a time, on this machine.
        costs: how far its outputs are off, by output; none where it only was simplified.
    """

    size: float
    speed: float
    costs: Mapping[str, Cost]


@dataclass(frozen=True)
class Leaf:
    """A file that is ready to leave.

    Args:
        path: of the file.
        about: what it says of itself.
        gaps: between the model in torch and the file, by output; of a file of reduced precision,
            between the float file and it.
        trials: comparisons behind that.
        noise: inputs on which the model's own output is rounding errors; not compared.
        examples: inputs and outputs to check the file by later.
        saving: of a file that was made of a plain float one.
    """

    path: Path
    about: Description
    gaps: Mapping[str, Gap]
    trials: int
    noise: list[str]
    examples: list[Example]
    saving: Saving | None = None


@dataclass(frozen=True)
class Press:
    """What all files of an export are made with.

    Args:
        trained: the model and what its weight file says.
        form: in which its graphs leave.
        weights_sha256: of the weight file.
        material: to make and measure smaller files with.
        most_loss: of a smaller file, in percent of an output's range.
    """

    trained: Trained
    form: Form
    weights_sha256: str
    material: Material
    most_loss: float

    def write(self, name: str, path: Path, scratch: Path) -> Leaf:
        """Write one graph.

        Args:
            name: of the graph.
            path: of the file.
            scratch: a folder for files on the way.

        Raises:
            UsageError: the graph cannot have that form.
            ZooError: it cannot be exported, does not verify, or loses more than it may.
        """
        form, model = self.form, self.trained.model
        formed = self._formed(name)
        about = describe_graph(self.trained, name, formed, weights_sha256=self.weights_sha256)
        whole = path if form.is_plain else scratch / path.name
        export_graph(model, formed, about, whole, opset=form.opset)
        leaf = self._verified(formed, whole, about)
        if form.is_plain:
            return leaf
        _shrink(form, whole, path, lambda: self.material.rows(model, name, formed, CALIBRATING))
        annotate(path, replace(about, precision=form.precision))
        if not form.is_reduced:
            leaf = self._verified(formed, path, about)
            return replace(leaf, saving=_saving(whole, path, {}))
        return self._measured(name, formed, whole, path, about)

    def _formed(self, name: str) -> Graph:
        """Return a graph in the form, which the model must take.

        Raises:
            UsageError: the model does not take pictures of that size.
        """
        model, size = self.trained.model, self.form.size
        formed = in_form(model.graphs()[name], self.form)
        if size:
            try:
                run_in_torch(model, formed, examples(model, formed))
            except Exception as problem:  # a network raises anything on a size not made for it
                said = " ".join(str(problem).split())[:200] or type(problem).__name__
                raise UsageError(
                    f"--size {size[0]}x{size[1]}: {name} of {self.trained.header.model} does not "
                    "take pictures of that size",
                    cause=said,
                    hint=f"--size {model.data.height}x{model.data.width}, as it was trained on",
                ) from problem
        return formed

    def _verified(self, formed: Graph, path: Path, about: Description) -> Leaf:
        """Hold a float file against the model."""
        found = verify(self.trained.model, formed, path)
        told = {"trials": found.trials, "trials_of_noise": len(found.noise)}
        checks = {
            port.name: {
                "tolerance": port.tolerance,
                "greatest": found.gaps[port.name].greatest,
                "mean": found.gaps[port.name].mean,
                **told,
            }
            for port in formed.outputs
        }
        about = replace(about, checks=checks)
        annotate(path, about)
        return Leaf(path, about, found.gaps, found.trials, found.noise, found.examples)

    def _measured(
        self, name: str, formed: Graph, whole: Path, path: Path, about: Description
    ) -> Leaf:
        """Hold a file of reduced precision against the float one, on inputs as they really come.

        Raises:
            ZooError: it loses more than it may.
        """
        check_onnx(path)
        model = self.trained.model
        rows = self.material.rows(model, name, formed, MEASURING)
        plain, session = open_session(whole), open_session(path)
        for trial in trials(model.data, formed):
            session.run(draw_extreme(formed, trial))  # which checks sizes, and that all is finite
        example = self._example(formed, rows[0])
        got = session.run(example.inputs)
        later = {port.name: measure(port, [(example.outputs[port.name], got[port.name])])
                 for port in formed.outputs}  # fmt: skip
        found, rounded = costs(plain, session, rows), {}
        if self.form.precision == "float16":
            rounded = costs_in_half(plain, path, example.inputs)
            found = {key: max(cost, rounded.get(key, cost), key=lambda each: each.loss)
                     for key, cost in found.items()}  # fmt: skip
        limits = {port.name: {LIMIT: self.most_loss} for port in formed.outputs}
        about = replace(about, precision=self.form.precision, checks=limits)
        for gaps in (found, later):
            _refuse_loss(about, gaps)
        checks = {
            output: {
                "loss_percent": cost.loss,
                **limits[output],
                "greatest": cost.greatest,
                "mean": cost.mean,
                "batches": len(rows),
                **({"psnr_db": cost.psnr} if cost.psnr is not None else {}),
                **({"batches_in_float16": 1} if rounded else {}),
            }
            for output, cost in found.items()
        }
        about = replace(about, checks=checks)
        annotate(path, about)
        saving = _saving(whole, path, found)
        return Leaf(path, about, found, len(rows), [], [example], saving)

    def _example(self, formed: Graph, inputs: Arrays) -> Example:
        """Return a few rows of a batch, with what the model makes of them."""
        fixed = isinstance(formed.inputs[0].shape[0], int)
        few = inputs if fixed else {key: array[:KEPT] for key, array in inputs.items()}
        return Example(few, run_in_torch(self.trained.model, formed, few))


def _shrink(form: Form, whole: Path, path: Path, rows: Callable[[], list[Arrays]]) -> None:
    """Make the file of the form out of a plain float one."""
    source = whole
    if form.optimised:
        optimised = whole.with_suffix(".optimised") if form.is_reduced else path
        smaller.optimise(whole, optimised)
        source = optimised
    if form.precision == "float16 weights":
        smaller.halve_weights(source, path)
    elif form.precision == "float16":
        smaller.halve(source, path)
    elif form.precision == "int8":
        smaller.quantise(source, path, rows())


def _refuse_loss(about: Description, gaps: Mapping[str, Gap]) -> None:
    """Let a file pass that loses no more than it may.

    Raises:
        ZooError: it loses more.
    """
    for port in about.signature.outputs:
        if excess := too_far(about, port, gaps[port.name]):
            raise ZooError(
                f"graph {about.graph!r} as {about.precision} is too far from the float file: "
                f"{excess}",
                cause="the loss is a root mean square, in percent of the output's range",
                hint="--half, which loses less; or --max-quality-loss PERCENT; no file was written",
            )


def _saving(whole: Path, path: Path, found: Mapping[str, Cost]) -> Saving:
    sessions = [open_session(each) for each in (whole, path)]
    _, timed = timing.measure(sessions, repeat=RUNS, warmup=WARMUP)
    assert timed.speed is not None  # both have the same sizes
    return Saving(path.stat().st_size / whole.stat().st_size, timed.speed, found)
