"""Where sounds meet: stereo, echo and the loudness of the whole; knows samples, not notes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from generative.music.sound.wav import PEAK

ECHO_SECONDS = 1.6  # until the room is silent (60 dB)
ECHO_DELAY_SECONDS = 0.018
ECHO_LEVEL = 0.12
ECHO_HERTZ = 4_500.0  # above this the walls swallow sound
TAIL_SECONDS = 2.5  # after the last note: the longest release and the echo
FADE_SECONDS = 0.05
CREST = 5.0  # peaks stand at most so far above the loud passages (14 dB)
LIMITER_SECONDS = 0.01
PART_BLOCKS = 1_000  # limited at a time
FFT_SAMPLES = 2**18

Samples = NDArray[np.float32]


class Room:
    """A stereo mix of so many seconds, and the echo of what was put into it."""

    def __init__(self, seconds: float, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        length = round((seconds + TAIL_SECONDS) * sample_rate)
        self._mix = np.zeros((2, length), dtype=np.float32)
        self._echo = np.zeros(length, dtype=np.float32)  # what is sent to the walls

    def add(self, sound: Samples, at_seconds: float, pan: float | Samples, echo: float) -> None:
        """Mix a sound (N,) in, from a time on.

        `pan` -1 is left, 1 is right, of equal power; it may move with the sound. (N,)
        """
        at = round(at_seconds * self.sample_rate)
        sound = sound[: len(self._echo) - at]
        angle = (np.atleast_1d(np.float32(pan))[: len(sound)] + 1) * np.float32(np.pi / 4)
        here = slice(at, at + len(sound))
        self._mix[0, here] += sound * np.cos(angle)
        self._mix[1, here] += sound * np.sin(angle)
        self._echo[here] += sound * np.float32(echo)

    def sound(self) -> Samples:
        """All of it, with its echo, faded out at the end. -> (N, 2), the room's own: it is done."""
        for side in range(2):
            _convolve_into(self._mix[side], self._echo, _echo_response(side, self.sample_rate))
        fade = round(FADE_SECONDS * self.sample_rate)
        self._mix[:, -fade:] *= np.linspace(1.0, 0.0, fade, dtype=np.float32)
        return self._mix.T


def master(sound: Samples, sample_rate: int) -> None:
    """Bring sound (N, 2) to an even loudness, in place; an hour of it is too large for copies.

    Rare peaks are pressed down, and the loudest sample becomes `PEAK`. Where a peak is too high,
    the gain falls to what it needs a block before it and rises again after it, in straight lines,
    so that nothing is clipped.
    """
    size = round(LIMITER_SECONDS * sample_rate)
    parts = [sound[i : i + PART_BLOCKS * size] for i in range(0, len(sound), PART_BLOCKS * size)]
    peaks, loudness = (
        np.concatenate(levels) for levels in zip(*(_levels(p, size) for p in parts), strict=True)
    )  # (K,) each
    if not peaks.any():
        return
    ceiling = CREST * float(np.percentile(loudness[loudness > 0.01 * loudness.max()], 90))
    needed = np.minimum(1.0, ceiling / np.maximum(peaks, 1e-9))
    padded = np.pad(needed, 2, constant_values=1.0)
    least = np.min([padded[i : i + len(needed) + 2] for i in range(3)], axis=0)  # (K + 2,)
    centres = (np.arange(len(least)) - 0.5) * size
    loudest = 0.0
    for i, part in enumerate(parts):
        begin = i * PART_BLOCKS * size
        gain = np.interp(np.arange(begin, begin + len(part)), centres, least)
        np.multiply(part, gain.astype(np.float32)[:, None], out=part)
        loudest = max(loudest, float(np.abs(part).max()))
    sound *= np.float32(PEAK / loudest)


def _levels(sound: Samples, size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The peak and the loudness (RMS) of each block of `size` samples. -> (K,), (K,)"""
    either = np.abs(sound).max(axis=1).astype(np.float64)
    blocks = np.pad(either, (0, -len(either) % size)).reshape(-1, size)
    return blocks.max(axis=1), np.sqrt(np.mean(blocks**2, axis=1))


def _echo_response(side: int, sample_rate: int) -> NDArray[np.float64]:
    """What the walls give back of one clap: noise that fades, of its own for each ear."""
    t = np.arange(round(ECHO_SECONDS * sample_rate)) / sample_rate
    noise = np.random.default_rng(side).standard_normal(len(t)) * np.exp(-6.9 * t / ECHO_SECONDS)
    spectrum = np.fft.rfft(noise)
    frequencies = np.fft.rfftfreq(len(noise), 1.0 / sample_rate)
    spectrum /= 1.0 + (frequencies / ECHO_HERTZ) ** 2
    spectrum *= frequencies / (frequencies + 150.0)  # no rumble
    wet = np.fft.irfft(spectrum, len(noise))
    wet *= ECHO_LEVEL / np.sqrt(np.sum(wet**2))
    return np.concatenate([np.zeros(round(ECHO_DELAY_SECONDS * sample_rate)), wet])


def _convolve_into(out: Samples, sound: Samples, response: NDArray[np.float64]) -> None:
    """Add `sound` (N,) through a response (R,) to `out` (N,), block by block (overlap-add)."""
    spectrum = np.fft.rfft(response, FFT_SAMPLES)
    step = FFT_SAMPLES - len(response) + 1
    for begin in range(0, len(sound), step):
        part = sound[begin : begin + step]
        if not part.any():
            continue
        wet = np.fft.irfft(np.fft.rfft(part, FFT_SAMPLES) * spectrum, FFT_SAMPLES)
        here = out[begin : begin + min(len(part) + len(response) - 1, len(out) - begin)]
        here += wet[: len(here)].astype(np.float32)
