"""When notes sound, in seconds: knows pieces, their clocks and pedals, not how they sound."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

import numpy as np

from generative.piece import SUSTAIN_PEDAL

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from generative.piece import TempoMap, Track

PEDAL_DOWN = 64  # from this value on


def spans(track: Track, clock: TempoMap) -> NDArray[np.float64]:
    """When each note is struck and let go, in seconds from the start. -> (N, 2)"""
    return _seconds([(note.onset_ticks, note.end_ticks) for note in track.notes], clock)


def sounding(track: Track, clock: TempoMap) -> NDArray[np.float64]:
    """When each note begins and ends to sound, in seconds: the sustain pedal holds it. -> (N, 2)

    A note that is let go while the pedal is down sounds until the pedal rises, or until its key is
    struck again; drums have no dampers.
    """
    moves = [(c.at_ticks, c.value) for c in track.controls if c.number == SUSTAIN_PEDAL]
    if track.is_drum or not moves:
        return spans(track, clock)
    last = max((note.end_ticks for note in track.notes), default=0)
    ticks = [at for at, _ in moves]
    rises = [0] * len(moves)  # where the pedal is up again, seen from each of its moves
    up = last
    for i in range(len(moves) - 1, -1, -1):
        if moves[i][1] < PEDAL_DOWN:
            up = ticks[i]
        rises[i] = up

    struck_next: dict[int, int] = {}
    ends: list[int] = []
    for note in reversed(track.notes):
        end = note.end_ticks
        move = bisect_right(ticks, end) - 1
        if move >= 0 and moves[move][1] >= PEDAL_DOWN:
            end = max(end, min(rises[move], struck_next.get(note.pitch, rises[move])))
        struck_next[note.pitch] = note.onset_ticks
        ends.append(end)
    pairs = zip((note.onset_ticks for note in track.notes), reversed(ends), strict=True)
    return _seconds(list(pairs), clock)


def _seconds(pairs: list[tuple[int, int]], clock: TempoMap) -> NDArray[np.float64]:
    seconds = [(clock.seconds_at(begin), clock.seconds_at(end)) for begin, end in pairs]
    return np.array(seconds, dtype=np.float64).reshape(-1, 2)
