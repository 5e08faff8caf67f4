"""How long notes sound, in ticks: knows what pedals do, not seconds and not samples."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from generative.music.piece import SUSTAIN_PEDAL

if TYPE_CHECKING:
    from generative.music.piece import Track

PEDAL_DOWN = 64  # from this value on


def sounding_ends(track: Track) -> list[int]:
    """Where each note of a track falls silent: the sustain pedal holds it.

    A note that is let go while the pedal is down sounds until the pedal rises, or until its key is
    struck again; drums have no dampers.
    """
    moves = [(c.at_ticks, c.value) for c in track.controls if c.number == SUSTAIN_PEDAL]
    if track.is_drum or not moves:
        return [note.end_ticks for note in track.notes]
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
    ends.reverse()
    return ends
