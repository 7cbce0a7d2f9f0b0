"""Convolutional classifier of pictures.

Paper: LeCun et al. 1998, "Gradient-Based Learning Applied to Document Recognition", Proceedings of
the IEEE, https://doi.org/10.1109/5.726791.

Objective, of an image x with class y, mean over the batch:
    -log p(y|x),   p(k|x) = exp(aₖ) / Σⱼ exp(aⱼ),   a = W f(x) + b

f are the features: what the last layer takes, 128 numbers. Each level is a convolution and a
max-pooling that halves height and width, where they are more than 1 pixel.

Departures from the paper: softmax and cross-entropy instead of radial basis functions, ReLU instead
of tanh, max-pooling instead of averages with weights, batch normalisation (Ioffe & Szegedy 2015,
arXiv:1502.03167), dropout before the features (Srivastava et al. 2014, JMLR 15), AdamW (Loshchilov
& Hutter 2019, arXiv:1711.05101) with a one-cycle rate, and training images that are moved by a few
pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, cross_entropy, pad

from zoo import (
    DataSpec,
    Goal,
    Graph,
    Model,
    Player,
    Port,
    Training,
    Update,
    UsageError,
    one_cycle,
    option,
    resize_crop_flip,
)

FEATURES = 128  # numbers that the last layer takes


@dataclass(frozen=True)
class ClassifierConfig:
    """What can be set with ``--set``."""

    channels: tuple[int, ...] = option(
        (32, 64, 128), "feature maps of each level", at_least=1, at_most=1024
    )
    pixels: int = option(
        32,
        "larger pictures are averaged down, by a whole number, to about this height or width",
        at_least=1,
        at_most=1024,
    )
    dropout: float = option(
        0.5, "share of the inputs of the features that is dropped", at_least=0.0, at_most=0.9
    )
    shift: int = option(
        2,
        "training images are moved by up to so many pixels; the border is repeated",
        at_least=0,
        at_most=64,
    )
    flip: bool = option(
        False, "mirror half of the training images, left for right; not for letters and digits"
    )
    lr: float = option(5e-3, "greatest learning rate of AdamW", above=0.0, at_most=1.0)
    weight_decay: float = option(1e-2, "of AdamW", at_least=0.0, at_most=1.0)


class Features(nn.Module):
    """Images (N, C, H, W) in [-1, 1] -> what the last layer takes, (N, 128)."""

    def __init__(self, config: ClassifierConfig, data: DataSpec) -> None:
        super().__init__()
        size = data.image.height, data.image.width
        factor = max(1, round(max(size) / config.pixels))
        self.averaged = min(factor, size[0]), min(factor, size[1])  # pixels that become one
        height, width = size[0] // self.averaged[0], size[1] // self.averaged[1]
        levels: list[nn.Module] = []
        before = data.image.channels
        for after in config.channels:
            window = min(2, height), min(2, width)
            levels += [
                nn.Conv2d(before, after, kernel_size=3, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
                nn.MaxPool2d(window),
            ]
            before, height, width = after, height // window[0], width // window[1]
        self.levels = nn.Sequential(*levels)
        self.last = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(config.dropout),
            nn.Linear(before * height * width, FEATURES),
            nn.ReLU(),
        )

    def forward(self, image: Tensor) -> Tensor:
        if self.averaged != (1, 1):
            image = avg_pool2d(image, self.averaged)
        features: Tensor = self.last(self.levels(image))
        return features


class Classifier(Model):
    """x -> features -> one number a class."""

    Config = ClassifierConfig
    config: ClassifierConfig
    training_defaults = Training(epochs=20, batch_size=64)
    goal = Goal("accuracy", "highest")

    def __init__(self, config: ClassifierConfig, data: DataSpec) -> None:
        super().__init__(config, data)
        if len(data.classes) < 2:
            raise UsageError(
                f"{data.name} has one class; a classifier tells two or more apart",
                hint="--data with a folder for each class",
                code="wrong-data",
            )
        self.features = Features(config, data)
        self.last = nn.Linear(FEATURES, len(data.classes))  # a = W f(x) + b

    def players(self) -> Mapping[str, Player]:
        config = self.config
        adam = partial(
            torch.optim.AdamW, lr=config.lr, weight_decay=config.weight_decay, fused=True
        )
        return {"classifier": Player([self.features, self.last], adam, one_cycle)}

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        image = moved(batch["image"], self.config.shift)
        if self.config.flip:
            image = resize_crop_flip(image, enlarge=1.0)
        logits = self.last(self.features(image))
        yield Update("classifier", cross_entropy=cross_entropy(logits, batch["label"]))

    def validation_step(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        logits = self.last(self.features(batch["image"]))
        return {
            "accuracy": (logits.argmax(dim=1) == batch["label"]).float().mean(),
            "cross_entropy": cross_entropy(logits, batch["label"]),
        }

    def classify(self, image: Tensor) -> Tensor:
        """Return the probability of every class, (N, K)."""
        logits: Tensor = self.last(self.features(image))
        return logits.softmax(dim=1)

    def graphs(self) -> Mapping[str, Graph]:
        image = Port.image("image", self.data.image)
        classes = self.data.classes
        probabilities = Port(
            "probabilities",
            "probabilities",
            ("batch", len(classes)),
            range=(0.0, 1.0),
            classes=classes,
        )
        features = Port.latent("features", FEATURES, prior=None)
        return {
            "classify": Graph(self.classify, [image], [probabilities]),
            "features": Graph(self.features, [image], [features]),
        }


def moved(images: Tensor, most: int) -> Tensor:
    """Return images, each moved by up to `most` pixels in both directions; borders are repeated.

    Args:
        images: (N, C, H, W).
        most: pixels; 0 moves nothing.
    """
    if not most:
        return images
    count, _, height, width = images.shape
    larger = pad(images, (most,) * 4, mode="replicate").permute(0, 2, 3, 1)
    top, left = torch.randint(2 * most + 1, (2, count, 1), device=images.device)
    rows = top + torch.arange(height, device=images.device)  # (N, H)
    columns = left + torch.arange(width, device=images.device)  # (N, W)
    which = torch.arange(count, device=images.device)[:, None, None]
    return larger[which, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
