"""The ticks at which notes fall silent, with the sustain pedal taken into account."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from generative.music.piece import SUSTAIN_PEDAL

if TYPE_CHECKING:
    from generative.music.piece import Track

PEDAL_DOWN = 64  # The pedal is down at this value and above.


def sounding_ends(track: Track) -> list[int]:
    """The tick at which each note of a track falls silent.

    A note that is released while the sustain pedal is down sounds until the pedal is released or
    the pitch is played again. The pedal does not affect drums.
    """
    moves = [(c.at_ticks, c.value) for c in track.controls if c.number == SUSTAIN_PEDAL]
    if track.is_drum or not moves:
        return [note.end_ticks for note in track.notes]
    last = max((note.end_ticks for note in track.notes), default=0)
    ticks = [at for at, _ in moves]
    rises = [0] * len(moves)  # the tick at which the pedal is up after each of its moves
    up = last
    for i in range(len(moves) - 1, -1, -1):
        if moves[i][1] < PEDAL_DOWN:
            up = ticks[i]
        rises[i] = up

    next_onset: dict[int, int] = {}  # pitch -> the onset of its next note
    ends: list[int] = []
    for note in reversed(track.notes):
        end = note.end_ticks
        move = bisect_right(ticks, end) - 1
        if move >= 0 and moves[move][1] >= PEDAL_DOWN:
            end = max(end, min(rises[move], next_onset.get(note.pitch, rises[move])))
        next_onset[note.pitch] = note.onset_ticks
        ends.append(end)
    ends.reverse()
    return ends
