"""Weight files that lie, each given to the command: refused, and nothing is written."""

from __future__ import annotations

import json
import resource
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from tests.security.inside import nothing_left, refused
from zoo.catalog.lookup import find_model, load_class
from zoo.model.tensors import MAX_HEADER_BYTES
from zoo.model.weights import describe, save_weights
from zoo.ports import DataSpec

Header = dict[str, Any]
Change = Callable[[Header], object]


def save(path: Path, name: str, **config: Any) -> Path:
    entry = find_model(name)
    kind = load_class(entry)
    model = kind(kind.Config(**config), DataSpec.of_images("shirts", 1, 8, 8))
    save_weights(path, model, describe(model, entry))
    return path


@pytest.fixture
def weights() -> Path:
    return save(Path("x.safetensors"), "vae", latent_size=3, hidden=(16,))


def rewrite(path: Path, change: Change, tail: bytes = b"") -> None:
    """Change the header of a file as its bytes say it, whatever the tensors behind it."""
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :] + tail)


def first(header: Header) -> Header:
    """The entry of one tensor of more than one number."""
    return next(each for key, each in header.items() if key != "__metadata__")


def beyond(header: Header) -> None:
    entry = first(header)
    entry["data_offsets"] = [each + 2**20 for each in entry["data_offsets"]]


def of_the_zoo(**changes: Any) -> Change:
    """Change what the file says of the model."""

    def change(header: Header) -> None:
        told = json.loads(header["__metadata__"]["zoo"])
        told["identity"]["config"].update(changes)
        header["__metadata__"]["zoo"] = json.dumps(told)

    return change


def extra(name: str, shape: list[int], dtype: str = "F32") -> Change:
    entry = {"dtype": dtype, "shape": shape, "data_offsets": [0, 0]}
    return lambda header: header.update({name: entry})


LIES: dict[str, tuple[Change, str]] = {
    "bytes behind the end": (beyond, "does not lie where"),
    "a shape of more bytes": (lambda h: first(h).update(shape=[2**20, 2**20]), "does not lie"),
    "a negative offset": (lambda h: first(h).update(data_offsets=[-8, 56]), "impossible"),
    "a negative dimension": (lambda h: first(h).update(shape=[-1, -64]), "impossible"),
    "a dimension that is true": (lambda h: first(h).update(shape=[True]), "impossible"),
    "nine dimensions": (lambda h: first(h).update(shape=[1] * 9), "impossible"),
    "an unknown type": (lambda h: first(h).update(dtype="O"), "impossible"),
    "an entry that is none": (lambda h: h.update(x=[1, 2]), "damaged"),
    "nothing times 2^62": (extra("x", [0, 2**62]), "impossible"),
    "a name with NUL": (extra("decoder\0", [0]), "no tensor is called"),
    "a name that moves the cursor": (extra("\x1b[2J", [0]), "no tensor is called"),
    "a name of 5,000 letters": (extra("x" * 5000, [0]), "no tensor is called"),
    "a name that is a path": (extra("../../x", [0]), "unknown tensor '../../x'"),
    "20,001 tensors": (
        lambda h: h.update({f"t{n}": first(h) for n in range(20_001)}), "more than 20,000 tensors"
    ),
    "another size of the model": (of_the_zoo(latent_size=4), "the model wants"),
    "a list of a million layers": (of_the_zoo(hidden=[1] * 10**6), "at most 1,000"),
    "not a number": (of_the_zoo(beta=float("nan")), "finite"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "says"), LIES.values(), ids=LIES)
def test_a_header_that_lies_is_refused(weights: Path, change: Change, says: str) -> None:
    rewrite(weights, change)
    with nothing_left(Path()):
        assert says in refused("sample", str(weights), code=3)


@pytest.mark.parametrize("count", [300_000, 1_000_000])
def test_a_header_is_not_read_when_it_is_huge(count: int) -> None:
    entry = b'"t%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},'
    text = b"{" + b"".join(entry % number for number in range(count))[:-1] + b"}"
    assert len(text) > MAX_HEADER_BYTES
    Path("x.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)
    with nothing_left(Path()):
        assert "damaged" in refused("sample", "x.safetensors", code=3)


def test_the_weights_of_another_model_are_refused(weights: Path) -> None:
    other = safetensors.torch.load_file(save(Path("other.safetensors"), "ae", hidden=(16,)))
    with safetensors.safe_open(weights, "pt") as file:
        metadata = file.metadata()
    safetensors.torch.save_file(other, weights, metadata)
    assert "tensor" in refused("sample", str(weights), code=3)


def test_numbers_that_are_none_are_refused(weights: Path) -> None:
    content = bytearray(weights.read_bytes())
    content[-4:] = struct.pack("<f", float("nan"))
    weights.write_bytes(content)
    assert "not finite" in refused("sample", str(weights), code=3)


def test_no_memory_is_taken_for_a_model_that_is_not_in_the_file(weights: Path) -> None:
    rewrite(weights, of_the_zoo(hidden=[20_000, 20_000]))  # 1.6 GB, before they are compared
    torch.zeros(1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "tensor" in refused("sample", str(weights), code=3)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # KiB
