"""What tokens can say of a piece: knows the limits of the vocabulary, not its ids."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import floor
from typing import TYPE_CHECKING

from generative.quantise import QuantiseReport, quantised
from generative.tokenizers.music_grammar import LAST_BAR_STEP
from generative.tokenizers.music_vocabulary import (
    MAX_DURATION_STEPS,
    MAX_TRACKS,
    VALUES,
    VELOCITIES_PER_LEVEL,
)

if TYPE_CHECKING:
    from generative.piece import Meter, Note, Piece, Track

LOWEST_TEMPO, HIGHEST_TEMPO = VALUES["tempo"][0], VALUES["tempo"][-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeReport:
    """What tokens could not say: `notes_in == notes_out + notes_merged + notes_dropped`.

    Velocities go to the middle of one of 32 levels and tempos to whole beats a minute, always.
    """

    notes_in: int
    notes_out: int
    notes_merged: int  # met another note of the same track, step and pitch
    notes_dropped: int  # of instruments beyond the 64th
    notes_clipped: int  # longer than 256 beats
    tempos_clamped: int  # slower or faster than any token
    meters_dropped: int  # with no token for them
    quantise: QuantiseReport


def in_token_form(piece: Piece) -> tuple[Piece, EncodeReport]:
    """The piece as its tokens give it back, and what that leaves out; done twice, nothing changes.

    Changes of tempo and meter after the end of the last note are left out: nothing sounds.

    Raises:
        ValueError: a piece longer than there are tokens for.
    """
    kept = replace(piece, tracks=_at_most(MAX_TRACKS, piece.tracks))
    on_grid, report = quantised(kept)
    durations = [note.duration_ticks for track in on_grid.tracks for note in track.notes]
    spoken = (replace(t, name="", notes=tuple(map(_spoken, t.notes))) for t in on_grid.tracks)
    on_grid = replace(on_grid, tracks=tuple(spoken))
    end = max(on_grid.duration_ticks, 1)
    tempos = [tempo for tempo in on_grid.tempos if tempo.at_ticks < end]
    meters = [meter for meter in on_grid.meters if meter.at_ticks < end]
    last_onset = max((n.onset_ticks for t in on_grid.tracks for n in t.notes), default=0)
    last = max(last_onset, tempos[-1].at_ticks, meters[-1].at_ticks)
    if last > LAST_BAR_STEP:
        beats = last // on_grid.ticks_per_beat
        limit = LAST_BAR_STEP // on_grid.ticks_per_beat
        raise ValueError(f"the piece has {beats:,} beats, and tokens reach to beat {limit:,}")
    form = replace(
        on_grid,
        tempos=tuple(replace(t, beats_per_minute=float(_rate(t.beats_per_minute))) for t in tempos),
        meters=tuple(meter for meter in meters if _has_tokens(meter)),
    ).normalised()
    return form, EncodeReport(
        notes_in=piece.note_count,
        notes_out=form.note_count,
        notes_merged=report.merged,
        notes_dropped=piece.note_count - kept.note_count,
        notes_clipped=sum(steps > MAX_DURATION_STEPS for steps in durations),
        tempos_clamped=sum(
            not LOWEST_TEMPO <= round(t.beats_per_minute) <= HIGHEST_TEMPO for t in tempos
        ),
        meters_dropped=sum(not _has_tokens(meter) for meter in meters),
        quantise=report,
    )


def _at_most(count: int, tracks: tuple[Track, ...]) -> tuple[Track, ...]:
    """Tracks of one instrument become one where there are too many, then the last ones go."""
    tracks = tuple(track for track in tracks if track.notes)
    if len(tracks) <= count:
        return tracks
    merged: dict[tuple[int, bool], Track] = {}
    for track in tracks:
        first = merged.setdefault((track.program, track.is_drum), replace(track, notes=()))
        merged[track.program, track.is_drum] = replace(first, notes=first.notes + track.notes)
    return tuple(merged.values())[:count]


def _spoken(note: Note) -> Note:
    level = (note.velocity - 1) // VELOCITIES_PER_LEVEL
    return replace(
        note,
        velocity=VALUES["velocity"][level],
        duration_ticks=min(note.duration_ticks, MAX_DURATION_STEPS),
    )


def _rate(beats_per_minute: float) -> int:
    return min(max(floor(beats_per_minute + 0.5), LOWEST_TEMPO), HIGHEST_TEMPO)


def _has_tokens(meter: Meter) -> bool:
    return meter.numerator in VALUES["beats"] and meter.denominator in VALUES["unit"]
