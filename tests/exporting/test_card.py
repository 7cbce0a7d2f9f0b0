"""The card of a model, with the front matter of Hugging Face's model cards."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.process import error_of, zoo, zoo_json
from zoo.exporting.card import CardFacts, render_card
from zoo.identity import Identity
from zoo.measurements import EvaluationRecord, Measurement, Spread, read_evaluation
from zoo.ports import DataSpec, Port, Signature

PICTURES = DataSpec.of_images("dots", 1, 8, 8, licence="MIT (© somebody)")
DRAWS = Signature((Port.latent("latent", 2),), (Port.image("image", PICTURES.pictures),))
MODEL = Identity("vae", "tests", "1", {}, PICTURES, {"decode": DRAWS}, step=12)
RECORD = EvaluationRecord(
    "0" * 64, "dots", "test", 10,
    (Measurement("psnr", 21.5, "highest", "decode", "dB", Spread(21.0, 22.0, "bootstrap")),),
)  # fmt: skip


def front_matter(card: str) -> dict[str, object]:
    """Read the front matter, every value of which is JSON."""
    first, _, rest = card.partition("\n")
    assert first == "---"
    lines = rest.partition("\n---\n")[0].splitlines()
    return {key: json.loads(value) for key, _, value in (line.partition(": ") for line in lines)}


def test_the_front_matter_is_what_the_hub_reads() -> None:
    found = front_matter(render_card(MODEL, (), CardFacts(RECORD, "MIT (© somebody)")))
    assert found["license"] == "mit"
    assert found["pipeline_tag"] == "unconditional-image-generation"
    assert found["library_name"] == "zoo"
    (index,) = found["model-index"]
    (result,) = index["results"]
    assert result["dataset"] == {"type": "dots", "name": "dots", "split": "test"}
    assert result["metrics"] == [{"type": "psnr", "name": "psnr, decode", "value": 21.5}]


def test_what_nobody_said_is_left_out() -> None:
    found = front_matter(render_card(MODEL))
    assert "license" not in found
    assert "model-index" not in found


def test_another_licence_is_given_by_its_name() -> None:
    found = front_matter(render_card(MODEL, (), CardFacts(licence="research only")))
    assert (found["license"], found["license_name"]) == ("other", "research only")


@pytest.mark.parametrize("name", ['x"\n---\n# y', "a: b", "---", "| cell |"])
def test_no_name_ends_the_front_matter_or_a_cell(name: str) -> None:
    metric = Measurement("psnr", 1.0, protocol={"of": name})
    record = replace(RECORD, data=name, measurements=(metric,))
    card = render_card(MODEL, (), CardFacts(record, "MIT"))
    found = front_matter(card)
    assert found["model-index"][0]["results"][0]["dataset"]["name"] == name
    (row,) = (line for line in card.splitlines() if line.startswith("| psnr |"))
    assert row.count("|") - row.count("\\|") == 5


def test_the_figures_and_their_protocol_stand_on_the_card() -> None:
    card = render_card(MODEL, (), CardFacts(RECORD))
    assert "| psnr, decode | 21.5 dB | 21 to 22 (bootstrap) |" in card


def test_a_card_of_published_weights_is_measured_and_lies_beside_them() -> None:
    told = zoo_json("export", "conv-ae", "--card", "-o", "out", "--data", "fashion-mnist-small")
    folder = Path("out")
    assert not any(file.endswith(".onnx") for file in told["files"])
    record = read_evaluation(folder)
    assert record is not None
    assert record.data == "fashion-mnist-small"
    assert {"mse", "psnr", "ssim"} <= {each.name for each in record.measurements}
    card = (folder / "README.md").read_text()
    assert front_matter(card)["license"] == "mit"
    for line in card.splitlines():
        if line.startswith("!["):
            assert (folder / line.partition("](")[2].rstrip(")")).is_file()
    # ONNX files come beside it, and the figures stay
    zoo("export", "conv-ae", "--onnx", "-o", "out")
    assert "model-index" in (folder / "README.md").read_text()
    assert read_evaluation(folder) == record


def test_forms_of_files_are_not_for_a_card_alone() -> None:
    error_of("export", "conv-ae", "--card", "--half", code=2, error="does-not-apply")
