"""What tokens can say of a piece: knows the limits of the vocabulary, not its ids."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from math import floor
from typing import TYPE_CHECKING

from generative.music.controls import control_name
from generative.music.piece import SUSTAIN_PEDAL
from generative.music.quantise import PERFORMANCE, QuantiseReport, quantised
from generative.tokenizers.music.grammar import LAST_STEPS
from generative.tokenizers.music.vocabulary import (
    MAX_DURATION_STEPS,
    MAX_TRACKS,
    PEDAL_VALUES,
    VALUES,
    VALUES_PER_LEVEL,
    VELOCITIES_PER_LEVEL,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from generative.music.piece import Control, Key, Meter, Piece, Tempo, Track

LOWEST_TEMPO, HIGHEST_TEMPO = VALUES["tempo"][0], VALUES["tempo"][-1]
# velocity -> the middle of its level
SPOKEN_VELOCITIES = [
    0, *(VALUES["velocity"][(v - 1) // VELOCITIES_PER_LEVEL] for v in range(1, 128))
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeReport:
    """What tokens could not say: `notes_in == notes_out + notes_merged + notes_dropped`.

    Attributes:
        notes_merged: met another note of the same track, step and pitch.
        notes_dropped: of instruments beyond the 64th.
        losses: all else that tokens do not give back as it was: kind -> how often.
        quantise: how far moving to the grid moved things.
    """

    notes_in: int
    notes_out: int
    notes_merged: int
    notes_dropped: int
    losses: Mapping[str, int]
    quantise: QuantiseReport


def in_token_form(
    piece: Piece, grid: str, controls: Collection[int] = ()
) -> tuple[Piece, EncodeReport]:
    """The piece in steps, as its tokens say it, and what that leaves out.

    Changes of tempo, meter and key after the end of the last note are left out: nothing sounds.

    Args:
        piece: any.
        grid: "score" or "performance".
        controls: numbers of those that are kept on the performance grid, beside the sustain pedal.

    Raises:
        ValueError: a piece longer than there are tokens for.
    """
    losses: Counter[str] = Counter()
    said = {SUSTAIN_PEDAL, *controls} if grid == PERFORMANCE else frozenset[int]()
    tracks = _at_most(MAX_TRACKS, piece.tracks)
    kept = replace(piece, tracks=tuple(_with_controls(track, said, losses) for track in tracks))
    on_grid, report = quantised(kept, grid, SPOKEN_VELOCITIES)
    tracks = tuple(_spoken(track, losses) for track in on_grid.tracks)
    on_grid = replace(on_grid, tracks=tracks)
    end = max(on_grid.duration_ticks, 1)
    meters = [meter for meter in on_grid.meters if meter.at_ticks < end]
    form = replace(
        on_grid,
        tempos=tuple(_spoken_tempo(t, losses) for t in on_grid.tempos if t.at_ticks < end),
        meters=tuple(meter for meter in meters if _has_tokens(meter)),
        keys=tuple(key for key in on_grid.keys if key.at_ticks < end),
    ).normalised()
    losses["meter without tokens"] = sum(not _has_tokens(meter) for meter in meters)
    losses["tempo, meter or key that changes nothing that sounds"] = (
        _changes_in(kept) - _changes_in(form) - losses["meter without tokens"]
    )
    _check_length(form, grid)
    losses["velocity rounded"] = report.velocities_moved
    losses["note: onset rounded"] = report.onsets_moved
    losses["note: duration rounded"] = report.durations_moved
    losses["note of no step: lasts one"] = report.lengthened
    losses["note cut short where its pitch begins again"] = report.shortened
    return form, EncodeReport(
        notes_in=piece.note_count,
        notes_out=form.note_count,
        notes_merged=report.merged,
        notes_dropped=piece.note_count - kept.note_count,
        losses={kind: count for kind, count in sorted(losses.items()) if count > 0},
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


def _with_controls(track: Track, said: Collection[int], losses: Counter[str]) -> Track:
    """The track with those of its controls that tokens say."""
    if not track.controls:
        return track
    losses.update(control_name(c.number) for c in track.controls if c.number not in said)
    return replace(track, controls=tuple(c for c in track.controls if c.number in said))


def _spoken(track: Track, losses: Counter[str]) -> Track:
    """A track on the grid as tokens say it."""
    clipped = [n for n in track.notes if n.duration_ticks > MAX_DURATION_STEPS]
    notes = track.notes
    if clipped:
        losses["note longer than tokens say"] += len(clipped)
        notes = tuple(
            replace(n, duration_ticks=min(n.duration_ticks, MAX_DURATION_STEPS)) for n in notes
        )
    losses["track name"] += bool(track.name)
    controls = _spoken_controls(track.controls, losses)
    return replace(track, name="", notes=notes, controls=controls)


def _spoken_controls(controls: Iterable[Control], losses: Counter[str]) -> tuple[Control, ...]:
    """One of a number at a step, and only where they change."""
    at_step: dict[tuple[int, int], Control] = {}
    for control in controls:
        value = _spoken_value(control)
        losses[f"{control_name(control.number)}: value rounded"] += value != control.value
        place = control.at_ticks, control.number
        losses[f"{control_name(control.number)}: several at a step"] += place in at_step
        at_step[place] = replace(control, value=value)
    now = {SUSTAIN_PEDAL: PEDAL_VALUES[0]}
    kept = []
    for (_, number), control in sorted(at_step.items(), key=_order):
        if now.get(number) != control.value:
            kept.append(control)
            now[number] = control.value
        else:
            losses[f"{control_name(number)}: no change"] += 1
    return tuple(kept)


def _order(placed: tuple[tuple[int, int], Control]) -> tuple[int, bool, int]:
    """At a step the sustain pedal comes first."""
    (step, number), _ = placed
    return step, number != SUSTAIN_PEDAL, number


def _spoken_value(control: Control) -> int:
    if control.number == SUSTAIN_PEDAL:
        return PEDAL_VALUES[control.value >= 64]
    level = VALUES_PER_LEVEL.get(control.number, 1)
    return control.value // level * level


def _spoken_tempo(tempo: Tempo, losses: Counter[str]) -> Tempo:
    nearest = floor(tempo.beats_per_minute + 0.5)
    rate = min(max(nearest, LOWEST_TEMPO), HIGHEST_TEMPO)
    losses["tempo slower or faster than tokens say"] += rate != nearest
    losses["tempo rounded"] += rate == nearest != tempo.beats_per_minute
    return replace(tempo, beats_per_minute=float(rate))


def _changes_in(piece: Piece) -> int:
    return len(piece.tempos) + len(piece.meters) + len(piece.keys)


def _check_length(form: Piece, grid: str) -> None:
    last_onset = max((track.notes[-1].onset_ticks for track in form.tracks), default=0)
    changes: tuple[Tempo | Meter | Key | Control, ...] = (
        *form.tempos, *form.meters, *form.keys, *(c for t in form.tracks for c in t.controls)
    )  # fmt: skip
    last = max(last_onset, *(change.at_ticks for change in changes))
    if last > LAST_STEPS[grid]:
        unit, steps = ("s", 100) if grid == PERFORMANCE else ("beats", form.ticks_per_beat)
        most = LAST_STEPS[grid] // steps
        raise ValueError(f"the piece has {last // steps:,} {unit}, and tokens reach to {most:,}")


def _has_tokens(meter: Meter) -> bool:
    return meter.numerator in VALUES["beats"] and meter.denominator in VALUES["unit"]
