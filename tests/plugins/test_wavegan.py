from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor
from zoo_gans.wavegan import PhaseShuffle, WaveGAN, WaveGANConfig, log_spectrogram

from tests.errors import raises
from tests.process import error_of
from zoo import DataSpec, Port, UsageError
from zoo.catalog.lookup import find_model
from zoo.exporting.bundle import export_bundle
from zoo.exporting.exporter import export_graph
from zoo.exporting.metadata import describe_graph
from zoo.exporting.variants import Variant
from zoo.exporting.verify import verify
from zoo.model.inference import run_graph
from zoo.model.weights import Trained, describe, save_weights
from zoo.options import configure
from zoo.runtime.session import open_session


def sounds(length: int, channels: int = 1, rate: int = 8000) -> DataSpec:
    shape = ("batch", channels, length)
    return DataSpec("sounds", (Port("audio", "audio", shape, range=(-1.0, 1.0), rate=rate),))


def build(length: int = 1024, channels: int = 1, **options: object) -> WaveGAN:
    torch.manual_seed(0)
    config = configure(WaveGANConfig, {"features": 2, **options})
    return WaveGAN(config, sounds(length, channels))


def tones(count: int, length: int, channels: int = 1) -> Tensor:
    """Sines of different pitch (N, C, L), in [-0.5, 0.5]."""
    times = torch.arange(length) / 8000
    pitch = 200 * (1 + torch.arange(count * channels).view(count, channels, 1))
    return 0.5 * torch.sin(2 * torch.pi * pitch * times)


@pytest.mark.parametrize("length", [64, 256, 1024, 4096, 16_384])
@pytest.mark.parametrize("channels", [1, 2])
def test_clips_that_can_be_divided_by_4_are_made_and_judged(length: int, channels: int) -> None:
    model = build(length, channels)
    with torch.no_grad():
        sound = model.generator(torch.rand(3, 100) * 2 - 1)
    assert sound.shape == (3, channels, length)
    assert sound.abs().max() <= 1
    updates = list(model.training_step({"audio": sound}))
    assert [each.player for each in updates] == ["critic"] * 5 + ["generator"]


def test_networks_are_those_of_the_paper_at_its_size() -> None:
    paper = find_model("wavegan").card.presets["paper"]
    model = build(int(str(paper["length"])), features=paper["features"])
    up = [each for each in model.generator if isinstance(each, torch.nn.ConvTranspose1d)]
    down = [each for each in model.critic if isinstance(each, torch.nn.Conv1d)]
    assert [each.out_channels for each in up] == [512, 256, 128, 64, 1]
    assert [each.out_channels for each in down] == [64, 128, 256, 512, 1024]
    assert {(*each.kernel_size, *each.stride) for each in (*up, *down)} == {(25, 4)}
    assert sum(isinstance(each, PhaseShuffle) for each in model.critic) == 4


@pytest.mark.parametrize(
    ("length", "nearest"),
    [
        (4000, "--length 1024 or --length 4096"),
        (16, "--length 64"),
        (100_000, "--length 65536"),
    ],
)
def test_other_lengths_are_refused_with_the_nearest_that_fit(length: int, nearest: str) -> None:
    with raises(UsageError, "wrong-size", f"{length:,}") as caught:
        build(length)
    assert caught.value.hint == nearest


def test_the_command_refuses_a_length_before_it_trains() -> None:
    said = error_of("train", "wavegan", "--length", "5000", "--steps", "1", code=2)
    assert "5,000" in said
    assert "--length 4096" in said


def test_phase_shuffle_shifts_each_sound_by_at_most_n_places_and_reflects() -> None:
    shuffle = PhaseShuffle(2).train()
    torch.manual_seed(0)
    ramp = torch.arange(10.0).expand(400, 3, 10)
    shifted = shuffle(ramp)
    assert shifted.shape == ramp.shape
    wanted = {
        -2: [2, 3, 4, 5, 6, 7, 8, 9, 8, 7],
        -1: [1, 2, 3, 4, 5, 6, 7, 8, 9, 8],
        0: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        1: [1, 0, 1, 2, 3, 4, 5, 6, 7, 8],
        2: [2, 1, 0, 1, 2, 3, 4, 5, 6, 7],
    }
    found = []
    for sound in shifted.int().tolist():
        assert sound[0] == sound[1] == sound[2]  # all maps of a sound go together
        found += [shift for shift, row in wanted.items() if row == sound[0]]
    counts = [found.count(shift) for shift in wanted]
    assert sum(counts) == 400  # each is one of the five, and sounds differ from one another
    assert min(counts) > 50
    assert abs(np.mean(found)) < 0.3  # standard error 0.07


def test_phase_shuffle_rests_in_evaluation_and_with_radius_0() -> None:
    maps = torch.randn(5, 3, 20)
    assert PhaseShuffle(2).eval()(maps).equal(maps)
    assert PhaseShuffle(0).train()(maps).equal(maps)


def test_phase_shuffle_passes_the_gradient_to_where_a_sample_came_from() -> None:
    shuffle = PhaseShuffle(3).train()
    maps = torch.randn(4, 2, 12, requires_grad=True)
    torch.manual_seed(1)
    shifted = shuffle(maps)
    (slope,) = torch.autograd.grad((shifted * shifted).sum(), maps)
    torch.manual_seed(1)
    times_read = torch.autograd.grad(shuffle(maps).sum(), maps)[0]
    torch.testing.assert_close(slope, 2 * maps * times_read)


@pytest.mark.parametrize("scale", [0.9, 2])  # slopes below 1 and above
def test_penalty_is_that_of_slopes_measured_by_small_differences(scale: float) -> None:
    model = build(64, phase_shuffle=0).double()
    with torch.no_grad():
        for parameter in model.critic.parameters():
            parameter.mul_(scale)
    real, fake = torch.rand(2, 3, 1, 64, dtype=torch.float64) * 2 - 1
    torch.manual_seed(5)
    penalty = model.penalty(real, fake)
    torch.manual_seed(5)
    epsilon = torch.rand(3, 1, 1)
    between = epsilon * real + (1 - epsilon) * fake
    step = 1e-6
    nudges = step * torch.eye(64, dtype=torch.float64)[:, None]
    norms = []
    for sound in between:
        with torch.no_grad():
            slopes = (model.critic(sound + nudges) - model.critic(sound - nudges)) / (2 * step)
        norms.append(slopes.norm())
    wanted = torch.stack([(norm - 1) ** 2 for norm in norms]).mean()
    assert all(norm > 1.1 for norm in norms) if scale > 1 else all(norm < 0.9 for norm in norms)
    assert penalty.item() == pytest.approx(wanted.item(), rel=1e-4)


def test_terms_are_the_losses_of_the_objective() -> None:
    model = build(phase_shuffle=0, critic_steps=1, penalty_weight=7.0)
    sound = tones(6, 1024)
    torch.manual_seed(7)
    with torch.no_grad():
        fake = model.generator(model.prior(sound))
    penalty = model.penalty(sound, fake)
    again = model.generator(model.prior(sound))
    torch.manual_seed(7)
    critic, generator = model.training_step({"audio": sound})
    wanted = {
        "real": -model.critic(sound).mean(),
        "fake": model.critic(fake).mean(),
        "penalty": 7.0 * penalty,
    }
    assert critic.terms.keys() == wanted.keys()
    for key, value in wanted.items():
        assert critic.terms[key].item() == pytest.approx(value.item(), rel=1e-4, abs=1e-6)
    assert generator.terms["fool"].item() == pytest.approx(
        -model.critic(again).mean().item(), rel=1e-4, abs=1e-6
    )


def test_a_sine_is_as_loud_in_the_spectrogram_as_it_is_and_silence_is_minus_80() -> None:
    times = torch.arange(4096) / 8000
    sine = 0.1 * torch.sin(2 * torch.pi * 1000 * times)  # the 32nd of 128 steps up to 4,000 Hz
    found = log_spectrogram(torch.stack([sine, torch.zeros(4096)])[:, None])
    assert found.shape == (2, 129, 61)
    assert found[0].argmax(0).unique().tolist() == [32]
    torch.testing.assert_close(found[0, 32], torch.full((61,), -20.0), atol=0.01, rtol=0)
    assert found[1].unique().tolist() == [-80.0]


def test_spectral_distance_is_that_of_mean_spectrograms_in_decibels() -> None:
    model = build(4096).eval()
    sound = tones(5, 4096)

    class Silence(torch.nn.Module):
        def forward(self, latent: Tensor) -> Tensor:
            return torch.zeros(len(latent), 1, 4096)

    model.generator = Silence()  # type: ignore[assignment]
    with torch.no_grad():
        metrics = model.validation_step({"audio": sound})
    mean = log_spectrogram(sound).numpy().mean(axis=0)
    wanted = np.sqrt(np.square(mean + 80).mean())
    assert metrics["spectral_distance"].item() == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("channels", [1, 2])
def test_the_exported_graph_is_plain_transposed_convolutions_and_says_the_rate(
    channels: int, tmp_path: Path
) -> None:
    model = build(4096, channels).eval()
    trained = Trained(model, describe(model, find_model("wavegan")), Path())
    graph, path = model.graphs()["generate"], tmp_path / "generate.onnx"
    about = describe_graph(trained, "generate", graph, weights_sha256="0" * 64)
    export_graph(model, graph, about, path)
    verify(model, graph, path)
    kinds = {node.op_type for node in onnx.load(path).graph.node}
    assert "ConvTranspose" in kinds
    assert kinds <= {"Gemm", "MatMul", "Add", "Reshape", "Relu", "ConvTranspose", "Tanh"}
    latent = np.random.default_rng(1).uniform(-1, 1, (3, 100)).astype(np.float32)
    session = open_session(path)
    (made,) = session.run({"latent": latent}).values()
    (wanted,) = run_graph(model, "generate", {"latent": latent}).values()
    assert made.shape == (3, channels, 4096)
    assert np.abs(made - wanted).max() < 1e-4
    (port,) = session.description.signature.outputs
    assert (port.kind, port.rate, port.range) == ("audio", 8000, (-1.0, 1.0))


@pytest.mark.parametrize("variant", [Variant(io="uint8"), Variant(size=(8, 8))])
def test_pixels_and_sizes_are_refused_because_sounds_have_none(
    variant: Variant, tmp_path: Path
) -> None:
    model = build(64).eval()
    identity = describe(model, find_model("wavegan"))
    save_weights(tmp_path / "model.safetensors", model, identity)
    trained = Trained(model, identity, tmp_path / "model.safetensors")
    with raises(UsageError, "does-not-apply", "audio"):
        export_bundle(trained, tmp_path / "out", variant)
    assert not (tmp_path / "out").exists()
