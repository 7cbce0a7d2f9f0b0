"""Several players on two ranks: equal weights, and agreement when something goes wrong."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import PROJECT


def test_games_of_several_players_on_two_ranks() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.two_ranks"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "Dots equal",
        "GradientPenalty equal",
        "the ranks ended with different weights",
        "training diverged at step 1: discriminator/real is nan",
    ]
