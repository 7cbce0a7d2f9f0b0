"""Vector-quantised variational autoencoder.

Paper: van den Oord, Vinyals & Kavukcuoglu 2017, "Neural Discrete Representation Learning",
arXiv:1711.00937.

Objective (eq. 3), of an image x in [0, 1], with p(x|z_q) normal of variance ½, up to a constant:
    ‖x - x̂‖² + β ‖z_e(x) - sg[e]‖²,   x̂ = g(z_q(x))
    z_q(x) = e_k,   k = argmin_j ‖z_e(x) - e_j‖²                              (eq. 1 and 2)
summed over pixels, mean over the batch. The second term, in which sg[·] stops the gradient, is
summed over the D numbers of a vector, and is the mean over the vectors of the code. The gradient at
z_q(x) is that at z_e(x): the quantisation is passed straight through.

The codebook follows the vectors that are nearest to each code, z_{i,1} … z_{i,nᵢ} in one batch, by
moving averages (appendix A.1):
    Nᵢ ← γ Nᵢ + (1 - γ) nᵢ,   mᵢ ← γ mᵢ + (1 - γ) Σⱼ z_{i,j},   eᵢ = mᵢ / Nᵢ
A code whose Nᵢ falls below `restart` begins anew at a vector of the batch far from its own code.

The prior over the codes, which the paper learns afterwards with another model, is not part of this
one: it cannot be sampled, and `encode` gives what such a model would learn from.

Departures from the paper: codes begin anew; Adam with a one-cycle rate.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, one_hot, pad

from zoo import (
    DataSpec,
    Goal,
    Graph,
    Model,
    Player,
    Port,
    Training,
    Update,
    gather_rows,
    one_cycle,
    option,
    pixel_mse,
    psnr,
)

SCALE = 4  # pixels along the side of one code


@dataclass(frozen=True)
class VQVAEConfig:
    """What can be set with ``--set``."""

    codebook_size: int = option(256, "K: codes in the book", at_least=1, at_most=65536)
    embedding_size: int = option(16, "D: numbers in the vector of a code", at_least=1)
    features: int = option(32, "maps of encoder and decoder", at_least=1, at_most=4096)
    residual_blocks: int = option(2, "blocks at each side of the code", at_least=0, at_most=64)
    beta: float = option(0.25, "β, weight of the commitment of z_e to its code", at_least=0.0)
    gamma: float = option(
        0.99, "γ, decay of the codebook's moving averages, a step", at_least=0.0, below=1.0
    )
    restart: float = option(
        0.1, "count Nᵢ below which a code begins anew; 0: never, as in the paper", at_least=0.0
    )
    lr: float = option(2e-3, "greatest learning rate of Adam", above=0.0, at_most=1.0)


class Residual(nn.Module):
    """x + ReLU, 3×3, ReLU, 1×1 convolution."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(features, features, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(features, features, kernel_size=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        changed: Tensor = x + self.body(x)
        return changed


class Codebook(nn.Module):
    """K vectors of D numbers, and the moving averages that they follow."""

    def __init__(self, size: int, dimensions: int, *, gamma: float, restart: float) -> None:
        super().__init__()
        self.gamma, self.restart = gamma, restart
        self.vectors: Tensor
        self.counts: Tensor
        self.sums: Tensor
        first = torch.randn(size, dimensions)
        self.register_buffer("vectors", first)
        counts = torch.zeros(size) if restart else torch.ones(size)  # 0: begin at the first batch
        self.register_buffer("counts", counts, persistent=False)
        self.register_buffer("sums", first.clone(), persistent=False)

    def forward(self, z: Tensor) -> Tensor:
        """Return the number of the nearest code of each vector, (…), int64; z (…, D)."""
        # ‖z - e‖² = ‖z‖² - 2 zᵀe + ‖e‖², of which the first is the same for all codes
        distances = self.vectors.square().sum(dim=1) - 2 * z @ self.vectors.t()
        return distances.argmin(dim=-1)

    @torch.no_grad()
    def follow(self, z: Tensor, codes: Tensor) -> None:
        """Move each code to the mean of its vectors; z (M, D), codes (M,)."""
        chosen = one_hot(codes, len(self.counts)).to(z.dtype)  # (M, K)
        self.counts.lerp_(chosen.sum(dim=0), 1 - self.gamma)
        self.sums.lerp_(chosen.t() @ z, 1 - self.gamma)
        if self.restart:
            far = (z - self.vectors[codes]).square().sum(dim=1).argsort(descending=True)
            places = torch.arange(len(self.counts), device=z.device) % len(z)
            unused = self.counts < self.restart
            self.sums.copy_(torch.where(unused[:, None], z[far[places]], self.sums))
            self.counts.copy_(torch.where(unused, 1.0, self.counts))
        self.vectors.copy_(self.sums / self.counts.clamp(min=1e-6)[:, None])


class VQVAE(Model):
    """x -> a map of codes out of a book -> x."""

    Config = VQVAEConfig
    config: VQVAEConfig
    training_defaults = Training(epochs=30, batch_size=64, precision="32")  # distances are exact
    goal = Goal("mse", "lowest")

    def __init__(self, config: VQVAEConfig, data: DataSpec) -> None:
        super().__init__(config, data)
        image, features = data.image, config.features
        blocks = [[Residual(features) for _ in range(config.residual_blocks)] for _ in range(2)]
        self.encoder = nn.Sequential(
            nn.Conv2d(image.channels, features, kernel_size=4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(features, features, kernel_size=4, stride=2, padding=1),
            *blocks[0],
            nn.ReLU(),
            nn.Conv2d(features, config.embedding_size, kernel_size=1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(config.embedding_size, features, kernel_size=3, padding=1),
            *blocks[1],
            nn.ReLU(),
            nn.ConvTranspose2d(features, features, kernel_size=4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(features, image.channels, kernel_size=4, stride=2, padding=1),
        )
        self.codebook = Codebook(
            config.codebook_size,
            config.embedding_size,
            gamma=config.gamma,
            restart=config.restart,
        )

    def players(self) -> Mapping[str, Player]:
        adam = partial(torch.optim.Adam, lr=self.config.lr, fused=True)
        return {"autoencoder": Player([self.encoder, self.decoder], adam, one_cycle)}

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        x = (batch["image"] + 1) / 2
        z = self.vectors_of(batch["image"])  # z_e(x): (N, H/4, W/4, D)
        codes = self.codebook(z)
        e = embedding(codes, self.codebook.vectors)
        commitment = (z - e).square().sum(dim=3).mean()
        straight_through = z + (e - z).detach()
        error = (x - self.picture_of(straight_through)) ** 2
        self.codebook.follow(gather_rows(z.flatten(0, 2)), gather_rows(codes.flatten()))
        yield Update(
            "autoencoder",
            reconstruction=error.flatten(1).sum(dim=1).mean(),
            commitment=self.config.beta * commitment,
        )

    def validation_step(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        image = batch["image"]
        codes = self.encode(image)
        reconstruction = self.decode(codes)
        shares = one_hot(codes.flatten(), self.config.codebook_size).float().mean(dim=0)
        return {
            "mse": pixel_mse(image, reconstruction).mean(),
            "psnr": psnr(image, reconstruction).mean(),
            "perplexity": torch.special.entr(shares).sum().exp(),
            "codes_used": (shares > 0).float().mean(),
        }

    def vectors_of(self, image: Tensor) -> Tensor:
        """Return z_e(x), (N, H/4, W/4, D), sides rounded up; the border of x is repeated."""
        below, right = -image.shape[2] % SCALE, -image.shape[3] % SCALE
        z: Tensor = self.encoder(pad(image, (0, right, 0, below), mode="replicate"))
        return z.permute(0, 2, 3, 1)

    def picture_of(self, vectors: Tensor) -> Tensor:
        """Return x̂ of vectors (N, H/4, W/4, D), (N, C, H, W)."""
        output: Tensor = self.decoder(vectors.permute(0, 3, 1, 2))
        return output[..., : self.data.image.height, : self.data.image.width]

    def encode(self, image: Tensor) -> Tensor:
        """Return the numbers of the codes, (N, H/4, W/4)."""
        codes: Tensor = self.codebook(self.vectors_of(image))
        return codes

    def decode(self, codes: Tensor) -> Tensor:
        """Return the image of codes, in [-1, 1]."""
        return 2 * self.picture_of(embedding(codes, self.codebook.vectors)).clamp(0, 1) - 1

    def reconstruct(self, image: Tensor) -> Tensor:
        """Return what is left of x after the codes."""
        return self.decode(self.encode(image))

    def graphs(self) -> Mapping[str, Graph]:
        image, last = self.data.image, float(self.config.codebook_size - 1)
        shape = ("batch", -(-image.height // SCALE), -(-image.width // SCALE))
        codes = Port("codes", "latent", shape, "int64", range=(0.0, last))  # nothing draws codes
        reconstruction = Port.image("reconstruction", self.data.image)
        return {
            "encode": Graph(self.encode, [image], [codes]),
            "decode": Graph(self.decode, [codes], [image]),
            "reconstruct": Graph(self.reconstruct, [image], [reconstruction]),
        }
