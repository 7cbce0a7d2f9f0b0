from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from zoo_gans.wgan_gp import WGANGP, WGANGPConfig

from tests.plugins.plain_loop import clothes
from zoo import DataSpec
from zoo.options import configure

GREY = DataSpec.of_images("grey", channels=1, height=28, width=28)
SMALL = DataSpec.of_images("small", channels=1, height=8, width=8)


def build(data: DataSpec = GREY, **options: object) -> WGANGP:
    torch.manual_seed(0)
    return WGANGP(configure(WGANGPConfig, {"features": 4, **options}), data)


def test_penalty_is_that_of_slopes_measured_by_small_differences() -> None:
    model = build(SMALL).double()
    with torch.no_grad():
        for parameter in model.critic.parameters():
            parameter.mul_(4)  # slopes away from 0, where the penalty is 1 whatever they are
    real, fake = torch.rand(2, 3, 1, 8, 8, dtype=torch.float64) * 2 - 1
    torch.manual_seed(5)
    penalty = model.penalty(real, fake)
    torch.manual_seed(5)
    epsilon = torch.rand(3, 1, 1, 1)
    between = epsilon * real + (1 - epsilon) * fake
    step = 1e-6
    norms = []
    for image in between:
        nudges = step * torch.eye(64, dtype=torch.float64).view(64, 1, 8, 8)
        with torch.no_grad():
            slopes = (model.critic(image + nudges) - model.critic(image - nudges)) / (2 * step)
        norms.append(slopes.norm())
    wanted = torch.stack([(norm - 1) ** 2 for norm in norms]).mean()
    assert min(abs(norm - 1) for norm in norms) > 0.01
    assert penalty.item() == pytest.approx(wanted.item(), rel=1e-4)


def test_penalty_pulls_the_slope_of_a_linear_critic_to_1() -> None:
    model = build(SMALL)
    linear = nn.Linear(64, 1, bias=False)
    model.critic = nn.Sequential(nn.Flatten(), linear, nn.Flatten(0))
    real, fake = torch.rand(2, 5, 1, 8, 8)
    (gradient,) = torch.autograd.grad(model.penalty(real, fake), linear.weight)
    norm = linear.weight.norm()
    torch.testing.assert_close(gradient, 2 * (norm - 1) * linear.weight / norm)


def test_terms_are_the_losses_of_algorithm_1() -> None:
    model = build(critic_steps=1, penalty_weight=7.0)
    image = clothes(20)
    torch.manual_seed(7)
    fake = model.generator(torch.randn(20, model.config.latent_size))
    penalty = model.penalty(image, fake.detach())
    again = model.generator(torch.randn(20, model.config.latent_size))
    torch.manual_seed(7)
    critic, generator = model.training_step({"image": image})
    assert (critic.player, generator.player) == ("critic", "generator")
    wanted = {
        "real": -model.critic(image).mean(),
        "fake": model.critic(fake).mean(),
        "penalty": 7.0 * penalty,
    }
    assert set(critic.terms) == set(wanted)
    for key, value in wanted.items():
        assert critic.terms[key].item() == pytest.approx(value.item(), rel=1e-4, abs=1e-6)
    assert generator.terms["fool"].item() == pytest.approx(
        -model.critic(again).mean().item(), rel=1e-4
    )


def seen_by_critic(model: WGANGP, image: Tensor) -> list[list[int]]:
    """Return which images of the batch each step of the critic was shown as real."""
    shown: list[list[int]] = []

    def look(critic: nn.Module, inputs: tuple[Tensor]) -> None:
        which = [
            index for given in inputs[0] for index, one in enumerate(image) if one.equal(given)
        ]
        if which:
            shown.append(which)

    model.critic.register_forward_pre_hook(look)
    moves = [update.player for update in model.training_step({"image": image})]
    assert moves == ["critic"] * model.config.critic_steps + ["generator"]
    return shown


def test_every_step_of_the_critic_sees_images_of_its_own() -> None:
    assert seen_by_critic(build(critic_steps=5), clothes(10)) == [
        [0, 1],
        [2, 3],
        [4, 5],
        [6, 7],
        [8, 9],
    ]


def test_a_batch_smaller_than_the_steps_goes_round() -> None:
    assert seen_by_critic(build(critic_steps=5), clothes(3)) == [[0], [1], [2], [0], [1]]


def test_the_generator_is_given_gradients_by_its_own_move_alone() -> None:
    model = build()
    *critic, generator = model.training_step({"image": clothes(10)})
    weights = list(model.generator.parameters())
    for update in critic:
        loss = torch.stack(list(update.terms.values())).sum()
        found = torch.autograd.grad(loss, weights, allow_unused=True, retain_graph=True)
        assert all(each is None for each in found)  # nothing is computed that nobody uses
    assert all(each.any() for each in torch.autograd.grad(generator.terms["fool"], weights))


def test_the_critic_scores_each_image_for_itself() -> None:
    model = build().train()
    torch.testing.assert_close(model.critic(clothes(8))[:1], model.critic(clothes(8)[:1]))


def test_distance_is_how_much_higher_the_critic_scores_data_than_samples() -> None:
    model = build().eval()
    torch.manual_seed(4)
    with torch.no_grad():
        distance = model.validation_step({"image": clothes(30)})["distance"]
        torch.manual_seed(4)
        fake = model.generator(torch.randn(30, model.config.latent_size))
        wanted = model.critic(clothes(30)).mean() - model.critic(fake).mean()
    assert distance.item() == pytest.approx(wanted.item(), abs=1e-6)
