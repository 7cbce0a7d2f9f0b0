"""Whether a plugin was made for this zoo-core, judged from its metadata as installers judge it."""

from __future__ import annotations

from importlib.metadata import distribution

import pytest
from packaging.requirements import Requirement

from zoo.catalog.metadata import read_metadata, unmet

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
    assert unmet("zoo-core>=nine", "0.1") == "zoo-core>=nine", "what nobody can read is shown"


def test_a_real_distribution_is_read_as_the_standard_library_reads_it() -> None:
    for name in ("zoo-gans", "onnxruntime", "pytest"):
        whole = distribution(name)
        about = read_metadata(whole)
        assert (about.name, about.version) == (whole.name, whole.version)
    assert read_metadata(distribution("zoo-gans")).needs == ("zoo-core[train]<0.2,>=0.1",)
    assert read_metadata(distribution("onnxruntime")).needs == ()
