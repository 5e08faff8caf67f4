"""The music of a session as one piece, without the pauses between turns."""

from __future__ import annotations

from dataclasses import replace

from generative.music.piece import Meter, Note, Piece, Tempo, Track
from generative.music.quantise import STEPS_PER_BEAT, quantised


class Recording:
    """A piece that grows by pieces; each begins at the bar line after the previous one."""

    def __init__(self) -> None:
        self._end_ticks = 0
        self._notes: dict[tuple[str, int, bool], list[Note]] = {}
        self._tempos: list[Tempo] = []
        self._meters: list[Meter] = []

    def add(self, piece: Piece, name: str) -> None:
        """Append a piece to the tracks called `name`. A piece without notes is ignored."""
        piece = quantised(piece)[0]
        if not piece.note_count:
            return
        moved = piece.clipped(piece.bar_lines[-1]).shifted(self._end_ticks)
        for track in moved.tracks:
            key = (name, track.program, track.is_drum)
            self._notes.setdefault(key, []).extend(track.notes)
        self._tempos += moved.tempos
        self._meters += moved.meters
        self._end_ticks += piece.bar_lines[-1]

    @property
    def piece(self) -> Piece:
        """The whole recording: a track for each name and instrument."""
        empty = Piece(ticks_per_beat=STEPS_PER_BEAT)
        return replace(
            empty,
            tracks=tuple(
                Track(program=program, is_drum=is_drum, notes=tuple(notes), name=name)
                for (name, program, is_drum), notes in self._notes.items()
            ),
            tempos=tuple(self._tempos),
            meters=tuple(self._meters),
        ).normalised()
