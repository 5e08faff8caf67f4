"""Mixing sounds to stereo, with reverb and one loudness; notes are not known here."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from generative.music.sound.loudness import loudness
from generative.music.sound.wav import PEAK

REVERB_SECONDS = 1.6  # the time in which the reverb falls by 60 dB
REVERB_DELAY_SECONDS = 0.018
REVERB_LEVEL = 0.12
REVERB_HERTZ = 4_500.0  # cut-off frequency of the reverb
TAIL_SECONDS = 2.5  # after the last note, for the longest release and the reverb
FADE_SECONDS = 0.05
LOUDNESS = -16.0  # LUFS, as the AES recommends for music that is streamed (TD1008, 2021)
PASSES = 3
LIMITER_SECONDS = 0.01
PART_BLOCKS = 1_000  # blocks that the limiter processes at a time
FFT_SAMPLES = 2**18

Samples = NDArray[np.float32]


class StereoMix:
    """A stereo mix, with a bus for reverb."""

    def __init__(self, seconds: float, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        length = round((seconds + TAIL_SECONDS) * sample_rate)
        self._mix = np.zeros((2, length), dtype=np.float32)
        self._reverb_bus = np.zeros(length, dtype=np.float32)

    def add(self, sound: Samples, at_seconds: float, pan: float | Samples, reverb: float) -> None:
        """Add a sound to the mix.

        Args:
            sound: Samples. (N,)
            at_seconds: The time at which the sound begins.
            pan: -1 (left) to 1 (right), with constant power; a float, or one for each sample. (N,)
            reverb: The gain with which the sound is sent to the reverb.
        """
        at = round(at_seconds * self.sample_rate)
        sound = sound[: len(self._reverb_bus) - at]
        angle = (np.atleast_1d(np.float32(pan))[: len(sound)] + 1) * np.float32(np.pi / 4)
        here = slice(at, at + len(sound))
        self._mix[0, here] += sound * np.cos(angle)
        self._mix[1, here] += sound * np.sin(angle)
        self._reverb_bus[here] += sound * np.float32(reverb)

    def sound(self) -> Samples:
        """The mix with reverb, faded out at the end; this uses up the mix. -> (N, 2)"""
        for side in range(2):
            _convolve_into(
                self._mix[side], self._reverb_bus, _impulse_response(side, self.sample_rate)
            )
        fade = round(FADE_SECONDS * self.sample_rate)
        self._mix[:, -fade:] *= np.linspace(1.0, 0.0, fade, dtype=np.float32)
        return self._mix.T


def master(sound: Samples, sample_rate: int) -> None:
    """Bring sound (N, 2) to `LOUDNESS` in place, since copies of an hour of it are too large.

    Peaks above `PEAK` are lowered. Where that makes the whole softer, the rest is raised again, but
    no more than `PASSES` times, since sound that is nearly all peaks has no use for more.
    """
    for _ in range(PASSES):
        level = loudness(sound, sample_rate)
        if level == -np.inf:
            return
        sound *= np.float32(10 ** ((LOUDNESS - level) / 20))
        if not _limit(sound, sample_rate):
            return


def _limit(sound: Samples, sample_rate: int) -> bool:
    """Lower the peaks of sound (N, 2) to `PEAK`, in place; say whether there were any.

    For a peak that is too high the gain falls linearly during the block before it and rises
    linearly in the block after it, so that nothing is clipped.
    """
    size = round(LIMITER_SECONDS * sample_rate)
    parts = [sound[i : i + PART_BLOCKS * size] for i in range(0, len(sound), PART_BLOCKS * size)]
    peaks = np.concatenate([_peaks(part, size) for part in parts])  # (K,)
    needed = np.minimum(1.0, PEAK / np.maximum(peaks, 1e-9))
    if needed.min() == 1.0:
        return False
    padded = np.pad(needed, 2, constant_values=1.0)
    least = np.min([padded[i : i + len(needed) + 2] for i in range(3)], axis=0)  # (K + 2,)
    centres = (np.arange(len(least)) - 0.5) * size
    for i, part in enumerate(parts):
        begin = i * PART_BLOCKS * size
        gain = np.interp(np.arange(begin, begin + len(part)), centres, least)
        np.multiply(part, gain.astype(np.float32)[:, None], out=part)
    return True


def _peaks(sound: Samples, size: int) -> NDArray[np.float64]:
    """The peak of each block of `size` samples. -> (K,)"""
    either = np.abs(sound).max(axis=1).astype(np.float64)
    return np.asarray(np.pad(either, (0, -len(either) % size)).reshape(-1, size).max(axis=1))


def _impulse_response(side: int, sample_rate: int) -> NDArray[np.float64]:
    """The impulse response of the reverb on one side: decaying noise, different for each. (R,)"""
    t = np.arange(round(REVERB_SECONDS * sample_rate)) / sample_rate
    noise = np.random.default_rng(side).standard_normal(len(t)) * np.exp(-6.9 * t / REVERB_SECONDS)
    spectrum = np.fft.rfft(noise)
    frequencies = np.fft.rfftfreq(len(noise), 1.0 / sample_rate)
    spectrum /= 1.0 + (frequencies / REVERB_HERTZ) ** 2
    spectrum *= frequencies / (frequencies + 150.0)  # high-pass filter
    wet = np.fft.irfft(spectrum, len(noise))
    wet *= REVERB_LEVEL / np.sqrt(np.sum(wet**2))
    return np.concatenate([np.zeros(round(REVERB_DELAY_SECONDS * sample_rate)), wet])


def _convolve_into(out: Samples, sound: Samples, response: NDArray[np.float64]) -> None:
    """Add `sound` (N,) convolved with a response (R,) to `out` (N,), by overlap-add."""
    spectrum = np.fft.rfft(response, FFT_SAMPLES)
    step = FFT_SAMPLES - len(response) + 1
    for begin in range(0, len(sound), step):
        part = sound[begin : begin + step]
        if not part.any():
            continue
        wet = np.fft.irfft(np.fft.rfft(part, FFT_SAMPLES) * spectrum, FFT_SAMPLES)
        here = out[begin : begin + min(len(part) + len(response) - 1, len(out) - begin)]
        here += wet[: len(here)].astype(np.float32)
