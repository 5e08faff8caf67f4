"""What music may be kept to, from keys to instruments, in words and numbers; knows no grammar.

`None` is no limit. Drums have no pitch, so keys and ranges leave them alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from generative.errors import OptionError
from generative.music.instruments import instrument_number
from generative.music.quantise import STEPS_PER_BEAT
from generative.tokenizers.music.vocabulary import (
    MAX_TRACKS,
    TOP_PITCH,
    VALUES,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
ACCIDENTALS = {"": 0, "#": 1, "♯": 1, "b": -1, "♭": -1}
LOWEST_DENSITY, HIGHEST_DENSITY = 0.25, STEPS_PER_BEAT  # a step has room for one note at least
# mode -> its steps above the tonic, in semitones
MODES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "harmonic minor": (0, 2, 3, 5, 7, 8, 11),
    "melodic minor": (0, 2, 3, 5, 7, 8, 9, 10, 11),  # up and down
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "lydian": (0, 2, 4, 6, 7, 9, 11),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "locrian": (0, 1, 3, 5, 6, 8, 10),
    "major pentatonic": (0, 2, 4, 7, 9),
    "minor pentatonic": (0, 3, 5, 7, 10),
    "whole tone": (0, 2, 4, 6, 8, 10),
    "blues": (0, 3, 5, 6, 7, 10),
}
_NAME = r"[A-Ga-g][#b♯♭]?"
_PITCH = re.compile(rf"({_NAME})(-?\d+)|(\d+)")


def pitch_class(name: str) -> int:
    """0..11 of a note's name: "C" is 0, "F#" 6, "Bb" 10.

    Raises:
        OptionError: no such name.
    """
    if not re.fullmatch(_NAME, name):
        raise OptionError(f"a note's name must be like C, F# or Bb, not {name!r}")
    return (SEMITONES[name[0].upper()] + ACCIDENTALS[name[1:]]) % 12


def parse_key(key: str) -> frozenset[int]:
    """The pitch classes of "D minor", "Eb major", "F# dorian", or of notes: "C D E G A".

    Raises:
        OptionError: no such tonic, mode or note.
    """
    first, _, mode = " ".join(key.split()).partition(" ")
    if mode.lower() in MODES:
        return frozenset((pitch_class(first) + step) % 12 for step in MODES[mode.lower()])
    try:
        classes = frozenset(pitch_class(name) for name in re.split(r"[\s,]+", key.strip()))
    except ValueError as error:
        raise OptionError(
            f"key must be a tonic and a mode ({', '.join(MODES)}) or a list of notes, not {key!r}"
        ) from error
    return classes


def parse_range(text: str) -> tuple[int, int]:
    """The lowest and highest MIDI pitch of "C3-C6" or "48-84"; C4 is 60.

    Raises:
        OptionError: no such pitches, or the wrong way round.
    """
    match = re.fullmatch(rf"({_PITCH.pattern})-({_PITCH.pattern})", text.strip())
    if match is None:
        raise OptionError(f"a range must be like C3-C6 or 48-84, not {text!r}")
    low, high = parse_pitch(match[1]), parse_pitch(match[5])
    if not 0 <= low <= high <= TOP_PITCH:
        raise OptionError(f"a range must rise within 0..{TOP_PITCH} (C-1..G9), not {low}..{high}")
    return low, high


def parse_pitch(text: str) -> int:
    """The MIDI pitch of "C4" or "60".

    Raises:
        OptionError: neither a name with its octave nor a number.
    """
    match = _PITCH.fullmatch(text)
    if match is None:
        raise OptionError(f"a pitch must be like C4 or 60, not {text!r}")
    name, octave, number = match.groups()
    if number is not None:
        return int(number)
    # B# and Cb lie in the octave that their name says, beyond its edge
    return 12 * (int(octave) + 1) + SEMITONES[name[0].upper()] + ACCIDENTALS[name[1:]]


def parse_meter(text: str) -> tuple[int, int]:
    """Numerator and denominator of "3/4".

    Raises:
        OptionError: no such meter.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    meter = (int(match[1]), int(match[2])) if match else (0, 0)
    if meter[0] not in VALUES["beats"] or meter[1] not in VALUES["unit"]:
        raise OptionError(
            f"meter must be like 3/4, with 1..{VALUES['beats'][-1]} over one of "
            f"{', '.join(map(str, VALUES['unit']))}, not {text!r}"
        )
    return meter


def parse_instruments(instruments: str | Sequence[str | int]) -> tuple[int, ...]:
    """The programs of "piano,bass,drums", or of a list of names and numbers; 128 is the drum kit.

    Raises:
        OptionError: none, too many, or one that does not exist.
    """
    names = instruments.split(",") if isinstance(instruments, str) else list(instruments)
    if not 1 <= len(names) <= MAX_TRACKS:
        raise OptionError(f"instruments must be 1 to {MAX_TRACKS}, not {len(names)}")
    return tuple(instrument_number(str(name)) for name in names)


@dataclass(frozen=True)
class MusicLimits:
    """What new music is kept to.

    Attributes:
        pitch_classes: of 0..11, those that may sound.
        pitch_range: the lowest and highest MIDI pitch.
        meter: the only one, as (numerator, denominator).
        tempo: the only one, in quarter notes a minute.
        instruments: programs, 128 and up for drum kits, one a track; no others play, and each of
            them does.
        density: notes a quarter note, all instruments together. After t quarter notes there are
            density * t of them, give or take `density_slack`; but for one that has to be, because a
            last bar is never empty and every instrument plays.
    """

    pitch_classes: frozenset[int] | None = None
    pitch_range: tuple[int, int] | None = None
    meter: tuple[int, int] | None = None
    tempo: int | None = None
    instruments: tuple[int, ...] | None = None
    density: float | None = None

    def __post_init__(self) -> None:
        """Refuse limits that leave no note.

        Raises:
            OptionError: no pitch is in both the range and the key, or a number is out of range.
        """
        tempos = VALUES["tempo"]
        if self.tempo is not None and self.tempo not in tempos:
            raise OptionError(
                f"tempo must be a whole number in {tempos[0]}..{tempos[-1]}, not {self.tempo}"
            )
        if self.density is not None and not LOWEST_DENSITY <= self.density <= HIGHEST_DENSITY:
            raise OptionError(
                f"density must be {LOWEST_DENSITY} to {HIGHEST_DENSITY} notes a quarter note, "
                f"not {self.density}"
            )
        if not self.pitches.any():
            raise OptionError(
                f"no pitch can be played: none of the classes {sorted(self.pitch_classes or ())} "
                f"lies in {self.pitch_range}"
            )

    @classmethod
    def of(
        cls,
        key: str | Iterable[int] | None = None,
        pitch_range: str | tuple[int, int] | None = None,
        meter: str | tuple[int, int] | None = None,
        tempo: int | None = None,
        instruments: str | Sequence[str | int] | None = None,
        density: float | None = None,
    ) -> MusicLimits | None:
        """From words or numbers; None where nothing is limited.

        Raises:
            OptionError: words or numbers that mean nothing.
        """
        if all(x is None for x in (key, pitch_range, meter, tempo, instruments, density)):
            return None
        if key is not None:
            key = parse_key(key) if isinstance(key, str) else frozenset(key)
            if not key or not key <= set(range(12)):
                raise OptionError(f"pitch classes must be among 0..11, not {sorted(key)}")
        if pitch_range is not None:
            given = pitch_range
            pitch_range = parse_range(given if isinstance(given, str) else f"{given[0]}-{given[1]}")
        if meter is not None:
            meter = parse_meter(meter if isinstance(meter, str) else f"{meter[0]}/{meter[1]}")
        programs = None if instruments is None else parse_instruments(instruments)
        return cls(key, pitch_range, meter, tempo, programs, density)

    @property
    def need_beats(self) -> bool:
        """Whether more is limited than what sounds."""
        asked = (self.meter, self.tempo, self.instruments, self.density)
        return any(limit is not None for limit in asked)

    @cached_property
    def pitches(self) -> NDArray[np.bool_]:
        """Which pitches may sound. (128,)"""
        low, high = self.pitch_range or (0, TOP_PITCH)
        pitch = np.arange(TOP_PITCH + 1)
        classes = list(range(12)) if self.pitch_classes is None else list(self.pitch_classes)
        return np.asarray(np.isin(pitch % 12, classes) & (low <= pitch) & (pitch <= high))

    @cached_property
    def highest(self) -> int:
        """The highest pitch that may sound."""
        return int(np.flatnonzero(self.pitches)[-1])

    @cached_property
    def meter_places(self) -> tuple[int, int] | None:
        """The meter's places in the blocks of beats and units."""
        if self.meter is None:
            return None
        numerator, denominator = self.meter
        return VALUES["beats"].index(numerator), VALUES["unit"].index(denominator)

    @cached_property
    def tempo_place(self) -> int | None:
        """The tempo's place in its block."""
        return None if self.tempo is None else VALUES["tempo"].index(self.tempo)

    @cached_property
    def density_slack(self) -> float:
        """How many notes more or fewer than an even pace has: two quarter notes' worth, or four."""
        return max(4.0, 2 * (self.density or 0.0))
