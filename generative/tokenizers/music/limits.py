"""The limits on new music: key, range, meter, tempo, instruments, density and voice leading.

`None` is no limit. Keys, ranges and voice leading do not apply to drums, which have no pitch. The
module does not know how the grammar keeps to the limits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from generative.errors import OptionError
from generative.music.general_midi import instrument_number
from generative.music.piece import HIGHEST_PITCH
from generative.music.quantise import STEPS_PER_BEAT
from generative.music.theory import parse_key, parse_meter, parse_range
from generative.tokenizers.music.vocabulary import MAX_TRACKS, VALUES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

# In notes a quarter note. Each step can have at least one note.
LOWEST_DENSITY, HIGHEST_DENSITY = 0.25, STEPS_PER_BEAT
MIN_DENSITY_SLACK, DENSITY_SLACK_BEATS = 4.0, 2


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
    """The limits that new music is kept to.

    Attributes:
        pitch_classes: the pitch classes, of 0..11, that may sound.
        pitch_range: the lowest and highest MIDI pitch.
        meter: the only meter, as (numerator, denominator).
        tempo: the only tempo, in quarter notes a minute.
        instruments: programs, 128 and up for drum kits, one a track. Each of them plays, and no
            others do.
        density: notes a quarter note, all instruments together. After t quarter notes there are
            density * t of them, give or take `density_slack`. The exception is a note that has to
            be because the last bar is never empty and every instrument plays.
        voice_leading: whether tracks that move at one step avoid parallel fifths, octaves and
            unisons wherever another pitch may sound. Of a chord within a track, each note is kept
            from them, and other tracks are kept from them with its highest note only.
    """

    pitch_classes: frozenset[int] | None = None
    pitch_range: tuple[int, int] | None = None
    meter: tuple[int, int] | None = None
    tempo: int | None = None
    instruments: tuple[int, ...] | None = None
    density: float | None = None
    voice_leading: bool = False

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
        voice_leading: bool | None = None,
    ) -> MusicLimits | None:
        """The limits that words or numbers stand for; None if there is none.

        Raises:
            OptionError: words or numbers that mean nothing.
        """
        limits = (key, pitch_range, meter, tempo, instruments, density, voice_leading or None)
        if all(limit is None for limit in limits):
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
        return cls(key, pitch_range, meter, tempo, programs, density, bool(voice_leading))

    @property
    def need_beats(self) -> bool:
        """Whether there is a limit that only the score grid, which has beats, can keep to."""
        limits = (self.meter, self.tempo, self.instruments, self.density)
        return any(limit is not None for limit in limits)

    @cached_property
    def pitches(self) -> NDArray[np.bool_]:
        """Which pitches may sound. (128,)"""
        low, high = self.pitch_range or (0, HIGHEST_PITCH)
        pitch = np.arange(HIGHEST_PITCH + 1)
        classes = list(range(12)) if self.pitch_classes is None else list(self.pitch_classes)
        return np.asarray(np.isin(pitch % 12, classes) & (low <= pitch) & (pitch <= high))

    @cached_property
    def highest(self) -> int:
        """The highest pitch that may sound."""
        return int(np.flatnonzero(self.pitches)[-1])

    @cached_property
    def meter_indices(self) -> tuple[int, int] | None:
        """The indices of the meter among the values of beats and units."""
        if self.meter is None:
            return None
        numerator, denominator = self.meter
        return VALUES["beats"].index(numerator), VALUES["unit"].index(denominator)

    @cached_property
    def tempo_index(self) -> int | None:
        """The index of the tempo among the values of tempos."""
        return None if self.tempo is None else VALUES["tempo"].index(self.tempo)

    @cached_property
    def density_slack(self) -> float:
        """How many notes there may be more or fewer than at an even pace.

        These are the notes of two quarter notes, and at least four.
        """
        return max(MIN_DENSITY_SLACK, DENSITY_SLACK_BEATS * (self.density or 0.0))
