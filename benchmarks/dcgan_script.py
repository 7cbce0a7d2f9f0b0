"""The DCGAN script of the repository PyTorch-GAN, rebuilt from its description: a process of peers.

Networks, optimisers, batch, order of the updates and the way of the data are the script's: a
`DataLoader` without workers over pictures of Pillow, each resized, turned into a tensor and
normalised on its own. Here it does not save a picture every 400 batches. It reads numbers of steps
from stdin and answers each with the seconds that they took. Run it by its path: it imports neither
zoo nor the other benchmarks.
"""

from __future__ import annotations

import gzip
import itertools
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

LATENT, SIDE, BATCH = 100, 32, 64
NORM_EPS = 0.8  # the script's, which writes it where a momentum was meant
LEARNING_RATE, BETAS = 2e-4, (0.5, 0.999)


def generator() -> nn.Sequential:
    """Return z (N, 100) -> picture (N, 1, 32, 32) in [-1, 1]: upsampling and 3×3 convolutions."""
    return nn.Sequential(
        nn.Linear(LATENT, 128 * 8 * 8),
        nn.Unflatten(1, (128, 8, 8)),
        nn.BatchNorm2d(128),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(128, 128, 3, padding=1),
        nn.BatchNorm2d(128, NORM_EPS),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(128, 64, 3, padding=1),
        nn.BatchNorm2d(64, NORM_EPS),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(64, 1, 3, padding=1),
        nn.Tanh(),
    )


def discriminator() -> nn.Sequential:
    """Return picture (N, 1, 32, 32) -> logit (N, 1): strided convolutions with dropout of maps."""
    widths = (1, 16, 32, 64, 128)
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [
            nn.Conv2d(before, after, 3, stride=2, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Dropout2d(0.25),
            *([nn.BatchNorm2d(after, NORM_EPS)] if before > 1 else []),
        ]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(128 * 2 * 2, 1))


def read_idx(folder: Path) -> np.ndarray:
    """Return MNIST's training pictures, uint8 (N, 28, 28), of an idx file, gzipped or plain."""
    path = next(folder.glob("train-images*idx3-ubyte*"))
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return np.frombuffer(content, np.uint8, offset=16).reshape(-1, 28, 28)


class Pictures(Dataset):
    """Pictures in memory, each of which goes through Pillow whenever it is asked for."""

    def __init__(self, pixels: np.ndarray) -> None:
        self._pixels = torch.from_numpy(pixels.copy())

    def __len__(self) -> int:
        return len(self._pixels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        picture = Image.fromarray(self._pixels[index].numpy())
        picture = picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        rows = torch.from_numpy(np.array(picture, np.uint8, copy=True)).view(SIDE, SIDE, 1)
        image = rows.permute(2, 0, 1).contiguous().to(torch.float32).div(255)
        mean, deviation = torch.as_tensor([0.5]), torch.as_tensor([0.5])
        return image.clone().sub_(mean.view(-1, 1, 1)).div_(deviation.view(-1, 1, 1)), 0


def training(pictures: Pictures) -> Iterator[None]:
    """Yield after each step: the generator's update, then the discriminator's."""
    loss = nn.BCELoss()
    makes, judges = generator(), discriminator()
    adam = {
        network: torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, betas=BETAS)
        for network in (makes, judges)
    }
    loader = DataLoader(pictures, batch_size=BATCH, shuffle=True)
    with Path(os.devnull).open("w") as log:
        for epoch in itertools.count():
            for index, (images, _) in enumerate(loader):
                real, fake = torch.ones(len(images), 1), torch.zeros(len(images), 1)
                adam[makes].zero_grad()
                noise = torch.from_numpy(np.random.normal(0, 1, (len(images), LATENT))).float()
                made = makes(noise)
                fooled = loss(torch.sigmoid(judges(made)), real)
                fooled.backward()
                adam[makes].step()
                adam[judges].zero_grad()
                on_real = loss(torch.sigmoid(judges(images)), real)
                on_fake = loss(torch.sigmoid(judges(made.detach())), fake)
                judged = (on_real + on_fake) / 2
                judged.backward()
                adam[judges].step()
                print(epoch, index, len(loader), judged.item(), fooled.item(), file=log)
                yield


def main() -> None:
    """Train as many steps as each line of stdin says; print the seconds."""
    steps = training(Pictures(read_idx(Path(sys.argv[1]))))
    for line in sys.stdin:
        began = time.perf_counter()
        for _ in itertools.islice(steps, int(line)):
            pass
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    main()
