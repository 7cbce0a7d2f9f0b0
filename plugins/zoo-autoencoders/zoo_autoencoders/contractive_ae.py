"""Contractive autoencoder.

Paper: Rifai, Vincent, Muller, Glorot & Bengio 2011, "Contractive Auto-Encoders: Explicit Invariance
During Feature Extraction", ICML, https://icml.cc/2011/papers/455_icmlpaper.pdf.

Objective, of an image x in [0, 1], mean over the batch:
    J_CAE = L(x, g(f(x))) + λ ‖J_f(x)‖²_F
    L(x, y) = -Σᵢ [xᵢ log yᵢ + (1 - xᵢ) log(1 - yᵢ)]          summed over pixels
    ‖J_f(x)‖²_F = Σᵢⱼ (∂hⱼ(x) / ∂xᵢ)²                         summed over pixels and units
with h = f(x) = sigmoid(Wx + b) and y = g(h) = sigmoid(Wᵀh + b'). For this one layer
    ‖J_f(x)‖²_F = Σⱼ (hⱼ (1 - hⱼ))² Σᵢ Wⱼᵢ²
With further layers (`hidden`), J_f is that of the whole encoder, by automatic differentiation:
exact as well, and as many backward passes as the code has units.

The weights are tied, so that a smaller W cannot be made up for by the decoder.

Departures from the paper: deeper encoders are trained at once instead of layer by layer; Adam with
a one-cycle rate instead of stochastic gradient descent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, linear

from zoo import (
    DataSpec,
    Goal,
    Graph,
    Model,
    Player,
    Port,
    Training,
    Update,
    one_cycle,
    option,
    pixel_mse,
    psnr,
)


@dataclass(frozen=True)
class ContractiveAutoencoderConfig:
    """What can be set with ``--set``."""

    hidden_units: int = option(256, "units of the code h", at_least=1, at_most=65536)
    hidden: tuple[int, ...] = option(
        (), "units of further layers between image and code; none in the paper's closed form",
        at_least=1, at_most=65536,
    )  # fmt: skip
    contraction_weight: float = option(0.1, "λ, weight of ‖J_f(x)‖²", at_least=0.0)
    lr: float = option(5e-3, "greatest learning rate of Adam", above=0.0, at_most=1.0)


class TiedNetwork(nn.Module):
    """x -> logits of y, and ‖J_f(x)‖²: sigmoid layers, and the same matrices back."""

    def __init__(self, sizes: tuple[int, ...], shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.shape = shape
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(sizes))
        self.biases_back = nn.ParameterList(torch.zeros(size) for size in sizes[:-1])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.encode(x)
        deep = len(self.layers) > 1
        norm = self.jacobian(x).square().sum(dim=(1, 2)) if deep else self.one_layer_norm(h)
        return self.decode(h), norm  # (N, C, H, W), (N,)

    def encode(self, x: Tensor) -> Tensor:
        """Return h = f(x), (N, units)."""
        h = x.flatten(1)
        for layer in self.layers:
            h = torch.sigmoid(layer(h))
        return h.float()

    def decode(self, h: Tensor) -> Tensor:
        """Return the logits of y = g(h), (N, C, H, W)."""
        ways = [*zip(self.layers, self.biases_back, strict=True)]
        for depth, (layer, bias) in enumerate(reversed(ways), start=1):
            h = linear(h, layer.weight.t(), bias)
            h = torch.sigmoid(h) if depth < len(ways) else h
        return h.float().view(-1, *self.shape)

    def one_layer_norm(self, h: Tensor) -> Tensor:
        """Return ‖J_f‖² = Σⱼ (hⱼ (1 - hⱼ))² Σᵢ Wⱼᵢ² of an encoder of one layer, (N,)."""
        w = self.layers[0].get_parameter("weight")  # (units, pixels)
        return ((h * (1 - h)) ** 2 * w.square().sum(dim=1)).sum(dim=1)

    def jacobian(self, x: Tensor) -> Tensor:
        """Return J_f(x) by automatic differentiation, (N, units, pixels)."""
        with torch.enable_grad():  # validation has none
            x = x.flatten(1).detach().requires_grad_()
            h = self.encode(x)
            rows = [
                torch.autograd.grad(unit, x, torch.ones_like(unit), create_graph=True)[0]
                for unit in h.unbind(dim=1)
            ]
        return torch.stack(rows, dim=1)


class ContractiveAutoencoder(Model):
    """x -> a code that few directions of x move -> x."""

    Config = ContractiveAutoencoderConfig
    config: ContractiveAutoencoderConfig
    training_defaults = Training(epochs=40, batch_size=64)
    goal = Goal("objective", "lowest")

    def __init__(self, config: ContractiveAutoencoderConfig, data: DataSpec) -> None:
        super().__init__(config, data)
        sizes = (data.image.pixels, *config.hidden, config.hidden_units)
        self.network = TiedNetwork(sizes, data.image.image_shape)

    def players(self) -> Mapping[str, Player]:
        adam = partial(torch.optim.Adam, lr=self.config.lr, fused=True)
        return {"autoencoder": Player([self.network], adam, one_cycle)}

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        error, contraction = self.objective(batch["image"])
        yield Update(
            "autoencoder",
            reconstruction=error,
            contraction=self.config.contraction_weight * contraction,
        )

    def validation_step(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        image = batch["image"]
        error, contraction = self.objective(image)
        reconstruction = self.reconstruct(image)
        return {
            "objective": error + self.config.contraction_weight * contraction,
            "mse": pixel_mse(image, reconstruction).mean(),
            "psnr": psnr(image, reconstruction).mean(),
            "contraction": contraction.detach(),
        }

    def objective(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return L(x, y), in nats, and ‖J_f(x)‖², both as means over the batch."""
        x = (image + 1) / 2
        logits, norm = self.network(x)
        error = binary_cross_entropy_with_logits(logits, x, reduction="none")
        return error.flatten(1).sum(dim=1).mean(), norm.mean()

    def encode(self, image: Tensor) -> Tensor:
        """Return h = f(x), in [0, 1]."""
        return self.network.encode((image + 1) / 2)

    def decode(self, code: Tensor) -> Tensor:
        """Return the image of a code, in [-1, 1]."""
        return 2 * torch.sigmoid(self.network.decode(code)) - 1

    def reconstruct(self, image: Tensor) -> Tensor:
        """Return what is left of x after the code."""
        return self.decode(self.encode(image))

    def graphs(self) -> Mapping[str, Graph]:
        image = self.data.image
        code = Port.latent("code", self.config.hidden_units, prior=None)  # nothing draws codes
        reconstruction = Port.image("reconstruction", self.data.image)
        return {
            "encode": Graph(self.encode, [image], [code]),
            "decode": Graph(self.decode, [code], [image]),
            "reconstruct": Graph(self.reconstruct, [image], [reconstruction]),
        }
