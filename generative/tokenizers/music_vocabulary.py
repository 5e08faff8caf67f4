"""The vocabulary of music: knows which ids there are and what each means, not where it may stand.

`BLOCKS` lists the kinds of token; a new kind is a row there, and in the grammar's two tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from math import ceil
from typing import TYPE_CHECKING

from generative.quantise import STEPS_PER_BEAT

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


@dataclass(frozen=True, slots=True)
class Block:
    """One kind of token: a name, the value of each of its ids, and which kinds may come next."""

    name: str
    values: Sequence[int]
    follows: tuple[str, ...]


_NOTES = ("track", "velocity", "pitch", "drum")
_ONWARD = ("position", "bar", "start")

BLOCKS = (
    Block("start", (0,), ("start",)),  # ends a piece; after the end there is only the end
    Block("bar", (0,), _ONWARD),
    Block("position", range(MAX_RULER_STEPS), ("beats", "tempo", *_NOTES)),  # steps from the bar
    Block("beats", range(1, 65), ("unit",)),  # a meter's numerator
    Block("unit", (1, 2, 4, 8, 16, 32, 64), ("tempo", *_NOTES, *_ONWARD)),  # and denominator
    Block("tempo", range(16, 321), (*_NOTES, *_ONWARD)),  # quarter notes a minute
    Block("track", range(MAX_TRACKS), ("program", "velocity", "pitch", "drum")),
    Block("program", range(2 * DRUM_PROGRAMS), ("velocity",)),
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


def token_id(name: str, value: int = 0) -> int:
    """The id of a block's value: `token_id("pitch", 60)`."""
    return OFFSETS[name] + VALUES[name].index(value)


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
