"""The sounds of drums: falling tones, metal rings and bands of noise, by General MIDI drum key."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

ATTACK_SECONDS = 0.001  # long enough not to click
# frequencies of the six square waves of a drum machine's cymbal, none a multiple of another
METAL_HERTZ = (205.3, 304.4, 369.6, 522.7, 540.0, 800.0)
METAL_SHIFT = 8.0  # factor by which these frequencies are raised


@dataclass(frozen=True, kw_only=True)
class Drum:
    """The sound of a drum.

    Attributes:
        hertz: The final frequency of its tone, which falls from `fall` times that frequency.
        tone, noise, metal: The levels of its parts.
        tone_seconds, noise_seconds: The times in which they fall by 60 dB; metal falls like noise.
        band_hertz: The frequency range of its noise and metal.
        strokes: The number of strokes `STROKE_GAP_SECONDS` apart, which is more than 1 for a clap.
        pan: -1 (left) to 1 (right), as seen by the audience.
        choke: The choke group; a drum ends the sound of others of its group. None is no group.
    """

    hertz: float = 200.0
    fall: float = 1.0
    tone: float = 0.0
    tone_seconds: float = 0.3
    noise: float = 0.0
    noise_seconds: float = 0.2
    metal: float = 0.0
    band_hertz: tuple[float, float] = (200.0, 12_000.0)
    strokes: int = 1
    pan: float = 0.0
    choke: str | None = None


STROKE_GAP_SECONDS = 0.011
FALL_SECONDS = 0.035  # time constant of a falling tone

KICK = Drum(
    hertz=48, fall=4.0, tone=1.15, tone_seconds=0.45, noise=0.25, noise_seconds=0.03,
    band_hertz=(800, 5_000),
)  # fmt: skip
SNARE = Drum(
    hertz=185, fall=1.5, tone=0.55, tone_seconds=0.18, noise=0.75, noise_seconds=0.28,
    band_hertz=(900, 9_000),
)  # fmt: skip
RIM = Drum(
    hertz=820, tone=0.5, tone_seconds=0.06, noise=0.3, noise_seconds=0.03, band_hertz=(1_500, 8_000)
)
CLAP = Drum(noise=0.9, noise_seconds=0.22, band_hertz=(800, 3_500), strokes=3, pan=0.1)
TOM = Drum(
    hertz=100, fall=1.7, tone=0.85, tone_seconds=0.55, noise=0.15, noise_seconds=0.08,
    band_hertz=(300, 3_000),
)  # fmt: skip
HAT = Drum(
    noise=0.3, metal=0.22, noise_seconds=0.09, band_hertz=(6_500, 16_000), pan=0.3, choke="hi-hat"
)
OPEN_HAT = replace(HAT, noise_seconds=0.7)
CRASH = Drum(noise=0.42, metal=0.2, noise_seconds=2.2, band_hertz=(2_500, 15_000), pan=-0.35)
RIDE = Drum(noise=0.12, metal=0.3, noise_seconds=1.3, band_hertz=(4_500, 14_000), pan=-0.45)
BELL = Drum(hertz=560, tone=0.5, tone_seconds=0.4, metal=0.15, noise_seconds=0.2, pan=-0.2)
HAND_DRUM = Drum(
    hertz=250, fall=1.25, tone=0.9, tone_seconds=0.25, noise=0.12, noise_seconds=0.04, pan=0.25
)
SHAKER = Drum(noise=0.4, noise_seconds=0.1, band_hertz=(5_000, 14_000), pan=0.4)
BLOCK = Drum(hertz=900, fall=1.05, tone=0.7, tone_seconds=0.09, pan=0.35)
WHISTLE = Drum(
    hertz=2_300, tone=0.4, tone_seconds=0.35, noise=0.1, band_hertz=(2_000, 4_000), pan=0.2
)
TRIANGLE = Drum(
    hertz=4_200, tone=0.25, tone_seconds=1.2, metal=0.06, noise_seconds=0.8, pan=0.45,
    choke="triangle",
)  # fmt: skip


def _toms(*rows: tuple[int, float, float]) -> dict[int, Drum]:
    return {key: replace(TOM, hertz=hertz, pan=pan) for key, hertz, pan in rows}


BY_KEY: dict[int, Drum] = {
    35: replace(KICK, hertz=42), 36: KICK,
    37: RIM, 38: SNARE, 39: CLAP, 40: replace(SNARE, hertz=215, noise_seconds=0.2),
    **_toms((41, 72, 0.5), (43, 86, 0.35), (45, 102, 0.2), (47, 122, 0.0), (48, 146, -0.15),
            (50, 174, -0.3)),
    42: HAT, 44: replace(HAT, noise_seconds=0.06, noise=0.2), 46: OPEN_HAT,
    49: CRASH, 57: replace(CRASH, pan=0.4, noise_seconds=1.9), 52: replace(CRASH, metal=0.35),
    55: replace(CRASH, noise_seconds=0.7, pan=-0.1),
    51: RIDE, 59: replace(RIDE, pan=0.45, metal=0.25), 53: replace(BELL, hertz=1_100, metal=0.3),
    54: replace(SHAKER, metal=0.3, noise_seconds=0.18), 56: BELL,
    58: replace(SHAKER, strokes=8, noise_seconds=0.3, band_hertz=(2_000, 6_000)),
    60: replace(HAND_DRUM, hertz=400), 61: replace(HAND_DRUM, hertz=290),
    62: replace(HAND_DRUM, hertz=270, tone_seconds=0.09), 63: replace(HAND_DRUM, hertz=240),
    64: replace(HAND_DRUM, hertz=175), 65: replace(HAND_DRUM, hertz=360, noise=0.3, pan=-0.25),
    66: replace(HAND_DRUM, hertz=260, noise=0.3, pan=-0.25),
    67: replace(BELL, hertz=1_050, pan=0.4), 68: replace(BELL, hertz=740, pan=0.4),
    69: replace(SHAKER, noise_seconds=0.14), 70: replace(SHAKER, noise_seconds=0.07),
    71: replace(WHISTLE, tone_seconds=0.2), 72: WHISTLE,
    73: replace(SHAKER, strokes=4, band_hertz=(1_500, 6_000)),
    74: replace(SHAKER, strokes=12, band_hertz=(1_500, 6_000), noise_seconds=0.2),
    75: replace(BLOCK, hertz=2_400), 76: replace(BLOCK, hertz=1_150), 77: replace(BLOCK, hertz=780),
    78: replace(HAND_DRUM, hertz=420, fall=0.7), 79: replace(HAND_DRUM, hertz=320, fall=0.6),
    80: replace(TRIANGLE, tone_seconds=0.12, noise_seconds=0.1), 81: TRIANGLE,
    82: SHAKER, 83: replace(SHAKER, metal=0.4, strokes=3), 84: replace(TRIANGLE, strokes=8),
    85: replace(BLOCK, hertz=1_700, strokes=2), 86: replace(TOM, hertz=70, tone_seconds=0.15),
    87: replace(TOM, hertz=64),
}  # fmt: skip


def drum_of(key: int) -> Drum:
    """The drum of a key; a wood block for keys that General MIDI does not define."""
    return BY_KEY.get(key, BLOCK)


@lru_cache(maxsize=256)
def samples_of(key: int, sample_rate: int) -> Samples:
    """The samples of a drum at full velocity. -> (N,)"""
    drum = drum_of(key)
    longest = max(
        drum.tone_seconds if drum.tone else 0.0,
        drum.noise_seconds if drum.noise or drum.metal else 0.0,
    )
    gap = round(STROKE_GAP_SECONDS * sample_rate)
    single = _single(drum, key, round(longest * sample_rate), sample_rate)
    out = np.zeros(len(single) + gap * (drum.strokes - 1), dtype=np.float64)
    for i in range(drum.strokes):
        out[i * gap : i * gap + len(single)] += single / drum.strokes**0.5
    out.flags.writeable = False
    return out.astype(np.float32)


def _single(drum: Drum, seed: int, length: int, sample_rate: int) -> NDArray[np.float64]:
    t = np.arange(length) / sample_rate
    sound = np.zeros(length)
    if drum.tone:
        # The phase is the integral of a frequency that falls from fall * hertz to hertz.
        glide = (drum.fall - 1.0) * FALL_SECONDS * (1.0 - np.exp(-t / FALL_SECONDS))
        tone = np.sin(2.0 * np.pi * drum.hertz * (t + glide))
        sound += drum.tone * tone * _fade(t, drum.tone_seconds)
    if drum.noise:
        noise = np.random.default_rng(seed).standard_normal(length)
        sound += (
            drum.noise * _band(noise, drum.band_hertz, sample_rate) * _fade(t, drum.noise_seconds)
        )
    if drum.metal:
        waves = (np.sign(np.sin(2.0 * np.pi * METAL_SHIFT * f * t)) for f in METAL_HERTZ)
        ring = _band(np.sum(list(waves), axis=0), drum.band_hertz, sample_rate)
        sound += drum.metal * ring * _fade(t, drum.noise_seconds)
    return np.asarray(sound * np.minimum(t / ATTACK_SECONDS, 1.0))


def _fade(t: NDArray[np.float64], seconds: float) -> NDArray[np.float64]:
    """An exponential decay of 60 dB in `seconds`, multiplied by a linear one to 0. (N,) -> (N,)"""
    return np.asarray(np.exp(-6.9 * t / seconds) * np.clip(1.0 - t / seconds, 0.0, 1.0))


def _band(
    sound: NDArray[np.float64], band_hertz: tuple[float, float], sample_rate: int
) -> NDArray[np.float64]:
    """A sound filtered to a band with soft edges and scaled to an RMS level of 1/2. (N,) -> (N,)"""
    frequencies = np.fft.rfftfreq(len(sound), 1.0 / sample_rate)
    low, high = band_hertz
    gain = 1.0 / (1.0 + (low / np.maximum(frequencies, 1.0)) ** 6)
    gain /= 1.0 + (frequencies / high) ** 6
    kept = np.fft.irfft(np.fft.rfft(sound) * gain, len(sound))
    return np.asarray(0.5 * kept / max(float(np.sqrt(np.mean(kept**2))), 1e-9))
