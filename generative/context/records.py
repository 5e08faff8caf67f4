"""The records that the operations of context features work on.

It must not know what is done with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

PITCHES = 128
KEYS = 30  # signatures and modes
CLASSES = 12  # pitch classes
SLOTS = 8  # Tracks of these numbers, from 0 on, are remembered one by one.
LONGEST_BAR_STEPS = 192
LARGEST_INTERVAL = 12  # Larger intervals count as this one.
WINDOW = 1024  # Matches are looked for in so many tokens before the present one.
LONGEST_SEARCHED = 32  # Matches of so many tokens and more are not told apart where one is chosen.
SHORTEST_TOLD = 8  # Features tell of no match of fewer tokens, since little of those goes on.
BARS_AGO = (1, 2, 4, 8)  # The bars that the present one is compared with.
# A number of steps has the level of the greatest bound that it reaches.
LEVEL_BOUNDS = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 384)

# What a token does to the memory: the numbers in `Tables.kinds`, by the name of the kind. The kinds
# of time end with "unit", those of notes follow it, and those of piano rolls are the last:
# `operations` relies on that order. A frame of a roll is its pitches in rising order, each a token
# "frame_pitch", and a token "frame"; the k-th pitch is taken for the note of track k.
KINDS = {
    name: number
    for number, name in enumerate(
        (
            "other", "start", "bar", "position", "shift", "key", "beats", "unit", "track",
            "program", "velocity", "pitch", "drum", "long", "duration", "frame_pitch",
            "frame",
        )
    )
}  # fmt: skip
# Which track is expected to have the next note: none in particular after a token of time, the
# current one while its note is being written, and one of a higher number after a note.
ANY, CURRENT, HIGHER = range(3)

# The memory of a document is a row of numbers, in which each of these has a column.
(
    CLOCK,  # the present step
    BAR_BEGIN,  # the step at which the current bar began
    BAR_STEPS,  # its length
    BARS,  # the number of bar tokens so far
    BEATS,  # the numerator of a meter whose denominator is still to come
    TRACK,  # the current track, or NOTHING
    PHASE,  # ANY, CURRENT or HIGHER
    NEXT_VOICE,  # the track that is expected to have the next note, or NOTHING
    PITCH,  # of a note whose duration is still to come, or NOTHING
    EXTENSION,  # the steps of the "long" tokens of that note
    IS_DRUM,  # whether that note is one of drums
    KEY,  # 1 + the number of the key signature and mode; 0 before one is given
    LATEST,  # the step at which the latest note of a track below SLOTS began, or NOTHING
    NOTE_COUNT,  # the number of notes of these tracks so far
    LAST,  # the last pitch of each track, or NOTHING; SLOTS columns
) = range(15)
PREVIOUS = LAST + SLOTS  # the pitch before the last onset of each track, or NOTHING
ONSET = PREVIOUS + SLOTS  # the step at which the last note of each track began
END = ONSET + SLOTS  # the step at which it ends
CLASS_END = END + SLOTS  # the step at which each pitch class ceases to sound
RUNS = CLASS_END + CLASSES  # how many notes in a row were as so many bars ago, see BARS_AGO
BARS_KEPT = 2 * max(BARS_AGO)
FIRST_STEPS = RUNS + len(BARS_AGO)  # the step at which each of the latest bars began, a ring
FIRST_NOTES = FIRST_STEPS + BARS_KEPT  # the number of notes before it
NOTES_KEPT = 1024
NOTES = FIRST_NOTES + BARS_KEPT  # the latest notes, (onset * SLOTS + track) * PITCHES + pitch
# The columns from here on are only there where features depend on matches.
COUNT = NOTES + NOTES_KEPT  # the number of tokens so far
MATCH_PLACE = COUNT + 1  # the place of the token that follows the longest match
MATCH_LENGTH = MATCH_PLACE + 1  # the number of tokens of that match
MATCH_KIND = MATCH_LENGTH + 1  # of that token, see `KINDS`; NOTHING where no match is told of
MATCH_VALUE = MATCH_KIND + 1  # of that token, see `Tables.values`, or NOTHING
TOKENS = MATCH_VALUE + 1  # the latest tokens, each at its place modulo `WINDOW`
WIDTH = TOKENS + WINDOW
NOTHING = -1

# The memory of B documents. (B, M): M is `WIDTH`, without matches `COUNT`, and 0 for a model
# without context features. The operations edit it in place; everything else treats it as
# immutable.
Memory: TypeAlias = "NDArray[np.int64]"
# A decorator of the operations, which may compile.
Inner: TypeAlias = "Callable[[Callable[..., Any]], Callable[..., Any]]"

EMPTY = np.zeros(WIDTH, np.int64)  # the memory of a document before its first token
for _columns in (
    TRACK, NEXT_VOICE, PITCH, LATEST, slice(LAST, ONSET), slice(MATCH_KIND, TOKENS),
):  # fmt: skip
    EMPTY[_columns] = NOTHING


class Tables(NamedTuple):
    """What each token means to the memory, and which features are read. F features, V tokens.

    Attributes:
        is_on: whether there are features; if not, everything else is empty.
        has_matches: whether one of them depends on matches, which take time to find.
        kinds: of each token, see `KINDS`. (V,) int8
        values: the steps, pitch or track number of each token, or its index in `bar_steps`.
            (V,) int32
        bar_steps: the length of a bar, by the values of "beats" and "unit". (numerators,
            denominators) int32
        families, indices: each feature's place in `features.FAMILIES` and in its family. (F,) int32
        offsets: the number of each feature's first row, where the rows of all features stand one
            after another. (F,) int32
        sizes: of the features. (F,) int32
    """

    is_on: bool
    has_matches: bool
    kinds: NDArray[np.int8]
    values: NDArray[np.int32]
    bar_steps: NDArray[np.int32]
    families: NDArray[np.int32]
    indices: NDArray[np.int32]
    offsets: NDArray[np.int32]
    sizes: NDArray[np.int32]


_NONE = np.zeros(0, np.int32)
NO_CONTEXT = Tables(
    is_on=False,
    has_matches=False,
    kinds=np.zeros(0, np.int8),
    values=_NONE,
    bar_steps=np.zeros((0, 0), np.int32),
    families=_NONE,
    indices=_NONE,
    offsets=_NONE,
    sizes=_NONE,
)


def start(tables: Tables, batch_size: int) -> Memory:
    """The memory of documents before their first token."""
    width = WIDTH if tables.has_matches else COUNT if tables.is_on else 0
    return np.tile(EMPTY[:width], (batch_size, 1))


def select(memory: Memory, rows: Sequence[int] | NDArray[np.int64]) -> Memory:
    """The memory of the given rows, in that order; rows may repeat."""
    return memory[np.asarray(rows, dtype=np.int64)]
