"""A pool of images that were generated in earlier training steps, for discriminators."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.ports import DataSpec


class ImagePool(nn.Module):
    """A pool of generated images, so that a discriminator also sees those of earlier steps.

    Until the pool is full, every image goes in and comes straight back. From then on, each image
    is, with probability 1/2, exchanged for one drawn from the pool. Source: Shrivastava et al.
    2017, arXiv:1612.07828, section 2.3, as used by Zhu et al. 2017, arXiv:1703.10593, section 4.

    The images are a buffer that is not part of the weights: the trainer keeps it in checkpoints,
    and neither weight files nor exports hold it.

    Args:
        size: images that the pool holds; 0 for none, so that images pass unchanged.
        data: the shape of the images.
    """

    def __init__(self, size: int, data: DataSpec) -> None:
        super().__init__()
        empty = torch.zeros(size, data.channels, data.height, data.width)
        self.images: Tensor
        self.filled: Tensor
        self.register_buffer("images", empty, persistent=False)
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64), persistent=False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Return images (N, C, H, W), as many as came in, some of them older."""
        given = []
        filled = int(self.filled)
        for image in images.detach():
            if filled < len(self.images):
                self.images[filled] = image
                filled += 1
            elif filled and torch.rand(()) < 0.5:
                place = int(torch.randint(filled, ()))
                older = self.images[place].clone()
                self.images[place] = image
                image = older  # noqa: PLW2901 - the exchange is what happens here
            given.append(image)
        self.filled.fill_(filled)
        return torch.stack(given).to(images.dtype)
