"""Whether a plugin was made for this zoo-core, judged from its metadata as installers judge it."""

from __future__ import annotations

from importlib.metadata import PathDistribution, distribution
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from tests.installing import CARD
from tests.process import zoo, zoo_json
from zoo.catalog.discovery import read_metadata, unmet

VERSIONS = ["0.1.0", "0.1", "0.2", "0.2.0", "0.10.1", "1.0", "2", "0.2.0rc1", "0.1.0.post1"]
RANGES = [
    "", ">=0.1", ">=0.1,<0.2", "<0.2,>=0.1", "<=0.2", ">0.1.0", "<0.10", ">=0.2.0.0", "==0.1.*",
    "~=0.1", "~=0.1.0", "!=0.1", ">=0.2rc1", "==0.2", "===0.1", ">= 0.1 , < 2", "<1,<0.9", ">1!0",
]  # fmt: skip


@pytest.mark.parametrize("asked", RANGES)
def test_ranges_are_judged_as_installers_judge_them(asked: str) -> None:
    for form in ("zoo-core{}", "Zoo_Core[train]{}", "zoo-core ({})"):
        requirement = form.format(asked) if asked else "zoo-core"
        specifier = Requirement(requirement).specifier
        for version in VERSIONS:
            met = specifier.contains(version, prereleases=True)
            assert unmet(requirement, version) == ("" if met else str(specifier)), version


def test_what_does_not_apply_here_is_not_asked_for() -> None:
    assert unmet('zoo-core>=9; python_version < "3"', "0.1") == ""
    assert unmet('zoo-core>=9; extra == "new"', "0.1") == ""
    assert unmet('zoo-core>=9; python_version > "3"', "0.1") == ">=9"
    assert unmet("zoo-core @ https://example.org/zoo_core-9-py3-none-any.whl", "0.1") == ""
    for broken in ("zoo-core<" + "9" * 5000, "zoo-core; os_name ~= 'posix'"):
        assert unmet(broken, "0.1") == broken[:80]
    assert unmet("zoo-core>=nine", "0.1") == "zoo-core>=nine", "what nobody can read is shown"


def test_a_real_distribution_is_read_as_the_standard_library_reads_it() -> None:
    for name in ("zoo-gans", "onnxruntime", "pytest"):
        whole = distribution(name)
        about = read_metadata(whole)
        assert (about.name, about.version) == (whole.name, whole.version)
    assert read_metadata(distribution("zoo-gans")).requirements == ("zoo-core[train]<0.2,>=0.1",)
    assert read_metadata(distribution("onnxruntime")).requirements == ()


def write(site: Path, name: str, about: bytes, entries: bytes | None = None) -> None:
    """Put a plugin into a folder as an installer leaves it, whatever its metadata says."""
    module = name.replace("-", "_")
    folder = site / f"{module}-1.0.dist-info"
    folder.mkdir(parents=True)
    (site / f"{module}.py").write_text(CARD.format(model=name, module=module))
    (folder / "METADATA").write_bytes(about)
    plain = f"[zoo]\n{module} = {module}\n".encode()
    (folder / "entry_points.txt").write_bytes(plain if entries is None else entries)


def rows(site: Path, *words: str) -> dict[str, Any]:
    found = zoo_json("plugins", "list", *words, PYTHONPATH=str(site))
    return {row["distribution"]: row for row in found}


@pytest.mark.parametrize(
    "text",
    [
        b"Name: zoo-evil\nVersion: 1.0\nName: zoo-autoencoders\n",
        b"name:zoo-evil\nVersion: 1.0\nName: zoo-autoencoders\n",
        b"Name: zoo-evil\nVersion: 1.0\nSummary: x\x0cName: zoo-autoencoders\n",
        "Name: zoo-evil\nVersion: 1.0\nSummary: x\u2028Name: zoo-autoencoders\n".encode(),
        b"Name: zoo-evil\nVersion: 1.0\nnonsense\nName: zoo-autoencoders\n",
        b"Name: zoo-evil\nVersion: 1.0\nAuthor: J\xfcrgen\n",
    ],
)
def test_a_name_is_read_as_installers_read_it(text: bytes, tmp_path: Path) -> None:
    write(tmp_path, "zoo-evil", text)
    about = read_metadata(PathDistribution(tmp_path / "zoo_evil-1.0.dist-info"))
    assert (about.name, about.version) == ("zoo-evil", "1.0")


def test_nobody_passes_himself_off_as_another(tmp_path: Path) -> None:
    write(tmp_path, "zoo-nameless", b"", b"[zoo]\nzoo-gans = zoo_nameless\n")
    write(tmp_path, "zoo-blank", b"\nName: zoo-gans\nVersion: 1.0\n")
    write(tmp_path, "zoo-posing", b"Name: zoo-translation\nVersion: 1.0\n")
    write(tmp_path, "zoo-twice", b"Name: zoo-twice\nVersion: 1.0\n")
    (tmp_path / "zoo_twice-1.0.dist-info").rename(tmp_path / "zoo_twice-0.9.dist-info")
    write(tmp_path, "Zoo_Twice", b"Name: zoo-twice\nVersion: 1.0\n")
    found = rows(tmp_path)
    assert "gives no name; it is installed as zoo-nameless" in found["?zoo-gans"]["trouble"]
    assert "gives no name; it is installed as zoo-blank" in found["?zoo_blank"]["trouble"]
    assert "zoo-translation, but it is installed as zoo-posing" in found["?zoo_posing"]["trouble"]
    assert "is installed twice in one folder" in found["zoo-twice"]["trouble"]
    for name in ("zoo-gans", "zoo-translation"):
        assert found[name]["trouble"] is None
        assert found[name]["version"] != "1.0"
    assert not any(found[name]["models"] for name in found if name.startswith("?"))


def test_a_name_is_shown_as_installers_compare_it(tmp_path: Path) -> None:
    write(tmp_path, "Zoo_Mixed", b"Name: Zoo.Mixed\nVersion: 1.0\n")
    assert "zoo-mixed" in rows(tmp_path)


def test_one_broken_file_of_metadata_stops_no_command(tmp_path: Path) -> None:
    about = b"Name: zoo-%b\nVersion: 1.0\n%b\n"
    write(tmp_path, "zoo-latin", about % (b"latin", b"Author: J\xfcrgen"))
    write(tmp_path, "zoo-marker", about % (b"marker", b"Requires-Dist: zoo-core; os_name ~= 'x'"))
    digits = b"Requires-Dist: zoo-core<" + b"9" * 5000
    write(tmp_path, "zoo-digits", about % (b"digits", digits))
    write(tmp_path, "zoo-entry", about % (b"entry", b""), b"[zoo]\nzoo_entry\n")
    write(tmp_path, "zoo-accent", about % (b"accent", b""), b"[zoo]\nx = \xfc\n")
    write(tmp_path, "other", about % (b"other", b""), b"[console_scripts]\n\xfc\n")
    found = rows(tmp_path)
    assert found["zoo-latin"]["trouble"] is None
    assert found["zoo-autoencoders"]["trouble"] is None
    assert "os_name" in found["zoo-marker"]["trouble"]
    assert "999" in found["zoo-digits"]["trouble"]
    for name in ("zoo-entry", "zoo-accent"):
        assert "its entry points cannot be read" in found[name]["trouble"]
    assert "other" not in found
    site = {"PYTHONPATH": str(tmp_path)}
    assert "left out" in zoo("list", "--no-plugins", **site).stderr
    assert "is disabled" in zoo("plugins", "disable", "zoo-entry", **site).stderr
