"""Pictures that claim to be 60,000 x 60,000: refused from the header, in every format."""

from __future__ import annotations

import importlib
import io
import struct
import tracemalloc
import zlib
from pathlib import Path

import pytest
from PIL import Image

from tests.runtime.graphs import negative
from tests.security.inside import command, nothing_left, refused

SIDE = 60_000


def small(form: str) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, form)
    return stream.getvalue()


def png() -> bytes:
    chunk = b"IHDR" + struct.pack(">2L5B", SIDE, SIDE, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">L", 13) + chunk + struct.pack(
        ">L", zlib.crc32(chunk)
    ) + small("PNG")[33:]  # fmt: skip


def jpeg() -> bytes:
    content = bytearray(small("JPEG"))
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = struct.pack(">2H", SIDE, SIDE)
    return bytes(content)


def tiff() -> bytes:
    content = small("TIFF")
    for tag in (256, 257):  # width and height, as numbers of four bytes
        start = content.index(struct.pack("<HHL", tag, 4, 1)) if (
            struct.pack("<HHL", tag, 4, 1) in content
        ) else content.index(struct.pack("<HHL", tag, 3, 1))  # fmt: skip
        content = content[:start] + struct.pack("<HHLL", tag, 4, 1, SIDE) + content[start + 12 :]
    return content


HUGE = {
    "PNG": png,
    "JPEG": jpeg,
    "TIFF": tiff,
    "BMP": lambda: small("BMP")[:18] + struct.pack("<2l", SIDE, SIDE) + small("BMP")[26:],
    "GIF": lambda: small("GIF")[:6] + struct.pack("<2H", SIDE, SIDE) + small("GIF")[10:],
    "PPM": lambda: b"P6\n%d %d\n255\n" % (SIDE, SIDE) + bytes(99),
}


@pytest.mark.parametrize("write", HUGE.values(), ids=HUGE)
def test_a_picture_that_claims_to_be_huge_takes_no_memory(write: object) -> None:
    assert callable(write)
    Path("photos").mkdir()
    Path("photos/huge.png").write_bytes(write())
    for number in range(3):
        Path(f"photos/{number}.png").write_bytes(small("PNG"))
    negative(Path("reconstruct.onnx"))
    importlib.import_module("zoo.training.train")  # whose memory is not the picture's
    tracemalloc.start()
    with nothing_left(Path()):
        assert "megapixels" in refused("run", "reconstruct.onnx", "photos/huge.png", code=3)
        assert "huge.png: more than 64 megapixels" in command("data", "check", "photos").out
        words = ("train", "vae", "--data", "photos", "--size", "8", "--steps", "1")
        assert "megapixels" in refused(*words, code=3)
    assert tracemalloc.get_traced_memory()[1] < 2**26
    tracemalloc.stop()
