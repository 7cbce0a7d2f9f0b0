"""WaveGAN: sounds from noise, sample by sample.

Paper: Donahue, McAuley & Puckette 2019, "Adversarial Audio Synthesis", arXiv:1802.04208.
Gradient penalty: Gulrajani et al. 2017, arXiv:1704.00028.

Objective, mean over the batch:
    critic:     min  f(G(z)) - f(x) + λ (‖∇f(x̂)‖₂ - 1)²,   x̂ = ε x + (1 - ε) G(z)
    generator:  min  -f(G(z))
    z ~ U[-1, 1],  ε ~ U[0, 1], one for each sound

Networks for 16,384 samples with d features: DCGAN's, in one dimension, with a kernel of 25 in place
of 5×5 and a stride of 4 in place of 2×2:
    generator:  z -> 16×16d -> 64×8d -> 256×4d -> 1024×2d -> 4096×d -> 16384×C
    critic:     16384×C -> 4096×d -> 1024×2d -> 256×4d -> 64×8d -> 16×16d -> one number

Transposed convolutions leave a tone of fixed phase in all that the generator makes, by which the
critic could tell it without listening to anything else. Phase shuffle takes that away: behind each
layer of the critic but the last, every sound's activations are shifted by -n to n places, drawn at
random, while it is trained; what is missing at an end is filled by reflection.

The critic f is updated `critic_steps` times before each update of the generator, each time on
sounds of its own out of the batch, so `batch_size` is critic_steps times the paper's 64.

Two metrics of sounds that were held out. `distance`, mean f(x) - mean f(G(z)), estimates the
Wasserstein distance up to a scale that changes while the critic learns. `spectral_distance` is the
root mean square difference, in decibels, between the mean log spectrogram of the held-out sounds
and that of as many generated ones. It does not depend on the critic, and the checkpoint with the
lowest is the best; two sets of real sounds are some decibels apart as well.

Departures from the paper: as many layers as the length asks for, so that clips of 64, 256, 1,024,
4,096 and 65,536 samples can be made as well; phase shuffle draws a shift for each sound; all biases
begin at 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from zoo import DataSpec, Goal, Graph, Model, Player, Port, Training, Update, UsageError, option

INNERMOST = 16  # samples behind the last layer of the critic
STRIDE = 4
MOST_LEVELS = 6  # clips of up to 65,536 samples
WINDOW, HOP = 256, 64  # samples of the spectrogram
QUIETEST = 1e-8  # power that counts as silence: -80 dB of the loudest sine


@dataclass(frozen=True)
class WaveGANConfig:
    """What can be set with ``--set``."""

    latent_size: int = option(100, "numbers in z, as in the paper", at_least=1, at_most=4096)
    features: int = option(
        64,
        "d: maps of the outermost level, doubled at each further one; 64 is the paper's",
        at_least=1,
        at_most=256,
    )
    phase_shuffle: int = option(
        2, "n: the most places that phase shuffle shifts by; 0 for none", at_least=0, at_most=15
    )
    critic_steps: int = option(
        5,
        "updates of the critic for each of the generator's, as in the paper",
        at_least=1,
        at_most=100,
    )
    penalty_weight: float = option(10.0, "λ, as in the paper", at_least=0.0)
    lr: float = option(1e-4, "learning rate of Adam; β is (0.5, 0.9)", above=0.0, at_most=1.0)


class PhaseShuffle(nn.Module):
    """Shifts each sound of (N, C, L) by -n to n places in training, and fills up by reflection."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def forward(self, maps: Tensor) -> Tensor:
        if not (self.training and self.most):
            return maps
        count, channels, length = maps.shape
        places = torch.arange(length, device=maps.device)
        shifts = torch.randint(-self.most, self.most + 1, (count, 1), device=maps.device)
        last = length - 1
        mirrored = last - (last - (places - shifts).abs()).abs()  # -1 -> 1, length -> length - 2
        return maps.gather(2, mirrored[:, None].expand(-1, channels, -1))


class WaveGAN(Model):
    """Generator of transposed convolutions over time, critic of strided ones."""

    Config = WaveGANConfig
    config: WaveGANConfig
    training_defaults = Training(epochs=100, batch_size=320)
    goal = Goal("spectral_distance", "lowest")

    def __init__(self, config: WaveGANConfig, data: DataSpec) -> None:
        super().__init__(config, data)
        _, channels, length = data.audio.shape
        levels = levels_of(int(length))
        widths = [config.features << level for level in range(levels)]  # outermost first
        innermost = (widths[-1], INNERMOST)
        up: list[nn.Module] = []
        for before, after in pairwise((*reversed(widths), int(channels))):  # four times as long
            up += [nn.ReLU(), nn.ConvTranspose1d(before, after, 25, STRIDE, 11, output_padding=1)]
        self.generator = nn.Sequential(
            nn.Linear(config.latent_size, widths[-1] * INNERMOST),
            nn.Unflatten(1, innermost),
            *up,
            nn.Tanh(),
        )
        down: list[nn.Module] = []
        for before, after in pairwise((int(channels), *widths)):  # a quarter as long
            down += [
                nn.Conv1d(before, after, 25, STRIDE, 11),
                nn.LeakyReLU(0.2),
                PhaseShuffle(config.phase_shuffle),
            ]
        self.critic = nn.Sequential(
            *down[:-1], nn.Flatten(), nn.Linear(widths[-1] * INNERMOST, 1), nn.Flatten(0)
        )
        self.apply(glorot_weights)

    def players(self) -> Mapping[str, Player]:
        adam = partial(torch.optim.Adam, lr=self.config.lr, betas=(0.5, 0.9), fused=True)
        return {
            "critic": Player([self.critic], adam),
            "generator": Player([self.generator], adam),
        }

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        sound, steps = batch["audio"], self.config.critic_steps
        size = max(1, len(sound) // steps)
        for step in range(steps):
            start = step * size % len(sound)
            real = sound[start : start + size]
            with torch.no_grad():
                fake = self.generator(self.prior(real)).to(real.dtype)
            # f(G(z)) - f(x) + λ (‖∇f(x̂)‖₂ - 1)²
            yield Update(
                "critic",
                real=-self.critic(real).float().mean(),
                fake=self.critic(fake).float().mean(),
                penalty=self.config.penalty_weight * self.penalty(real, fake),
            )
        # -f(G(z))
        fake = self.generator(self.prior(real))
        yield Update("generator", fool=-self.critic(fake).float().mean())

    def penalty(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the mean of (‖∇f(x̂)‖₂ - 1)² between real and generated sounds, (N, C, L)."""
        epsilon = torch.rand(len(real), 1, 1, device=real.device)
        between = (epsilon * real + (1 - epsilon) * fake).requires_grad_()
        score = self.critic(between).float().sum()  # its gradient by sound is that of each f(x̂)
        (gradient,) = torch.autograd.grad(score, between, create_graph=True)
        norm: Tensor = gradient.flatten(1).norm(dim=1)
        return (norm - 1).square().mean()

    def validation_step(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        sound = batch["audio"]
        fake = self.generator(self.prior(sound)).float()
        apart = log_spectrogram(sound).mean(0) - log_spectrogram(fake).mean(0)
        return {
            "distance": self.critic(sound).float().mean() - self.critic(fake).float().mean(),
            "spectral_distance": apart.square().mean().sqrt(),
        }

    def prior(self, sound: Tensor) -> Tensor:
        """Draw z ~ U[-1, 1], one for each sound: (N, latent)."""
        return 2 * torch.rand(len(sound), self.config.latent_size, device=sound.device) - 1

    def graphs(self) -> Mapping[str, Graph]:
        shape = ("batch", self.config.latent_size)
        latent = Port("latent", "latent", shape, range=(-1.0, 1.0), prior="uniform")
        return {"generate": Graph(self.generator, [latent], [self.data.audio])}


def levels_of(length: int) -> int:
    """Return n of clips of 16 · 4ⁿ samples, n from 1 to 6.

    Raises:
        UsageError: the clips have another length; names the nearest that fit.
    """
    fitting = {INNERMOST * STRIDE**level: level for level in range(1, MOST_LEVELS + 1)}
    if length in fitting:
        return fitting[length]
    smaller = [each for each in fitting if each < length][-1:]
    larger = [each for each in fitting if each > length][:1]
    raise UsageError(
        f"wavegan: clips of {length:,} samples cannot be divided by 4 down to {INNERMOST}",
        cause=f"the length must be one of {', '.join(f'{each:,}' for each in fitting)}",
        hint=" or ".join(f"--length {each}" for each in smaller + larger),
        code="wrong-size",
    )


def glorot_weights(module: nn.Module) -> None:
    """Draw a layer's weights from Glorot's uniform distribution, and set its bias to 0."""
    if isinstance(module, nn.Linear | nn.Conv1d | nn.ConvTranspose1d):
        nn.init.xavier_uniform_(module.weight)
        assert module.bias is not None
        nn.init.zeros_(module.bias)


def log_spectrogram(sound: Tensor) -> Tensor:
    """Return the decibels of sounds (N, C, L): (N · C, frequencies, times), -80 for silence."""
    window = torch.hann_window(WINDOW, device=sound.device)
    padded = nn.functional.pad(sound.flatten(0, 1), (0, max(0, WINDOW - sound.shape[2])))
    spectrum = torch.stft(padded, WINDOW, HOP, window=window, center=False, return_complex=True)
    power = (2 * spectrum.abs() / window.sum()).square()  # 1 for a sine of amplitude 1
    return 10 * torch.log10(power.clamp(min=QUIETEST))
