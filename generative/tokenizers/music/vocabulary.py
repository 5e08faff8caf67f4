"""The vocabulary of music: knows which ids there are and what each means, not where it may stand.

`BLOCKS` lists the kinds of token; a new kind is a row there, and in the grammar's two tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from math import ceil
from typing import TYPE_CHECKING

from generative.music.piece import MAX_SHARPS, PITCH_BEND
from generative.music.quantise import PERFORMANCE, SCORE, STEPS_PER_BEAT

if TYPE_CHECKING:
    from collections.abc import Sequence

STEPS_PER_WHOLE_NOTE = 4 * STEPS_PER_BEAT
MAX_RULER_STEPS = 192
MAX_TRACKS = 64
DRUM_PROGRAMS = 128  # a drum kit's program is its MIDI program plus this
STEPS_PER_LONG = 96  # a whole note
MAX_LONGS = 63
MAX_DURATION_STEPS = (MAX_LONGS + 1) * STEPS_PER_LONG
TOP_PITCH = 127
VELOCITIES_PER_LEVEL = 4  # 1..4 are the softest level, 125..127 the loudest
NUM_SIGNATURES = 2 * MAX_SHARPS + 1
SEMITONES_PER_FIFTH = 7


# what tokens can say of a pedal: up or down, as MIDI means values below 64 and from 64 on
PEDAL_VALUES = (0, 127)
VALUES_PER_LEVEL = {PITCH_BEND: 128}  # a bend has 128 levels, each of 128 of its values

BOTH = (SCORE, PERFORMANCE)


@dataclass(frozen=True, slots=True)
class Block:
    """One kind of token: a name, the value of each of its ids, which kinds may come next."""

    name: str
    values: Sequence[int]
    follows: tuple[str, ...]
    grids: tuple[str, ...] = BOTH


_NOTES = ("track", "velocity", "pitch", "drum")
_TRACKS = (*_NOTES, "pedal", "control")
_ONWARD = ("position", "bar", "shift", "start")

BLOCKS = (
    Block("start", (0,), ("start",)),  # ends a piece; after the end there is only the end
    Block("bar", (0,), _ONWARD, (SCORE,)),
    # steps from the bar
    Block("position", range(MAX_RULER_STEPS), ("beats", "key", "tempo", *_TRACKS), (SCORE,)),
    # steps from the last shift; the longest one may be followed by another
    Block("shift", range(1, 101), ("shift", "beats", "key", "tempo", *_TRACKS), (PERFORMANCE,)),
    Block("beats", range(1, 65), ("unit",)),  # a meter's numerator
    Block("unit", (1, 2, 4, 8, 16, 32, 64), ("key", "tempo", *_TRACKS, *_ONWARD)),  # denominator
    Block("key", range(2 * NUM_SIGNATURES), ("tempo", *_TRACKS, *_ONWARD)),  # see `key_value`
    Block("tempo", range(16, 321), (*_TRACKS, *_ONWARD)),  # quarter notes a minute
    Block("track", range(MAX_TRACKS), ("program", *_TRACKS[1:])),
    Block("program", range(2 * DRUM_PROGRAMS), ("velocity", "pedal", "control")),
    Block("pedal", PEDAL_VALUES, ("control", *_NOTES, *_ONWARD), (PERFORMANCE,)),
    Block("control", range(PITCH_BEND + 1), ("value",), (PERFORMANCE,)),  # see `piece.Control`
    Block("value", range(128), ("control", *_NOTES, *_ONWARD), (PERFORMANCE,)),
    Block("velocity", range(2, 128, 4), ("pitch", "drum")),
    Block("pitch", range(TOP_PITCH + 1), ("long", "duration")),
    Block("drum", range(TOP_PITCH + 1), ("long", "duration")),
    Block("long", (STEPS_PER_LONG,), ("long", "duration")),  # so many steps more
    Block("duration", range(1, STEPS_PER_LONG + 1), (*_NOTES, *_ONWARD)),  # steps
)
VALUES = {block.name: block.values for block in BLOCKS}
OFFSETS = dict(
    zip(VALUES, accumulate((len(b.values) for b in BLOCKS), initial=0), strict=False)
)  # name -> its first id
VOCAB_SIZE = sum(len(block.values) for block in BLOCKS)
NAME_OF = [block.name for block in BLOCKS for _ in block.values]  # id -> name
IDS = {
    block.name: {value: OFFSETS[block.name] + i for i, value in enumerate(block.values)}
    for block in BLOCKS
}  # name -> value -> id


def token_id(name: str, value: int = 0) -> int:
    """The id of a block's value: `token_id("pitch", 60)`."""
    return IDS[name][value]


def meaning(token: int) -> tuple[str, int]:
    """The inverse of `token_id`.

    Raises:
        ValueError: there is no such id.
    """
    if not 0 <= token < VOCAB_SIZE:
        raise ValueError(f"token ids are in 0..{VOCAB_SIZE - 1}, not {token}")
    name = NAME_OF[token]
    return name, VALUES[name][token - OFFSETS[name]]


def describe(token: int) -> str:
    """A token in words: "bar", "pitch 60"."""
    name, value = meaning(token)
    return name if len(VALUES[name]) == 1 else f"{name} {value}"


def key_value(sharps: int, is_minor: bool) -> int:
    """The value of a key's token: 0..14 are the major keys from seven flats on, 15..29 the minor.

    Example:
        key_value(0, False)    # 7, C major
        key_value(2, True)     # 24, B minor
    """
    return sharps + MAX_SHARPS + NUM_SIGNATURES * is_minor


def key_of(value: int) -> tuple[int, bool]:
    """The inverse of `key_value`."""
    is_minor, place = divmod(value, NUM_SIGNATURES)
    return place - MAX_SHARPS, bool(is_minor)


def transposed_key(value: int, semitones: int) -> int:
    """The key so many semitones higher, with at most six sharps or flats unless it stays.

    Each step along the circle of fifths is seven semitones, and seven times seven is one, so a
    semitone up is seven sharps more, or five flats.
    """
    sharps, is_minor = key_of(value)
    if semitones % 12:
        sharps = (sharps + SEMITONES_PER_FIFTH * semitones + 5) % 12 - 5
    return key_value(sharps, is_minor)


def ruler_steps(numerator: int, denominator: int) -> int:
    """The steps of a bar, or of the equal parts, at most 192 steps each, of a longer one.

    Example:
        ruler_steps(4, 4)     # 96
        ruler_steps(12, 4)    # 144: a bar of 288 steps is measured in halves
    """
    whole = numerator * STEPS_PER_WHOLE_NOTE
    parts = ruler_parts(numerator, denominator)
    return (2 * whole + denominator * parts) // (2 * denominator * parts)  # a half goes up


def ruler_parts(numerator: int, denominator: int) -> int:
    """In how many equal parts a bar is measured: 1, or more for one of over 192 steps."""
    return ceil(numerator * STEPS_PER_WHOLE_NOTE / (denominator * MAX_RULER_STEPS))


def is_measured_exactly(numerator: int, denominator: int) -> bool:
    """Whether the parts of a bar are whole steps, so that bars can be counted by them."""
    parts = ruler_parts(numerator, denominator)
    return numerator * STEPS_PER_WHOLE_NOTE % (denominator * parts) == 0
