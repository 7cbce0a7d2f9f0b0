"""Pictures: read from files of every kind, brought to size, turned to numbers and back."""

from __future__ import annotations

import functools
import importlib.util
import os
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from zoo.atomic import SPECIAL, is_special, replacing
from zoo.errors import NotFoundError, UsageError
from zoo.ports import Fit

Pixels = NDArray[np.uint8]
ValueRange = tuple[float, float]

# Raster formats that people use. Nothing that runs a program (EPS), none that Pillow recognises by
# a guess (TGA).
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")
MEGAPIXEL = 2**20
MAX_PIXELS = 64 * MEGAPIXEL  # of one picture; more is taken for a decompression bomb …
RAISE_LIMIT = "ZOO_MAX_MEGAPIXELS"  # … unless this environment variable allows more
MOST_MEGAPIXELS = 10_000
READ_AT_ONCE = 4 * 2**20  # bytes of a file that are read in one piece

VALUES = "zoo-values"  # in `Image.info`: least and greatest value before they became bytes
USUAL_WHITES = (1.0, 255.0, 65535.0)  # values that are white where nobody says another

LITTLE = 0.01  # share of a picture's area that may be cut off without a word
LARGEST_VALUE = 2.0**61  # of a picture


@functools.cache
def formats() -> tuple[str, ...]:
    """Return the formats that are read: `FORMATS`, and HEIF where pillow-heif is installed."""
    if importlib.util.find_spec("pillow_heif") is None:
        return FORMATS
    importlib.import_module("pillow_heif").register_heif_opener()
    return (*FORMATS, "HEIF")


@functools.cache
def suffixes() -> frozenset[str]:
    """Return the endings of file names that promise a picture, such as ``".png"``."""
    read = {*formats(), "MPO"}  # two pictures in a JPEG, as cameras write it; read as JPEG
    return frozenset(end for end, form in Image.registered_extensions().items() if form in read)


def max_pixels() -> int:
    """Return how many pixels a picture may have: the usual limit, or what the user allows.

    Raises:
        UsageError: ``ZOO_MAX_MEGAPIXELS`` is no number of megapixels.
    """
    text = os.environ.get(RAISE_LIMIT, "")
    if not text:
        return MAX_PIXELS
    if not (text.isdecimal() and 0 < int(text[:9]) <= MOST_MEGAPIXELS):
        raise UsageError(
            f"{RAISE_LIMIT}={text[:40]} is no number of megapixels",
            hint=f"{RAISE_LIMIT}=200 before the command, up to {MOST_MEGAPIXELS}",
            code="bad-environment",
        )
    return int(text) * MEGAPIXEL


class BadPictureError(NotFoundError):
    """A file that is not a picture, is damaged, or is too large to be honest."""

    code = "bad-picture"


def read_picture(
    file: Path | BinaryIO, name: str = "", value_range: ValueRange | None = None
) -> Image.Image:
    """Read the first frame of a picture, upright, grey or in colour.

    Args:
        file: a path, or a file opened for reading bytes.
        name: what errors call it; the path, when not given.
        value_range: the values that become black and white in a picture of more than 8 bits; the
            range of its type, or else its own, when not given.

    Returns:
        A picture of mode ``"L"`` (bilevel, grey, grey with alpha, 16 and 32 bits a pixel, palettes
        that are all grey) or ``"RGB"`` (everything else). What is transparent shows white. Of a
        picture of more than 8 bits, ``info[VALUES]`` holds the least and the greatest value in it.

    Raises:
        BadPictureError: the file is missing, no picture, truncated or a decompression bomb.
    """
    with _opened(file, name) as image:
        image.load()
        with suppress(Exception):  # damaged EXIF only fails to say which way is up
            if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
                ImageOps.exif_transpose(image, in_place=True)
        return _grey_or_colour(image, value_range)


def peek(file: Path | BinaryIO, name: str = "") -> tuple[int, int, str]:
    """Return height, width and Pillow's mode of a picture, as its header gives them.

    The arguments are those of `read_picture`.

    Raises:
        BadPictureError: the file is missing, no picture, or a decompression bomb.
    """
    with _opened(file, name) as image:
        orientation = 1
        with suppress(Exception):  # as in `read_picture`
            orientation = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
        width, height = image.size
        lies = orientation in range(5, 9) and image.format != "TIFF"  # which Pillow turns itself
        return (width, height, image.mode) if lies else (height, width, image.mode)


def fit(picture: Image.Image, height: int, width: int, channels: int, how: Fit = "cover") -> Pixels:
    """Scale a picture of mode ``"L"`` or ``"RGB"``, antialiased; return (height, width, channels).

    ``"cover"`` cuts off what stands over, the same on both sides; ``"contain"`` keeps all of the
    picture and repeats its edges around it; ``"stretch"`` changes its proportions.
    """
    mode = "L" if channels == 1 else "RGB"
    converted = picture if picture.mode == mode else picture.convert(mode)
    if converted.size == (width, height):
        return np.asarray(converted, np.uint8).reshape(height, width, channels)
    if how == "cover":
        fitted = ImageOps.fit(converted, (width, height), Image.Resampling.BICUBIC)
        return np.asarray(fitted, np.uint8).reshape(height, width, channels)
    top, left, bottom, right = contained(picture.height, picture.width, height, width)
    if how == "stretch":
        top, left, bottom, right = 0, 0, height, width
    inner = converted.resize((right - left, bottom - top), Image.Resampling.BICUBIC)
    pixels = np.asarray(inner, np.uint8).reshape(bottom - top, right - left, channels)
    return np.pad(pixels, ((top, height - bottom), (left, width - right), (0, 0)), mode="edge")


def fit_all(images: Pixels, height: int, width: int, channels: int) -> Pixels:
    """Return images (N, H, W, C) of another size and other colours, cut off where they must be."""
    if images.shape[1:] == (height, width, channels):
        return images
    flat = images[..., 0] if images.shape[3] == 1 else images
    return np.stack([fit(Image.fromarray(each), height, width, channels) for each in flat])


def contained(height: int, width: int, into_height: int, into_width: int) -> tuple[int, ...]:
    """Return top, left, bottom and right of a picture scaled into the middle of another size."""
    scale = min(into_height / height, into_width / width)
    inner_height = min(into_height, max(1, round(height * scale)))
    inner_width = min(into_width, max(1, round(width * scale)))
    top, left = (into_height - inner_height) // 2, (into_width - inner_width) // 2
    return top, left, top + inner_height, left + inner_width


def share_cut_off(height: int, width: int, to_height: int, to_width: int) -> float:
    """Return the share, from 0 to 1, of a picture's area that `fit` cuts off to cover a size."""
    covered = max(to_height / height, to_width / width)
    return 1 - (to_height * to_width) / (height * covered * width * covered)


def describe_cut(
    sizes: Mapping[tuple[int, int], int], height: int, width: int, how: Fit
) -> tuple[str, ...]:
    """Say how much `fit` cuts off pictures, counted by height and width; nothing if little."""
    shares = {size: share_cut_off(*size, height, width) for size in sizes}
    cut = {size: sizes[size] for size, share in shares.items() if share > LITTLE}
    if how != "cover" or not cut:
        return ()
    count = sum(cut.values())
    mean = sum(shares[size] * each for size, each in cut.items()) / count
    worst = max(cut, key=shares.__getitem__)
    whose, most = f"{count:,} of {sum(sizes.values()):,} pictures", ""
    if len(cut) == 1:
        whose += f" of {worst[0]}x{worst[1]}"
    else:
        most = f", at most {shares[worst]:.0%} (of {worst[0]}x{worst[1]})"
    return (
        f"{whose} lose {mean:.0%} of their area{most} to fit {height}x{width}; "
        "--fit contain keeps whole pictures, --fit stretch changes their proportions",
    )


def undo_fit(pixels: Pixels, height: int, width: int, how: Fit) -> Pixels:
    """Bring a picture that has the place of a fitted one back to the size of the original.

    Returns:
        Pixels (height, width, C); `pixels` as they are where parts of the original were cut off.
    """
    if pixels.shape[:2] == (height, width):
        return pixels
    if how == "contain":
        top, left, bottom, right = contained(height, width, *pixels.shape[:2])
        pixels = pixels[top:bottom, left:right]
    elif how == "cover" and share_cut_off(height, width, *pixels.shape[:2]) > LITTLE:
        return pixels
    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    return fit(picture, height, width, pixels.shape[2], "stretch")


def extremes(values: NDArray[Any]) -> ValueRange:
    """Return the least and the greatest value; what is not finite does not count."""
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    if not finite.size:
        return 0.0, 0.0
    low, high = np.clip([finite.min(), finite.max()], -LARGEST_VALUE, LARGEST_VALUE).tolist()
    return float(low), float(high)


def choose_range(low: float, high: float) -> ValueRange:
    """Return what becomes black and white in a set of pictures whose values have these extremes.

    Pictures that use more than half of a usual range, such as 0 to 65,535, have that range.
    """
    for white in USUAL_WHITES:
        if low >= 0 and white / 2 < high <= white:
            return 0.0, white
    return low, high


def to_eight_bits(values: NDArray[Any], value_range: ValueRange) -> Pixels:
    """Return values of any type as bytes: the range's ends become 0 and 255, the rest is clipped.

    Not-a-number becomes what 0 becomes.
    """
    low, high = value_range
    scaled = np.nan_to_num(values.astype(np.result_type(values.dtype, np.float32)), nan=0.0).clip(
        low, high
    )
    scaled -= low
    scaled *= 255 / (high - low) if high > low else 0.0
    pixels: Pixels = np.rint(scaled).astype(np.uint8)
    return pixels


def to_values(pixels: Pixels, low: float, high: float) -> NDArray[np.float32]:
    """Return pixels (N, H, W, C) as numbers (N, C, H, W) from `low` for 0 to `high` for 255."""
    scale = np.float32((high - low) / 255)
    values = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), np.float32)
    values *= scale
    values += np.float32(low)
    return values


def to_pixels(values: NDArray[Any], low: float, high: float) -> Pixels:
    """Return numbers (N, C, H, W) as pixels (N, H, W, C): `low` becomes 0, `high` 255.

    What lies outside is clipped; not-a-number becomes 0.
    """
    scale = np.float32(255 / (high - low) if high > low else 0)
    bounded = np.nan_to_num(values.astype(np.float32), nan=low).clip(low, high)
    scaled = np.rint((bounded - np.float32(low)) * scale)
    return np.ascontiguousarray(scaled.clip(0, 255).astype(np.uint8).transpose(0, 2, 3, 1))


def write_png(path: Path | BinaryIO, pixels: Pixels) -> None:
    """Write a picture (H, W, 1 or 3) as PNG: to a stream, or in one piece as a file."""
    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    with replacing(path) if isinstance(path, Path) else nullcontext(path) as opened:
        picture.save(opened, format="PNG")


@contextmanager
def _opened(file: Path | BinaryIO, name: str) -> Iterator[Image.Image]:
    """Open a picture and check its size; what goes wrong inside becomes an error that names it."""
    limit = max_pixels()
    try:
        with (
            QUIET,
            _stream(file) if isinstance(file, Path) else nullcontext(file) as opened,
            Image.open(opened, formats=formats()) as image,
        ):
            if (size := image.width * image.height) > limit:
                told = f"more than {limit // MEGAPIXEL} megapixels"
                if (needed := -(-size // MEGAPIXEL)) <= MOST_MEGAPIXELS:
                    told += f"; {RAISE_LIMIT}={needed} before the command allows it"
                raise Image.DecompressionBombError(told)
            yield image
        return
    except UnidentifiedImageError:
        reason = "not a picture of a known format"
    except Image.DecompressionBombError as problem:
        reason = str(problem)
    except FileNotFoundError:
        reason = "no such file"
    except OSError as problem:
        reason = problem.strerror or str(problem)
    except Exception as problem:  # decoders raise anything at all on damaged bytes
        reason = str(problem) or type(problem).__name__
    name = name or (str(file) if isinstance(file, Path) else "the picture")
    raise BadPictureError(f"cannot read {name}", cause=" ".join(reason.split())[:200])


def _stream(path: Path) -> BinaryIO:
    """Open a file for reading bytes; a small one is read at once, where Pillow takes pieces."""
    if is_special(path):
        raise OSError(SPECIAL)
    with path.open("rb", buffering=0) as opened:
        size = os.fstat(opened.fileno()).st_size
        if size <= READ_AT_ONCE:
            return BytesIO(opened.read(size))
    return path.open("rb")


def _grey_or_colour(image: Image.Image, value_range: ValueRange | None) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image)
        low, high = extremes(values)
        most = 65535.0 if values.dtype.kind in "iu" else 1.0 if high <= 1 else 255.0
        usual = (0.0, most) if low >= 0 and high <= most else (low, high)
        grey = Image.fromarray(to_eight_bits(values, value_range or usual))
        grey.info[VALUES] = low, high
        return grey
    mode = "L" if image.mode in {"1", "L", "LA"} or _is_grey_palette(image) else "RGB"
    if not image.has_transparency_data:
        return image if image.mode == mode else image.convert(mode)
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert(mode)


def _is_grey_palette(image: Image.Image) -> bool:
    if image.mode not in {"P", "PA"}:
        return False
    palette = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
    used = np.unique(np.asarray(image.getchannel(0)))
    colours = palette[used[used < len(palette)]]
    return bool((colours == colours[:, :1]).all())


class _Quiet:
    """Keeps Pillow's warnings and its own limit away: what matters of them is checked here.

    Filters and the limit belong to the whole process and pictures are read by several threads at
    once, so the first reader in silences and the last one out restores.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readers = 0
        self._filters = warnings.catch_warnings()
        self._limit = Image.MAX_IMAGE_PIXELS

    def __enter__(self) -> None:
        with self._lock:
            self._readers += 1
            if self._readers == 1:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")
                self._limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._readers -= 1
            if self._readers == 0:
                self._filters.__exit__(None, None, None)
                Image.MAX_IMAGE_PIXELS = self._limit


QUIET = _Quiet()  # whoever reads many pictures enters it once for all of them
