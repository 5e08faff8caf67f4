"""A piece on a grid of equal steps: knows how times round, not files and not tokens.

There are two grids. On the score grid a step is a part of a beat, whatever the tempo; on the
performance grid it is a part of a second, whatever the beat. A piece on a grid has steps for ticks.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from math import floor
from typing import TYPE_CHECKING

from generative.music.piece import Control, Note, Piece, Tempo, TempoMap, in_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

SCORE, PERFORMANCE = "score", "performance"
STEPS_PER_BEAT = 24  # 6 steps a sixteenth note, 8 steps an eighth-note triplet
STEPS_PER_SECOND = 100
# Of pieces that come from the performance grid: at the slowest tempo of tokens, 16 beats a minute,
# a tick is 3.9 ms, so that both ends of a note find their steps of 10 ms again.
PERFORMANCE_TICKS_PER_BEAT = 960

EXACT_STEPS = 1e-6  # nearer than this is a matter of floating point

# Played music has about 6/24 of its onsets in the fullest 6 of a beat's 24 steps (0.26 to 0.35 in
# 350 performances), written music nearly all (0.82 and more in 95% of 900 files); a grid that does
# not begin at tick 0, as in music fitted to a recording, does not matter.
FULLEST_STEPS = 6
WRITTEN_SHARE = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantiseReport:
    """What moving to the grid did: `notes_in == notes_out + merged`."""

    notes_in: int
    notes_out: int
    merged: int  # met another note of the same track, step and pitch; the longer one stays
    lengthened: int  # would have lasted no step, and lasts one
    shortened: int  # would have rounded into the next note of its pitch, and ends with its onset
    onsets_moved: int
    durations_moved: int  # rounded
    velocities_moved: int
    max_onset_error_steps: float  # at most 1/2
    max_duration_error_steps: float  # of those rounded; at most 1/2


def quantised(
    piece: Piece,
    grid: str = SCORE,
    velocities: Sequence[int] = range(128),
    steps_per_beat: int = STEPS_PER_BEAT,
) -> tuple[Piece, QuantiseReport]:
    """The piece on a grid: onsets and durations go to the nearest step, a half goes up.

    Args:
        piece: any.
        grid: "score" or "performance".
        velocities: what each becomes. (128,)
        steps_per_beat: of the score grid.

    Returns:
        The piece with steps for ticks, in normal form, and what that cost. Done twice on the score
        grid, the second time changes nothing.
    """
    frame = replace(piece, tracks=()).normalised()
    position = _in_seconds(frame) if grid == PERFORMANCE else _in_beats(frame, steps_per_beat)

    def step(ticks: int) -> int:
        return floor(position(ticks) + 0.5)

    rounding = _Rounding(position, velocities)
    tracks = [
        replace(
            track,
            notes=rounding.notes(in_order(track.notes)),
            controls=tuple(
                Control(at_ticks=step(c.at_ticks), number=c.number, value=c.value)
                for c in track.controls
            ),
        )
        for track in piece.tracks
        if track.notes
    ]
    moved_piece = Piece(
        ticks_per_beat=PERFORMANCE_TICKS_PER_BEAT if grid == PERFORMANCE else steps_per_beat,
        tracks=tuple(tracks),
        tempos=tuple(replace(t, at_ticks=step(t.at_ticks)) for t in frame.tempos),
        meters=tuple(replace(m, at_ticks=step(m.at_ticks)) for m in frame.meters),
        keys=tuple(replace(k, at_ticks=step(k.at_ticks)) for k in frame.keys),
    ).normalised()
    notes_in, notes_out = piece.note_count, moved_piece.note_count
    return moved_piece, QuantiseReport(
        notes_in=notes_in,
        notes_out=notes_out,
        merged=notes_in - notes_out,
        lengthened=rounding.counts["lengthened"],
        shortened=rounding.counts["shortened"],
        onsets_moved=rounding.counts["onset"],
        durations_moved=rounding.counts["duration"],
        velocities_moved=rounding.counts["velocity"],
        max_onset_error_steps=rounding.max_onset_error,
        max_duration_error_steps=rounding.max_duration_error,
    )


def in_time(stepped: Piece) -> Piece:
    """A piece on the performance grid in ticks again, each as near its step as its tempo allows.

    Ticks are counted from the start, through the very tempos that the piece will have, so errors
    do not add up and `quantised` finds the same steps.
    """
    tempos: list[Tempo] = []
    begin_ticks, begin_seconds, seconds_per_tick = 0, 0.0, 1.0
    for tempo in stepped.tempos:
        seconds = tempo.at_ticks / STEPS_PER_SECOND
        at_ticks = begin_ticks + round((seconds - begin_seconds) / seconds_per_tick)
        begin_seconds += (at_ticks - begin_ticks) * seconds_per_tick
        begin_ticks = at_ticks
        seconds_per_tick = 60 / (tempo.beats_per_minute * PERFORMANCE_TICKS_PER_BEAT)
        tempos.append(replace(tempo, at_ticks=at_ticks))
    clock = TempoMap(tempos, PERFORMANCE_TICKS_PER_BEAT)
    timed = stepped.moved(lambda step: round(clock.ticks_at(step / STEPS_PER_SECOND)))
    return replace(timed, tempos=tuple(tempos)).normalised()


def grid_of(pieces: Iterable[Piece]) -> str:
    """The grid that fits most of the pieces: "performance" where notes keep to no beat.

    A piece keeps to the beat if the fullest 6 of a beat's 24 steps hold 60% of its onsets.
    """
    shares = sorted(share for share in map(_fullest_share, pieces) if share is not None)
    return PERFORMANCE if shares and shares[len(shares) // 2] < WRITTEN_SHARE else SCORE


def _fullest_share(piece: Piece) -> float | None:
    beat = piece.ticks_per_beat
    steps = Counter(
        (note.onset_ticks * STEPS_PER_BEAT * 2 // beat + 1) // 2 % STEPS_PER_BEAT
        for track in piece.tracks
        for note in track.notes
    )
    total = steps.total()
    return sum(n for _, n in steps.most_common(FULLEST_STEPS)) / total if total else None


class _Rounding:
    """Rounds the notes of a track at a time, and counts what that did."""

    def __init__(self, position: Callable[[int], float], velocities: Sequence[int]) -> None:
        self.counts: Counter[str] = Counter()
        self.max_onset_error = self.max_duration_error = 0.0
        self._position, self._velocities = position, velocities

    def notes(self, notes: Sequence[Note]) -> tuple[Note, ...]:
        """Of notes in order, those that stay; of several at one place the longest."""
        position, velocities, counts = self._position, self._velocities, self.counts
        kept: dict[tuple[int, int], Note] = {}  # (onset step, pitch)
        latest: dict[int, tuple[tuple[int, int], float]] = {}  # pitch -> its key, where it ended
        onsets_moved = durations_moved = velocities_moved = 0
        for note in notes:
            begin = position(note.onset_ticks)
            end = position(note.onset_ticks + note.duration_ticks)
            onset, steps = floor(begin + 0.5), floor(end - begin + 0.5)
            if (error := abs(begin - onset)) > EXACT_STEPS:
                onsets_moved += 1
                self.max_onset_error = max(self.max_onset_error, error)
            if not steps:
                counts["lengthened"] += 1
                steps = 1
            elif (error := abs(end - begin - steps)) > EXACT_STEPS:
                durations_moved += 1
                self.max_duration_error = max(self.max_duration_error, error)
            pitch, velocity = note.pitch, velocities[note.velocity]
            velocities_moved += velocity != note.velocity
            key = onset, pitch
            if pitch in latest:
                before, ended = latest[pitch]
                if before == key:
                    if _weight(kept[key]) >= (steps, velocity):
                        continue
                elif ended <= begin and kept[before].end_ticks > onset:
                    # else its end would silence this note, which a file tells apart by pitch only
                    counts["shortened"] += 1
                    kept[before] = replace(kept[before], duration_ticks=onset - before[0])
            kept[key] = Note(
                onset_ticks=onset, duration_ticks=steps, pitch=pitch, velocity=velocity
            )
            latest[pitch] = key, end
        counts["onset"] += onsets_moved
        counts["duration"] += durations_moved
        counts["velocity"] += velocities_moved
        return tuple(kept.values())


def _weight(note: Note) -> tuple[int, int]:
    return note.duration_ticks, note.velocity


# A piece's ticks to steps, fractions and all.


def _in_beats(piece: Piece, steps_per_beat: int) -> Callable[[int], float]:
    per_beat = piece.ticks_per_beat
    return lambda ticks: ticks * steps_per_beat / per_beat


def _in_seconds(piece: Piece) -> Callable[[int], float]:
    seconds_at = piece.tempo_map.seconds_at
    if len(piece.tempos) == 1:  # as most have
        seconds_per_tick = seconds_at(1)
        return lambda ticks: ticks * seconds_per_tick * STEPS_PER_SECOND
    return lambda ticks: seconds_at(ticks) * STEPS_PER_SECOND
