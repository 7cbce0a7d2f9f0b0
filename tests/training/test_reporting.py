"""The alerts that a run names are those that are active now, however that came about."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from zoo.api.jobs import create_job
from zoo.model.weights import describe
from zoo.training import devices
from zoo.training.monitors import MONITORS, diverged
from zoo.training.reporting import Progress, Reporter
from zoo.training.run import Run, now
from zoo.training.train import setup_training
from zoo.training.trainer import Cursor, StepResult, StepValues

FIRST, SECOND = (
    MONITORS[name].alert(40, "it is so", {"units": 1.0}) for name in ("collapse", "dead-units")
)


@pytest.fixture
def reporter() -> Iterator[Reporter]:
    """The reporter of a training that has not taken a step, of which nothing is wrong."""
    job = create_job(model="ae", layers=[{"hidden": (8,)}])
    state, _ = setup_training(job, devices.start_ranks(job.settings))
    run = Run.create("ae")
    with run.held(), Progress(1) as progress:
        reporter = Reporter(job, run, state, progress, tensorboard=False)
        run.start(
            created=now(), identity=describe(state.model, job.entry), data=job.data, alerts=[]
        )
        yield reporter


def test_an_alert_is_written_down_when_none_ends(reporter: Reporter) -> None:
    reporter.record_alerts([FIRST])
    assert reporter.run.info()["alerts"] == ["collapse"]
    reporter.record_alerts([])
    assert reporter.run.info()["alerts"] == ["collapse"], "nothing new is nothing to write"
    assert [row["event"] for row in reporter.run.events()] == ["alert"]


def test_an_alert_that_ends_is_no_longer_active(reporter: Reporter) -> None:
    reporter.record_alerts([FIRST])
    assert reporter.run.info()["alerts"] == ["collapse"]
    reporter.record_alerts([], ended=[FIRST], step=60)
    assert reporter.run.info()["alerts"] == []
    assert [(row["event"], row.get("step")) for row in reporter.run.events()] == [
        ("alert", 40),
        ("recovered", 60),
    ]


def test_one_alert_may_take_the_place_of_another(reporter: Reporter) -> None:
    reporter.record_alerts([FIRST])
    reporter.record_alerts([SECOND], ended=[FIRST], step=60)
    assert reporter.run.info()["alerts"] == ["dead-units"]


def test_what_ends_a_run_is_written_down_beside_what_holds(reporter: Reporter) -> None:
    reporter.record_final_alert(diverged("loss/total", "nan", 3))
    assert reporter.run.info()["alerts"] == ["diverged"]


def test_a_plain_line_has_metrics_only_where_the_model_was_validated(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Progress(3) as progress:
        for step, validates in ((1, False), (2, True), (3, False)):
            cursor = Cursor(step, epoch=step, seconds=1.0)
            progress.step(
                StepResult(cursor, step / 4, StepValues(step, {"ae/loss": 1.0}, is_read=True),
                           images=8, epoch_ends=True, validates=validates, signal=0, saves=False),
                {"mse": 0.5},
            )  # fmt: skip
    lines = capsys.readouterr().err.splitlines()
    assert ["mse" in line for line in lines] == [False, True, False]
