"""Directions and planes to look along: of the prior, of the codes of data, or of drawn pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from zoo.errors import UsageError
from zoo.exploration.geometry import (
    Array,
    Directions,
    coordinates,
    picture_directions,
    principal_directions,
    prior_quantiles,
    prior_scale,
)
from zoo.exploration.latent_space import LatentSpace

DRAWN = 1000  # pictures that are drawn to find directions where nothing makes codes of pictures


@dataclass(frozen=True)
class Surroundings:
    """A latent space with a decoder, and where its codes come from."""

    space: LatentSpace
    codes: Callable[[], Array]  # of data, (N, D); called where the encoder is there
    seed: int
    classes: Sequence[int] | None = None  # that are asked for

    def drawn(self, count: int = 1) -> Array:
        """Draw codes (count, D)."""
        return self.space.draw_codes(count, self.seed, self.classes)

    def single(self) -> Directions:
        """Return every dimension of the code as a direction, about the prior or the codes of data.

        Raises:
            UsageError: there is neither.
        """
        size = self.space.size
        decoder = self.space.decoder
        if self.space.has_prior and decoder:
            mean, spread = prior_scale(decoder.code)
            return Directions(np.full(size, mean), np.eye(size), np.full(size, spread), np.ones(0))
        codes = self._codes()
        return Directions(codes.mean(axis=0), np.eye(size), codes.std(axis=0), np.ones(0))

    def principal(self, count: int) -> tuple[Directions, str]:
        """Return principal directions, and in words what their shares of variance are of.

        Raises:
            UsageError: nothing makes codes of pictures, and none can be drawn.
        """
        if self.space.round_trip:
            return principal_directions(self.codes(), count), "the codes of data"
        if not self.space.has_prior:
            self._codes()
        codes = self.drawn(DRAWN)
        context = self.space.contexts(self.seed, self.classes)[0]
        pictures = self.space.decode(codes, context)
        return picture_directions(codes, pictures, count), "drawn pictures"

    def _codes(self) -> Array:
        if self.space.round_trip:
            return self.codes()
        raise UsageError(
            f"the codes of {self.space.model} have no prior, and nothing here makes codes of data",
            hint="an export with all its graphs, as a folder",
            code="does-not-apply",
        )


@dataclass(frozen=True)
class Plane:
    """A grid in a plane of the codes, and what it is in words."""

    code: Array  # (D,), through which the plane goes
    directions: Directions  # two of them
    across: Array  # places along the first one, (T,)
    up: Array  # places along the second one, (T,)
    words: str
    of: str = ""  # what the shares of variance are of, if any
    shares: tuple[float, ...] = ()  # by direction


def find_plane(around: Surroundings, side: int) -> Plane:
    """Return a grid of `side` by `side` codes.

    Codes of two dimensions: at the quantiles of the prior or, without one, of the codes of data.
    Others: at those of the codes of data along their two principal components or, where nothing
    makes codes of pictures, at those of the prior along the two directions along which drawn
    pictures vary most.

    Raises:
        UsageError: a code has one dimension, or there are no codes at all.
    """
    space = around.space
    decoder = space.decoder
    assert decoder is not None
    name = decoder.code.name
    if space.size == 1:
        raise UsageError(
            f"a plane needs two dimensions, and a code of {space.model} has one",
            hint="zoo explore TARGET traverse",
            code="does-not-apply",
        )
    if space.size == 2 and space.has_prior:
        places = prior_quantiles(decoder.code, side)
        directions = replace(around.single(), centre=np.zeros(2))
        words = f"both dimensions of {name}, at the quantiles of its {decoder.code.prior} prior"
        return Plane(np.zeros(2), directions, places, places, words)
    is_whole = space.size == 2
    directions, of = (around.single(), "") if is_whole else around.principal(2)
    if is_whole:
        directions = replace(directions, centre=np.zeros(2))
    if is_whole or space.round_trip:
        shares = (np.arange(side) + 0.5) / side
        across, up = np.quantile(coordinates(around.codes(), directions), shares, axis=0).T
        what = "both dimensions" if is_whole else "two principal components"
        words = f"{what} of {name}, at the quantiles of the codes of data"
        centre = directions.centre
    else:
        across = up = prior_quantiles(decoder.code, side) - prior_scale(decoder.code)[0]
        words = f"the two directions of {name} along which {of} vary most, at the quantiles "
        words += f"of its {decoder.code.prior} prior, through the draw of seed {around.seed}"
        centre = around.drawn()[0]
    return Plane(centre, directions, across, up, words, of, tuple(map(float, directions.shares)))
