"""Denoising autoencoder.

Paper: Vincent et al. 2008, "Extracting and Composing Robust Features with Denoising
Autoencoders", ICML, https://doi.org/10.1145/1390156.1390294;
Vincent et al. 2010, JMLR 11, https://www.jmlr.org/papers/v11/vincent10a.html.

Objective, of a clean image x in [0, 1], its corruption x̃ ~ C(x̃|x), drawn anew at every step, and
x̂ = sigmoid(g(f(x̃))), summed over pixels, mean over the batch:
    -Σᵢ [xᵢ log x̂ᵢ + (1 - xᵢ) log(1 - x̂ᵢ)]

Corruptions, each colour value by itself:
    gaussian         x̃ᵢ = xᵢ + σ εᵢ, ε ~ N(0, 1), cut to [0, 1]
    salt-and-pepper  a share of the values becomes 0 or 1, one as likely as the other
    masking          a share of the values becomes 0

Departures from the paper: several hidden layers trained at once instead of one after the other,
ReLU instead of logistic units, no tied weights, Adam with a one-cycle rate; Gaussian noise is cut
to the range of pictures, as it is in any file that the exported graph will be given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from zoo import (
    DataSpec,
    Goal,
    Graph,
    Model,
    Player,
    Port,
    Training,
    Update,
    mlp,
    one_cycle,
    option,
    pixel_mse,
    psnr,
)


@dataclass(frozen=True)
class DenoisingAutoencoderConfig:
    """What can be set with ``--set``."""

    noise: Literal["gaussian", "salt-and-pepper", "masking"] = option(
        "gaussian", "how images are corrupted"
    )
    sigma: float = option(
        0.3, "standard deviation of gaussian noise, where black is 0 and white 1", above=0.0
    )
    share: float = option(
        0.3, "share of values that salt-and-pepper or masking destroys", above=0.0, at_most=1.0
    )
    hidden: tuple[int, ...] = option(
        (1024,),
        "units of each hidden layer between image and code, and back; may be empty",
        at_least=1,
        at_most=65536,
    )
    code_size: int = option(512, "units of the code f(x̃)", at_least=1, at_most=65536)
    lr: float = option(1e-3, "greatest learning rate of Adam", above=0.0, at_most=1.0)


class DenoisingAutoencoder(Model):
    """Noisy x -> code -> clean x, fully connected."""

    Config = DenoisingAutoencoderConfig
    config: DenoisingAutoencoderConfig
    training_defaults = Training(epochs=30, batch_size=64)
    goal = Goal("psnr_denoised", "highest")

    def __init__(self, config: DenoisingAutoencoderConfig, data: DataSpec) -> None:
        super().__init__(config, data)
        sizes = (data.image.pixels, *config.hidden, config.code_size)
        self.encoder = nn.Sequential(nn.Flatten(), *mlp(*sizes))
        self.decoder = nn.Sequential(  # code -> logits of the clean pixels
            *mlp(*reversed(sizes[1:])),
            nn.Linear(sizes[1], data.image.pixels),
            nn.Unflatten(1, data.image.image_shape),
        )

    def players(self) -> Mapping[str, Player]:
        adam = partial(torch.optim.Adam, lr=self.config.lr, fused=True)
        return {"autoencoder": Player([self.encoder, self.decoder], adam, one_cycle)}

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        image = batch["image"]
        noisy = self.corrupt(image, self.draw_noise(image))
        logits = self.decoder(self.encoder(noisy))
        x = (image + 1) / 2
        error = binary_cross_entropy_with_logits(logits.float(), x, reduction="none")
        yield Update("autoencoder", reconstruction=error.flatten(1).sum(dim=1).mean())

    def validation_step(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        image = batch["image"]
        noisy = self.corrupt(image, self.draw_noise(image))
        denoised = self.denoise(noisy)
        return {
            "mse": pixel_mse(image, denoised).mean(),
            "psnr_noisy": psnr(image, noisy).mean(),
            "psnr_denoised": psnr(image, denoised).mean(),
        }

    def draw_noise(self, image: Tensor) -> Tensor:
        """Return what `corrupt` needs, in the shape of the images: N(0, 1) or U(0, 1)."""
        if self.config.noise == "gaussian":
            return torch.randn_like(image)
        return torch.rand_like(image)

    def corrupt(self, image: Tensor, noise: Tensor) -> Tensor:
        """Return x̃ ~ C(x̃|x) in [-1, 1]; all chance comes in as `noise`."""
        black, white = -1.0, 1.0
        if self.config.noise == "gaussian":
            return (image + (white - black) * self.config.sigma * noise).clamp(black, white)
        if self.config.noise == "masking":
            return torch.where(noise < self.config.share, black, image)
        pepper = torch.where(noise < self.config.share / 2, black, image)
        return torch.where(noise > 1 - self.config.share / 2, white, pepper)

    def denoise(self, noisy: Tensor) -> Tensor:
        """Return x̂ of x̃, both in [-1, 1]."""
        return 2 * torch.sigmoid(self.decoder(self.encoder(noisy))) - 1

    def reconstruct(self, image: Tensor, noise: Tensor) -> Tensor:
        """Return x̂ of the x̃ that the noise makes of x."""
        return self.denoise(self.corrupt(image, noise))

    def graphs(self) -> Mapping[str, Graph]:
        image = self.data.image
        noisy = Port.image("noisy", self.data.image)
        denoised = Port.image("denoised", self.data.image)
        noise = self.noise_port()
        code = Port.latent("code", self.config.code_size, prior=None)
        return {
            "denoise": Graph(self.denoise, [noisy], [denoised]),
            "corrupt": Graph(self.corrupt, [image, noise], [noisy]),
            "reconstruct": Graph(self.reconstruct, [image, noise], [denoised]),
            "encode": Graph(self.encoder, [image], [code]),
        }

    def noise_port(self) -> Port:
        """The noise that `corrupt` takes, with the prior that `draw_noise` draws from."""
        shape = Port.image("noise", self.data.image).shape
        if self.config.noise == "gaussian":
            return Port("noise", "values", shape, prior="normal")
        return Port("noise", "values", shape, range=(0.0, 1.0), prior="uniform")
