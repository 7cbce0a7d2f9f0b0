"""Pictures that a smaller export is made and measured with, and how good the model is with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from zoo.cli.output import say
from zoo.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from zoo.data.store import Store
    from zoo.export.material import Material
    from zoo.export.outcome import Judge, Judgement
    from zoo.model.weights import Trained
    from zoo.runtime.session import Session


def material_for(
    trained: Trained, data: str | None, fit: str | None = None
) -> tuple[Material, Judge | None]:
    """Find the data of a model, and a way to measure the model's quality on it.

    Without `data`, what the run was trained on; where that is not here, nothing, which is enough
    for graphs that draw their inputs.

    Args:
        trained: the model.
        data: what the user named.
        fit: how its pictures are brought to the size; as in the training, when not given.

    Raises:
        UsageError: the data is not of the model's kind.
        NotFoundError: the data that the user named is not here.
    """
    from zoo.cli.sources import decode_like, find
    from zoo.cli.targets import trained_on
    from zoo.export.material import Material
    from zoo.model.weights import offer_of
    from zoo.training.config import check_data

    spec = trained.header.data
    try:
        source = find(data or trained_on(trained.path))
    except (UsageError, NotFoundError) as problem:
        if data is not None:
            raise
        say(f"note: {problem.message}; --data NAME|PATH measures the model's quality as well")
        return Material(), None
    store = decode_like(source, spec, fit)
    split = "test" if "test" in store.splits else "validation"
    for each in ("train", split):
        check_data(offer_of(trained.header, trained.path), source.name, store, each)

    def judge(sessions: Mapping[str, Session]) -> list[Judgement]:
        return _judge(trained, sessions, store, split)

    return Material(store.splits["train"], store.splits[split]), judge


def _judge(
    trained: Trained, sessions: Mapping[str, Session], store: Store, split: str
) -> list[Judgement]:
    from zoo.evaluation.figures import figures
    from zoo.export.outcome import Judgement
    from zoo.export.quality import replayed

    copy = replayed(trained, sessions)
    found = []
    missed = []
    before = figures(trained, store, split, say)
    for old, new in zip(before, figures(copy, store, split, say), strict=True):
        graphs = (new.graph,) if new.graph else copy.called  # by what has been measured so far
        if graphs:
            worse = new.value - old.value if old.better == "lowest" else old.value - new.value
            loss = 100 * worse / abs(old.value) if old.better and old.value else None
            found.append(Judgement(old.name, old.value, new.value, loss, graphs))
        else:
            missed.append(old.name)
    if missed:
        say(f"note: {', '.join(missed)} not measured with these files, which take other sizes than "
            f"the pictures of {store.spec.name}, or have no part in it")  # fmt: skip
    return found
