"""What a run leaves behind while it goes on: metrics, previews, checkpoints, curves."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

from lightning_fabric.loggers.tensorboard import TensorBoardLogger

from zoo import pictures
from zoo.catalog.lookup import needs_extra
from zoo.data.batches import in_order
from zoo.model.contract import Model
from zoo.model.drawing import mappers, overview, samplers
from zoo.model.inference import device_of, evaluation_batch, mean_metrics
from zoo.model.weights import describe
from zoo.training.average import Average
from zoo.training.checkpoint import save_checkpoint
from zoo.training.curves import save_curves
from zoo.training.job import Job
from zoo.training.loop import Moment, check_finite
from zoo.training.progress import Progress
from zoo.training.run import Run
from zoo.training.window import Window

ROW_EVERY_STEPS = 20  # a row of metrics.jsonl is the mean of so many steps
PREVIEWS = 10  # of a whole training, beside the first


class Record:
    """Writes into a run's folder what happens at each moment of its training."""

    def __init__(
        self, job: Job, run: Run, model: Model, progress: Progress, *, tensorboard: bool
    ) -> None:
        self._job, self._run, self._model, self._progress = job, run, model, progress
        self._held_out = job.store.splits["validation"]
        self._average = Average(model, job.settings.ema) if job.settings.ema else None
        self._window = Window()
        self._next_preview = 1 / PREVIEWS
        self._best: float | None = None
        self.metrics: dict[str, float] = {}
        self._board = _tensorboard(run) if tensorboard else None
        self._save_previews(step=0)

    def after_step(self, moment: Moment) -> None:
        """Take note of a step, and of the end of an epoch or of the training."""
        if self._average:
            self._average.update(moment.step)
        self._window.add(moment.terms, moment.images)
        row_is_full = self._window.steps == ROW_EVERY_STEPS or moment.epoch_ends or moment.is_last
        if row_is_full:
            self._write_row(moment)
        epoch_is_over = moment.epoch_ends or moment.is_last
        preview_is_due = moment.done >= self._next_preview or moment.is_last
        if epoch_is_over or preview_is_due:
            with self._average.in_place() if self._average else nullcontext():
                if epoch_is_over:
                    self._validate(moment)
                    self._save_checkpoint(moment)
                if preview_is_due:
                    self._save_previews(moment.step)
                    self._next_preview = (int(moment.done * PREVIEWS) + 1) / PREVIEWS
        self._progress.step(moment, self.metrics)
        if row_is_full:
            self._window = Window()  # here, so that its speed is that of the steps alone

    def finish(self, **facts: Any) -> None:
        """Draw the curves and add the last event, with the facts of the engine."""
        self._run.append("events.jsonl", {"event": "trained", **facts})
        save_curves(self._run.rows("metrics.jsonl"), self._run.path / "curves.png")
        if self._board is not None:
            self._board.finalize("success")

    def _write_row(self, moment: Moment) -> None:
        terms, speed = self._window.means(), self._window.images_per_second()
        self._run.append(
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

    def _validate(self, moment: Moment) -> None:
        size = evaluation_batch(self._model.data)
        batches = in_order(self._held_out, size, device_of(self._model))
        self.metrics = mean_metrics(self._model, batches)
        check_finite(self.metrics, moment.step)
        if self.metrics:
            row = {"step": moment.step, "epoch": moment.epoch, "split": "validation"}
            self._run.append("metrics.jsonl", {**row, "values": self.metrics})
            self._log_scalars("validation", self.metrics, moment.step)

    def _save_checkpoint(self, moment: Moment) -> None:
        header = describe(self._model, self._job.offer, step=moment.step, metrics=self.metrics)
        best = self._is_best()
        trained = self._average.others if self._average else {}
        save_checkpoint(self._run, self._model, header, trained=trained, is_best=best)
        self._run.write_info(step=moment.step, epoch=moment.epoch, metrics=self.metrics)
        if best:
            self._run.write_info(best={"step": moment.step, "metrics": self.metrics})

    def _is_best(self) -> bool:
        goal = self._model.goal
        if goal is None or goal.metric not in self.metrics:
            return False
        value = self.metrics[goal.metric]
        if self._best is not None and not goal.is_better(value, self._best):
            return False
        self._best = value
        return True

    def _save_previews(self, step: int) -> None:
        folder = self._run.path / "samples"
        folder.mkdir(exist_ok=True)
        for name in (*samplers(self._model), *mappers(self._model)):
            pixels = overview(self._model, name, self._held_out)
            pictures.write_png(folder / f"step-{step:07d}-{name}.png", pixels)

    def _log_scalars(self, split: str, values: Mapping[str, float], step: int) -> None:
        if self._board is not None:
            self._board.log_metrics({f"{split}/{key}": each for key, each in values.items()}, step)


def _tensorboard(run: Run) -> TensorBoardLogger:
    try:
        return TensorBoardLogger(run.path, name="tensorboard", version="")
    except ModuleNotFoundError:
        raise needs_extra("tensorboard", "tensorboard") from None
