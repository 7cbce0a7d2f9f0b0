"""`zoo plugins search`, and a second registry: a file or a URL, taken for a stranger's."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.catalog.registry_check import check_registry
from tests.data.loopback import Loopback, loopback
from tests.market.environments import registry_text
from tests.process import error_of, zoo, zoo_json
from zoo.catalog.lookup import known_plugin_with
from zoo.catalog.registry import read_registry, reserved_names
from zoo.cli.output import say
from zoo.errors import UsageError

ENTRY = {
    "version": "1.0",
    "requires-core": ">=0.1,<9",
    "wheel": "https://example.org/zoo_star-1.0-py3-none-any.whl",
    "sha256": "0" * 64,
}


def written(text: str) -> str:
    path = Path("second.toml").absolute()
    path.write_text(text, "utf-8")
    return str(path)


def test_search_finds_by_name_model_and_summary() -> None:
    def found(*words: str) -> list[str]:
        return [row["distribution"] for row in zoo_json("plugins", "search", *words)]

    assert found() == ["zoo-autoencoders", "zoo-diffusion", "zoo-gans", "zoo-translation"]
    assert found("zoo-tr") == ["zoo-translation"]
    assert found("WGAN-gp") == ["zoo-gans"]
    assert found("denoising") == ["zoo-autoencoders", "zoo-diffusion"]
    row = zoo_json("plugins", "search", "zoo-gans")[0]
    assert row["tier"] == "first-party"
    assert row["installed"]
    assert row["release"] is None


def test_search_shows_a_table_and_what_comes_near() -> None:
    shown = zoo("plugins", "search", "cyclegan").stdout
    for word in ("zoo-translation", "first-party", "cyclegan"):
        assert word in shown
    assert "Did you mean 'cyclegan'" in error_of("plugins", "search", "cyclgan", code=3)


def test_a_second_registry_adds_plugins() -> None:
    second = written(registry_text({"zoo-star": [ENTRY]}, tier="community"))
    for words, variables in (
        (("--registry", second), {}),
        ((), {"ZOO_REGISTRY": second}),
    ):
        (row,) = zoo_json("plugins", "search", "star", *words, **variables)
        assert row["tier"] == "community"
        assert row["release"] == "1.0"
        assert row["installed"] is None
        assert row["listed_in"] == second
    assert "zoo-gans" in zoo("plugins", "search", "--registry", second).stdout


def test_the_next_command_looks_into_the_same_registry() -> None:
    second = written(registry_text({"zoo-star": [ENTRY]}))
    again = f"--registry {second}"
    said = error_of("plugins", "search", "zoo-sta-", "--registry", second, code=3)
    assert f"zoo plugins search {again}" in said
    said = error_of("plugins", "install", "zoo-star-model", "--registry", second, code=3)
    assert f"zoo plugins install {again} zoo-star" in said
    said = error_of("plugins", "install", "zoo-star==7", "--registry", second, code=3)
    assert f"zoo plugins install {again} zoo-star" in said


def test_a_model_of_a_known_plugin_that_is_not_installed_says_what_to_type() -> None:
    second = written(registry_text({"zoo-star": [ENTRY]}))
    for verb in ("train", "show", "sample"):
        said = error_of(verb, "zoo-star-model", code=3, ZOO_REGISTRY=second)
        assert "zoo plugins install zoo-star" in said


def test_a_registry_of_the_network_is_kept_for_later() -> None:
    with loopback() as server:
        server.put("/registry.toml", registry_text({"zoo-star": [ENTRY]}).encode())
        url = server.url("/registry.toml")
        said = error_of("data", "list", code=2, ZOO_REGISTRY=url)
        assert "zoo plugins search" in said
        assert "zoo-star" in zoo("plugins", "search", ZOO_REGISTRY=url).stdout
        zoo("data", "list", ZOO_REGISTRY=url)
        assert len(server.seen) == 1, "only plugins search and install ask the network"
    done = zoo("plugins", "search", ZOO_REGISTRY=url)
    assert "zoo-star" in done.stdout
    assert "using the copy of" in done.stderr


LIES: dict[str, tuple[Callable[[Loopback], object], int, str]] = {
    "nothing": (lambda server: server.put("/r", status=404), 3, "HTTP 404"),
    "no registry": (lambda server: server.put("/r", b"<html>"), 3, "no registry"),
    "too much": (lambda server: server.put("/r", b"#" * (2**20 + 1)), 3, "larger than"),
    "elsewhere": (
        lambda server: (
            server.put("/r", status=302, location=server.url("/s").replace("127.0.0.1", "0.0.0.0")),
            server.put("/s", b"schema = 1"),
        ), 3, "not https"
    ),
    "a way to the disk": (
        lambda server: server.put("/r", status=302, location="file:///etc/passwd"), 3, "fetched"
    ),
    "our names": (
        lambda server: server.put("/r", registry_text({"zoo-gans": []}).encode()), 2, "zoo's"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("lie", "code", "told"), LIES.values(), ids=LIES)
def test_what_a_server_sends_otherwise_is_not_kept(
    lie: Callable[[Loopback], object], code: int, told: str
) -> None:
    with loopback() as server:
        lie(server)
        assert told in error_of("plugins", "search", "--registry", server.url("/r"), code=code)
    assert list(Path(os.environ["ZOO_HOME"]).rglob("*.toml")) == []


def test_no_more_is_read_of_a_registry_than_one_may_have() -> None:
    with loopback() as server:
        server.put("/r", b"#" * 2**25)
        error_of("plugins", "search", "--registry", server.url("/r"), code=3)
        assert server.sent() < 2**24


def test_a_registry_that_others_could_change_on_the_way_is_refused() -> None:
    said = error_of("plugins", "search", "--registry", "http://example.org/r.toml", code=2)
    assert "https" in said


@pytest.mark.parametrize(
    ("name", "row", "claim"),
    [
        ("zoo-gans", {}, "the plugin 'zoo-gans'"),
        ("zoo-core", {}, "the plugin 'zoo-core'"),
        ("zoo-star", {"models": ["new", "vae"]}, "the name 'vae'"),
        ("zoo-star", {"models": ["mnist"]}, "the name 'mnist'"),
        ("zoo-star", {"tier": "first-party"}, "the tier 'first-party'"),
    ],
)
def test_a_second_registry_cannot_pass_itself_off_as_the_zoos(
    name: str, row: dict[str, object], claim: str
) -> None:
    second = written(registry_text({name: [ENTRY]} if name == "zoo-star" else {name: []}, **row))
    said = error_of("plugins", "search", "--registry", second, code=2)
    assert f"claims {claim}, which is zoo's" in said
    assert said in error_of("plugins", "install", name, "--registry", second, code=2)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("zoo-star", "Zoo_Star", "lower-case"),
        ("zoo-star", "../star", "lower-case"),
        ('"zoo-star-model"', '"Star"', "lower-case"),
        ('["zoo-star-model"]', '"zoo-star-model"', "models must be a list"),
        ('["zoo-star-model"]', '["a", "a"]', "no name twice"),
        ('"what zoo-star is"', '"\\u001b[2J\\n"', "needs summary"),
        ('"what zoo-star is"', '"\\u001b[2J"', "needs summary"),
        ('"MIT"', '"M\\u202eIT"', "needs licence"),
        ('"reviewed"', '"reviewed"\nrepository = "https://a/\\u001b[2J"', "needs repository"),
        ('"what zoo-star is"', "3", "needs summary"),
        ('"MIT"', '""', "needs licence"),
        ('"reviewed"', '"trusted"', "needs tier"),
        ('"reviewed"', '"reviewed"\nrepository = "javascript:1"', "needs repository"),
        ('"reviewed"', '"reviewed"\nwheels = 3', "unknown key 'wheels'"),
        ("releases = [{", "releases = [3, {", "a release must be a table"),
        ('"1.0"', '"1.0+evil"', "version must read like"),
        ('"1.0"', '"1.1"', "a wheel of zoo-star 1.1"),
        ('"1.0"', "1.0", "version must read like"),
        ('"1.0"', '"' + "1." * 50 + '0"', "version must read like"),
        ("requires-core", "requires_core", "unknown key 'requires_core' of a release"),
        ('">=0.1,<9"', '"0.1"', "requires-core must read like"),
        ('">=0.1,<9"', "3", "requires-core must read like"),
        ("0" * 64, "0" * 63, "sha256 must be"),
        ('sha256 = "', 'hash = "', "sha256 must be"),
        ("https://", "http://", "wheel must be an https"),
        ("https://", "ftp://", "wheel must be an https"),
        ("https://", "git+https://", "wheel must be an https"),
        ("https://example.org", "file://server/share", "wheel must be an https"),
        ("https://example.org", "https://[", "wheel"),
        ("-py3-none-any.whl", ".tar.gz", "must be a wheel"),
        ("zoo_star-1.0", "zoo_gans-1.0", "a wheel of zoo-star 1.0, not 'zoo_gans"),
        ("zoo_star-1.0", "zoo_star-1.0-1-2-3", "must be a wheel"),
        ("zoo_star-1.0", "..%2f..%2fzoo_star-1.0", "must be a wheel"),
        ("zoo_star-1.0", "-rzoo_star-1.0", "must be a wheel"),
        ("zoo_star-1.0", "zoo_star" + "a" * 99 + "-1.0", "must be a wheel"),
    ],
)
def test_the_check_says_what_is_wrong_with_a_plugin(old: str, new: str, told: str) -> None:
    text = registry_text({"zoo-star": [ENTRY]})
    assert check_registry(Path(written(text))) == []
    assert old in text
    problems = check_registry(Path(written(text.replace(old, new, 1))))
    assert any(told in problem for problem in problems), problems
    read_registry("second.toml")  # leniently: the row is passed over, and nothing is raised


@pytest.mark.parametrize("scheme", ["file", "FILE"])
def test_a_file_of_this_machine_cannot_be_named_from_the_network(scheme: str) -> None:
    with loopback() as server:
        wheel = {**ENTRY, "wheel": f"{scheme}:///zoo_star-1.0-py3-none-any.whl"}
        server.put("/r", registry_text({"zoo-star": [wheel]}).encode())
        url = server.url("/r").replace("http:", "HTTP:" if scheme == "FILE" else "http:")
        done = zoo("plugins", "search", "--registry", url)
    assert "files of this machine" in done.stderr
    assert "zoo-star " not in done.stdout


def test_messages_hold_nothing_that_steers_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    say("first\n\x1b[2J\u202elast")
    assert capsys.readouterr().err == "first\n?[2J?last\n"


def test_the_catalogue_that_ships_names_wheels_by_https() -> None:
    own = read_registry("")
    assert {plugin.tier for plugin in own.plugins} == {"first-party"}
    for plugin in own.plugins:
        assert all(release.wheel.startswith("https://") for release in plugin.releases)


def test_the_first_partys_rows_agree_with_their_plugins() -> None:
    from zoo.catalog.plugins import installed_plugins

    rows = {plugin.distribution: plugin for plugin in read_registry("").plugins}
    ours = {
        plugin.distribution: plugin for plugin in installed_plugins() if plugin.distribution in rows
    }
    assert ours.keys() == rows.keys()
    for name, plugin in ours.items():
        assert {card.name for card in plugin.models} == set(rows[name].models)


def test_reserved_names_are_the_zoos_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_REGISTRY", "there-is-none.toml")
    names = reserved_names()
    assert names["vae"] == "zoo-autoencoders"
    assert names["mnist"] == names["emoji"] == "zoo-core"


def test_the_plugin_of_a_model_is_known() -> None:
    for name in ("dcgan", "zoo-gans:dcgan"):
        plugin = known_plugin_with(name)
        assert plugin is not None
        assert plugin.distribution == "zoo-gans"
    assert known_plugin_with("zoo-translation:dcgan") is None
    with pytest.raises(UsageError):
        read_registry("there-is-none.toml")
