"""Parallel fifths, octaves and unisons between the tracks of a piece.

Two voices are parallel where both move at once and stand a perfect fifth apart before and after, or
an octave or a unison before and after. Octaves may be added to any of these intervals, and either
voice may be the higher one. The module does not know how music is made.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from generative.music.piece import Piece, Track

OCTAVE, FIFTH = 12, 7  # in semitones
_PERFECT = (0, FIFTH)

Move: TypeAlias = tuple[int, int]  # a voice's pitch before and after


class ChordChanges(NamedTuple):
    """How often the chord of a piece changes.

    Attributes:
        changes: the number of ticks at which a voice moves to another pitch.
        parallel: the number of those at which any two voices are parallel.
    """

    changes: int
    parallel: int


def perfect_interval(one: int, other: int) -> int | None:
    """Return 0 for a unison or octave, 7 for a perfect fifth, and None for other intervals."""
    interval = abs(one - other) % OCTAVE
    return interval if interval in _PERFECT else None


def is_parallel(one: Move, other: Move) -> bool:
    """Return whether two voices that move to other pitches at once are parallel."""
    before = perfect_interval(one[0], other[0])
    return before is not None and before == perfect_interval(one[1], other[1])


def chord_changes(piece: Piece) -> ChordChanges:
    """Count the chord changes of a piece, and those with parallel voices.

    Each track but drums is one voice. Of notes that a track begins at once the highest counts.
    """
    moves: defaultdict[int, list[Move]] = defaultdict(list)  # by tick
    for track in piece.tracks:
        if not track.is_drum:
            for at_ticks, move in _moves(track):
                moves[at_ticks].append(move)
    parallel = sum(
        any(is_parallel(one, other) for one, other in combinations(several, 2))
        for several in moves.values()
    )
    return ChordChanges(len(moves), parallel)


def _moves(track: Track) -> list[tuple[int, Move]]:
    """Return the ticks at which a voice moves to another pitch, and its moves there."""
    notes = sorted(track.notes, key=lambda note: (note.onset_ticks, note.pitch))
    line = {note.onset_ticks: note.pitch for note in notes}
    return [
        (onset, (before, after))
        for (_, before), (onset, after) in pairwise(line.items())
        if before != after
    ]
