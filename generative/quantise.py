"""A piece on a grid of equal steps: knows how times round, not files and not tokens."""

from __future__ import annotations

from dataclasses import dataclass, replace

from generative.piece import Note, Piece

STEPS_PER_BEAT = 24  # 6 steps a sixteenth note, 8 steps an eighth-note triplet


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantiseReport:
    """What moving to the grid did: `notes_in == notes_out + merged`."""

    notes_in: int
    notes_out: int
    merged: int  # met another note of the same track, step and pitch; the longer one stays
    lengthened: int  # would have lasted no step, and lasts one
    max_onset_error_beats: float


def quantised(piece: Piece, steps_per_beat: int = STEPS_PER_BEAT) -> tuple[Piece, QuantiseReport]:
    """The piece on a grid: onsets and ends go to the nearest step, a tick halfway goes up.

    Returns:
        The piece with `ticks_per_beat == steps_per_beat`, in normal form, and what that cost. Done
        twice, the second time changes nothing.
    """

    def step(ticks: int) -> int:
        return (2 * ticks * steps_per_beat + piece.ticks_per_beat) // (2 * piece.ticks_per_beat)

    piece = piece.normalised()
    lengthened = 0
    worst_error = 0  # in ticks times steps_per_beat, so that it stays whole
    tracks = []
    for track in piece.tracks:
        longest: dict[tuple[int, int], Note] = {}  # (onset step, pitch) -> the note that stays
        for note in track.notes:
            onset, end = step(note.onset_ticks), step(note.end_ticks)
            lengthened += onset == end
            error = abs(note.onset_ticks * steps_per_beat - onset * piece.ticks_per_beat)
            worst_error = max(worst_error, error)
            moved = Note(
                onset_ticks=onset,
                duration_ticks=max(end - onset, 1),
                pitch=note.pitch,
                velocity=note.velocity,
            )
            key = (onset, note.pitch)
            longest[key] = max(moved, longest.get(key, moved), key=_weight)
        tracks.append(replace(track, notes=tuple(longest.values())))
    moved_piece = Piece(
        ticks_per_beat=steps_per_beat,
        tracks=tuple(tracks),
        tempos=tuple(replace(t, at_ticks=step(t.at_ticks)) for t in piece.tempos),
        meters=tuple(replace(m, at_ticks=step(m.at_ticks)) for m in piece.meters),
    ).normalised()
    return moved_piece, QuantiseReport(
        notes_in=piece.note_count,
        notes_out=moved_piece.note_count,
        merged=piece.note_count - moved_piece.note_count,
        lengthened=lengthened,
        max_onset_error_beats=worst_error / steps_per_beat / piece.ticks_per_beat,
    )


def _weight(note: Note) -> tuple[int, int]:
    return note.duration_ticks, note.velocity
