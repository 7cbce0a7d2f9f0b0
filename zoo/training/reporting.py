"""What a training reports: files in its run folder, and its state on the terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Display

from zoo import pictures
from zoo.data.batches import in_order
from zoo.messages import Log, say
from zoo.model.inference import device_of, evaluation_batch, mean_metrics
from zoo.model.previews import overview, previewed
from zoo.model.weights import describe, read_tensors, weights_as_bytes
from zoo.training.checkpoint import (
    BackgroundWriter,
    Checkpoint,
    remove_leftovers,
    save_checkpoint,
    set_pointers,
)
from zoo.training.config import Job
from zoo.training.curves import save_curves
from zoo.training.devices import memory_format
from zoo.training.monitors import Alert, AlertError
from zoo.training.players import TrainState
from zoo.training.run import Run
from zoo.training.state import TENSORS, WEIGHTS, environment, rank_file, shared_state
from zoo.training.trainer import Means, StepResult, WeightAverage, check_finite
from zoo.training.watch import Watcher

if TYPE_CHECKING:
    from lightning_fabric.loggers.tensorboard import TensorBoardLogger

ROW_EVERY_STEPS = 20  # a row of metrics.jsonl is the mean of so many steps
FILES = ("metrics.jsonl", "events.jsonl")  # which grow, and are cut where a run goes on
PREVIEWS = 10  # of a whole training, beside the first; fewer of a short one
MIN_STEPS_BETWEEN_PREVIEWS = 200
PLAIN_LINE_EVERY_SECONDS = 30.0
LIVE_LINE_EVERY_SECONDS = 0.5


@dataclass
class Window(Means):
    """Means of the terms, and the speed, since the window was opened."""

    steps: int = 0
    images: int = 0
    began: float = field(default_factory=time.monotonic)

    def add_step(self, terms: Mapping[str, float], images: int) -> None:
        """Add the terms of one step."""
        self.add(terms)
        self.steps += 1
        self.images += images

    def state(self) -> dict[str, Any]:
        """Return the window as JSON, with the time that has passed."""
        return {**asdict(self), "began": -self.seconds()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Window:
        """Return the window that `state` described."""
        return cls(**{**state, "began": time.monotonic() + state["began"]})

    def seconds(self) -> float:
        """Return the time since the window was opened, in seconds."""
        return time.monotonic() - self.began

    def images_per_second(self) -> float:
        """Return the speed since the window was opened."""
        return self.images / max(self.seconds(), 1e-9)


class Progress:
    """Shows the state of a training: one live line on a terminal, else plain lines.

    Values are means since they were last shown. Messages other than those of the command, which
    go to stderr, have no terminal.
    """

    def __init__(self, epochs: int | None, items: str = "images", log: Log = say) -> None:
        self._log = log
        self._epochs = epochs
        self._items = items
        self._window = Window()
        self._display: Display | None = None
        if log is say and sys.stderr.isatty():
            self._display = Display(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=20),
                TextColumn("{task.percentage:>3.0f}%"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[terms]}", markup=False),
                console=Console(stderr=True),
            )
            self._task = self._display.add_task("starting", total=1.0, terms="")

    def __enter__(self) -> Progress:
        if self._display is not None:
            self._display.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._display is not None:
            self._display.stop()

    def log(self, message: str) -> None:
        """Print a message at once, in lines of its own."""
        if self._display is not None:
            self._display.console.print(message, markup=False, highlight=False)
        else:
            self._log(message)

    def step(
        self, result: StepResult, metrics: Mapping[str, float], alerts: Sequence[str] = ()
    ) -> None:
        """Add a step; show now and then the state, the latest metrics and the active alerts."""
        window, display = self._window, self._display
        window.add_step(result.terms, result.images)
        is_milestone = result.is_last or (result.epoch_ends and display is None)
        pause = PLAIN_LINE_EVERY_SECONDS if display is None else LIVE_LINE_EVERY_SECONDS
        if not is_milestone and window.seconds() < pause:
            return
        epoch = result.epoch if result.epoch_ends else result.epoch + 1
        place = f"epoch {epoch}/{self._epochs}" if self._epochs else f"epoch {epoch}"
        terms = _values(window.means())
        speed = f"{window.images_per_second():,.0f} {self._items}/s"
        active = f"  ! {', '.join(alerts)}" if alerts else ""
        if display is not None:
            shown = f"{terms}  {speed}{active}"
            display.update(self._task, completed=result.progress, description=place, terms=shown)
        else:
            parts = [place, f"step {result.step}", terms]
            if result.validates and metrics:
                parts.append("validation " + _values(metrics))
            left = result.cursor.seconds * (1 - result.progress) / result.progress
            parts += [speed, f"{_clock(left)} left"]
            self._log("  ".join(parts) + active)
        self._window = Window()


class Reporter:
    """Writes metrics, events, previews, checkpoints and curves of a training to its run folder."""

    def __init__(
        self, job: Job, run: Run, state: TrainState, progress: Progress, *, tensorboard: bool
    ) -> None:
        self._job, self.run, self._train_state, self._progress = job, run, state, progress
        self._model = state.model
        self._held_out = job.store.splits["validation"]
        self._average = WeightAverage(self._model, job.settings.ema) if job.settings.ema else None
        self._watcher = Watcher(self._model, self._held_out)
        self._window = Window()
        self._next_preview = 1 / PREVIEWS, MIN_STEPS_BETWEEN_PREVIEWS  # progress and step
        self._best: dict[str, Any] | None = None
        self._writer = BackgroundWriter()
        self._unread: list[StepResult] = []  # whose values are still on the device
        self._saved: dict[str, Any] = {}  # for run.json, when the checkpoint is written
        self.metrics: dict[str, float] = {}
        self._board = _open_tensorboard(run) if tensorboard else None

    def begin(self) -> None:
        """Empty the files that grow, and save previews of the untrained model."""
        remove_leftovers(self.run)
        for file in FILES:
            self.run.cut(file, 0)
        self.run.write_info(alerts=[], unwatched=self._watcher.unwatched)
        self._save_previews(step=0)

    def resume(self, checkpoint: Checkpoint) -> None:
        """Restore what `_save_checkpoint` saved, and remove the rows and pictures of later steps.

        Raises:
            NotFoundError: the checkpoint does not fit.
        """
        saved = checkpoint.content["reporter"]
        remove_leftovers(self.run)
        set_pointers(self.run, checkpoint)
        self.metrics, self._best = saved["metrics"], saved["best"]
        progress, step = saved["next_preview"]
        self._next_preview = progress, step
        self._window = Window.from_state(saved["window"])
        self._watcher.restore(saved["watcher"])
        if self._average:
            self._average.restore(read_tensors(checkpoint.path / WEIGHTS)[0])
        for file in FILES:
            if not self.run.cut(file, saved["files"][file]):
                self._progress.log(
                    f"{self.run.path / file} has lost lines, which cannot be restored"
                )
        names = [each.monitor for each in self.alerts]
        self.run.write_info(alerts=names, unwatched=self._watcher.unwatched)
        for picture in (self.run.path / "samples").glob("step-*.png"):
            if picture.name > f"step-{checkpoint.step:07d}~":
                picture.unlink()

    def after_step(self, result: StepResult, ranks: Sequence[bytes]) -> None:
        """Record a step; validate, save previews and a checkpoint when they are due.

        `ranks` is the state that each rank alone has, if a checkpoint is due.

        Raises:
            AlertError: an alert that ``--fail-on`` names is active; the checkpoint is saved.
        """
        if self._average:
            self._average.update(result.step)
        self._unread.append(result)
        if not result.values.is_read:
            return
        for each in self._unread[:-1]:
            self._record_values(each)
            self._progress.step(each, self.metrics, [alert.title for alert in self.alerts])
        self._unread = []
        self._record_values(result)
        # A signal validates nothing: what is saved then is as in the middle of an epoch.
        if self._window.steps and result.validates:
            self._write_row(result)
        progress, step = self._next_preview
        is_over = result.progress >= 1
        preview_is_due = is_over or (result.progress >= progress and result.step >= step)
        if result.validates or preview_is_due or result.saves:
            paused_at = time.monotonic()
            with self._average.in_place() if self._average else nullcontext():
                is_best = result.validates and self._validate(result)
                if result.validates:
                    with self._recording_alerts(result):
                        self._watcher.after_validation(result, self.metrics)
                if preview_is_due:
                    self._save_previews(result.step)
                    progress = (int(result.progress * PREVIEWS) + 1) / PREVIEWS
                    self._next_preview = progress, result.step + MIN_STEPS_BETWEEN_PREVIEWS
                if result.saves:
                    self._save_checkpoint(result, ranks, is_best=is_best)
            self._window.began += time.monotonic() - paused_at  # the speed is of training alone
        titles = [each.title for each in self.alerts]
        self._progress.step(result, self.metrics, titles)
        self.run.heartbeat()
        if self._writer.has_ended:
            self.wait_for_checkpoint()
        if result.saves and self.fatal_alert:
            raise AlertError(self.fatal_alert)

    def _record_values(self, result: StepResult) -> None:
        """Record the terms and norms of a step that are read from the device."""
        self._window.add_step(result.terms, result.images)
        with self._recording_alerts(result):
            self._watcher.after_step(result)
        if self._window.steps == ROW_EVERY_STEPS:
            self._write_row(result)

    @property
    def alerts(self) -> list[Alert]:
        """The alerts that are active."""
        return self._watcher.alerts

    @property
    def fatal_alert(self) -> Alert | None:
        """An active alert that ``--fail-on`` names."""
        fail_on = self._job.settings.fail_on
        return next((each for each in self.alerts if each.monitor in fail_on), None)

    def record_alerts(
        self, new: Sequence[Alert], ended: Sequence[Alert] = (), step: int = 0
    ) -> None:
        """Write alerts that are new and alerts that ended to the run folder, and print them."""
        for alert in new:
            self.run.append("events.jsonl", {"event": "alert", **asdict(alert)})
            self._progress.log(f"! {alert.message}\n  try: {alert.advice}")
        for alert in ended:
            event = {"event": "recovered", "monitor": alert.monitor, "step": step}
            self.run.append("events.jsonl", event)
            self._progress.log(f"{alert.title} ended at step {step}")
        if new or ended:
            names = [each.monitor for each in (*self.alerts, *new)]
            self.run.write_info(alerts=list(dict.fromkeys(names)))

    def record_final_alert(self, alert: Alert) -> None:
        """Write the alert that ends the run, if it is not written yet."""
        if alert not in self.alerts:
            self.record_alerts([alert])

    @contextmanager
    def _recording_alerts(self, result: StepResult) -> Iterator[None]:
        """Record the alerts that begin or end inside the block."""
        before = self.alerts
        yield
        new = [each for each in self.alerts if each not in before]
        ended = [each for each in before if each not in self.alerts]
        self.record_alerts(new, ended, result.step)

    def finish(self, **facts: Any) -> None:
        """Wait for the last checkpoint, draw the curves and append an event, with some facts."""
        self.wait_for_checkpoint()
        self.run.append("events.jsonl", {"event": "trained", **facts})
        players = self._model.players()
        at_random = {
            name: each.loss_at_random_guess
            for name, each in players.items()
            if each.loss_at_random_guess is not None
        }
        rows, picture = self.run.metrics(), self.run.path / "curves.png"
        save_curves(rows, picture, at_random, is_adversarial=len(players) > 1)
        if self._board is not None:
            self._board.finalize("success")

    def _write_row(self, result: StepResult) -> None:
        speed = round(self._window.images_per_second(), 1)
        self._append_metrics(result, "train", self._window.means(), images_per_second=speed)
        self._window = Window()

    def _validate(self, result: StepResult) -> bool:
        """Measure the model on images that were held out; return whether it was never better."""
        size = evaluation_batch(self._model.data)
        batches = in_order(
            self._held_out,
            self._model.data,
            size,
            device_of(self._model),
            memory_format(self._model),
        )
        self.metrics = mean_metrics(self._model, batches)
        check_finite(self.metrics, result.step)
        if self.metrics:
            self._append_metrics(result, "validation", self.metrics)
        goal = self._model.goal
        if goal is None or goal.metric not in self.metrics:
            return False
        value = self.metrics[goal.metric]
        if self._best and not goal.is_better(value, self._best["metrics"][goal.metric]):
            return False
        self._best = {"step": result.step, "metrics": self.metrics}
        return True

    def _save_checkpoint(
        self, result: StepResult, ranks: Sequence[bytes], *, is_best: bool
    ) -> None:
        metrics = self.metrics if result.validates else {}
        identity = describe(self._model, self._job.entry, step=result.step, metrics=metrics)
        raw_weights = self._average.raw_weights if self._average else {}
        tensors, players = shared_state(self._train_state, raw_weights)
        files = {WEIGHTS: weights_as_bytes(self._model, identity), TENSORS: tensors}
        files |= {rank_file(rank): state for rank, state in enumerate(ranks)}
        content = {
            "cursor": asdict(result.cursor),
            "ranks": len(ranks),
            "players": players,
            "reporter": {
                "metrics": self.metrics,
                "best": self._best,
                "next_preview": self._next_preview,
                "window": self._window.state(),
                "watcher": self._watcher.state(),
                "files": {file: self.run.size(file) for file in FILES},
            },
            "job": self._job.to_json(),
            "environment": environment(self._job, self._train_state.ranks.device),
        }
        self.wait_for_checkpoint()
        save = partial(save_checkpoint, self.run, result.step, files, content,
                       is_best=is_best, keep=self._job.settings.keep, grown=FILES)  # fmt: skip
        self._writer.start(save)
        latest = replace(identity, metrics=self.metrics)
        self._saved = {"identity": latest, "epoch": result.epoch, "best": self._best}

    def wait_for_checkpoint(self) -> None:
        """Wait until the last checkpoint is on the disk, and say so in ``run.json``.

        Raises:
            OSError: it could not be written; the one before is undamaged.
        """
        saved, self._saved = self._saved, {}
        self._writer.wait()
        if saved:
            self.run.write_info(**saved)

    def _save_previews(self, step: int) -> None:
        folder = self.run.path / "samples"
        folder.mkdir(exist_ok=True)
        for name in previewed(self._model):
            pixels = overview(self._model, name, self._held_out)
            pictures.write_png(folder / f"step-{step:07d}-{name}.png", pixels)

    def _append_metrics(
        self, result: StepResult, split: str, values: Mapping[str, float], **facts: float
    ) -> None:
        """Write a row of ``metrics.jsonl``, and to TensorBoard."""
        row = {"step": result.step, "epoch": result.epoch, "split": split, **facts}
        self.run.append("metrics.jsonl", {**row, "values": values})
        if self._board is not None:
            named = {f"{split}/{key}": each for key, each in values.items()}
            self._board.log_metrics(named, result.step)


def _open_tensorboard(run: Run) -> TensorBoardLogger:
    from lightning_fabric.loggers.tensorboard import TensorBoardLogger  # noqa: PLC0415 - slow

    return TensorBoardLogger(run.path, name="tensorboard", version="")


def _values(values: Mapping[str, float]) -> str:
    return " ".join(f"{name.rpartition('/')[2]} {value:.4g}" for name, value in values.items())


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
