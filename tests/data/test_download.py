"""Downloads against a real server that breaks off, lies, dawdles and leads astray."""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.data.loopback import Loopback, loopback
from tests.errors import raises
from zoo.catalog.dataset import Dataset, RemoteFile, cache_home
from zoo.catalog.lookup import find_dataset
from zoo.data import transfer
from zoo.data.download import DownloadProgress, cached_state, fetch, verified_hash
from zoo.errors import NotFoundError, UsageError, ZooError

BODY = random.Random(0).randbytes(300_000)
NAME = "images.bin"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(transfer, "PAUSE", 0.0)
    with loopback() as running:
        yield running


def remote(*urls: str, name: str = NAME, body: bytes = BODY, **more: object) -> RemoteFile:
    facts = {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()} | more
    return RemoteFile(name, urls, **facts)  # type: ignore[arg-type] # the facts of the test


def dataset(*files: RemoteFile) -> Dataset:
    return Dataset("toy", "Toy", "folder", "CC0", files=files)


def downloads() -> Path:
    return cache_home() / "downloads" / "toy"


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("[!.]*"))


def parts(folder: Path) -> list[Path]:
    return [*folder.glob(".*.part"), *folder.glob(".*.rest")]


Start = Callable[[str], subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start `zoo data get toy`, with a catalogue that names this URL."""
    started = []

    def start_one(url: str) -> subprocess.Popen[str]:
        started.append(zoo_get(tmp_path, url))
        return started[-1]

    yield start_one
    for process in started:
        with process:
            process.kill()


def zoo_get(tmp_path: Path, url: str) -> subprocess.Popen[str]:
    file = {"name": NAME, "bytes": len(BODY), "sha256": hashlib.sha256(BODY).hexdigest()}
    values = ", ".join(f"{key} = {json.dumps(value)}" for key, value in file.items())
    catalogue = tmp_path / "catalogue.toml"
    catalogue.write_text(
        f'schema = 1\n[dataset.toy]\nsummary = "Toy"\nlayout = "folder"\nlicence = "CC0"\n'
        f"files = [{{ {values}, urls = [{json.dumps(url)}] }}]\n"
    )
    return subprocess.Popen(
        [sys.executable, "-m", "zoo", "data", "get", "toy"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"ZOO_REGISTRY": str(catalogue)},
    )


def wait_for_part(folder: Path, size: int) -> None:
    deadline = time.monotonic() + 20
    while not any(path.stat().st_size >= size for path in folder.glob(".*/content")):
        assert time.monotonic() < deadline, "no part appeared"
        time.sleep(0.02)


def test_files_are_downloaded_once(server: Loopback) -> None:
    server.put("/a", BODY)
    server.put("/b", b"labels")
    row = dataset(
        remote(server.url("/a")), remote(server.url("/b"), name="labels.bin", body=b"labels")
    )
    assert cached_state(row) == "no"
    folder = fetch(row)
    assert visible(folder) == [NAME, "labels.bin"]
    assert (folder / NAME).read_bytes() == BODY
    assert parts(folder) == []
    assert cached_state(row) == "yes"
    assert fetch(row) == folder
    assert len(server.seen) == 2


def test_progress_counts_up_to_the_whole(server: Loopback) -> None:
    server.put("/a", BODY)
    moments: list[DownloadProgress] = []
    fetch(dataset(remote(server.url("/a"))), report=moments.append)
    done = [moment.done for moment in moments]
    assert done == sorted(done)
    assert moments[-1] == DownloadProgress(NAME, len(BODY), len(BODY))


def test_a_cut_connection_is_resumed(server: Loopback) -> None:
    server.put("/a", BODY, cuts=[100_000, 50_000])
    folder = fetch(dataset(remote(server.url("/a"))))
    assert (folder / NAME).read_bytes() == BODY
    assert [request.range for request in server.seen] == [None, "bytes=100000-", "bytes=150000-"]
    tag = f'"{hashlib.md5(BODY).hexdigest()}"'
    assert [request.if_range for request in server.seen] == [None, tag, tag]
    assert server.sent() == len(BODY)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    body=st.binary(min_size=1, max_size=3000),
    cuts=st.lists(st.integers(0, 2000), max_size=4),
    takes_ranges=st.booleans(),
    has_tag=st.booleans(),
    tells_length=st.booleans(),
)
def test_however_the_server_breaks_off_the_file_is_right_or_absent(
    server: Loopback,
    body: bytes,
    cuts: list[int],
    takes_ranges: bool,
    has_tag: bool,
    tells_length: bool,
) -> None:
    (downloads() / NAME).unlink(missing_ok=True)
    server.put(
        "/a",
        body,
        cuts=list(cuts),
        takes_ranges=takes_ranges,
        has_tag=has_tag,
        tells_length=tells_length,
    )
    row = dataset(remote(server.url("/a"), body=body))
    for _ in range(len(cuts) + 1):  # what one download leaves, the next one uses
        try:
            assert (fetch(row) / NAME).read_bytes() == body
            break
        except NotFoundError:
            assert visible(downloads()) == []
    assert (downloads() / NAME).read_bytes() == body
    assert parts(downloads()) == []


def test_a_killed_download_is_resumed_by_the_next_process(server: Loopback, start: Start) -> None:
    held = server.put("/a", BODY, hold=200_000)
    process = start(server.url("/a"))
    wait_for_part(downloads(), 200_000)
    process.kill()
    process.communicate()
    held.release.set()
    assert visible(downloads()) == []
    process = start(server.url("/a"))
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert output == f"{downloads()}\n"
    assert server.seen[-1].range == "bytes=200000-"
    assert server.seen[-1].sent == 100_000
    assert (downloads() / NAME).read_bytes() == BODY
    assert parts(downloads()) == []


def test_an_interrupted_download_leaves_only_its_part(server: Loopback, start: Start) -> None:
    held = server.put("/a", BODY, hold=200_000)
    process = start(server.url("/a"))
    wait_for_part(downloads(), 200_000)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    held.release.set()
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert "goes on where this one stopped" in errors
    assert visible(downloads()) == []
    assert [part.suffix for part in parts(downloads())] == [".rest"]
    row = dataset(remote(server.url("/a")))
    assert cached_state(row) == "partly"
    fetch(row)
    assert server.seen[-1].range == "bytes=200000-"


def test_the_next_mirror_goes_on_where_the_first_one_broke_off(server: Loopback) -> None:
    server.put("/broken", BODY, cuts=[120_000, 0])
    server.put("/whole", BODY)
    notes: list[str] = []
    row = dataset(remote(server.url("/gone"), server.url("/broken"), server.url("/whole")))
    folder = fetch(row, report=lambda moment: notes.append(moment.note))
    assert (folder / NAME).read_bytes() == BODY
    assert server.seen[-1].path == "/whole"
    assert server.seen[-1].range == "bytes=120000-"
    assert server.seen[-1].if_range is None
    assert any("HTTP 404" in note for note in notes)


def test_a_file_that_changed_on_the_server_is_begun_anew(server: Loopback) -> None:
    server.put("/a", BODY[::-1], cuts=[100_000, 0])
    row = dataset(remote(server.url("/a")))
    with pytest.raises(NotFoundError):
        fetch(row)
    server.put("/a", BODY)
    assert (fetch(row) / NAME).read_bytes() == BODY
    assert server.seen[-1].range == "bytes=100000-"
    assert server.seen[-1].sent == len(BODY)


def test_a_part_of_something_else_does_not_spoil_the_file(server: Loopback) -> None:
    server.put("/a", BODY[::-1], cuts=[100_000, 0], has_tag=False)
    row = dataset(remote(server.url("/a")))
    with pytest.raises(NotFoundError):
        fetch(row)
    server.put("/a", BODY, has_tag=False)
    assert (fetch(row) / NAME).read_bytes() == BODY


def test_a_part_that_is_longer_than_the_file_is_dropped(server: Loopback) -> None:
    server.put("/a", BODY[::-1], cuts=[100_000, 0], has_tag=False)
    row = dataset(remote(server.url("/a"), body=BODY[:50_000], bytes=None))
    with pytest.raises(NotFoundError):
        fetch(row)
    server.put("/a", BODY[:50_000], has_tag=False)
    assert (fetch(row) / NAME).read_bytes() == BODY[:50_000]
    assert [request.range for request in server.seen[-2:]] == ["bytes=100000-", None]


def test_a_wrong_hash_is_refused_and_the_next_mirror_tried(server: Loopback) -> None:
    server.put("/wrong", BODY[::-1])
    server.put("/right", BODY)
    notes: list[str] = []
    row = dataset(remote(server.url("/wrong"), server.url("/right")))
    folder = fetch(row, report=lambda moment: notes.append(moment.note))
    assert (folder / NAME).read_bytes() == BODY
    assert any("sha256" in note and "instead of" in note for note in notes)


@pytest.mark.parametrize(
    ("body", "what", "told"),
    [
        (BODY[::-1], {}, "sha256"),
        (BODY + b"more", {}, "300004"),
        (BODY + b"more" * 99, {"tells_length": False}, "300000"),
        (BODY[:-1], {}, "299999"),
        (BODY[:-1], {"tells_length": False, "takes_ranges": False}, "299999 of 300000"),
        (b"", {"status": 500}, "HTTP 500"),
        (b"", {"status": 302, "location": "ftp://127.0.0.1/a"}, "protocol"),
        (b"", {"status": 302, "location": "/a"}, "redirects"),
        (BODY, {"takes_ranges": True, "claims_length": 10**6}, "1000000"),
    ],
)
def test_a_server_that_sends_something_else_leaves_no_file(
    server: Loopback, body: bytes, what: dict[str, object], told: str
) -> None:
    server.put("/a", body, **what)
    row = dataset(remote(server.url("/a")))
    with raises(NotFoundError, "download-failed", told) as caught:
        fetch(row)
    assert server.url("/a") in caught.value.hint
    assert str(downloads()) in caught.value.hint
    assert len(str(caught.value).splitlines()) <= 6
    assert visible(downloads()) == []


def test_a_redirect_never_reaches_the_local_disk(server: Loopback, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(BODY)
    server.put("/a", status=302, location=secret.as_uri())
    with raises(NotFoundError, "download-failed", "protocol"):
        fetch(dataset(remote(server.url("/a"))))
    server.put("/b", status=301, location=server.url("/c"))
    server.put("/c", BODY)
    assert (fetch(dataset(remote(server.url("/b")))) / NAME).read_bytes() == BODY


@pytest.mark.parametrize("what", [{"drip": 9.0}, {"drip": 0.02}], ids=["silent", "dripping"])
def test_a_server_that_dawdles_is_left(server: Loopback, what: dict[str, float]) -> None:
    server.put("/slow", BODY, **what)
    server.put("/quick", BODY)
    row = dataset(remote(server.url("/slow"), server.url("/quick")))
    begin = time.monotonic()
    fetch(row, patience=0.3)
    assert time.monotonic() - begin < 5
    assert server.seen[-1].path == "/quick"


def test_gzip_files_stay_packed_whatever_the_server_calls_them(server: Loopback) -> None:
    packed = gzip.compress(BODY[:5000])
    server.put("/a.gz", packed, headers={"Content-Encoding": "gzip"})
    folder = fetch(dataset(remote(server.url("/a.gz"), body=packed)))
    assert (folder / NAME).read_bytes() == packed


def test_two_processes_download_once_and_both_succeed(server: Loopback, start: Start) -> None:
    held = server.put("/a", BODY, hold=200_000)
    processes = [start(server.url("/a")) for _ in range(2)]
    wait_for_part(downloads(), 200_000)
    time.sleep(1)  # so that the second one certainly stands before the lock
    held.release.set()
    for process in processes:
        output, errors = process.communicate(timeout=30)
        assert process.returncode == 0, errors
        assert output == f"{downloads()}\n"
    assert server.sent() == len(BODY)
    assert len(server.seen) == 1


@pytest.mark.parametrize("lock", ["lies", "cannot be taken"])
def test_two_processes_without_working_locks_both_succeed(
    server: Loopback, start: Start, lock: str
) -> None:
    downloads().mkdir(parents=True)
    if lock == "cannot be taken":
        (downloads() / ".lock").mkdir()
    held = server.put("/a", BODY, hold=200_000)
    first = start(server.url("/a"))
    wait_for_part(downloads(), 200_000)
    if lock == "lies":  # the second process locks another file of the same name
        (downloads() / ".lock").unlink()
    second = start(server.url("/a"))
    _, errors = second.communicate(timeout=30)
    assert second.returncode == 0, errors
    held.release.set()
    _, errors = first.communicate(timeout=30)
    assert first.returncode == 0, errors
    assert server.seen[1].range == ("bytes=200000-" if lock == "lies" else None)
    assert (downloads() / NAME).read_bytes() == BODY
    assert parts(downloads()) == []


def test_a_process_that_lost_its_part_cannot_spoil_the_file(server: Loopback, start: Start) -> None:
    held = server.put("/a", BODY[:200_000] + bytes(100_000), hold=200_000, has_tag=False)
    first = start(server.url("/a"))
    wait_for_part(downloads(), 200_000)
    (downloads() / ".lock").unlink()
    server.put("/a", BODY, has_tag=False)
    fetch(dataset(remote(server.url("/a"))))
    held.release.set()
    first.communicate(timeout=30)
    assert (downloads() / NAME).read_bytes() == BODY


def test_a_lock_whose_holder_stands_still_does_not_hold_us(server: Loopback) -> None:
    server.put("/a", BODY)
    downloads().mkdir(parents=True)
    notes: list[str] = []
    with (downloads() / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        row = dataset(remote(server.url("/a")))
        folder = fetch(row, patience=0.2, report=lambda moment: notes.append(moment.note))
    assert (folder / NAME).read_bytes() == BODY
    assert any("another process" in note for note in notes)


def test_a_file_without_published_hash_is_taken_and_recorded(server: Loopback) -> None:
    server.put("/a", BODY, cuts=[100_000], has_tag=False)
    notes: list[str] = []
    file = remote(server.url("/a"), sha256=None)
    folder = fetch(dataset(file), report=lambda moment: notes.append(moment.note))
    assert (folder / NAME).read_bytes() == BODY
    assert server.seen[-1].range is None  # without tag and hash nobody can tell that parts fit
    assert verified_hash(file, folder) == hashlib.sha256(BODY).hexdigest()
    assert any("nobody publishes" in note for note in notes)


def test_without_a_network_the_user_learns_what_to_fetch_and_where_to_put_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        place = f"http://127.0.0.1:{closed.getsockname()[1]}"
    row = dataset(remote(f"{place}/a"))
    other = dataset(remote(f"{place}/{NAME}"))
    with raises(NotFoundError, "download-failed", downloads(), f"{place}/a", NAME):
        fetch(row)
    with raises(NotFoundError, "download-failed", downloads(), f"{place}/{NAME}") as caught:
        fetch(other)
    assert caught.value.hint.count(NAME) == 1
    assert cached_state(row) == "no"

    (downloads() / NAME).write_bytes(BODY[::-1])
    with raises(NotFoundError, "download-failed", NAME, "sha256"):
        fetch(row)
    assert (downloads() / NAME).read_bytes() == BODY[::-1]

    (downloads() / NAME).write_bytes(BODY)
    assert fetch(row) == downloads()
    assert cached_state(row) == "yes"


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_the_published_files_are_accepted_when_put_there_by_hand(
    shared_data: Path, name: str
) -> None:
    row = find_dataset(name)
    folder = cache_home() / "downloads" / name
    folder.mkdir(parents=True)
    for file in row.files:
        (folder / file.name).symlink_to(shared_data / name / file.name)
    assert cached_state(row) == "partly"
    assert fetch(row) == folder
    assert cached_state(row) == "yes"


def test_a_file_that_changed_in_the_cache_is_replaced(server: Loopback) -> None:
    server.put("/a", BODY)
    row = dataset(remote(server.url("/a")))
    path = fetch(row) / NAME
    path.write_bytes(BODY[::-1])
    os.utime(path, ns=(0, 0))
    assert cached_state(row) == "partly"
    notes: list[str] = []
    fetch(row, report=lambda moment: notes.append(moment.note))
    assert path.read_bytes() == BODY
    assert any("cannot be used" in note for note in notes)


def test_a_verified_file_is_not_read_again(server: Loopback) -> None:
    server.put("/a", BODY)
    row = dataset(remote(server.url("/a"), sha256=None))
    records = fetch(row) / ".verified.json"
    content = records.read_text()
    found = hashlib.sha256(BODY).hexdigest()
    records.write_text(content.replace(found, "0" * 64))  # reading would tell that it is another
    fetch(row)
    assert len(server.seen) == 1


def test_a_file_of_the_same_size_and_time_is_no_verified_file(server: Loopback) -> None:
    server.put("/a", BODY)
    row = dataset(remote(server.url("/a")))
    path = fetch(row) / NAME
    status = path.stat()
    path.write_bytes(BODY[::-1])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (fetch(row) / NAME).read_bytes() == BODY


def test_a_damaged_record_only_costs_another_look(server: Loopback) -> None:
    server.put("/a", BODY)
    row = dataset(remote(server.url("/a")))
    folder = fetch(row)
    for damaged in ("", "[]", "{", '{"images.bin": 3}'):
        (folder / ".verified.json").write_text(damaged)
        assert fetch(row) == folder
    assert len(server.seen) == 1


def test_a_cache_that_cannot_be_used_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "a file"
    home.write_text("")
    monkeypatch.setenv("ZOO_HOME", str(home))
    with raises(ZooError, "cache-unusable", home) as caught:
        fetch(dataset(remote("http://127.0.0.1:9/a")))
    assert caught.value.exit_code == 1
    assert "ZOO_HOME=" in caught.value.hint


def test_a_proxy_that_makes_no_sense_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "gopher://127.0.0.1")
    with raises(UsageError, "bad-environment", "gopher"):
        fetch(dataset(remote("http://127.0.0.1:9/a")))
