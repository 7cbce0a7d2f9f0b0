"""Denoising diffusion probabilistic model.

Paper: Ho et al. 2020, "Denoising Diffusion Probabilistic Models", arXiv:2006.11239.
Sampling in fewer steps: Song et al. 2021, "Denoising Diffusion Implicit Models", arXiv:2010.02502.
Cosine schedule: Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 17.

Forward process, for t = 1 … T with ᾱ_t = ∏ (1 - β_s) over s ≤ t, and ᾱ_0 = 1 (eq. 4):
    x_t = √ᾱ_t x_0 + √(1 - ᾱ_t) ε,   ε ~ N(0, 1)

Objective (L_simple, eq. 14), mean over pixels and batch, t uniform over 1 … T:
    min  ‖ε - ε_θ(x_t, t)‖²

Sampling starts at x_T ~ N(0, 1) and goes from t to an earlier s (DDIM, eq. 12 and 16), z ~ N(0, 1):
    x̂_0 = (x_t - √(1 - ᾱ_t) ε_θ) / √ᾱ_t,  clipped to [-1, 1]
    x_s = √ᾱ_s x̂_0 + √(1 - ᾱ_s - σ²) ε̂ + σ z,   σ² = η² (1 - ᾱ_s) / (1 - ᾱ_t) (1 - ᾱ_t / ᾱ_s)
where ε̂ is the noise that leads from x̂_0 to x_t. With η = 1 and s = t - 1 this is a draw from the
posterior of eq. 7, as in algorithm 2 of Ho et al. with their smaller variance β̃_t; with η = 0 it is
deterministic. The graph `denoise` is one such step, and η an input of it.

Departures from the paper: normalisation in groups of 8, attention at the lowest resolution instead
of at 16×16 pixels, and with `patch` a network that sees squares of pixels as channels, as a quicker
one for small budgets.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from zoo import DataSpec, Goal, Graph, Model, Player, Port, Training, Update, UsageError, option
from zoo_diffusion.unet import UNet


@dataclass(frozen=True)
class DDPMConfig:
    """What can be set with ``--set``."""

    timesteps: int = option(1000, "T, as in the paper", at_least=1, at_most=10_000)
    schedule: Literal["linear", "cosine"] = option(
        "linear", "how β grows: from 1e-4 to 0.02 at T = 1000 as in the paper, or by a cosine of ᾱ"
    )
    sampling_steps: int = option(
        50, "steps from noise to image, at most T; the paper takes T", at_least=1, at_most=10_000
    )
    eta: float = option(
        1.0,
        "η unless given: noise added in sampling, 1 as in the paper, 0 none",
        at_least=0.0,
        at_most=1.0,
    )
    features: int = option(64, "maps at the highest resolution", at_least=4, at_most=1024)
    multiples: tuple[int, ...] = option(
        (1, 2, 2), "maps at each resolution, in multiples of features; each halves the sides",
        at_least=1, at_most=64,
    )  # fmt: skip
    blocks: int = option(2, "residual blocks at each resolution", at_least=1, at_most=16)
    attention: bool = option(True, "self-attention at the lowest resolution")
    dropout: float = option(0.1, "share of maps set to 0 in training", at_least=0.0, below=1.0)
    patch: int = option(1, "sides of the squares of pixels seen as channels", at_least=1, at_most=8)
    lr: float = option(2e-4, "learning rate of Adam, as in the paper", above=0.0, at_most=1.0)


class DDPM(Model):
    """A network that tells the noise in an image, and a chain of small steps that removes it."""

    Config = DDPMConfig
    config: DDPMConfig
    training_defaults = Training(epochs=100, batch_size=128)
    goal = Goal("error", "lowest")
    # tables by t = 0 … T
    signal_level: Tensor  # √ᾱ_t
    noise_level: Tensor  # √(1 - ᾱ_t)
    earlier: Tensor  # s
    sigma: Tensor  # σ at η = 1

    def __init__(self, config: DDPMConfig, data: DataSpec) -> None:
        super().__init__(config, data)
        check_options(config, data.image)
        self.denoiser = UNet(
            data.image.channels,
            [config.features * multiple for multiple in config.multiples],
            blocks=config.blocks,
            attention=config.attention,
            dropout=config.dropout,
            patch=config.patch,
            timesteps=config.timesteps,
        )
        now = alpha_bar(config.schedule, config.timesteps)
        self.register_buffer("signal_level", now.sqrt().float(), persistent=False)
        self.register_buffer("noise_level", (1 - now).sqrt().float(), persistent=False)
        earlier = earlier_steps(config.timesteps, config.sampling_steps)
        self.register_buffer("earlier", earlier, persistent=False)
        then = now[earlier]
        # σ² = (1 - ᾱ_s) / (1 - ᾱ_t) (1 - ᾱ_t / ᾱ_s), and 0 at t = 0
        variance = (1 - then) / (1 - now).clamp(min=1e-9) * (1 - now / then)
        self.register_buffer("sigma", variance.sqrt().float(), persistent=False)

    def players(self) -> Mapping[str, Player]:
        adam = partial(torch.optim.Adam, lr=self.config.lr, fused=True)
        return {"denoiser": Player([self.denoiser], adam, clip_norm=1.0)}

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        yield Update("denoiser", error=self.error(batch["image"]))

    def validation_step(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return {"error": self.error(batch["image"])}

    def error(self, image: Tensor) -> Tensor:
        """Return L_simple with t and ε drawn for each image of (N, C, H, W): a scalar."""
        t = torch.randint(1, self.config.timesteps + 1, (len(image),), device=image.device)
        noise = torch.randn_like(image)
        # ‖ε - ε_θ(√ᾱ_t x_0 + √(1 - ᾱ_t) ε, t)‖²
        return mse_loss(self.denoiser(self.diffuse(image, t, noise), t).float(), noise)

    def diffuse(self, image: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """x_0, t, ε -> x_t = √ᾱ_t x_0 + √(1 - ᾱ_t) ε."""
        return at(t, self.signal_level) * image + at(t, self.noise_level) * noise

    def denoise(
        self, x: Tensor, t: Tensor, noise: Tensor, eta: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """x_t, t, z, η -> x_s clipped to [-1, 1], x_s, s; at t = 0, x_0 stays what it is."""
        epsilon = self.denoiser(x, t).float()
        s = self.earlier[t]
        # x̂_0 = (x_t - √(1 - ᾱ_t) ε_θ) / √ᾱ_t
        image = ((x - at(t, self.noise_level) * epsilon) / at(t, self.signal_level)).clamp(-1, 1)
        # the noise between the clipped x̂_0 and x_t
        epsilon = (x - at(t, self.signal_level) * image) / at(t, self.noise_level).clamp(min=1e-3)
        sigma = eta[:, None, None, None] * at(t, self.sigma)
        direction = (at(s, self.noise_level) ** 2 - sigma**2).clamp(min=0).sqrt()
        # x_s = √ᾱ_s x̂_0 + √(1 - ᾱ_s - σ²) ε̂ + σ z
        x = at(s, self.signal_level) * image + direction * epsilon + sigma * noise
        return x.clamp(-1, 1), x, s

    def graphs(self) -> Mapping[str, Graph]:
        last, shape = self.config.timesteps, ("batch", *self.data.image.image_shape)
        x = Port("x", "latent", shape, prior="normal", next="next_x")
        t = Port("t", "values", ("batch",), "int64", range=(0, last), default=last, next="next_t")
        noise = Port("noise", "latent", shape, prior="normal")
        eta = Port("eta", "values", ("batch",), range=(0.0, 1.0), default=self.config.eta)
        outputs = [
            self.data.image,
            Port("next_x", "latent", shape),
            Port("next_t", "values", ("batch",), "int64", range=(0, last)),
        ]
        rounds = self.config.sampling_steps
        return {"denoise": Graph(self.denoise, [x, t, noise, eta], outputs, rounds)}


def alpha_bar(schedule: str, steps: int) -> Tensor:
    """Return ᾱ_t for t = 0 … T in double precision: (T + 1,), from 1 down to almost 0."""
    if schedule == "linear":  # the same ᾱ_T at every T
        beta = torch.linspace(0.1 / steps, 20 / steps, steps, dtype=torch.float64)
    else:
        t = torch.arange(steps + 1, dtype=torch.float64) / steps
        signal = torch.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2
        beta = 1 - signal[1:] / signal[:-1]
    remaining = torch.cumprod(1 - beta.clamp(max=0.999), dim=0)
    return torch.cat([torch.ones(1, dtype=torch.float64), remaining])


def at(t: Tensor, table: Tensor) -> Tensor:
    """Return the numbers of a table by t = 0 … T at each t: (N, 1, 1, 1)."""
    return table[t][:, None, None, None]


def earlier_steps(steps: int, sampling_steps: int) -> Tensor:
    """Return the t that sampling goes to from each t = 0 … T: (T + 1,) int64; 0 stays 0.

    The steps taken are t = T, … spread evenly; from a t between two of them, the lower one is next.
    """
    taken = torch.arange(sampling_steps + 1) * steps // sampling_steps  # 0, …, T
    before = torch.searchsorted(taken, torch.arange(steps + 1)) - 1
    return taken[before.clamp(min=0)]


def check_options(config: DDPMConfig, image: Port) -> None:
    """Check that no t is sampled twice, and that the sides can be halved as often as asked.

    Raises:
        UsageError: `sampling_steps` is above T, there are no `multiples`, or too many.
    """
    if config.sampling_steps > config.timesteps:
        raise UsageError(
            f"sampling_steps = {config.sampling_steps} is more than T = {config.timesteps}",
            hint=f"--set sampling_steps={config.timesteps}",
            code="bad-value",
        )
    if not config.multiples:
        raise UsageError("ddpm: multiples is empty", hint="--set multiples=1,2", code="bad-value")
    step = config.patch << (len(config.multiples) - 1)
    if image.height % step or image.width % step:
        sides = [max(step, round(side / step) * step) for side in (image.height, image.width)]
        raise UsageError(
            f"ddpm: images of {image.height}×{image.width} pixels do not fit the network",
            cause=f"both sides must be multiples of {step}: patch, doubled for each of multiples "
            "but the first",
            hint=f"--size {sides[0]}x{sides[1]}, or fewer multiples",
            code="wrong-size",
        )
