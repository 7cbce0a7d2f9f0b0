"""The character LSTM: its equations, its step, and text in and out of the commands."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from zoo_sequences.char_lstm import CharLSTM, CharLSTMConfig

from tests.process import error_of, zoo, zoo_json
from zoo import DataSpec, Port
from zoo.options import configure

ALPHABET = ("\n", " ", "a", "b", "c")
LINES = "a cab\nabc\nbacca\n"


def build(**options: object) -> CharLSTM:
    torch.manual_seed(0)
    last = float(len(ALPHABET) - 1)
    port = Port("text", "text", ("batch", 8), "int64", (0.0, last), classes=ALPHABET)
    options = {"hidden": 6, "embedding": 3, **options}
    return CharLSTM(configure(CharLSTMConfig, options), DataSpec("letters", (port,))).eval()


def windows(rows: int = 4, length: int = 8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, len(ALPHABET), (rows, length), generator=generator)


def by_hand(model: CharLSTM, text: torch.Tensor) -> np.ndarray:
    """Logits (N, T, alphabet) by the gates of the paper in NumPy; i, f, g, o as torch has them."""
    weights = {name: each.detach().double().numpy() for name, each in model.named_parameters()}
    w_ih, w_hh, b_ih, b_hh = (
        weights[f"network.lstm.{name}_l0"]
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    h = c = np.zeros((len(text), model.config.hidden))
    found = []
    for symbols in text.numpy().T:
        inputs = weights["network.embedding.weight"][symbols]
        gates = inputs @ w_ih.T + b_ih + h @ w_hh.T + b_hh
        i, f, g, o = np.split(gates, 4, axis=1)
        i, f, o = (1 / (1 + np.exp(-each)) for each in (i, f, o))
        c = f * c + i * np.tanh(g)
        h = o * np.tanh(c)
        found.append(h @ weights["network.logits.weight"].T + weights["network.logits.bias"])
    return np.stack(found, axis=1)


def test_the_loss_is_that_of_the_paper() -> None:
    model, text = build(), windows()
    logits = by_hand(model, text[:, :-1])
    p = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    rows, places = np.indices((4, 7))
    nats = -np.log(p[rows, places, text[:, 1:].numpy()]).mean()
    (update,) = model.training_step({"text": text})
    assert update.terms["nats"].item() == pytest.approx(nats, rel=1e-5)
    bits = model.validation_step({"text": text})["bits"].item()
    assert bits == pytest.approx(nats / math.log(2), rel=1e-5)


@pytest.mark.parametrize("layers", [1, 3])
def test_steps_carry_the_state_through_a_text(layers: int) -> None:
    """At temperature 0 each step gives the likeliest symbol after all that it has read."""
    model, text = build(layers=layers), windows()
    state = torch.zeros(2, 4, layers, 6)
    with torch.no_grad():
        wanted = model.network(text)[0].argmax(dim=2)
        for place in range(8):
            cold, u = torch.zeros(4), torch.rand(4, len(ALPHABET))
            chosen, *state = model.write(text[:, place], *state, cold, u)
            assert torch.equal(chosen, wanted[:, place])


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_symbols_are_drawn_from_the_softmax_at_a_temperature(temperature: float) -> None:
    model, count = build(), 40_000
    with torch.no_grad():
        model.network.logits.bias.copy_(torch.tensor([0.0, 1.0, -1.0, 0.5, 2.0]))
        symbols, zeros = torch.full((count,), 2), torch.zeros(count, 1, 6)
        logits = model.network(symbols[:1, None])[0][0, 0]
        u = torch.rand(count, len(ALPHABET), generator=torch.Generator().manual_seed(0))
        heat = torch.full((count,), temperature)
        chosen, *_ = model.write(symbols, zeros, zeros, heat, u)
    shares = torch.bincount(chosen, minlength=len(ALPHABET)) / count
    assert (shares - (logits / temperature).softmax(dim=0)).abs().max() < 0.01


def test_noise_of_nought_and_one_leaves_the_likeliest_symbol_at_temperature_0() -> None:
    model, zeros, symbols = build(), torch.zeros(5, 1, 6), torch.arange(5)
    with torch.no_grad():
        wanted = model.network(symbols[:, None])[0][:, 0].argmax(dim=1)
        for u in (torch.zeros(5, 5), torch.ones(5, 5), torch.eye(5)):
            chosen, *_ = model.write(symbols, zeros, zeros, torch.zeros(5), u)
            assert torch.equal(chosen, wanted)


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run, its export, and a cache."""
    place = tmp_path_factory.mktemp("writer")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("ZOO_HOME", str(place / "cache"))
        Path("letters.txt").write_text(LINES * 40)
        small = ["--set", "hidden=16", "--set", "rounds=30", "--length", "16"]
        zoo("train", "char-lstm", "--data", "letters.txt", "--steps", "60", *small, "--name", "w",
            "--set", "lr=0.03")  # fmt: skip
        zoo("export", "w", "--onnx", "-o", "export")
    return place


@pytest.fixture
def there(writer: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(writer)
    monkeypatch.setenv("ZOO_HOME", str(writer / "cache"))
    return writer / "export" / "char-lstm-letters.next.onnx"


def test_text_is_printed_behind_its_prompt_in_torch_as_in_the_file(there: Path) -> None:
    words = ["--set", "prompt=a ca", "--set", "temperature=0.5", "--rounds", "20", "--seed", "3"]
    sampled = zoo("sample", "w", *words).stdout
    assert sampled.startswith("a ca")
    assert len(sampled) == 20 + 1 + 1  # what was read and written, and a line feed
    assert zoo("run", str(there), *words).stdout == sampled
    hot = ["--set", "temperature=9", "--rounds", "20"]
    assert len({zoo("run", str(there), *hot, "--seed", each).stdout for each in "12"}) == 2


def test_several_texts_are_parted_by_a_line_and_none_begins_with_the_start(there: Path) -> None:
    texts = zoo_json("run", str(there), "-n", "3")["texts"]
    assert [len(text) for text in texts] == [30, 30, 30]
    assert len(set(texts)) == 3
    assert zoo_json("sample", "w", "-n", "3")["texts"] == texts
    line = "\n" + 72 * "-" + "\n"
    assert zoo("sample", "w", "-n", "3").stdout == line.join(texts) + "\n"
    for verb, target in (("sample", "w"), ("run", str(there))):
        zoo(verb, target, "-n", "3", "-o", f"{verb}.txt")
        assert Path(f"{verb}.txt").read_text() == line.join(texts)
        zoo(verb, target, "-n", "3", "-o", f"{verb}/")
        assert [Path(verb, f"{each}.txt").read_text() for each in (1, 2, 3)] == texts
    assert zoo("run", str(there), "-n", "3", "-o", "-").stdout == line.join(texts)


def test_a_page_shows_text_as_the_previews_do(there: Path) -> None:
    run = Path(zoo_json("runs", "show", "w")["path"])
    zoo("sample", "w", "-o", "page.png")
    assert Path("page.png").read_bytes() == (run / "samples/step-0000060-next.png").read_bytes()
    zoo("run", str(there), "-o", "ran.png")
    assert Path("ran.png").read_bytes() == Path("page.png").read_bytes()
    assert (there.parent / "pictures" / "next.png").is_file()
    assert json.loads((run / "run.json").read_text())["best"]["metrics"]["bits"] < math.log2(5)
    assert zoo_json("eval", "w")["metrics"]["bits"] < math.log2(5)


def test_an_alphabet_has_symbols_and_no_classes(there: Path) -> None:
    for subject in ("char-lstm", str(there), str(there.parent)):
        said = zoo("show", subject).stdout
        assert " symbols" in said
        assert "classes" not in said


def test_what_text_cannot_do_is_refused(there: Path) -> None:
    for verb, target in (("sample", "w"), ("run", str(there))):
        said = error_of(verb, target, "--set", "prompt=xyz", code=2, error="unknown-symbol")
        assert "'x'" in said
        error_of(verb, target, "--every", "3", "-o", "x.png", code=2, error="does-not-apply")
        error_of(verb, target, "-o", "x.webp", code=2, error="does-not-apply")
        error_of(verb, target, "-o", "x.wav", code=2, error="bad-output")


@pytest.mark.parametrize(
    "words",
    [["--size", "32"], ["--io", "uint8"], ["--half", "--fit", "contain"]],
)
def test_no_file_is_written_with_an_option_that_text_has_no_use_for(
    there: Path, words: list[str]
) -> None:
    said = error_of("export", "w", "--onnx", *words, "-o", "new", code=2, error="does-not-apply")
    assert words[-2] in said
    assert not Path("new").exists()
    assert there.exists()
