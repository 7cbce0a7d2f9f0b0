"""Publish the weights of a finished run, in 16 bits, with the recipe that made them.

    python tools/publish.py RUN [--name NAME] [--leave-out NETWORK]...

writes ``plugins/zoo-weights/zoo_weights/DISTRIBUTION/NAME.safetensors`` and
``recipes/NAME.toml``, and prints the row for ``registry.toml``, whose summary is still to be
written. NAME is the model's name unless given: a model may have several published weights. A
network that no graph uses, such as a discriminator, can be left out.
`zoo train --config recipes/NAME.toml` makes the run again.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save

from zoo.atomic import write_bytes
from zoo.identity import METADATA_KEY, to_text
from zoo.model.weights import read_header, read_identity
from zoo.training.run import RunInfo, find_run

ROOT = Path(__file__).parents[1]
GREATEST_HALF = 60_000.0  # float16 ends at 65,504


def main(word: str, name: str | None = None, left_out: Sequence[str] = ()) -> None:
    """Publish one run under a name, that of the model when none is given, without some networks."""
    run = find_run(word)
    identity = read_identity(run.weights)
    name = name or identity.model
    folder = ROOT / "plugins/zoo-weights/zoo_weights" / identity.distribution
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.safetensors"
    body = in_half(run.weights, left_out)
    write_bytes(file, body)
    shutil.copyfile(run.path / "config.toml", ROOT / "recipes" / f"{name}.toml")
    digest = hashlib.sha256(body).hexdigest()
    model = "" if name == identity.model else f'\nmodel = "{identity.model}"'
    sys.stdout.write(f"""
[weights.{name}]{model}
summary = "{identity.data.name}, {identity.step:,} steps"
licence = "{identity.data.licence}"
recipe = "recipes/{name}.toml"
trained = "{trained_in(run.info())}"
file = {{ name = "{name}.safetensors", bytes = {len(body)}, sha256 = "{digest}" }}
""")


def trained_in(info: RunInfo) -> str:
    """Return how long a run took, and where."""
    cores = os.cpu_count()
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return (
        f"{info['seconds'] / 60:.0f} minutes in {info['precision']} on {cores} shared cores of "
        f"{next(names, 'a processor')}, torch {info['torch'].partition('+')[0]}"
    )


def in_half(path: Path, left_out: Sequence[str] = ()) -> bytes:
    """Return a weight file with its matrices and kernels in 16 bits, without some networks.

    Biases, factors and statistics of normalisation are few, and keep their 32 bits.
    """
    header = replace(read_header(path), left_out=tuple(left_out))
    tensors = {
        key: each for key, each in load_file(path).items() if key.partition(".")[0] not in left_out
    }
    for key, each in tensors.items():
        if each.dtype == torch.float32 and each.ndim > 1 and each.abs().max() < GREATEST_HALF:
            tensors[key] = each.half()
    return save(tensors, {METADATA_KEY: to_text(header)})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run")
    parser.add_argument("--name", help="of the weights [that of the model]")
    parser.add_argument("--leave-out", action="append", default=[], metavar="NETWORK")
    given = parser.parse_args()
    main(given.run, given.name, given.leave_out)
