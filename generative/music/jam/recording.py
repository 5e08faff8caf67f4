"""What was played in a session, one turn after another, without the pauses between them."""

from __future__ import annotations

from dataclasses import replace

from generative.music.piece import Meter, Note, Piece, Tempo, Track
from generative.music.quantise import STEPS_PER_BEAT, quantised


class Recording:
    """Grows by pieces; each begins on the bar line after the one before."""

    def __init__(self) -> None:
        self._end_ticks = 0
        self._notes: dict[tuple[str, int, bool], list[Note]] = {}
        self._tempos: list[Tempo] = []
        self._meters: list[Meter] = []

    def add(self, piece: Piece, name: str) -> None:
        """Put a piece at the end; `name` says whose it is. One without notes is passed over."""
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
        """All of it: a track for each player's instruments."""
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
