"""Compares an exported file with its model, and later with its stored reference outputs.

`verify` runs before a file gets its name and needs torch; `verify_again` needs the file, its
reference and ONNX Runtime only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from zoo.draws import draw_example, example_shape
from zoo.errors import NotFoundError, UsageError, ZooError
from zoo.exporting.rounds import compare_rounds
from zoo.identity import Description
from zoo.manifest import MANIFEST, check_listed, entry_of, facts_of, read_manifest
from zoo.ports import DataSpec, Port
from zoo.runtime.bundles import open_graph
from zoo.runtime.engine import NewerFormatError
from zoo.runtime.reference import (
    FOLDER,
    Difference,
    Example,
    compare_outputs,
    describe_excess,
    read_reference,
)
from zoo.runtime.session import Arrays, Session, open_session

if TYPE_CHECKING:
    from zoo.model.contract import Graph, Model

MAX_LOSS = "max_loss_percent"  # key in the checks of a file of reduced precision
BATCHES = (1, 2, 5)
SEEDS = (0, 1, 2)
LARGE = 3 * 128 * 128  # numbers in an image beyond which one seed has to do; the gate takes seconds
EXTREME = 5.0  # standard deviations: what a normal prior hardly ever draws
ROUNDING = 2.0**-24  # relative error of one operation in single precision
AMPLIFICATION = 10.0  # times what one rounding error moves: how far two programs may differ there
HALF_A_LEVEL = 0.5  # of grey: what rounding to pixels hides

RANDOM, LOWEST, HIGHEST, ENDS = "random inputs", "all lowest", "all highest", "ends of the ranges"
CONSTANT = {LOWEST, HIGHEST}


class Trial(NamedTuple):
    """One comparison.

    Args:
        kind: what goes in.
        batch: how many rows of it.
        seed: that they are drawn from.
        sizes: of pictures, where a port leaves them open.
        is_kept: whether it becomes a reference to check the file by later.
    """

    kind: str
    batch: int
    seed: int
    sizes: Mapping[str, int]
    is_kept: bool


class Verified(NamedTuple):
    """The results of a verification.

    Args:
        differences: between the model and the file, by output, over all trials.
        trials: how many there were.
        ill_conditioned: kinds of inputs on which the model amplifies rounding errors beyond its
            tolerance, so that the file may differ by as much; they are not among the trials.
        examples: some inputs, with the outputs of the model, for the reference file.
        rounds: of one step of a loop, how many rounds were compared; 0 for another graph.
        after_rounds: how far model and file are apart after them, by output.
    """

    differences: dict[str, Difference]
    trials: int
    ill_conditioned: list[str]
    examples: list[Example]
    rounds: int
    after_rounds: dict[str, Difference]


def verify(model: Model, graph: Graph, path: Path) -> Verified:
    """Compare an exported graph on ONNX Runtime with the model over batches, seeds and sizes.

    Args:
        model: what was exported.
        graph: of the model, as the variant has it.
        path: its file.

    Raises:
        UsageError: its opset is newer than the installed ONNX Runtime.
        ZooError: the file is not valid ONNX, has other ports than declared, fails on an image size
            that the ports leave open, or differs by more than a port's tolerance.
    """
    session = _open_for_verification(path)
    name = session.description.graph
    pairs: dict[str, list[tuple[Any, Any]]] = {port.name: [] for port in graph.outputs}
    kept: list[Example] = []
    ill_conditioned: list[str] = []
    for trial in trials(model.data, graph):
        errors = _rounding_errors(model, graph, name, trial) if trial.kind in CONSTANT else {}
        inputs = draw_extreme(graph, trial)
        wanted, found = _run_both(model, graph, session, inputs, trial)
        for port in graph.outputs:
            difference = compare_outputs(port, [(wanted[port.name], found[port.name])])
            excess = describe_excess(port, difference, None)
            allowed = AMPLIFICATION * errors.get(port.name, 0.0)
            if excess and not difference.greatest <= allowed:
                raise ZooError(
                    f"graph {name!r} does not verify: {excess}, at {_in_words(trial)}",
                    cause="the graph depends on the batch or on training mode, or is unstable",
                    hint="no file was written; the port's tolerance is the model's to declare",
                    code="not-verified",
                )
        if errors:
            ill_conditioned.append(trial.kind)
            continue
        for port in graph.outputs:
            pairs[port.name].append((wanted[port.name], found[port.name]))
        if trial.is_kept:
            kept.append(Example(inputs, wanted))
    differences = {port.name: compare_outputs(port, pairs[port.name]) for port in graph.outputs}
    rounds, after_rounds = compare_rounds(model, graph, session)
    trials_done = len(pairs[graph.outputs[0].name])
    return Verified(differences, trials_done, ill_conditioned, kept, rounds, after_rounds)


def _open_for_verification(path: Path) -> Session:
    """Check a file against the ONNX standard and its own description, and open it."""
    check_onnx(path)
    try:
        return open_session(path)
    except NewerFormatError as problem:
        raise UsageError(
            f"{path.name} cannot be verified here: {problem.found}",
            hint=f"{problem.export}, or leave --opset out; or pip install --upgrade onnxruntime",
            code="newer-format",
        ) from problem
    except NotFoundError as problem:
        raise ZooError(
            f"{path.name} does not verify: {problem.cause or problem.message}",
            cause="it fixes a size that its port leaves open, or gives another shape or dtype",
            code="not-verified",
        ) from problem


def _rounding_errors(model: Model, variant: Graph, name: str, trial: Trial) -> dict[str, float]:
    """Return how far rounding errors of the inputs move outputs, where a port does not tolerate it.

    So it is where layers normalise maps that are flat, as a picture of one colour makes them: they
    divide rounding errors by next to nothing. No two programs agree there. The differences are
    absolute, by output, in the numbers of the exported variant; the model's own graph is run,
    because its pictures are no whole pixels.
    """
    from zoo.model.inference import run_in_torch  # noqa: PLC0415 - re-verification needs no torch

    graph = model.graphs()[name]
    inputs = draw_extreme(graph, trial)
    generator = np.random.default_rng(1)
    nudged = {
        key: array * (1 + ROUNDING * generator.standard_normal(array.shape, np.float32))
        if array.dtype == np.float32
        else array
        for key, array in inputs.items()
    }
    once, again = run_in_torch(model, graph, inputs), run_in_torch(model, graph, nudged)
    found = {}
    for own, port in zip(graph.outputs, variant.outputs, strict=True):
        moved = compare_outputs(own, [(once[own.name], again[own.name])]).greatest
        if own.range and port.range:
            moved *= (port.range[1] - port.range[0]) / (own.range[1] - own.range[0])
        least = HALF_A_LEVEL if port.dtype == "uint8" else port.tolerance
        if moved > least:
            found[port.name] = moved
    return found


def draw_extreme(graph: Graph, trial: Trial) -> Arrays:
    """Return the inputs of a trial, by port name."""
    generator = np.random.default_rng(trial.seed)
    return {port.name: _values(port, trial, generator) for port in graph.inputs}


def _values(port: Port, trial: Trial, generator: np.random.Generator) -> np.ndarray[Any, Any]:
    if trial.kind == RANDOM:
        return draw_example(port, trial.batch, trial.sizes, generator)
    low, high = port.range or (-EXTREME, EXTREME)
    shape = example_shape(port, trial.batch, trial.sizes)
    if trial.kind == ENDS:
        return generator.choice(np.array([low, high]), shape).astype(port.dtype)
    return np.full(shape, low if trial.kind == LOWEST else high, port.dtype)


def trials(data: DataSpec, graph: Graph) -> Iterator[Trial]:
    """Yield all batch sizes and extremes at the data's sizes and, where they may vary, others.

    Other sizes are larger, smaller, odd and not square, one row each.
    """
    own = dict(data.sizes)
    for port in graph.inputs:  # the variant may have fixed another size
        own |= {word: size for word, size in port.sizes.items() if isinstance(size, int)}
    fixed = graph.inputs[0].shape[0]
    for batch in [fixed] if isinstance(fixed, int) else BATCHES:
        for seed in SEEDS if data.numbers <= LARGE else SEEDS[:1]:
            yield Trial(RANDOM, batch, seed, own, is_kept=seed == 0 and batch in {2, fixed})
    for kind in (LOWEST, HIGHEST, ENDS):
        yield Trial(kind, 1, 0, own, is_kept=True)
    if not own.keys() & {size for port in graph.inputs for size in port.shape}:
        return
    first = next(iter(own))
    larger = {word: size + 3 + 2 * place for place, (word, size) in enumerate(own.items())}
    longer = {**own, first: 2 * own[first] - 1}
    smaller = {word: max(1, size - 1) for word, size in own.items()}
    smaller[first] = own[first] - own[first] // 4
    for sizes in (larger, longer, smaller):
        yield Trial(RANDOM, 1, 0, sizes, is_kept=sizes is larger)


def _run_both(
    model: Model, graph: Graph, session: Session, inputs: Arrays, trial: Trial
) -> tuple[Arrays, Arrays]:
    """Return the outputs of model and file; `ZooError` if shapes differ, or one of them fails."""
    from zoo.model.inference import run_in_torch  # noqa: PLC0415 - as above

    name = session.description.graph
    try:
        wanted, found = run_in_torch(model, graph, inputs), session.run(inputs)
    except Exception as problem:  # a network raises anything on a size that it was not made for
        message = problem.message if isinstance(problem, ZooError) else str(problem)
        said = message.replace(str(session.path), "the file").strip() or type(problem).__name__
        raise _unfit(model.data, name, trial, " ".join(said.split())[:300]) from problem
    for output, array in wanted.items():
        if found[output].shape != array.shape:
            shapes = f"{output} of shape {array.shape}, the file one of {found[output].shape}"
            raise _unfit(model.data, name, trial, f"the model gives {shapes}")
    return wanted, found


def _unfit(data: DataSpec, name: str, trial: Trial, cause: str) -> ZooError:
    learnt = trial.sizes == data.sizes
    hint = "let the model pad and crop, or declare ports of the one size that it takes"
    return ZooError(
        f"graph {name!r} does not verify: it fails at {_in_words(trial)}",
        cause=cause,
        hint="" if learnt else hint,
        code="not-verified",
    )


def _in_words(trial: Trial) -> str:
    words = "".join(f", {word} {size}" for word, size in trial.sizes.items())
    size = f"batch {trial.batch}{words}"
    return size if trial.kind == RANDOM else f"{size}, {trial.kind}"


def check_onnx(path: Path) -> None:
    """Check a file against the ONNX standard, if the package onnx is installed.

    Raises:
        ZooError: the file is not valid ONNX.
    """
    try:
        import onnx  # noqa: PLC0415 - not needed to run a file
    except ImportError:
        return
    try:
        onnx.checker.check_model(path, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as problem:
        raise ZooError(
            f"{path.name} is not valid ONNX: {problem}", code="not-verified"
        ) from problem


def exported_files(folder: Path) -> list[Path]:
    """Return the exported files that the manifest of a folder lists.

    Raises:
        NotFoundError: there is no manifest, or it is damaged.
    """
    try:
        files = read_manifest(folder).files
    except (OSError, ValueError) as problem:
        raise NotFoundError(
            f"{folder} is no folder that zoo export wrote",
            cause=f"its {MANIFEST} is missing or damaged: {problem}",
            hint="zoo export MODEL --onnx",
            code="not-an-export",
        ) from None
    return [folder / entry.file for entry in files.values()]


def verify_again(path: Path) -> tuple[dict[str, Difference], str]:
    """Run an exported file on its stored reference inputs and compare the outputs; without torch.

    Args:
        path: an ``.onnx`` file in the folder that ``zoo export`` wrote.

    Returns:
        How far each output is from the stored one, which the model gave in torch; and the same in
        words, beside how far it may be.

    Raises:
        NotFoundError: the file or its reference is missing, damaged or another one.
        ZooError: it is not valid ONNX, or an output differs by more than it may.
    """
    session = open_graph(path)  # compares the file with the manifest
    description = session.description
    check_onnx(path)
    inputs, outputs = description.signature.inputs, description.signature.outputs
    examples = read_reference(_reference_of(path), inputs, outputs)
    results = [session.run(each.inputs) for each in examples]
    for wanted, found in zip(examples, results, strict=True):
        if any(found[port.name].shape != wanted.outputs[port.name].shape for port in outputs):
            raise NotFoundError(
                f"{_reference_of(path)} does not hold as many rows of outputs as of inputs",
                cause="it is damaged, or was exchanged together with the manifest",
                hint="zoo export MODEL --onnx",
                code="damaged-export",
            )
    limits = _max_losses(path, description)
    differences, words = {}, []
    for port in outputs:
        pairs = [(wanted.outputs[port.name], found[port.name])
                 for wanted, found in zip(examples, results, strict=True)]  # fmt: skip
        differences[port.name] = difference = compare_outputs(port, pairs)
        limit = limits.get(port.name)
        excess = describe_excess(port, difference, limit)
        if excess:
            raise ZooError(
                f"{path} does not do here what it did when it was exported: {excess}",
                cause="another version of ONNX Runtime, or a fault of this machine",
                hint="update onnxruntime; the manifest says with which version it was written",
                code="not-verified",
            )
        if limit is None:
            greatest = f"{difference.greatest:.2g}, at most {port.tolerance:g}"
            words.append(f"{port.name} differs by {greatest}")
        else:
            words.append(f"{port.name} loses {difference.loss:.2g} %, at most {limit:g} %")
    return differences, "; ".join(words)


def _max_losses(path: Path, description: Description) -> dict[str, float]:
    """Return the loss in percent that each output may have; nothing for a float32 file."""
    if description.precision == "float32":
        return {}
    listed = entry_of(path)
    checks = listed.checks if listed else {}
    names = (port.name for port in description.signature.outputs)
    return {name: checks.get(name, {}).get(MAX_LOSS, 0.0) for name in names}


def check_others(folder: Path) -> str:
    """Compare weights and page in a folder with the manifest; return a note if weights are missing.

    `NotFoundError` if they are others. The exported files do not need them.
    """
    page = read_manifest(folder).page
    if page:
        check_listed(folder / page.file)
    path = folder / "model.safetensors"
    if not path.is_file():
        return f"note: {path} is not there; the files do without it"
    check_listed(path)
    return ""


def _reference_of(path: Path) -> Path:
    """Return the reference file of an exported file, if it is the one that the manifest lists."""
    reference = path.parent / FOLDER / f"{path.stem}.npz"
    listed = entry_of(path)
    if listed is None:
        problem = f"no {MANIFEST} beside it tells of its reference"
    elif not reference.is_file():
        problem = f"{reference} is not there"
    elif listed.reference.sha256 != facts_of(reference).sha256:
        problem = f"{reference} is another"
    else:
        return reference
    raise NotFoundError(
        f"{path} cannot be checked: {problem}",
        cause="a file is checked in the folder that it was exported to, or a copy of it all",
        hint="zoo export MODEL --onnx",
        code="damaged-export",
    )
