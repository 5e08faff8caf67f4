"""A piece of music to sound: a small additive synthesizer; knows notes and seconds, no models.

Each note is a few sine partials under an envelope, chosen by the instrument's family; drums are
filtered noise and falling sines. No sound fonts, no downloads.
"""

from __future__ import annotations

import io
import wave
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from generative.checkpoint import write_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from generative.piece import Piece

SAMPLE_RATE = 44_100  # per second
MAX_SECONDS = 3600.0
PEAK = 0.89  # of full scale, -1 dB
PROGRAMS_PER_FAMILY = 8  # General MIDI groups its 128 programs so

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Voice:
    """How a family of instruments sounds.

    Attributes:
        partials: the loudness of each harmonic, the fundamental first.
        attack_seconds, release_seconds: how fast it speaks and falls silent.
        decay_per_second: how fast a held note fades; 0 sustains.
    """

    partials: tuple[float, ...]
    attack_seconds: float
    release_seconds: float
    decay_per_second: float


PIANO = Voice((1.0, 0.5, 0.25, 0.15, 0.08, 0.05), 0.004, 0.12, 2.2)
CHIME = Voice((1.0, 0.1, 0.35, 0.02, 0.2), 0.002, 0.3, 3.5)
ORGAN = Voice((1.0, 0.6, 0.25, 0.35, 0.05, 0.12), 0.02, 0.08, 0.0)
PLUCKED = Voice((1.0, 0.6, 0.4, 0.25, 0.15, 0.1), 0.003, 0.1, 3.0)
BASS = Voice((1.0, 0.7, 0.3, 0.15), 0.006, 0.08, 1.5)
STRINGS = Voice((1.0, 0.5, 0.35, 0.25, 0.18, 0.12, 0.08), 0.06, 0.15, 0.0)
BRASS = Voice((1.0, 0.8, 0.6, 0.4, 0.25, 0.15), 0.03, 0.08, 0.2)
REED = Voice((1.0, 0.1, 0.6, 0.08, 0.35, 0.05, 0.15), 0.025, 0.07, 0.1)
FLUTE = Voice((1.0, 0.25, 0.08, 0.03), 0.04, 0.08, 0.1)
# one a General MIDI family: piano, chromatic percussion, organ, guitar, bass, strings, ensemble,
# brass, reed, pipe, lead, pad, effects, ethnic, percussive, sound effects
FAMILIES = (
    PIANO, CHIME, ORGAN, PLUCKED, BASS, STRINGS, STRINGS, BRASS,
    REED, FLUTE, REED, STRINGS, CHIME, PLUCKED, CHIME, CHIME,
)  # fmt: skip
KICKS = frozenset({35, 36})
TOMS = frozenset({41, 43, 45, 47, 48, 50})
SNARES = frozenset({37, 38, 39, 40})
DRUM_SECONDS = 0.35


def hertz(pitch: int) -> float:
    """The frequency of a MIDI pitch in equal temperament, A4 = 69 = 440 Hz."""
    return float(440.0 * 2.0 ** ((pitch - 69) / 12.0))


def render(piece: Piece, sample_rate: int = SAMPLE_RATE) -> Samples:
    """The piece as mono samples in -1..1. -> (N,)

    Raises:
        ValueError: it lasts longer than an hour.
    """
    if piece.seconds > MAX_SECONDS:
        raise ValueError(
            f"{piece.seconds:.0f} s of music is longer than the {MAX_SECONDS:.0f} s limit"
        )
    clock = piece.tempo_map
    out = np.zeros(int((piece.seconds + 1.0) * sample_rate), dtype=np.float32)
    for track in piece.tracks:
        voice = FAMILIES[track.program // PROGRAMS_PER_FAMILY]
        for note in track.notes:
            begin = clock.seconds_at(note.onset_ticks)
            seconds = clock.seconds_at(note.end_ticks) - begin
            sound = (
                _drum(note.pitch, sample_rate)
                if track.is_drum
                else _tone(voice, hertz(note.pitch), seconds, sample_rate)
            )
            at = round(begin * sample_rate)
            part = sound[: len(out) - at] * np.float32((note.velocity / 127.0) ** 1.5)
            out[at : at + len(part)] += part
    loudest = float(np.abs(out).max(initial=0.0))
    return out * np.float32(PEAK / loudest) if loudest else out


def _tone(voice: Voice, frequency: float, seconds: float, sample_rate: int) -> Samples:
    """One note, its release included. Partials above half the sample rate are left out."""
    total = seconds + voice.release_seconds
    t = np.arange(int(total * sample_rate), dtype=np.float32) / np.float32(sample_rate)
    sound = np.zeros_like(t)
    for harmonic, level in enumerate(voice.partials, start=1):
        if frequency * harmonic < sample_rate / 2:
            fade = np.exp(-t * np.float32(voice.decay_per_second * harmonic**0.5))
            phase = np.float32(2.0 * np.pi * frequency * harmonic) * t
            sound += np.float32(level) * fade * np.sin(phase)
    envelope = np.minimum(t / voice.attack_seconds, 1.0)
    envelope *= np.clip((total - t) / voice.release_seconds, 0.0, 1.0)
    return np.asarray(sound * envelope / sum(voice.partials), dtype=np.float32)


def _drum(key: int, sample_rate: int) -> Samples:
    """One stroke of a General MIDI drum key; noise is the same at every stroke."""
    t = np.arange(int(DRUM_SECONDS * sample_rate), dtype=np.float32) / np.float32(sample_rate)
    noise = np.random.default_rng(key).standard_normal(len(t)).astype(np.float32) * 0.3
    if key in KICKS or key in TOMS:
        low = 50.0 if key in KICKS else hertz(key - 8)
        # phase is the integral of a frequency that falls from 3 times `low` to `low`
        phase = 2.0 * np.pi * (low * t + 2.0 * low * 0.03 * (1.0 - np.exp(-t / 0.03)))
        return np.asarray(np.sin(phase) * np.exp(-t * 12.0), dtype=np.float32)
    if key in SNARES:
        body = 0.4 * np.sin(2.0 * np.pi * 190.0 * t) * np.exp(-t * 25.0)
        return np.asarray(body + noise * np.exp(-t * 18.0), dtype=np.float32)
    bright = np.diff(noise, prepend=noise[:1])  # cymbals and shakers: the high part of noise
    return np.asarray(bright * np.exp(-t * (12.0 if key >= 49 else 40.0)), dtype=np.float32)


def write_wav(piece: Piece, path: Path) -> None:
    """Write the piece as 16-bit mono WAV, in one move."""
    samples = np.round(render(piece) * 32767.0).astype("<i2")
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(samples.tobytes())
    write_bytes(path, data.getvalue())
