"""What a run leaves behind while it goes on: metrics, previews, checkpoints, curves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lightning_fabric.loggers.tensorboard import TensorBoardLogger

from zoo import pictures
from zoo.atomic import write_bytes
from zoo.data.batches import in_order
from zoo.model.drawing import mappers, overview, samplers
from zoo.model.inference import device_of, evaluation_batch, mean_metrics
from zoo.model.weights import describe, read_tensors, save_weights
from zoo.training.average import Average
from zoo.training.checkpoint import Checkpoint, remove_leftovers, save_checkpoint, set_pointers
from zoo.training.curves import save_curves
from zoo.training.health import Health
from zoo.training.illnesses import ILLNESSES, IllnessError, Verdict
from zoo.training.job import Job
from zoo.training.loop import Moment, check_finite
from zoo.training.progress import Progress
from zoo.training.run import Run
from zoo.training.seats import Table
from zoo.training.state import write_shared
from zoo.training.window import Window

ROW_EVERY_STEPS = 20  # a row of metrics.jsonl is the mean of so many steps
FILES = ("metrics.jsonl", "events.jsonl")  # which grow, and are cut where a run goes on
PREVIEWS = 10  # of a whole training, beside the first


class Record:
    """Writes into a run's folder what happens at each moment of its training."""

    def __init__(
        self, job: Job, run: Run, table: Table, progress: Progress, *, tensorboard: bool
    ) -> None:
        self._job, self.run, self._table, self._progress = job, run, table, progress
        self._model = table.model
        self._held_out = job.store.splits["validation"]
        self._average = Average(self._model, job.settings.ema) if job.settings.ema else None
        self._health = Health(self._model, self._held_out)
        self._window = Window()
        self._next_preview = 1 / PREVIEWS
        self._best: dict[str, Any] | None = None
        self.metrics: dict[str, float] = {}
        self._board = (
            TensorBoardLogger(run.path, name="tensorboard", version="") if tensorboard else None
        )

    def begin(self) -> None:
        """Begin with nothing, and show what the model makes of things before it has learnt any."""
        remove_leftovers(self.run)
        for file in FILES:
            self.run.cut(file, 0)
        self.run.write_info(verdicts=[], unwatched=self._health.unwatched)
        self._save_previews(step=0)

    def go_on(self, checkpoint: Checkpoint) -> None:
        """Be again what `after_step` saved, and forget the rows and pictures of later steps.

        Raises:
            NotFoundError: the checkpoint does not fit.
        """
        saved = checkpoint.facts["record"]
        remove_leftovers(self.run)
        set_pointers(self.run, checkpoint.facts)
        self.metrics, self._best = saved["metrics"], saved["best"]
        self._next_preview = saved["next_preview"]
        self._window = Window.from_state(saved["window"])
        self._health.restore(saved["health"])
        if self._average:
            self._average.restore(read_tensors(checkpoint.path / "model.safetensors")[0])
        for file in FILES:
            if not self.run.cut(file, saved["files"][file]):
                self._progress.tell(f"{self.run.path / file} has lost lines; they stay lost")
        names = [each.illness for each in self.verdicts]
        self.run.write_info(verdicts=names, unwatched=self._health.unwatched)
        for picture in (self.run.path / "samples").glob("step-*.png"):
            if picture.name > f"step-{checkpoint.step:07d}~":
                picture.unlink()

    def after_step(self, moment: Moment, ranks: Sequence[bytes]) -> None:
        """Take note of a step, and of the end of an epoch or of the training.

        Args:
            moment: what the step came to.
            ranks: what each rank alone has, where the moment is one that saves.

        Raises:
            IllnessError: something ails the run that ``--fail-on`` names; the checkpoint is saved.
        """
        if self._average:
            self._average.update(moment.step)
        self._window.add_step(moment.terms, moment.images)
        with self._noting_illness(moment):
            self._health.after_step(moment)
        # A signal validates nothing: what is saved then is as in the middle of an epoch.
        if self._window.steps == ROW_EVERY_STEPS or moment.validates:
            self._write_row(moment)
        preview_is_due = moment.done >= self._next_preview
        if moment.validates or preview_is_due or moment.saves:
            with self._window.standing_still(), self._averages_in_place():
                is_best = moment.validates and self._validate(moment)
                if moment.validates:
                    with self._noting_illness(moment):
                        self._health.after_epoch(moment, self.metrics)
                if preview_is_due:
                    self._save_previews(moment.step)
                    self._next_preview = (int(moment.done * PREVIEWS) + 1) / PREVIEWS
                if moment.saves:
                    self._save_checkpoint(
                        moment, ranks, is_best=is_best, validated=moment.validates
                    )
        titles = [ILLNESSES[each.illness].title for each in self.verdicts]
        self._progress.step(moment, self.metrics, titles)
        self.run.give_sign()
        if moment.saves and self.fatal:
            raise IllnessError(self.fatal)

    @property
    def verdicts(self) -> list[Verdict]:
        """What ails the run now."""
        return self._health.verdicts

    @property
    def fatal(self) -> Verdict | None:
        """What ails the run now, and is to end it."""
        fail_on = self._job.settings.fail_on
        return next((each for each in self.verdicts if each.illness in fail_on), None)

    def note(
        self, verdicts: Sequence[Verdict], passed: Sequence[Verdict] = (), step: int = 0
    ) -> None:
        """Write down what ails the run since now, and what has passed, and tell the user."""
        for verdict in verdicts:
            self.run.append("events.jsonl", {"event": "verdict", **verdict.to_json()})
            self._progress.tell(f"! {verdict.message}\n  try: {verdict.advice}")
        for verdict in passed:
            event = {"event": "recovered", "illness": verdict.illness, "step": step}
            self.run.append("events.jsonl", event)
            self._progress.tell(f"{ILLNESSES[verdict.illness].title} has passed, at step {step}")
        if verdicts or passed:
            names = [each.illness for each in (*self.verdicts, *verdicts)]
            self.run.write_info(verdicts=list(dict.fromkeys(names)))

    def note_end(self, verdict: Verdict) -> None:
        """Write down what the training ends of, unless that is known."""
        if verdict not in self.verdicts:
            self.note([verdict])

    @contextmanager
    def _noting_illness(self, moment: Moment) -> Iterator[None]:
        before = self.verdicts
        yield
        now = self.verdicts
        new = [each for each in now if each not in before]
        passed = [each for each in before if each not in now]
        self.note(new, passed, moment.step)

    def finish(self, **facts: Any) -> None:
        """Draw the curves and add the last event, with the facts of the engine."""
        self.run.append("events.jsonl", {"event": "trained", **facts})
        players = self._model.players()
        judges = {name: each.chance for name, each in players.items() if each.chance is not None}
        save_curves(
            self.run.metrics(),
            self.run.path / "curves.png",
            is_adversarial=len(players) > 1,
            judges=judges,
        )
        if self._board is not None:
            self._board.finalize("success")

    def _averages_in_place(self) -> AbstractContextManager[None]:
        return self._average.in_place() if self._average else nullcontext()

    def _write_row(self, moment: Moment) -> None:
        terms, speed = self._window.means(), self._window.images_per_second()
        self.run.append(
            "metrics.jsonl",
            {
                "step": moment.step,
                "epoch": moment.epoch,
                "split": "train",
                "images_per_second": round(speed, 1),
                "values": terms,
            },
        )
        self._log_scalars("train", terms, moment.step)
        self._window = Window()

    def _validate(self, moment: Moment) -> bool:
        """Measure the model on images that were held out; return whether it was never better."""
        size = evaluation_batch(self._model.data)
        batches = in_order(self._held_out, size, device_of(self._model))
        self.metrics = mean_metrics(self._model, batches)
        check_finite(self.metrics, moment.step)
        if self.metrics:
            row = {"step": moment.step, "epoch": moment.epoch, "split": "validation"}
            self.run.append("metrics.jsonl", {**row, "values": self.metrics})
            self._log_scalars("validation", self.metrics, moment.step)
        goal = self._model.goal
        if goal is None or goal.metric not in self.metrics:
            return False
        value = self.metrics[goal.metric]
        if self._best and not goal.is_better(value, self._best["metrics"][goal.metric]):
            return False
        self._best = {"step": moment.step, "metrics": self.metrics}
        return True

    def _save_checkpoint(
        self, moment: Moment, ranks: Sequence[bytes], *, is_best: bool, validated: bool
    ) -> None:
        metrics = self.metrics if validated else {}
        header = describe(self._model, self._job.offer, step=moment.step, metrics=metrics)
        trained = self._average.others if self._average else {}

        def write(folder: Path) -> dict[str, Any]:
            save_weights(folder / "model.safetensors", self._model, header)
            optimisers = write_shared(folder, self._table, trained)
            for rank, state in enumerate(ranks):
                write_bytes(folder / f"rank-{rank}.safetensors", state)
            return {
                "position": asdict(moment.position),
                "ranks": len(ranks),
                "optimisers": optimisers,
                "record": self._state(),
                "job": self._job.to_json(),
                "circumstances": self._job.circumstances(self._table.fabric.device),
            }

        keep = self._job.settings.keep
        save_checkpoint(self.run, moment.step, write, is_best=is_best, keep=keep)
        self.run.write_info(
            step=moment.step, epoch=moment.epoch, metrics=self.metrics, best=self._best
        )

    def _state(self) -> dict[str, Any]:
        """Return what `go_on` takes up again."""
        return {
            "metrics": self.metrics,
            "best": self._best,
            "next_preview": self._next_preview,
            "window": self._window.state(),
            "health": self._health.state(),
            "files": {file: self.run.size(file) for file in FILES},
        }

    def _save_previews(self, step: int) -> None:
        folder = self.run.path / "samples"
        folder.mkdir(exist_ok=True)
        for name in (*samplers(self._model), *mappers(self._model)):
            pixels = overview(self._model, name, self._held_out)
            pictures.write_png(folder / f"step-{step:07d}-{name}.png", pixels)

    def _log_scalars(self, split: str, values: Mapping[str, float], step: int) -> None:
        if self._board is not None:
            self._board.log_metrics({f"{split}/{key}": each for key, each in values.items()}, step)
