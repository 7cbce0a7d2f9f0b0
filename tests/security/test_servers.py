"""Servers that send something else: the command says so, and no file takes its name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from tests.data.loopback import Loopback, loopback
from tests.security.inside import command, listing, refused
from zoo.catalog.dataset import cache_home

BODY = bytes(range(256)) * 40
NAME = "set.zip"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    """A server, and a catalogue that names its file ``/set.zip`` as data set ``toy``."""
    with loopback() as started:
        file = {"name": NAME, "bytes": len(BODY), "sha256": sha256(BODY).hexdigest()}
        values = ", ".join(f"{key} = {json.dumps(value)}" for key, value in file.items())
        urls = json.dumps([started.url("/set.zip")])
        Path("catalogue.toml").write_text(
            f'schema = 1\n[dataset.toy]\nsummary = "Toy"\nlayout = "folder"\nlicence = "CC0"\n'
            f"files = [{{ {values}, urls = {urls} }}]\n"
        )
        monkeypatch.setenv("ZOO_REGISTRY", "catalogue.toml")
        yield started


def redirect(server: Loopback) -> None:
    secret = Path("secret").absolute()
    secret.write_bytes(BODY)
    server.put("/set.zip", status=302, location=secret.as_uri())


LIES: dict[str, tuple[Callable[[Loopback], object], str]] = {
    "less": (
        lambda server: server.put("/set.zip", BODY[:-1], tells_length=False, takes_ranges=False),
        f"ended after {len(BODY) - 1} of {len(BODY)}",
    ),
    "more": (
        lambda server: server.put("/set.zip", BODY + b"more" * 99, tells_length=False),
        f"more than the {len(BODY)} bytes",
    ),
    "another file": (lambda server: server.put("/set.zip", BODY[::-1]), "sha256"),
    "nothing": (lambda server: server.put("/set.zip", status=500), "HTTP 500"),
    "slowly": (lambda server: server.put("/set.zip", BODY, drip=0.05), "slower than 1024 bytes"),
    "not at all": (lambda server: server.put("/set.zip", BODY, drip=9.0), "stopped sending"),
    "a way to the disk": (redirect, "protocol"),
    "a circle": (
        lambda server: server.put("/set.zip", status=302, location="/set.zip"), "redirects"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("misbehave", "says"), LIES.values(), ids=LIES)
def test_what_a_server_sends_otherwise_takes_no_name(
    server: Loopback, misbehave: Callable[[Loopback], object], says: str
) -> None:
    misbehave(server)
    assert says in refused("data", "get", "toy", "--timeout", "1", code=3)
    names = {Path(path).name for path in listing(cache_home())}
    assert NAME not in names
    assert json.loads(command("data", "list", "--json").out)[-1]["cached"] != "yes"
