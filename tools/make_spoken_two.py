"""Make `spoken-two`, the sounds of zoo-gans, from the Free Spoken Digit Dataset.

The digit two, 50 times by each of six speakers; recordings 0 to 4 of each are for testing, as the
data set's authors have it. Each is cut to its first 4,096 samples, which hold 85 % of them whole,
and scaled so that its loudest sample is 90 % of what 16 bits hold, because the microphones differ
by a factor of eight. Run it with a zip file of the data set, or of its folder `recordings`::

    git clone https://github.com/Jakobovski/free-spoken-digit-dataset
    git -C free-spoken-digit-dataset archive -o ../digits.zip 26eb9aaf
    python tools/make_spoken_two.py digits.zip [TARGET]

The same recordings give the same sounds everywhere, and the same bytes with the same libsndfile.
"""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np
import soundfile

DIGIT = "2"
TESTED = range(5)  # of each speaker's recordings
LONGEST = 4096  # samples
LOUDEST = 0.9 * 2**15


def main(recordings: Path, target: Path) -> None:
    """Read the recordings and write ``spoken-two.zip`` into `target`."""
    members: dict[str, bytes] = {}
    with zipfile.ZipFile(recordings) as archive:
        for name in archive.namelist():
            path = PurePosixPath(name)
            digit, _, speaker_and_index = path.stem.partition("_")
            if path.suffix == ".wav" and digit == DIGIT:
                speaker, _, index = speaker_and_index.partition("_")
                split = "test" if int(index) in TESTED else "train"
                member = f"{split}/{speaker}-{int(index):02}.flac"
                members[member] = as_flac(archive.read(name))
    with zipfile.ZipFile(target / "spoken-two.zip", "w") as archive:
        for name in sorted(members):
            info = zipfile.ZipInfo(f"spoken-two/{name}")  # of 1980, whatever the time of day
            info.create_system, info.external_attr = 3, 0o644 << 16
            archive.writestr(info, members[name])


def as_flac(wav: bytes) -> bytes:
    """Return the beginning of a recording with its loudest sample at `LOUDEST`, as FLAC."""
    samples, rate = soundfile.read(io.BytesIO(wav), frames=LONGEST, dtype="int16")
    scaled = np.rint(samples * (LOUDEST / np.abs(samples.astype(np.int32)).max()))
    file = io.BytesIO()
    soundfile.write(
        file, scaled.astype(np.int16), rate, format="FLAC", subtype="PCM_16", compression_level=1.0
    )
    return file.getvalue()


if __name__ == "__main__":
    here = Path(__file__).parents[1] / "plugins/zoo-gans/zoo_gans/spoken-two"
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else here)
