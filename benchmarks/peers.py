"""How many images a second others train on, with the networks that zoo trains beside them.

The DCGAN script of PyTorch-GAN, rebuilt from its description, against the whole of `zoo train` and
against its steps alone; and pythae's convolutional VAE with pythae's trainer against the steps of
`zoo train`. Peers run in processes of their own, and all take turns. pythae is installed into an
environment of its own; where that fails, its part is left out.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import platformdirs
import torch

from benchmarks.measuring import (
    Contender,
    Row,
    in_turns,
    median_ratio,
    mnist_option,
    note,
    own_place,
    parser,
    report,
)
from benchmarks.peer_models import ConvVAE, ScriptDCGAN
from benchmarks.training import (
    block,
    conditions_of,
    in_own_process,
    job_of_class,
    own_loop,
    train_steps_alone,
    train_whole,
)

HERE = Path(__file__).parent
DCGAN_STEPS, QUICK_DCGAN_STEPS = 300, 20  # a third of an epoch of MNIST in batches of 64
VAE_BATCH, VAE_STEPS, QUICK_VAE_STEPS = 128, 10, 2
TURNS, QUICK_TURNS = 7, 2
DCGAN_TURNS = 3  # of some four minutes each
MOST_STEPS = 10**6


class UnavailableError(Exception):
    """A peer cannot be had here, with the reason."""


@contextmanager
def peer(python: Path, script: str, *words: object) -> Iterator[Contender]:
    """Run a peer's script while the ``with`` block lasts; it works once for each line."""
    # with the threads as they are without zoo
    environment = {key: each for key, each in os.environ.items() if key != "GOMP_SPINCOUNT"}
    environment.pop("PYTHONPATH", None)
    command = [str(python), "-P", str(HERE / script), *map(str, words)]
    quiet, pipe = subprocess.DEVNULL, subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=quiet, text=True, env=environment
    ) as process:
        asks, answers = process.stdin, process.stdout
        assert asks and answers

        def run(words: str = "") -> float:
            asks.write(f"{words}\n")
            asks.flush()
            answer = answers.readline()
            if not answer:
                raise UnavailableError(f"{script} ended with exit code {process.wait()}")
            return float(answer)

        yield run
        asks.close()


def dcgan(mnist: Path, *, turns: int, steps: int) -> list[Row]:
    """Return images/s of the script, of a whole `zoo train` and of the steps of it alone.

    Raises:
        UnavailableError: the script ended with an error.
    """
    note("peers: PyTorch-GAN's DCGAN")
    options = {"data": str(mnist), "size": 32, "steps": steps}
    used = conditions_of(own_loop(job_of_class(ScriptDCGAN, **options), steps)).precision
    with peer(Path(sys.executable), "dcgan_script.py", mnist) as script:
        taken = in_turns(
            {
                "PyTorch-GAN's script": partial(script, str(steps)),
                "zoo train": partial(in_own_process, dcgan_whole, options),
                "zoo train, steps alone": partial(in_own_process, dcgan_steps, options),
            },
            turns,
        )
    images = steps * ScriptDCGAN.training_defaults.batch_size
    return rows_of(taken, images, dict.fromkeys([*taken][1:], used))


def dcgan_whole(options: dict[str, Any]) -> float:
    """Return the seconds of a whole training."""
    return train_whole(job_of_class(ScriptDCGAN, **options))


def dcgan_steps(options: dict[str, Any]) -> float:
    """Return the seconds of the steps of a training."""
    return train_steps_alone(job_of_class(ScriptDCGAN, **options), options["steps"])


def pythae(mnist: Path, environment: Path, *, turns: int, steps: int) -> list[Row]:
    """Return images/s of pythae's trainer and of zoo's steps, by default and in fp32.

    Raises:
        UnavailableError: pythae cannot be installed, or ended with an error.
    """
    note("peers: pythae's VAE")
    python, images = install(environment), steps * VAE_BATCH
    job = partial(job_of_class, ConvVAE, str(mnist), batch_size=VAE_BATCH)
    loops = {"zoo train, steps alone": own_loop(job(), MOST_STEPS)}
    used = {name: conditions_of(loop).precision for name, loop in loops.items()}
    if "fp32" not in used.values():
        name = "zoo train, steps alone, fp32"
        loops[name], used[name] = own_loop(job(precision="32"), MOST_STEPS), "fp32"
    with peer(python, "pythae_script.py", mnist, VAE_BATCH, images) as trainer:
        ours = {name: block(loop, steps) for name, loop in loops.items()}
        taken = in_turns({"pythae": trainer} | ours, turns)
    whole = {name: [each * steps for each in taken[name]] for name in ours}
    return rows_of(taken | whole, images, used)


def rows_of(taken: dict[str, list[float]], images: int, formats: dict[str, str]) -> list[Row]:
    """Return a row for each contender; the first is the peer, in fp32, that others are held to."""
    first = next(iter(taken.values()))
    return [
        {
            "trainer": name,
            "images/s": images / median(seconds),
            "times the peer": median_ratio(first, seconds),
            "format": formats.get(name, "fp32"),
            "images a turn": images,
        }
        for name, seconds in taken.items()
    ]


def install(environment: Path) -> Path:
    """Return the Python of an environment that has pythae, and the torch that zoo has.

    Raises:
        UnavailableError: it cannot be made.
    """
    python = environment / "bin" / "python"
    wanted = torch.__version__.partition("+")[0]
    if not python.is_file():
        note(f"installing pythae and torch {wanted} into an environment of their own")
        if code := _run(sys.executable, "-m", "venv", str(environment)):
            raise UnavailableError(f"no environment could be made (exit code {code})")
    if _run(str(python), "-c", "import pythae.trainers"):
        words = ("-m", "pip", "install", "--quiet", "pythae", f"torch=={wanted}")
        if code := _run(str(python), *words):
            raise UnavailableError(f"pythae could not be installed (exit code of pip {code})")
    return python


def _run(*command: str) -> int:
    """Return the exit code of a command that does not see this project."""
    environment = {key: each for key, each in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
    if done.returncode and "pip" in command:
        sys.stderr.write(done.stderr)
    return done.returncode


def measure(
    *, mnist: Path | None = None, environment: Path | None = None, quick: bool = False
) -> dict[str, Any]:
    """Return the rows of both peers, and which is left out for what reason."""
    if mnist is None:
        return {"left out": "all: no folder of MNIST is given (--mnist)"}
    turns = QUICK_TURNS if quick else TURNS
    place = environment or platformdirs.user_cache_path("zoo-benchmarks") / "pythae"
    steps_of_dcgan, steps_of_vae = (
        (QUICK_DCGAN_STEPS, QUICK_VAE_STEPS) if quick else (DCGAN_STEPS, VAE_STEPS)
    )
    runs = {
        "DCGAN, MNIST, 32 px, batch 64": partial(
            dcgan, mnist, turns=min(turns, DCGAN_TURNS), steps=steps_of_dcgan
        ),
        "convolutional VAE, MNIST, batch 128": partial(
            pythae, mnist, place, turns=turns, steps=steps_of_vae
        ),
    }
    found: dict[str, Any] = {}
    left_out = []
    with own_place():
        for name, run in runs.items():
            try:
                found[name] = run()
            except UnavailableError as reason:
                left_out.append(f"{name}: {reason}")
    return found | ({"left out": "; ".join(left_out)} if left_out else {})


def main() -> None:
    """Measure, print and write the figures."""
    options = parser(__doc__)
    mnist_option(options)
    options.add_argument(
        "--environment",
        type=lambda text: Path(text).absolute(),
        metavar="FOLDER",
        help="where pythae is or is to be installed [zoo-benchmarks in the user's cache]",
    )
    asked = options.parse_args()
    figures = measure(mnist=asked.mnist, environment=asked.environment, quick=asked.quick)
    report("peers", figures, quick=asked.quick)


if __name__ == "__main__":
    main()
