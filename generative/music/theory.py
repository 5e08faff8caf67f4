"""The theory of music in words: names of pitches, keys, ranges and meters, and their parsing."""

from __future__ import annotations

import re

from generative.errors import OptionError
from generative.music.piece import HIGHEST_PITCH

PITCH_CLASSES = ("C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B")
BLACK_KEYS = frozenset({1, 3, 6, 8, 10})
SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
ACCIDENTALS = {"": 0, "#": 1, "♯": 1, "b": -1, "♭": -1}
# The scale of each mode, in semitones above the tonic.
MODES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "harmonic minor": (0, 2, 3, 5, 7, 8, 11),
    "melodic minor": (0, 2, 3, 5, 7, 8, 9, 10, 11),  # This is ascending and descending.
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
# The meters that options may name and tokens can represent.
METER_NUMERATORS = range(1, 65)
METER_DENOMINATORS = (1, 2, 4, 8, 16, 32, 64)
_NAME = r"[A-Ga-g][#b♯♭]?"
_PITCH = re.compile(rf"({_NAME})(-?\d+)|(\d+)")


def pitch_name(pitch: int) -> str:
    """The name of a MIDI pitch in scientific notation: 60 is C4."""
    return f"{PITCH_CLASSES[pitch % 12]}{pitch // 12 - 1}"


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
    # B# and Cb count in the octave of their name, although they sound in the next one.
    return 12 * (int(octave) + 1) + SEMITONES[name[0].upper()] + ACCIDENTALS[name[1:]]


def parse_pitch_class(name: str) -> int:
    """The pitch class, 0..11, of a note's name: "C" is 0, "F#" 6, "Bb" 10.

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
    tonic, _, mode = " ".join(key.split()).partition(" ")
    if mode.lower() in MODES:
        return frozenset((parse_pitch_class(tonic) + step) % 12 for step in MODES[mode.lower()])
    try:
        return frozenset(parse_pitch_class(name) for name in re.split(r"[\s,]+", key.strip()))
    except OptionError as error:
        raise OptionError(
            f"key must be a tonic and a mode ({', '.join(MODES)}) or a list of notes, not {key!r}"
        ) from error


def parse_range(text: str) -> tuple[int, int]:
    """The lowest and highest MIDI pitch of "C3-C6" or "48-84"; C4 is 60.

    Raises:
        OptionError: no such pitches, or the wrong way round.
    """
    match = re.fullmatch(rf"({_PITCH.pattern})-({_PITCH.pattern})", text.strip())
    if match is None:
        raise OptionError(f"a range must be like C3-C6 or 48-84, not {text!r}")
    low, high = parse_pitch(match[1]), parse_pitch(match[5])
    if not 0 <= low <= high <= HIGHEST_PITCH:
        raise OptionError(
            f"a range must rise within 0..{HIGHEST_PITCH} (C-1..G9), not {low}..{high}"
        )
    return low, high


def parse_meter(text: str) -> tuple[int, int]:
    """Numerator and denominator of "3/4".

    Raises:
        OptionError: no such meter.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    meter = (int(match[1]), int(match[2])) if match else (0, 0)
    if meter[0] not in METER_NUMERATORS or meter[1] not in METER_DENOMINATORS:
        raise OptionError(
            f"meter must be like 3/4, with 1..{METER_NUMERATORS[-1]} over one of "
            f"{', '.join(map(str, METER_DENOMINATORS))}, not {text!r}"
        )
    return meter
