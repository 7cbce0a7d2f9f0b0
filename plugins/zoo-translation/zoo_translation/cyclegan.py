"""CycleGAN.

Paper: Zhu, Park, Isola & Efros 2017, "Unpaired Image-to-Image Translation using Cycle-Consistent
Adversarial Networks", ICCV, arXiv:1703.10593.

Two generators G: A -> B and F: B -> A, two discriminators D_A and D_B. The generators lower
    E[(D_B(G(a)) - 1)²] + E[(D_A(F(b)) - 1)²]                       fool (least squares)
    + λ (E|F(G(a)) - a| + E|G(F(b)) - b|)                           cycle
    + λ κ (E|F(a) - a| + E|G(b) - b|)                               identity (section 5.2)
and the discriminators lower, for each domain,
    ½ E[(D(x) - 1)²] + ½ E[D(x̂)²],   x̂ from a pool of 50 images made earlier.
Means are over pixels (or patches) and the batch; images are in [-1, 1].

Departures from the paper: convolutions before an instance normalisation have no bias, which it
would take away again. Images whose sides are no multiples of 4 come back at their own size: what
the decoder makes beyond it is cut off. The identity terms are there for all data, as in the
authors' code, where the paper has them for paintings only. The defaults are half the paper's
feature maps in the generators and batches of four. With `skip`, a generator changes its image,
adding to it before the tanh, instead of drawing it anew; few images and small networks then lose
less of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from zoo import (
    DataSpec,
    Graph,
    ImagePool,
    Model,
    Player,
    Port,
    Training,
    Update,
    UsageError,
    constant_then_linear,
    normal_weights,
    option,
    resize_crop_flip,
)

PORTS = ("image", "translated", "cycled")
NEARLY_ALL = 0.98  # of an image's range passes a skip: atanh of all of it would be infinite


@dataclass(frozen=True)
class CycleGANConfig:
    """What can be set with ``--set``."""

    features: int = option(
        32, "feature maps of a generator's first layer; 64 in the paper", at_least=1, at_most=1024
    )
    blocks: int | None = option(
        None,
        "residual blocks; none: 6 below 256 pixels, else 9, as in the paper",
        at_least=1,
        at_most=100,
    )
    discriminator_features: int = option(
        64, "feature maps of a discriminator's first layer, as in the paper",
        at_least=1, at_most=1024,
    )  # fmt: skip
    patch_levels: int = option(
        3,
        "strided layers of the discriminators; 3 judges patches of 70 pixels",
        at_least=1,
        at_most=8,
    )
    cycle_weight: float = option(10.0, "λ of the cycle terms", at_least=0.0)
    identity_weight: float = option(
        0.5, "κ of the identity terms as a share of λ; with 0, colours may turn", at_least=0.0
    )
    skip: bool = option(
        False, "let the generators change the image instead of drawing it anew, for domains that "
        "differ little; not in the paper"
    )  # fmt: skip
    pool_size: int = option(50, "images a discriminator's pool holds", at_least=0, at_most=10_000)
    enlarge: float = option(
        286 / 256, "enlarged by this before a random crop", at_least=1.0, at_most=4.0
    )
    flip: bool = option(
        True, "mirror half of the images; false where left and right differ, as in writing"
    )
    lr: float = option(
        2e-4, "learning rate of Adam until half of the training", above=0.0, at_most=1.0
    )


class Residual(nn.Module):
    """R256 of the paper: two convolutions beside a shortcut, maps of one size throughout."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *convolution(features, features, kernel=3, reflect=1),
            nn.ReLU(),
            *convolution(features, features, kernel=3, reflect=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.layers(x)
        return result


class Generator(nn.Module):
    """Image (N, C, H, W) -> image of the other domain, the same shape, in [-1, 1].

    c7s1-f, d2f, d4f, residual blocks, u2f, uf, c7s1-C (section 4 and appendix).
    """

    def __init__(self, channels: int, features: int, blocks: int, *, skip: bool) -> None:
        super().__init__()
        self.skip = skip
        f = features
        self.layers = nn.Sequential(
            *convolution(channels, f, kernel=7, reflect=3),
            nn.ReLU(),
            *convolution(f, 2 * f, kernel=3, stride=2, padding=1),
            nn.ReLU(),
            *convolution(2 * f, 4 * f, kernel=3, stride=2, padding=1),
            nn.ReLU(),
            *(Residual(4 * f) for _ in range(blocks)),
            *upconvolution(4 * f, 2 * f),
            nn.ReLU(),
            *upconvolution(2 * f, f),
            nn.ReLU(),
            nn.ReflectionPad2d(3),
            nn.Conv2d(f, channels, kernel_size=7),
        )

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[2:]
        change: Tensor = self.layers(image)[:, :, :height, :width]
        if self.skip:
            change = change + torch.atanh(NEARLY_ALL * image)
        return torch.tanh(change)


class Discriminator(nn.Module):
    """Image (N, C, H, W) -> how real each of its overlapping patches looks, (N, 1, H', W').

    C64-C128-C256-C512 with leaky ReLU: PatchGAN of 70 x 70 (section 4 and appendix).
    """

    def __init__(self, channels: int, features: int, levels: int) -> None:
        super().__init__()
        widths = [features * min(2**level, 8) for level in range(levels + 1)]
        layers: list[nn.Module] = [nn.Conv2d(channels, widths[0], 4, stride=2, padding=1)]
        for level in range(1, levels + 1):
            stride = 2 if level < levels else 1
            layers += [
                nn.LeakyReLU(0.2),
                *convolution(widths[level - 1], widths[level], kernel=4, stride=stride, padding=1),
            ]
        layers += [nn.LeakyReLU(0.2), nn.Conv2d(widths[-1], 1, kernel_size=4, padding=1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, image: Tensor) -> Tensor:
        patches: Tensor = self.layers(image)
        return patches


def convolution(
    before: int, after: int, *, kernel: int, stride: int = 1, padding: int = 0, reflect: int = 0
) -> list[nn.Module]:
    """Return a convolution with instance normalisation, the border mirrored where `reflect` is."""
    border = [nn.ReflectionPad2d(reflect)] if reflect else []
    layer = nn.Conv2d(before, after, kernel, stride, padding, bias=False)
    return [*border, layer, nn.InstanceNorm2d(after)]


def upconvolution(before: int, after: int) -> list[nn.Module]:
    """Return a transposed convolution that doubles height and width, with normalisation."""
    layer = nn.ConvTranspose2d(
        before, after, kernel_size=3, stride=2, padding=1, output_padding=1, bias=False
    )
    return [layer, nn.InstanceNorm2d(after)]


class CycleGAN(Model):
    """Two generators that turn two domains into each other, each judged by a discriminator."""

    Config = CycleGANConfig
    config: CycleGANConfig
    training_defaults = Training(epochs=100, batch_size=4)

    def __init__(self, config: CycleGANConfig, data: DataSpec) -> None:
        super().__init__(config, data)
        check_size(config, data)
        blocks = config.blocks or (6 if min(data.a.height, data.a.width) < 256 else 9)
        generator = partial(Generator, data.a.channels, config.features, blocks, skip=config.skip)
        discriminator = partial(
            Discriminator, data.a.channels, config.discriminator_features, config.patch_levels
        )
        self.a_to_b, self.b_to_a = generator(), generator()
        self.discriminator_a, self.discriminator_b = discriminator(), discriminator()
        self.made_a, self.made_b = (ImagePool(config.pool_size, data.a) for _ in range(2))
        self.apply(normal_weights)

    def players(self) -> Mapping[str, Player]:
        adam = partial(torch.optim.Adam, lr=self.config.lr, betas=(0.5, 0.999), fused=True)
        return {
            "generators": Player([self.a_to_b, self.b_to_a], adam, constant_then_linear),
            "discriminators": Player(
                [self.discriminator_a, self.discriminator_b],
                adam,
                constant_then_linear,
                loss_at_random_guess=0.5,  # D = 1/2 everywhere: four terms of ½ · (1/2)²
            ),
        }

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        vary = partial(resize_crop_flip, enlarge=self.config.enlarge, flip=self.config.flip)
        a, b = vary(batch["a"]), vary(batch["b"])
        cycle_weight = self.config.cycle_weight
        identity_weight = cycle_weight * self.config.identity_weight
        fake_b, fake_a = self.a_to_b(a), self.b_to_a(b)
        name_a, name_b = self.data.sides  # such as horse and zebra
        terms = {
            f"fool_{name_b}_to_{name_a}": squared_distance(self.discriminator_a(fake_a), 1),
            f"fool_{name_a}_to_{name_b}": squared_distance(self.discriminator_b(fake_b), 1),
            f"cycle_{name_a}": cycle_weight * l1_loss(self.b_to_a(fake_b), a),
            f"cycle_{name_b}": cycle_weight * l1_loss(self.a_to_b(fake_a), b),
        }
        if identity_weight:
            terms[f"identity_{name_a}"] = identity_weight * l1_loss(self.b_to_a(a), a)
            terms[f"identity_{name_b}"] = identity_weight * l1_loss(self.a_to_b(b), b)
        yield Update("generators", **terms)
        made_a, made_b = self.made_a(fake_a), self.made_b(fake_b)
        judged = {
            f"real_{name_a}": squared_distance(self.discriminator_a(a), 1) / 2,
            f"fake_{name_a}": squared_distance(self.discriminator_a(made_a), 0) / 2,
            f"real_{name_b}": squared_distance(self.discriminator_b(b), 1) / 2,
            f"fake_{name_b}": squared_distance(self.discriminator_b(made_b), 0) / 2,
        }
        yield Update("discriminators", **judged)

    def validation_step(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """How far a picture is from itself after there and back, mean |difference| on [0, 1]."""
        a, b = batch["a"], batch["b"]
        name_a, name_b = self.data.sides
        return {
            f"round_trip_{name_a}": l1_loss(self.b_to_a(self.a_to_b(a)), a) / 2,
            f"round_trip_{name_b}": l1_loss(self.a_to_b(self.b_to_a(b)), b) / 2,
        }

    def cycle_a(self, image: Tensor) -> Tensor:
        """a -> F(G(a)), which should be a again."""
        cycled: Tensor = self.b_to_a(self.a_to_b(image))
        return cycled

    def cycle_b(self, image: Tensor) -> Tensor:
        """b -> G(F(b)), which should be b again."""
        cycled: Tensor = self.a_to_b(self.b_to_a(image))
        return cycled

    def graphs(self) -> Mapping[str, Graph]:
        a, b = self.data.sides
        port = partial(Port.image, like=self.data.a, any_size=True)
        from_a, to_a, cycled_a = (port(name, domain=a) for name in PORTS)
        from_b, to_b, cycled_b = (port(name, domain=b) for name in PORTS)
        return {
            f"{a}_to_{b}": Graph(self.a_to_b, [from_a], [to_b]),
            f"{b}_to_{a}": Graph(self.b_to_a, [from_b], [to_a]),
            f"{a}_cycle": Graph(self.cycle_a, [from_a], [cycled_a]),
            f"{b}_cycle": Graph(self.cycle_b, [from_b], [cycled_b]),
        }


def squared_distance(patches: Tensor, target: float) -> Tensor:
    """Return E[(D(x) - target)²], the least-squares objective of Mao et al. 2017."""
    return (patches.float() - target).square().mean()


def check_size(config: CycleGANConfig, data: DataSpec) -> None:
    """Check that the discriminators have at least one patch to judge.

    Raises:
        UsageError: the images are too small for that many levels.
    """
    smallest = 3 * 2**config.patch_levels
    if min(data.a.height, data.a.width) < smallest:
        raise UsageError(
            f"images of {data.a.height}x{data.a.width} are too small for "
            f"patch_levels={config.patch_levels}",
            hint=f"--size {max(smallest, 8)}, or fewer levels (--set patch_levels=2)",
            code="wrong-size",
        )
