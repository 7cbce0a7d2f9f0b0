from __future__ import annotations

import math
import subprocess
import sys
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d
from zoo_diffusion.ddpm import DDPM, DDPMConfig, alpha_bar, at, earlier_steps
from zoo_diffusion.unet import sinusoids

from tests.errors import raises
from tests.plugins.plain_loop import clothes, train
from tests.process import error_of
from zoo import DataSpec, UsageError
from zoo.options import configure

GREY = DataSpec.of_images("grey", channels=1, height=28, width=28)
SMALL = DataSpec.of_images("small", channels=1, height=8, width=8)


def build(data: DataSpec = SMALL, **options: object) -> DDPM:
    torch.manual_seed(0)
    small = {"features": 8, "multiples": "1,2", "blocks": 1}
    return DDPM(configure(DDPMConfig, {**small, **options}), data)


def sample(model: DDPM, count: int) -> Tensor:
    """Run the step graph for its rounds, as its ports say."""
    graph = model.graphs()["denoise"]
    x, t, noise, eta = graph.inputs
    assert (x.next, t.next, noise.next, eta.next) == ("next_x", "next_t", "", "")
    shape = (count, *model.data.image.image_shape)
    state, time = torch.randn(shape), torch.full((count,), int(t.default or 0))
    each = torch.full((count,), eta.default)
    assert graph.rounds is not None
    with torch.no_grad():
        for _ in range(graph.rounds):
            image, state, time = graph.function(state, time, torch.randn(shape), each)
    assert not time.any(), "the last round ends at t = 0"
    assert image.equal(state)
    return image


class TrueNoise(nn.Module):
    """Knows x_0, and so the noise in x_t."""

    def __init__(self, model: DDPM, image: Tensor) -> None:
        super().__init__()
        self.levels = model.signal_level, model.noise_level
        self.image = image

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        signal, noise = (at(t, level) for level in self.levels)
        return (x - signal * self.image) / noise


def test_alpha_bar_of_the_linear_schedule_is_the_product_of_the_papers_betas() -> None:
    found = alpha_bar("linear", 1000).tolist()
    wanted = 1.0
    assert found[0] == wanted
    for t in range(1, 1001):
        wanted *= 1 - (1e-4 + (0.02 - 1e-4) * (t - 1) / 999)
        assert found[t] == pytest.approx(wanted, rel=1e-9)


def test_alpha_bar_of_the_cosine_schedule_is_its_closed_form() -> None:
    found = alpha_bar("cosine", 1000).tolist()

    def closed(t: int) -> float:
        return math.cos((t / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2

    for t in range(999):  # at T itself β is cut off at 0.999
        assert found[t] == pytest.approx(closed(t) / closed(0), rel=1e-9)
    assert 0 < found[1000] < 1e-8


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_diffused_images_have_the_mean_and_variance_of_equation_4(schedule: str) -> None:
    model = build(schedule=schedule)
    torch.manual_seed(1)
    for t in (1, 300, 1000):
        noise = torch.randn(4000, 1, 8, 8)
        x = model.diffuse(torch.full_like(noise, 0.5), torch.full((4000,), t), noise)
        kept = alpha_bar(schedule, 1000)[t].item()
        assert x.mean().item() == pytest.approx(0.5 * math.sqrt(kept), abs=0.01)
        assert x.var().item() == pytest.approx(1 - kept, rel=0.02)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_a_step_with_all_noise_is_the_posterior_of_equation_7(schedule: str) -> None:
    model = build(schedule=schedule, sampling_steps=1000)
    image = torch.rand(7, 1, 8, 8) * 2 - 1
    model.denoiser = TrueNoise(model, image)  # type: ignore[assignment]
    t = torch.tensor([1, 2, 3, 50, 500, 900, 990])
    torch.manual_seed(2)
    x, z = torch.randn(2, 7, 1, 8, 8)
    _, mean, earlier = model.denoise(x, t, torch.zeros_like(z), torch.ones(7))
    _, drawn, _ = model.denoise(x, t, z, torch.ones(7))
    assert earlier.equal(t - 1)
    table = alpha_bar(schedule, 1000)
    now, then = (table[each].view(-1, 1, 1, 1) for each in (t, t - 1))
    alpha = now / then
    wanted = then.sqrt() * (1 - alpha) / (1 - now) * image
    wanted = wanted + alpha.sqrt() * (1 - then) / (1 - now) * x
    spread = ((1 - then) / (1 - now) * (1 - alpha)).sqrt()
    torch.testing.assert_close(mean, wanted.float(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(drawn - mean, (spread * z).float(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("steps", [1, 3, 50, 1000])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_a_network_that_knows_the_noise_gives_back_the_image(steps: int, eta: float) -> None:
    model = build(sampling_steps=steps, eta=eta)
    image = torch.rand(2, 1, 8, 8) * 2 - 1
    model.denoiser = TrueNoise(model, image)  # type: ignore[assignment]
    torch.testing.assert_close(sample(model, 2), image, rtol=0, atol=1e-3)


def test_without_eta_noise_makes_no_difference() -> None:
    x, z = torch.randn(2, 3, 1, 8, 8)
    t = torch.tensor([1, 500, 1000])

    def differs(eta: float) -> bool:
        model = build().eval()
        with torch.no_grad():
            one, other = (model.denoise(x, t, noise, torch.full((3,), eta)) for noise in (z, -z))
        return not one[1].equal(other[1])

    assert [differs(eta) for eta in (0.0, 1.0)] == [False, True]


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_more_rounds_than_there_are_steps_change_nothing(schedule: str) -> None:
    model = build(schedule=schedule)
    image = torch.rand(2, 1, 8, 8) * 2 - 1
    with torch.no_grad():
        found, x, t = model.denoise(
            image, torch.zeros(2, dtype=torch.int64), torch.randn(image.shape), torch.ones(2)
        )
    torch.testing.assert_close(found, image)
    torch.testing.assert_close(x, image)
    assert t.tolist() == [0, 0]


@pytest.mark.parametrize(("steps", "sampling_steps"), [(1000, 50), (1000, 7), (10, 10), (1, 1)])
def test_sampling_takes_its_steps_from_the_last_t_to_0(steps: int, sampling_steps: int) -> None:
    earlier = earlier_steps(steps, sampling_steps)
    path = [steps]
    while path[-1]:
        path.append(int(earlier[path[-1]]))
    assert len(path) == sampling_steps + 1
    strides = {before - after for before, after in pairwise(path)}
    assert max(strides) - min(strides) <= 1
    assert (earlier[1:] < torch.arange(1, steps + 1)).all()


def test_time_is_embedded_as_sines_and_cosines() -> None:
    table = sinusoids(1001, 8)
    for t, k in [(0, 0), (3, 1), (1000, 3)]:
        angle = t / 10_000 ** (2 * k / 8)
        assert table[t, k].item() == pytest.approx(math.sin(angle), abs=1e-6)
        assert table[t, 4 + k].item() == pytest.approx(math.cos(angle), abs=1e-6)


def test_the_loss_is_the_mean_squared_error_of_the_noise() -> None:
    model = build(GREY, dropout=0.0)
    image = clothes(20)
    torch.manual_seed(5)
    (update,) = model.training_step({"image": image})
    torch.manual_seed(5)
    t = torch.randint(1, 1001, (20,))
    noise = torch.randn(20, 1, 28, 28)
    kept = alpha_bar("linear", 1000)[t].float().view(-1, 1, 1, 1)
    x = kept.sqrt() * image + (1 - kept).sqrt() * noise
    wanted = ((model.denoiser(x, t) - noise) ** 2).mean()
    assert update.player == "denoiser"
    assert update.terms["error"].item() == pytest.approx(wanted.item(), rel=1e-4)


def test_the_network_is_told_the_time() -> None:
    model = build().eval()
    awake(model)
    x = torch.randn(1, 1, 8, 8).expand(2, 1, 8, 8)
    with torch.no_grad():
        early, late = model.denoiser(x, torch.tensor([10, 900]))
    assert (early - late).abs().max() > 1e-3


def awake(model: DDPM) -> None:
    """Fill the layers that begin at 0, before which nothing has a gradient."""
    for parameter in model.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)


@pytest.mark.parametrize(
    ("data", "options"),
    [
        (GREY, {}),
        (GREY, {"patch": 2, "blocks": 2, "attention": False}),
        (DataSpec.of_images("colour", channels=3, height=16, width=24), {"multiples": "1,2,3,4"}),
        (DataSpec.of_images("odd", channels=2, height=15, width=7), {"multiples": "1"}),
    ],
)
def test_every_size_that_fits_is_denoised_and_every_parameter_learns(
    data: DataSpec, options: dict[str, object]
) -> None:
    model = build(data, features=6, **options)
    awake(model)
    image = torch.rand(4, *data.image.image_shape) * 2 - 1
    (update,) = model.training_step({"image": image})
    update.terms["error"].backward()
    assert [
        n for n, each in model.named_parameters() if each.grad is None or not each.grad.any()
    ] == []
    for output, port in zip(
        model.denoise(image, torch.tensor([1, 2, 500, 1000]), image, torch.ones(4)),
        model.graphs()["denoise"].outputs,
        strict=True,
    ):
        assert output.shape == (4, *port.shape[1:])
        assert output.isfinite().all()


@pytest.mark.parametrize(
    ("options", "code", "names"),
    [
        ({"multiples": "1,2,2,2"}, "wrong-size", ["28×28", "of 8", "--size 32x32"]),
        ({"patch": 8, "multiples": "1"}, "wrong-size", ["28×28", "--size 32x32"]),
        ({"multiples": ""}, "bad-value", ["multiples"]),
        (
            {"timesteps": 20},
            "bad-value",
            ["sampling_steps = 50", "T = 20", "--set sampling_steps=20"],
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_what_does(
    options: dict[str, object], code: str, names: list[str]
) -> None:
    with raises(UsageError, code, *names):
        build(GREY, **options)


def test_the_command_refuses_a_size_before_it_trains() -> None:
    words = ("train", "ddpm", "--size", "30", "--steps", "1")
    assert "--size 32x32" in error_of(*words, code=2, error="wrong-size")


def test_the_loss_is_float_32_under_bf16_autocast() -> None:
    model = build(GREY)

    def error(*, bf16: bool) -> Tensor:
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            (update,) = model.training_step({"image": clothes(64)})
        return update.terms["error"]

    assert error(bf16=True).dtype == torch.float32
    assert error(bf16=True).item() == pytest.approx(error(bf16=False).item(), abs=0.03)


def test_training_brings_samples_nearer_to_the_data() -> None:
    images = avg_pool2d(clothes(500)[..., 2:26, 2:26], 3)  # 8×8
    model = build(lr=3e-3, features=16, dropout=0.0, sampling_steps=20)

    def distance() -> float:
        """Return how far samples are from the images that are nearest to them."""
        torch.manual_seed(3)
        samples = sample(model.eval(), 50)
        return torch.cdist(samples.flatten(1), images.flatten(1)).amin(dim=1).mean().item()

    before = distance()
    losses = list(train(model.train(), images, steps=100, batch_size=50))
    assert sum(losses[-20:]) < 0.5 * sum(losses[:20])
    assert distance() < 0.6 * before


def test_cards_load_without_torch() -> None:
    code = "import sys, zoo_diffusion; zoo_diffusion.zoo_models(); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
