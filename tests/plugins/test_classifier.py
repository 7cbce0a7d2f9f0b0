"""The classifier: its probabilities, its features and the images that it learns from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import cross_entropy
from zoo_classifiers.classifier import FEATURES, Classifier, ClassifierConfig, moved

from tests.errors import raises
from tests.process import zoo, zoo_json
from zoo import DataSpec, UsageError
from zoo.options import configure


def build(
    height: int = 28, width: int = 28, channels: int = 1, classes: int = 3, **options: object
) -> Classifier:
    torch.manual_seed(0)
    names = tuple(f"class {number}" for number in range(classes))
    data = DataSpec.of_images("data", channels, height, width, names)
    return Classifier(configure(ClassifierConfig, options), data).eval()


def images(model: Classifier, count: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, *model.data.image.shape[1:], generator=generator) * 2 - 1


def test_probabilities_are_the_softmax_of_a_linear_map_of_the_features() -> None:
    model = build()
    x = images(model)
    with torch.no_grad():
        numbers = model.features(x) @ model.last.weight.T + model.last.bias
        wanted = numbers.exp() / numbers.exp().sum(dim=1, keepdim=True)
        assert torch.allclose(model.classify(x), wanted, atol=1e-6)


def test_the_loss_is_the_mean_negative_log_probability_of_the_class() -> None:
    model = build(dropout=0.0, shift=0)
    x, y = images(model), torch.tensor([0, 2, 1, 2])
    (update,) = model.training_step({"image": x, "label": y})
    with torch.no_grad():
        wanted = -model.classify(x)[torch.arange(4), y].log().mean()
    assert update.terms["cross_entropy"].item() == pytest.approx(wanted.item(), abs=1e-5)
    found = model.validation_step({"image": x, "label": y})
    assert found["cross_entropy"].item() == pytest.approx(wanted.item(), abs=1e-5)
    right = (model.classify(x).argmax(dim=1) == y).float().mean()
    assert found["accuracy"] == right


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("height", "width"),
    [(1, 1), (1, 9), (5, 4), (8, 64), (9, 13), (28, 28), (45, 33), (128, 128), (256, 20)],
)
def test_images_of_every_size_are_classified(height: int, width: int, channels: int) -> None:
    model = build(height, width, channels, classes=5)
    with torch.no_grad():
        assert model.features(images(model)).shape == (4, FEATURES)
        assert model.classify(images(model)).shape == (4, 5)


def test_large_images_are_averaged_down() -> None:
    """A picture of blocks of 4×4 equal pixels is seen as one of a quarter of its sides."""
    large, small = build(112, 112), build(28, 28)
    large.load_state_dict(small.state_dict())
    x = images(small)
    blocks = x.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
    with torch.no_grad():
        assert torch.allclose(large.classify(blocks), small.classify(x), atol=1e-5)


def test_training_images_are_moved_and_their_borders_repeated() -> None:
    x = torch.arange(36.0).reshape(1, 1, 6, 6).expand(200, -1, -1, -1)
    torch.manual_seed(0)
    found = moved(x, 2)
    rows = set((found[:, 0, 3, 3] // 6 - 3).tolist())
    columns = set((found[:, 0, 3, 3] % 6 - 3).tolist())
    assert rows == columns == {-2.0, -1.0, 0.0, 1.0, 2.0}
    one = found[(found[:, 0, 3, 3] == 3 * 6 + 5)][0, 0]  # by two to the left
    assert torch.equal(one[3], torch.tensor([20.0, 21.0, 22.0, 23.0, 23.0, 23.0]))
    assert torch.equal(moved(x, 0), x)


def test_half_of_the_images_are_mirrored_where_that_is_asked_for() -> None:
    model = build(flip=True, shift=0)
    seen: list[torch.Tensor] = []
    model.features.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = images(model, 64)
    next(model.training_step({"image": x, "label": torch.zeros(64, dtype=torch.int64)}))
    mirrored = (seen[0] == x.flip(3)).flatten(1).all(dim=1)
    same = (seen[0] == x).flatten(1).all(dim=1)
    assert (mirrored ^ same).all()
    assert 16 < mirrored.sum() < 48


def test_one_class_is_nothing_to_tell_apart() -> None:
    with raises(UsageError, "wrong-data", "data"):
        build(classes=1)


def test_a_few_steps_lower_the_loss() -> None:
    model = build(8, 8, dropout=0.0, shift=0).train()
    x, y = images(model, 24), torch.arange(24) % 3
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(30):
        loss = cross_entropy(model.last(model.features(x)), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the exported published classifier, with two pictures."""
    place = tmp_path_factory.mktemp("place")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        zoo("export", "classifier", "--onnx", "-o", "out")
        for name, level in (("a.png", 0), ("b.png", 200)):
            Image.fromarray(np.full((28, 28), level, np.uint8)).save(name)
    return place


def test_zoo_run_tells_the_class_of_a_picture(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(exported)
    (file,) = Path("out").glob("*.classify.onnx")
    lines = zoo("run", str(file), "a.png").stdout.splitlines()
    shares = [float(line.rstrip("%").split()[-1]) for line in lines[:5]]
    assert shares == sorted(shares, reverse=True)
    assert 50 < sum(shares) <= 100.05
    assert lines[5:] == ["and 5 other classes"]
    both = zoo("run", str(file), "a.png", "b.png").stdout.splitlines()
    assert both[:7] == ["a", *lines]
    assert both[7:9] == ["", "b"]
    facts = zoo_json("run", str(file), "a.png", "b.png")
    assert facts["names"] == ["a", "b"]
    assert facts["classes"][3] == "dress"
    values = np.array(facts["values"]["probabilities"])
    assert values.shape == (2, 10)
    best = facts["classes"][values[0].argmax()]
    assert lines[0].startswith(best)
    assert lines[0].endswith(f"{values[0].max():.2%}")
    zoo("run", str(file), "a.png", "b.png", "-o", "table.csv")
    heading, *rows = Path("table.csv").read_text().splitlines()
    assert heading.split(",") == facts["classes"]
    assert np.allclose([[*map(float, row.split(","))] for row in rows], values, atol=1e-6)


def test_zoo_run_gives_features_as_numbers(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(exported)
    (file,) = Path("out").glob("*.features.onnx")
    assert np.shape(zoo_json("run", str(file), "a.png")["values"]["features"]) == (1, FEATURES)
