"""Sounds: clips of one length and rate, 16 bits a sample."""

from __future__ import annotations

import importlib
import math
import wave
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from zoo.atomic import SPECIAL, is_special
from zoo.errors import NotFoundError
from zoo.modalities.base import Array, DecodeOptions, Decoding, Modality, Side, Stored
from zoo.pictures import Pixels
from zoo.ports import MAX_RATE, Port

MAX_SAMPLES = 2**26  # of one file, in all channels; more is taken for an attack
LONGEST = 2**16  # samples of a clip, unless --length asks for more
COVERED = 0.95  # share of the sounds that a clip holds whole, unless --length says otherwise
USUAL_RATE = 16_000
WINDOW, HOP = 256, 64  # samples of the spectrogram
PAUSE = 0.25  # seconds between two sounds of one file
FLOOR = -80.0  # decibels below the loudest that are black
WAVE_HEIGHT, SPECTRUM_HEIGHT, CELL_WIDTH = 48, 96, 192  # pixels


class BadSoundError(NotFoundError):
    """A file that is no sound, is damaged, or is too long to be honest."""

    code = "bad-sound"


class Audio(Modality):
    """Sounds: int16 (N, length, channels) in decoded data, (N, channels, length) in a port."""

    kind = "audio"
    items = "sounds"
    files = "sounds in one folder"
    suffix = ".wav"
    samples = 16
    options = frozenset({"length", "rate", "channels"})

    def suffixes(self) -> frozenset[str]:
        """Return the endings of files of sound that are read."""
        return frozenset({".wav", ".flac", ".ogg", ".aiff", ".aif", ".mp3"})

    def survey(
        self, name: str, sides: Sequence[Side], options: DecodeOptions
    ) -> tuple[Port, tuple[str, ...]]:
        """Return a port of the most frequent rate, and of a length that holds nearly all sounds."""
        rates, channels, seconds = Counter[int](), Counter[int](), []
        for side in sides:
            for path in side.items:
                try:
                    frames, rate, count = peek(path)
                except BadSoundError:  # reported when it is decoded
                    continue
                rates[rate] += 1
                channels[count] += 1
                seconds.append(frames / rate)
        rate = options.rate or (rates.most_common(1)[0][0] if rates else USUAL_RATE)
        notes = []
        if len({*rates, rate}) > 1:
            told = ", ".join(f"{each:,} Hz: {count:,}" for each, count in rates.most_common(4))
            notes.append(f"sounds are resampled to {rate:,} Hz ({told}); --rate asks for another")
        length = options.length or _length(seconds, rate)
        count = options.channels or 0
        if count not in {1, 2}:  # such as the 3 of a catalogue row that says nothing
            count = min(2, channels.most_common(1)[0][0] if channels else 1)
        shape = ("batch", count, length)
        return Port(name, self.kind, shape, range=(-1.0, 1.0), rate=rate), tuple(notes)

    def stored(self, port: Port) -> Stored:
        """Return that samples are 16 bits, the channels last."""
        _, channels, length = port.shape
        return Stored("int16", (int(length), int(channels)), (0, 2, 1), 32768.0)

    def decode(self, path: Path, port: Port) -> tuple[Array, tuple[int, ...]]:
        """Read a sound, resample it, and cut or fill it up at its end."""
        samples, rate = read_sound(path)
        length, channels = self.stored(port).shape
        assert port.rate is not None
        samples = resample(_with_channels(samples, channels), rate, port.rate)
        size = len(samples)
        clip = np.zeros((length, channels), np.float32)
        clip[: min(size, length)] = samples[:length]
        return np.clip(np.rint(clip * 32768), -32768, 32767).astype(np.int16), (size,)

    def decoded(self, port: Port, seen: Decoding) -> tuple[Port, tuple[str, ...]]:
        """Say how many sounds were cut or filled up."""
        length, rate = int(port.shape[2]), port.rate or 1
        total = seen.sizes.total()
        cut = sum(count for (size,), count in seen.sizes.items() if size > length)
        filled = sum(count for (size,), count in seen.sizes.items() if size < length)
        for (size,), count in seen.sizes.items():
            seen.count("seconds", f"{size / rate:.1f}", count)
        parts = [f"{cut:,} are cut" if cut else "", f"{filled:,} are filled up with silence"]
        if not (cut or filled):
            return port, ()
        told = " and ".join(part for part in parts[: 1 + bool(filled)] if part)
        clip = f"clips of {length:,} samples ({length / rate:.2f} s)"
        return port, (f"{clip}: of {total:,} sounds {told}; --length asks for another",)

    def like(self, port: Port, options: DecodeOptions) -> DecodeOptions:
        """Return the options with length, rate and channels of the clips."""
        _, channels, length = port.shape
        return replace(options, length=int(length), channels=int(channels), rate=port.rate)

    def encode(self, rows: Array, port: Port) -> bytes:
        """Return a WAV file of 16 bits; several sounds follow one another after a pause."""
        rate = port.rate or USUAL_RATE
        pause = np.zeros((round(PAUSE * rate), rows.shape[2]), "<i2")
        parts = [part for row in rows for part in (pause, row.astype("<i2"))]
        content = BytesIO()
        with wave.open(content, "wb") as file:
            file.setnchannels(rows.shape[2])
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes(np.concatenate(parts[1:]).tobytes())
        return content.getvalue()

    def cells(self, rows: Array, port: Port) -> Pixels | None:
        """Return each sound as its waveform over its spectrogram, low tones at the bottom."""
        del port
        return np.stack([draw_sound(row.mean(axis=1) / 32768) for row in rows])

    def join(self, rounds: Sequence[Array], port: Port) -> Array:
        """Return the samples of all rounds one after the other."""
        del port
        return np.concatenate(rounds, axis=2)

    def describe(self, port: Port) -> str:
        """Return length, rate and channels."""
        channels = {1: "mono", 2: "stereo"}.get(int(port.shape[1]), f"{port.shape[1]} channels")
        return f"clips of {port.shape[2]:,} samples at {port.rate:,} Hz, {channels}"


def peek(path: Path) -> tuple[int, int, int]:
    """Return the samples a channel, the rate and the channels of a file, as its header says.

    Raises:
        BadSoundError: it cannot be read.
    """
    if is_special(path):
        raise BadSoundError(f"cannot read {path}", cause=SPECIAL)
    try:
        facts = _library().info(str(path))
    except (RuntimeError, OSError) as problem:
        raise BadSoundError(f"cannot read {path}", cause=_reason(problem)) from None
    if not (0 < facts.frames * facts.channels <= MAX_SAMPLES and 0 < facts.samplerate <= MAX_RATE):
        raise BadSoundError(
            f"cannot read {path}", cause=f"{facts.frames:,} samples at {facts.samplerate:,} Hz"
        )
    return facts.frames, facts.samplerate, facts.channels


def read_sound(path: Path) -> tuple[Array, int]:
    """Return the samples of a file (length, channels) in [-1, 1], and its rate.

    Raises:
        BadSoundError: it cannot be read, or is too long.
    """
    frames, rate, _ = peek(path)
    try:
        samples, _ = _library().read(str(path), frames=frames, dtype="float32", always_2d=True)
    except (RuntimeError, OSError) as problem:
        raise BadSoundError(f"cannot read {path}", cause=_reason(problem)) from None
    if not len(samples):
        raise BadSoundError(f"cannot read {path}", cause="it holds no samples")
    return np.nan_to_num(samples), rate


def resample(samples: Array, rate: int, to: int) -> Array:
    """Return samples (length, channels) at another rate, by their Fourier series."""
    if rate == to:
        return samples
    unit = rate // math.gcd(rate, to)  # samples that become a whole number of new ones
    before = -(-rate // 100 // unit) * unit  # what the series repeats stays out of earshot
    after = before + -len(samples) % unit
    padded = np.pad(
        samples, ((before, after), (0, 0)), mode="reflect" if len(samples) > 1 else "edge"
    )
    whole = len(padded) * to // rate
    spectrum = np.fft.rfft(padded, axis=0)[: whole // 2 + 1]
    made = np.fft.irfft(spectrum, whole, axis=0) * (whole / len(padded))
    start, length = before * to // rate, max(1, round(len(samples) * to / rate))
    return np.array(made[start : start + length], dtype=np.float32)


def spectrogram(samples: Array) -> Array:
    """Return decibels below the loudest (frequencies, times) of samples (length,)."""
    padded = np.pad(samples, (0, max(0, WINDOW - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW), axis=1)).T ** 2
    loudest = max(float(power.max()), 1e-10)
    decibels: Array = 10 * np.log10(np.maximum(power / loudest, 10 ** (FLOOR / 10)))
    return decibels


def draw_sound(samples: Array) -> Pixels:
    """Return one picture (H, W, 3) of samples in [-1, 1]: waveform over spectrogram."""
    cell = np.full((WAVE_HEIGHT + SPECTRUM_HEIGHT, CELL_WIDTH, 3), 255, np.uint8)
    middle = (WAVE_HEIGHT - 1) / 2
    for column, part in enumerate(np.array_split(samples, CELL_WIDTH)):
        if len(part):
            top, bottom = (round(middle * (1 - each)) for each in (part.max(), part.min()))
            cell[max(0, top) : min(WAVE_HEIGHT, bottom + 1), column] = 40, 80, 160
    shades = (spectrogram(samples) / -FLOOR + 1)[::-1]
    rows = np.arange(SPECTRUM_HEIGHT) * shades.shape[0] // SPECTRUM_HEIGHT
    columns = np.arange(CELL_WIDTH) * shades.shape[1] // CELL_WIDTH
    shades = shades[rows][:, columns]
    red, green = np.clip(2 * shades, 0, 1), np.clip(2 * shades - 1, 0, 1)
    blue = np.clip(0.4 * np.sin(np.pi * shades) + 0.6 * shades**4, 0, 1)
    cell[WAVE_HEIGHT:] = np.rint(255 * np.stack([red, green, blue], axis=2))
    return cell


def _length(seconds: Sequence[float], rate: int) -> int:
    """Return the samples of a clip that holds nearly all sounds whole."""
    if not seconds:
        return rate
    usual = float(np.quantile(seconds, COVERED))
    return int(min(LONGEST, max(16, np.ceil(usual * rate))))


def _with_channels(samples: Array, channels: int) -> Array:
    """Return samples in mono or stereo: the mean of all channels, or the first two."""
    if channels == 1:
        return np.asarray(samples.mean(axis=1))[:, None]
    return samples[:, [0, min(1, samples.shape[1] - 1)]]


def _library() -> Any:
    """Return soundfile, which is loaded where sounds are read and nowhere else."""
    return importlib.import_module("soundfile")


def _reason(problem: Exception) -> str:
    return " ".join(str(problem).split(": ", 1)[-1].split())[:200]
