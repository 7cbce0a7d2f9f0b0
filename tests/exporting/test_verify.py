"""`zoo export --check`: the gate again, later, on another machine, without torch."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.exporting.test_sizes import trained
from tests.exporting.test_variants import NAME, translator
from tests.process import error_of, zoo, zoo_json
from zoo.exporting.bundle import export_bundle
from zoo.exporting.variants import Variant

BLIND = """
import sys
for name in ("torch", "onnx", "zoo_autoencoders"):
    sys.modules[name] = None
from zoo.cli.command import main
main(["export", "--check", "bundle", "--json"])
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for variant in (Variant(), Variant(io="uint8", batch=2)):
            export_bundle(trained(translator()), folder / "bundle", variant)
    return folder / "bundle"


@pytest.fixture
def bundle(made: Path) -> Path:
    """A copy, in the working directory."""
    shutil.copytree(made, "bundle")
    return Path("bundle")


def test_a_bundle_is_verified_without_torch_or_onnx(bundle: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BLIND], capture_output=True, text=True, check=True, timeout=120
    )
    found = json.loads(done.stdout)
    assert found["verified"] is True
    assert set(found["files"]) == {f"bundle/{NAME}.onnx", f"bundle/{NAME}.uint8.batch2.onnx"}
    for differences in found["files"].values():
        assert 0 <= differences["translated"]["greatest"] <= 1


def test_one_file_is_verified_alone(bundle: Path) -> None:
    assert "translated differs by" in zoo("export", "--check", f"bundle/{NAME}.onnx").stdout


def forge(bundle: Path) -> None:
    """Make the manifest tell the hashes of what lies there, as a forger does."""
    file, reference = bundle / f"{NAME}.onnx", bundle / "reference" / f"{NAME}.npz"
    manifest = json.loads((bundle / "manifest.json").read_text())
    entry = manifest["files"]["horse_to_zebra"]
    entry["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    entry["reference"]["sha256"] = hashlib.sha256(reference.read_bytes()).hexdigest()
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def test_a_file_that_does_something_else_is_found_out(bundle: Path) -> None:
    file = bundle / f"{NAME}.onnx"
    model = onnx.load(file)
    tensor = [each for each in model.graph.initializer if len(each.dims) == 4][-1]
    values = numpy_helper.to_array(tensor) * 1.1
    tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), tensor.name))
    file.write_bytes(model.SerializeToString())
    forge(bundle)
    said = error_of("export", "--check", f"bundle/{NAME}.onnx", code=1, error="not-verified")
    assert "translated" in said


@pytest.mark.parametrize("kind", ["cut", "gone", "other"])
def test_a_reference_that_is_not_the_one_that_was_written_is_an_error(
    bundle: Path, kind: str
) -> None:
    reference = bundle / "reference" / f"{NAME}.npz"
    if kind == "cut":
        reference.write_bytes(reference.read_bytes()[:500])
    elif kind == "gone":
        reference.unlink()
    else:
        shutil.copyfile(bundle / "reference" / f"{NAME}.uint8.batch2.npz", reference)
    said = error_of("export", "--check", f"bundle/{NAME}.onnx", code=3, error="damaged-export")
    assert f"{NAME}.npz" in said


def test_a_file_alone_or_a_folder_of_somebody_else_cannot_be_checked(bundle: Path) -> None:
    shutil.copyfile(bundle / f"{NAME}.onnx", "alone.onnx")
    said = error_of("export", "--check", "alone.onnx", code=3, error="damaged-export")
    assert "manifest.json" in said
    Path("other").mkdir()
    assert "other" in error_of("export", "--check", "other", code=3, error="not-an-export")
    assert "nowhere" in error_of(
        "export", "--check", "nowhere.onnx", code=3, error="file-not-found"
    )


def test_damage_is_told_as_damage(bundle: Path) -> None:
    file = bundle / f"{NAME}.onnx"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    said = error_of("export", "--check", "bundle", code=3, error="hash-mismatch")
    assert "manifest.json" in said


@pytest.mark.parametrize("rows", [1, 3])
def test_a_reference_of_other_rows_is_damaged(bundle: Path, rows: int) -> None:
    reference = bundle / "reference" / f"{NAME}.npz"
    with np.load(reference) as stored:
        arrays = dict(stored)
    name = next(
        key for key in arrays if key.endswith("output.translated") and len(arrays[key]) == 2
    )
    arrays[name] = np.resize(arrays[name], (rows, *arrays[name].shape[1:]))
    np.savez(reference, **arrays)
    forge(bundle)
    said = error_of("export", "--check", f"bundle/{NAME}.onnx", code=3, error="damaged-export")
    assert f"{NAME}.npz" in said


def test_a_manifest_that_never_ends_or_lists_other_places_is_none(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    for name in ("../x.onnx", "..", "a\0b.onnx", "model.safetensors", "/etc/x.onnx"):
        manifest["files"]["horse_to_zebra"]["file"] = name
        (bundle / "manifest.json").write_text(json.dumps(manifest))
        said = error_of("export", "--check", "bundle", code=3, error="not-an-export")
        assert "manifest.json" in said
    (bundle / "manifest.json").unlink()
    os.mkfifo(bundle / "manifest.json")
    error_of("export", "--check", "bundle", code=3, error="not-an-export")
    error_of("run", f"bundle/{NAME}.onnx", code=3, error="damaged-manifest")


def test_weights_that_are_others_are_told_and_may_be_left_out(bundle: Path) -> None:
    weights = bundle / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    said = error_of("export", "--check", "bundle", code=3, error="hash-mismatch")
    assert "manifest.json" in said
    weights.unlink()
    assert "the files do without it" in zoo("export", "--check", "bundle").stderr


def test_one_bad_file_does_not_hide_the_good_ones(bundle: Path) -> None:
    (bundle / f"{NAME}.onnx").write_bytes(b"")
    done = zoo("export", "--check", "bundle", code=3)
    assert f"verified bundle/{NAME}.uint8.batch2.onnx" in done.stdout


def test_no_other_option_goes_with_check(bundle: Path) -> None:
    words = ["export", "--check", "bundle", "--int8"]
    assert "--check" in error_of(*words, code=2, error="conflicting-options")


def test_json_names_every_file(bundle: Path) -> None:
    assert zoo_json("export", "--check", "bundle")["verified"] is True
