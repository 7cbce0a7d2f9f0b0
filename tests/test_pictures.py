"""What users see of pictures: every kind is read rightly, grids can be looked at."""

from __future__ import annotations

import io
import threading
import warnings
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from tests.errors import raises
from zoo import grids, pictures
from zoo.errors import NotFoundError, UsageError
from zoo.grids import LOWEST_ROW
from zoo.pictures import BadPictureError, read_picture

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)
COLOUR = np.dstack([RAMP, RAMP[::-1], np.full_like(RAMP, 77)])


def saved(picture: Image.Image, form: str = "PNG", **options: object) -> io.BytesIO:
    file = io.BytesIO()
    picture.save(file, form, **options)
    file.seek(0)
    return file


def read(file: io.BytesIO) -> np.ndarray:
    return np.asarray(read_picture(file))


def test_grey_and_colour_come_back_as_they_are():
    assert (read(saved(Image.fromarray(RAMP))) == RAMP).all()
    assert (read(saved(Image.fromarray(COLOUR))) == COLOUR).all()


def test_bilevel_is_black_and_white():
    assert (read(saved(Image.fromarray(RAMP > 127))) == np.where(RAMP > 127, 255, 0)).all()


@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_are_scaled_and_not_clipped(form):
    deep = RAMP.astype(np.uint16) * 257
    assert (read(saved(Image.fromarray(deep), form)) == RAMP).all()


def test_big_endian_sixteen_bits():
    # a TIFF in the byte order of old Macs, written by hand: Pillow only writes the other one
    tags = [(256, 3, 16), (257, 3, 16), (258, 3, 16), (259, 3, 1), (262, 3, 1), (273, 4, 0)]
    tags += [(277, 3, 1), (278, 3, 16), (279, 4, 512)]
    body = b"MM\0*" + (8).to_bytes(4, "big") + len(tags).to_bytes(2, "big")
    start = len(body) + 12 * len(tags) + 4
    for tag, kind, value in tags:
        number = start if tag == 273 else value
        field = number.to_bytes(4, "big") if kind == 4 else number.to_bytes(2, "big") + b"\0\0"
        body += tag.to_bytes(2, "big") + kind.to_bytes(2, "big") + (1).to_bytes(4, "big") + field
    body += bytes(4) + (RAMP.astype(np.uint16) * 257).astype(">u2").tobytes()
    assert (read(io.BytesIO(body)) == RAMP).all()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (RAMP / np.float32(255), RAMP),  # a float in [0, 1]
        (RAMP.astype(np.float32), RAMP),  # a float in [0, 255]
        (RAMP.astype(np.float32) * 50 - 3000, RAMP),  # heights, temperatures: their own range
        (RAMP.astype(np.int32) * 257, RAMP),
        (RAMP.astype(np.int32) * 1_000_000 - 5, RAMP),
    ],
)
def test_floats_and_long_integers_keep_their_greys(values, expected):
    got = read(saved(Image.fromarray(values), "TIFF")).astype(int)
    assert np.abs(got - expected).max() <= 1


def test_not_a_number_in_a_float_picture_is_dark():
    values = RAMP / np.float32(255)
    values[0, 5] = np.nan
    got = read(saved(Image.fromarray(values), "TIFF"))
    assert got[0, 5] == 0
    assert got[15, 15] == 255


def test_what_is_transparent_shows_white():
    grey = Image.merge("LA", [Image.fromarray(RAMP), Image.fromarray(RAMP)])
    over_white = np.rint(RAMP * (RAMP / 255) + 255 - RAMP)
    assert np.abs(read(saved(grey)) - over_white).max() <= 1
    colour = np.dstack([COLOUR, np.zeros_like(RAMP)])
    assert (read(saved(Image.fromarray(colour))) == 255).all()


def test_one_transparent_colour_shows_white():
    grey = read(saved(Image.fromarray(RAMP), transparency=0))
    assert grey.ndim == 2
    assert grey[0, 0] == 255
    assert (grey.ravel()[1:] == RAMP.ravel()[1:]).all()
    colour = read(saved(Image.fromarray(COLOUR), transparency=(0, 240, 77)))
    assert (colour[0, 0] == 255).all()
    assert (colour[1:] == COLOUR[1:]).all()


def test_palettes():
    colours = Image.fromarray(COLOUR).quantize(16)
    assert (read(saved(colours)) == np.asarray(colours.convert("RGB"))).all()
    greys = Image.fromarray(RAMP).convert("P")
    assert (read(saved(greys)) == RAMP).all()
    clear = saved(greys, "GIF", transparency=3)
    assert read(clear)[0, 3] == 255


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB"])
def test_other_colour_spaces_become_rgb(mode):
    smooth = Image.new("RGB", (8, 8), (200, 40, 90))
    if mode == "LAB":
        spaces = [ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")]
        other = ImageCms.profileToProfile(smooth, *spaces, outputMode="LAB")
    else:
        other = smooth.convert(mode)
    picture = read_picture(saved(other, "TIFF"))
    assert picture.mode == "RGB"
    assert np.abs(np.asarray(picture).astype(int) - (200, 40, 90)).max() <= 4


def test_cmyk_jpeg_of_a_print_shop_is_not_inverted():
    white = Image.new("CMYK", (16, 16), (0, 0, 0, 0))
    assert read(saved(white, "JPEG")).min() > 250


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF"])
def test_formats_that_people_use(form):
    picture = Image.fromarray(COLOUR).resize((64, 48))
    assert read_picture(saved(picture, form)).size == (64, 48)


def test_camera_jpeg_with_two_pictures_inside():
    first, second = Image.new("RGB", (9, 8), "red"), Image.new("RGB", (9, 8), "blue")
    file = saved(first, "MPO", save_all=True, append_images=[second])
    red, _, blue = np.asarray(read_picture(file))[4, 4]
    assert red > 200
    assert blue < 50


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_stand_upright(form, orientation, tmp_path):
    # upright: 40 wide, 24 high, red in the upper left corner
    upright = Image.new("RGB", (40, 24), "blue")
    upright.paste("red", (0, 0, 20, 12))
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # numbers of Image.Transpose
    held = upright.transpose(Image.Transpose(undo[orientation])) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = tmp_path / "photo"
    held.save(file, form, exif=exif)
    got = np.asarray(read_picture(file)).astype(int)
    assert got.shape == (24, 40, 3)
    assert np.abs(got[6, 10] - (255, 0, 0)).max() < 40
    assert np.abs(got[18, 30] - (0, 0, 255)).max() < 40
    assert pictures.peek(file) == (24, 40, "RGB")


def test_damaged_exif_spoils_nothing(tmp_path):
    file = tmp_path / "photo.jpg"
    broken = b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01\x03\0\xff\xff\xff\xff" * 3
    Image.fromarray(COLOUR).save(file, exif=broken)
    assert read_picture(file).size == (16, 16)
    assert pictures.peek(file) == (16, 16, "RGB")


def test_errors_name_the_file_and_the_cause(tmp_path):
    whole = saved(Image.fromarray(COLOUR).resize((200, 200))).getvalue()
    bad = {
        "text.png": b"not a picture",
        "empty.jpg": b"",
        "cut.png": whole[: len(whole) // 2],
        "page.eps": saved(Image.fromarray(COLOUR), "EPS").getvalue(),
    }
    for name, content in bad.items():
        path = tmp_path / name
        path.write_bytes(content)
        with raises(BadPictureError, "bad-picture", path) as caught:
            read_picture(path)
        assert caught.value.cause
        assert isinstance(caught.value, NotFoundError)
    for path in (tmp_path / "nowhere.png", tmp_path):
        with raises(BadPictureError, "bad-picture", path):
            read_picture(path)
    with raises(BadPictureError, "bad-picture", "photo 3"):
        read_picture(io.BytesIO(b""), "photo 3")


def test_decompression_bombs_are_refused_from_the_header():
    for width, height in [(9000, 8000), (12000, 12000), (65000, 65000)]:
        header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
        chunk = b"IHDR" + header
        crc = zlib.crc32(chunk).to_bytes(4, "big")
        png = b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4, "big") + chunk + crc
        png += b"\0\0\0\0IDAT" + zlib.crc32(b"IDAT").to_bytes(4, "big")
        with raises(BadPictureError, "bad-picture", "ZOO_MAX_MEGAPIXELS"):
            read_picture(io.BytesIO(png))


def test_a_limit_can_be_raised_also_above_pillows_own(tmp_path, monkeypatch):
    path = tmp_path / "large.png"
    Image.new("1", (14_000, 13_500)).save(path)  # 189 million pixels; Pillow's limit is 179
    with raises(BadPictureError, "bad-picture", path, "ZOO_MAX_MEGAPIXELS=181"):
        read_picture(path)
    monkeypatch.setenv("ZOO_MAX_MEGAPIXELS", "180")
    with raises(BadPictureError, "bad-picture", "ZOO_MAX_MEGAPIXELS=181"):
        pictures.peek(path)
    monkeypatch.setenv("ZOO_MAX_MEGAPIXELS", "181")
    assert pictures.peek(path)[:2] == (13_500, 14_000)
    assert read_picture(path).size == (14_000, 13_500)
    assert Image.MAX_IMAGE_PIXELS is not None


@pytest.mark.parametrize("text", ["many", "0", "-1", "1e3", "99999999999", "64 "])
def test_a_limit_that_is_no_number_is_a_wrong_usage(tmp_path, monkeypatch, text):
    monkeypatch.setenv("ZOO_MAX_MEGAPIXELS", text)
    Image.new("L", (8, 8)).save(tmp_path / "small.png")
    with raises(UsageError, "bad-environment", "ZOO_MAX_MEGAPIXELS"):
        read_picture(tmp_path / "small.png")


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["", "PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF"]),
    st.binary(max_size=80),
    st.integers(0, 400),
)
def test_arbitrary_bytes_are_a_picture_or_a_bad_picture(form, noise, place):
    content = bytearray(saved(Image.fromarray(COLOUR), form).getvalue() if form else b"")
    content[place : place + len(noise)] = noise
    try:
        picture = read_picture(io.BytesIO(bytes(content)))
    except BadPictureError:
        return
    assert picture.mode in {"L", "RGB"}


def test_many_threads_read_at_once_and_leave_the_warnings_alone():
    before = list(warnings.filters)
    exif = b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01\x03\0\xff\xff\xff\xff" * 3
    content = saved(Image.fromarray(COLOUR), "JPEG", exif=exif).getvalue()
    start = threading.Barrier(8)

    def work(_: int) -> int:
        start.wait()
        return sum(read_picture(io.BytesIO(content)).width for _ in range(50))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [800] * 8
    assert list(warnings.filters) == before


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 60),
    st.integers(1, 60),
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from([1, 3]),
    st.sampled_from(["L", "RGB"]),
)
def test_every_picture_fits_every_size(width, height, to_height, to_width, channels, mode):
    picture = Image.new(mode, (width, height), "white")
    fitted = pictures.fit(picture, to_height, to_width, channels)
    assert fitted.shape == (to_height, to_width, channels)
    assert fitted.dtype == np.uint8
    assert (fitted == 255).all()


def test_fit_keeps_the_aspect_and_the_middle():
    wide = Image.new("RGB", (300, 100), "red")
    wide.paste("lime", (100, 0, 200, 100))
    assert (pictures.fit(wide, 50, 50, 3)[:, 2:-2] == (0, 255, 0)).all()
    assert (pictures.fit(wide.rotate(90, expand=True), 50, 50, 3)[2:-2] == (0, 255, 0)).all()


def test_fit_is_antialiased():
    stripes = Image.fromarray(np.tile(np.array([[0, 255]], np.uint8), (64, 32)))
    assert np.abs(pictures.fit(stripes, 16, 16, 1)[:, 2:-2].astype(int) - 127).max() <= 3


@given(st.floats(-100, 100), st.floats(0.01, 100))
def test_values_and_pixels_turn_into_each_other_exactly(low, span):
    pixels = np.dstack([RAMP, RAMP.T, 255 - RAMP])[None]
    values = pictures.to_values(pixels, low, low + span)
    assert values.shape == (1, 3, 16, 16)
    assert values.dtype == np.float32
    assert values.min() == pytest.approx(low, abs=1e-3)
    assert values.max() == pytest.approx(low + span, abs=1e-3)
    assert (pictures.to_pixels(values, low, low + span) == pixels).all()


def test_minus_one_to_one_are_the_exact_ends():
    values = pictures.to_values(np.array([0, 255], np.uint8).reshape(1, 1, 2, 1), -1, 1)
    assert values.ravel().tolist() == [-1.0, 1.0]


def test_impossible_values_become_pixels_all_the_same():
    values = np.array([np.nan, np.inf, -np.inf, 1e30, -7, 0.5], np.float32).reshape(1, 1, 1, 6)
    assert pictures.to_pixels(values, 0, 1).ravel().tolist() == [0, 255, 0, 255, 0, 128]
    assert pictures.to_pixels(values, 1, 1).max() == 0


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 30),
    st.integers(1, 70),
    st.integers(1, 70),
    st.sampled_from([1, 3]),
    st.none() | st.integers(1, 12),
)
def test_every_grid_has_every_picture_in_its_place(count, height, width, channels, columns):
    shape = (count, height, width, channels)
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    page = grids.grid(pixels, columns)
    assert page.ndim == 3
    assert page.shape[2] == channels
    across = min(columns or int(np.ceil(count**0.5)), count)
    down = -(-count // across)
    factor = (page.shape[1] - grids.GAP) // across - grids.GAP
    assert factor % width == 0
    factor //= width
    assert page.shape[0] == down * (height * factor + grids.GAP) + grids.GAP
    for index in range(count):
        top = grids.GAP + index // across * (height * factor + grids.GAP)
        left = grids.GAP + index % across * (width * factor + grids.GAP)
        there = page[top : top + height * factor : factor, left : left + width * factor : factor]
        assert (there == pixels[index]).all()


def test_grids_of_small_pictures_are_large_enough_to_look_at_and_not_larger():
    for count, columns in [(64, 8), (1, None), (9, None), (300, 1), (2000, None)]:
        page = grids.grid(np.zeros((count, 28, 28, 1), np.uint8), columns)
        enlarged = page.shape[1] > 28 * (columns or count**0.5) * 1.5
        assert page.shape[1] >= 512 or page.shape[0] > 1024
        assert not enlarged or max(page.shape) <= 2048 + 1000


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 12),
    st.integers(1, 5),
    st.integers(1, 70),
    st.integers(1, 70),
    st.sampled_from([1, 3]),
)
def test_labels_stand_beside_their_rows_and_change_nothing_else(
    rows, columns, height, width, channels
):
    shape = (rows * columns, height, width, channels)
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    labels = [("a longer name" if row % 2 else "W") for row in range(rows)]
    page = grids.grid(pixels, columns, labels)
    plain = grids.grid(pixels, columns)
    assert page.dtype == np.uint8
    assert page.shape[2] == channels
    step = (len(page) - grids.GAP) // rows
    assert (step - grids.GAP) % height == 0
    assert step - grids.GAP >= LOWEST_ROW
    factor = (step - grids.GAP) // height
    across = columns * (width * factor + grids.GAP) + grids.GAP
    margin, shown = np.split(page, [page.shape[1] - across], axis=1)
    if factor == ((len(plain) - grids.GAP) // rows - grids.GAP) // height:
        assert (shown == plain).all()
    assert (shown[grids.GAP, grids.GAP] == pixels[0, 0, 0]).all()
    assert (margin == margin[:, :, :1]).all(), "black and grey, in pictures of colour too"
    for row, label in enumerate(labels):
        beside = margin[grids.GAP + row * step :][: step - grids.GAP, :, 0]
        lines = np.flatnonzero((beside < 128).any(axis=1))
        assert 6 <= np.ptp(lines) + 1 <= 30, "letters that can be read"
        if label == "W":
            middle = (lines[0] + lines[-1]) / 2 / len(beside)
            assert 0.25 < middle < 0.75


def test_inputs_stand_above_outputs():
    inputs = np.stack([np.full((2, 2, 1), 10 * i, np.uint8) for i in range(5)])
    outputs = np.repeat(inputs + 1, 3, axis=3)
    page = grids.interleave(inputs, outputs, columns=3)
    assert page.shape == (12, 2, 2, 3)
    assert page[:, 0, 0, 0].tolist() == [0, 10, 20, 1, 11, 21, 30, 40, 255, 31, 41, 255]


@pytest.mark.parametrize("pixels", [RAMP[:, :, None], COLOUR])
def test_png_holds_the_very_pixels(pixels, tmp_path):
    path = tmp_path / "folder" / "picture.png"
    path.parent.mkdir()
    pictures.write_png(path, pixels)
    assert (np.asarray(Image.open(path)).reshape(pixels.shape) == pixels).all()
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(FileNotFoundError):
        pictures.write_png(tmp_path / "nowhere" / "picture.png", pixels)
    assert not (tmp_path / "nowhere").exists()


def test_the_grey_photographs_among_the_zebras(shared_data: Path):
    with zipfile.ZipFile(shared_data / "horse2zebra.zip") as archive:
        content = archive.read("horse2zebra/trainB/n02391049_226.jpg")
    assert read_picture(io.BytesIO(content)).mode == "L"
