"""The token form of a piece: what tokens can represent of it, and a report of what they cannot.

The module knows the ranges of the vocabulary, not its ids.
"""

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
# For each velocity the middle of its level. (128,)
ROUNDED_VELOCITIES = [
    0, *(VALUES["velocity"][(v - 1) // VELOCITIES_PER_LEVEL] for v in range(1, 128))
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeReport:
    """What tokens cannot represent: `notes_in == notes_out + notes_merged + notes_dropped`.

    Attributes:
        notes_in: the notes of the piece.
        notes_out: the notes of its token form.
        notes_merged: notes that coincide with another of their track, step and pitch.
        notes_dropped: notes of instruments beyond the 64th.
        losses: how often each other change was made, by its description.
        quantise: what moving the piece to the grid changed.
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
    """The piece in steps, as its tokens represent it, and a report of what that leaves out.

    Changes of tempo, meter and key after the end of the last note are left out.

    Args:
        piece: any piece.
        grid: "score" or "performance".
        controls: numbers of the controls that are kept on the performance grid, beside the sustain
            pedal.

    Raises:
        ValueError: the piece is longer than tokens can represent.
    """
    losses: Counter[str] = Counter()
    numbers = {SUSTAIN_PEDAL, *controls} if grid == PERFORMANCE else frozenset[int]()
    tracks = _at_most(MAX_TRACKS, piece.tracks)
    kept = replace(piece, tracks=tuple(_with_controls(track, numbers, losses) for track in tracks))
    on_grid, report = quantised(kept, grid, ROUNDED_VELOCITIES)
    tracks = tuple(_rounded_track(track, losses) for track in on_grid.tracks)
    on_grid = replace(on_grid, tracks=tracks)
    end = max(on_grid.duration_ticks, 1)
    meters = [meter for meter in on_grid.meters if meter.at_ticks < end]
    form = replace(
        on_grid,
        tempos=tuple(_rounded_tempo(t, losses) for t in on_grid.tempos if t.at_ticks < end),
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
        losses={loss: count for loss, count in sorted(losses.items()) if count > 0},
        quantise=report,
    )


def _at_most(count: int, tracks: tuple[Track, ...]) -> tuple[Track, ...]:
    """The tracks with notes; if there are too many, one an instrument, and the first of these."""
    tracks = tuple(track for track in tracks if track.notes)
    if len(tracks) <= count:
        return tracks
    merged: dict[tuple[int, bool], Track] = {}
    for track in tracks:
        first = merged.setdefault((track.program, track.is_drum), replace(track, notes=()))
        merged[track.program, track.is_drum] = replace(first, notes=first.notes + track.notes)
    return tuple(merged.values())[:count]


def _with_controls(track: Track, numbers: Collection[int], losses: Counter[str]) -> Track:
    """The track with its controls of these numbers only."""
    if not track.controls:
        return track
    losses.update(control_name(c.number) for c in track.controls if c.number not in numbers)
    return replace(track, controls=tuple(c for c in track.controls if c.number in numbers))


def _rounded_track(track: Track, losses: Counter[str]) -> Track:
    """A track on the grid with the durations and controls that tokens can represent."""
    clipped = [n for n in track.notes if n.duration_ticks > MAX_DURATION_STEPS]
    notes = track.notes
    if clipped:
        losses["note longer than tokens say"] += len(clipped)
        notes = tuple(
            replace(n, duration_ticks=min(n.duration_ticks, MAX_DURATION_STEPS)) for n in notes
        )
    losses["track name"] += bool(track.name)
    controls = _rounded_controls(track.controls, losses)
    return replace(track, name="", notes=notes, controls=controls)


def _rounded_controls(controls: Iterable[Control], losses: Counter[str]) -> tuple[Control, ...]:
    """The controls with rounded values: at each step the last of its number, if it is a change."""
    at_step: dict[tuple[int, int], Control] = {}
    for control in controls:
        value = _rounded_value(control)
        losses[f"{control_name(control.number)}: value rounded"] += value != control.value
        key = control.at_ticks, control.number
        losses[f"{control_name(control.number)}: several at a step"] += key in at_step
        at_step[key] = replace(control, value=value)
    current = {SUSTAIN_PEDAL: PEDAL_VALUES[0]}
    kept = []
    for (_, number), control in sorted(at_step.items(), key=_order):
        if current.get(number) != control.value:
            kept.append(control)
            current[number] = control.value
        else:
            losses[f"{control_name(number)}: no change"] += 1
    return tuple(kept)


def _order(item: tuple[tuple[int, int], Control]) -> tuple[int, bool, int]:
    """A sort key by which the sustain pedal is the first control of its step."""
    (step, number), _ = item
    return step, number != SUSTAIN_PEDAL, number


def _rounded_value(control: Control) -> int:
    if control.number == SUSTAIN_PEDAL:
        return PEDAL_VALUES[control.value >= 64]
    level = VALUES_PER_LEVEL.get(control.number, 1)
    return control.value // level * level


def _rounded_tempo(tempo: Tempo, losses: Counter[str]) -> Tempo:
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
