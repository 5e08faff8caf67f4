"""The vocabulary of music: which ids there are, and what each means.

`TOKEN_TYPES` lists the types of token. A new type is a row there and in the two tables of
`grammar`. The module does not know where a token may stand.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from math import ceil
from typing import TYPE_CHECKING

from generative.music.piece import HIGHEST_PITCH, MAX_SHARPS, PITCH_BEND
from generative.music.quantise import PERFORMANCE, SCORE, STEPS_PER_BEAT
from generative.music.theory import METER_DENOMINATORS, METER_NUMERATORS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from generative.music.piece import Track

STEPS_PER_WHOLE_NOTE = 4 * STEPS_PER_BEAT
MAX_BAR_PART_STEPS = 192  # A longer bar is divided into equal parts.
MAX_TRACKS = 64
DRUM_PROGRAMS = 128  # A drum kit's program is its MIDI program plus this.
STEPS_PER_EXTENSION = 96  # One "long" token extends a duration by a whole note.
MAX_EXTENSIONS = 63
MAX_DURATION_STEPS = (MAX_EXTENSIONS + 1) * STEPS_PER_EXTENSION
VELOCITIES_PER_LEVEL = 4  # Velocities 1..4 are the softest level, 125..127 the loudest.
NUM_SIGNATURES = 2 * MAX_SHARPS + 1
SEMITONES_PER_FIFTH = 7
# A pedal is up or down: MIDI means these by values below 64 and from 64 on.
PEDAL_VALUES = (0, 127)
# Pitch bend has 128 levels of 128 values each; every other control has one level a value.
VALUES_PER_LEVEL = {PITCH_BEND: 128}
BOTH_GRIDS = (SCORE, PERFORMANCE)


@dataclass(frozen=True, slots=True)
class TokenType:
    """One type of token: the value of each of its ids, and which types may come next."""

    name: str
    values: Sequence[int]
    followers: tuple[str, ...]
    grids: tuple[str, ...] = BOTH_GRIDS


_NOTES = ("track", "velocity", "pitch", "drum")
_EVENTS = (*_NOTES, "pedal", "control")
_TIME = ("position", "bar", "shift", "start")
_PITCHES = range(HIGHEST_PITCH + 1)

TOKEN_TYPES = (
    # The start token also ends a piece, and only itself may follow that end.
    TokenType("start", (0,), ("start",)),
    TokenType("bar", (0,), _TIME, (SCORE,)),
    # The values are steps from the bar line.
    TokenType("position", range(MAX_BAR_PART_STEPS), ("beats", "key", "tempo", *_EVENTS), (SCORE,)),
    # The values are steps from the last shift. Only the longest may be followed by another.
    TokenType("shift", range(1, 101), ("shift", "beats", "key", "tempo", *_EVENTS), (PERFORMANCE,)),
    TokenType("beats", METER_NUMERATORS, ("unit",)),
    TokenType("unit", METER_DENOMINATORS, ("key", "tempo", *_EVENTS, *_TIME)),
    TokenType("key", range(2 * NUM_SIGNATURES), ("tempo", *_EVENTS, *_TIME)),  # See `key_value`.
    # The values are quarter notes a minute.
    TokenType("tempo", range(16, 321), (*_EVENTS, *_TIME)),
    TokenType("track", range(MAX_TRACKS), ("program", *_EVENTS[1:])),
    TokenType("program", range(2 * DRUM_PROGRAMS), ("velocity", "pedal", "control")),
    TokenType("pedal", PEDAL_VALUES, ("control", *_NOTES, *_TIME), (PERFORMANCE,)),
    # The values are the numbers of `piece.Control`.
    TokenType("control", range(PITCH_BEND + 1), ("value",), (PERFORMANCE,)),
    TokenType("value", range(128), ("control", *_NOTES, *_TIME), (PERFORMANCE,)),
    TokenType("velocity", range(2, 128, VELOCITIES_PER_LEVEL), ("pitch", "drum")),
    TokenType("pitch", _PITCHES, ("long", "duration")),
    TokenType("drum", _PITCHES, ("long", "duration")),
    TokenType("long", (STEPS_PER_EXTENSION,), ("long", "duration")),
    # The values are steps, to which those of the "long" tokens before are added.
    TokenType("duration", range(1, STEPS_PER_EXTENSION + 1), (*_NOTES, *_TIME)),
)
VALUES = {token_type.name: token_type.values for token_type in TOKEN_TYPES}
# The first id of each type, by name.
OFFSETS = dict(
    zip(VALUES, accumulate((len(values) for values in VALUES.values()), initial=0), strict=False)
)
VOCAB_SIZE = sum(len(values) for values in VALUES.values())
TYPE_OF = [name for name, values in VALUES.items() for _ in values]  # The type's name, by id.
# The id of each value, by the type's name.
IDS = {
    name: {value: OFFSETS[name] + index for index, value in enumerate(values)}
    for name, values in VALUES.items()
}


def token_id(token_type: str, value: int = 0) -> int:
    """The id of a value: `token_id("pitch", 60)`."""
    return IDS[token_type][value]


def type_and_index(token: int) -> tuple[str, int]:
    """A token's type, and the index of its value among those of the type.

    Raises:
        ValueError: there is no such id.
    """
    if not 0 <= token < VOCAB_SIZE:
        raise ValueError(f"token ids are in 0..{VOCAB_SIZE - 1}, not {token}")
    token_type = TYPE_OF[token]
    return token_type, token - OFFSETS[token_type]


def meaning(token: int) -> tuple[str, int]:
    """A token's type and value, the inverse of `token_id`.

    Raises:
        ValueError: there is no such id.
    """
    token_type, index = type_and_index(token)
    return token_type, VALUES[token_type][index]


def describe(token: int) -> str:
    """A token in words: "bar", "pitch 60"."""
    token_type, value = meaning(token)
    return token_type if len(VALUES[token_type]) == 1 else f"{token_type} {value}"


def key_value(sharps: int, is_minor: bool) -> int:
    """The value of a key's token: 0..14 are the major keys from seven flats on, 15..29 the minor.

    Example:
        key_value(0, False)    # 7, C major
        key_value(2, True)     # 24, B minor
    """
    return sharps + MAX_SHARPS + NUM_SIGNATURES * is_minor


def key_of(value: int) -> tuple[int, bool]:
    """The sharps and the mode of a key's token, the inverse of `key_value`."""
    is_minor, index = divmod(value, NUM_SIGNATURES)
    return index - MAX_SHARPS, bool(is_minor)


def program_number(track: Track) -> int:
    """The number of a track's instrument in the vocabulary: 128 and up for drum kits."""
    return track.program + DRUM_PROGRAMS * track.is_drum


def transposed_key(value: int, semitones: int) -> int:
    """The key so many semitones higher, with at most six sharps or flats unless it stays.

    Each step along the circle of fifths is seven semitones, and seven times seven is one, so a
    semitone up is seven sharps more, or five flats.
    """
    sharps, is_minor = key_of(value)
    if semitones % 12:
        sharps = (sharps + SEMITONES_PER_FIFTH * semitones + 5) % 12 - 5
    return key_value(sharps, is_minor)


def bar_part_steps(numerator: int, denominator: int) -> int:
    """The steps of a bar, or of each of the equal parts, at most 192 steps long, of a longer one.

    Example:
        bar_part_steps(4, 4)     # 96
        bar_part_steps(12, 4)    # 144, because a bar of 288 steps has two parts
    """
    whole = numerator * STEPS_PER_WHOLE_NOTE
    parts = bar_parts(numerator, denominator)
    return (2 * whole + denominator * parts) // (2 * denominator * parts)  # A half rounds up.


def bar_parts(numerator: int, denominator: int) -> int:
    """How many equal parts a bar is divided into: 1, or more for a bar of over 192 steps."""
    return ceil(numerator * STEPS_PER_WHOLE_NOTE / (denominator * MAX_BAR_PART_STEPS))


def is_measured_exactly(numerator: int, denominator: int) -> bool:
    """Whether the parts of a bar are whole steps, so that bars can be counted by them."""
    parts = bar_parts(numerator, denominator)
    return numerator * STEPS_PER_WHOLE_NOTE % (denominator * parts) == 0
