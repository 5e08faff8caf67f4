"""Notes, tracks, tempo and meter, and their units: knows musical time, not files and not tokens.

Time is counted in ticks, `ticks_per_beat` of them to a quarter note, and turns into seconds in one
place, `TempoMap`. A `Piece` may be built in any order; its normal form (`Piece.normalised`) is the
one that files and tokens give back, so two pieces that sound alike compare equal.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SECONDS_PER_MINUTE = 60
MICROSECONDS_PER_MINUTE = 60_000_000
BEATS_PER_WHOLE_NOTE = 4  # a beat is a quarter note, as in MIDI files, whatever the meter


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One sounding note: `pitch` 0..127 (60 is middle C), `velocity` 1..127."""

    onset_ticks: int
    duration_ticks: int
    pitch: int
    velocity: int

    def __post_init__(self) -> None:
        if self.onset_ticks < 0 or self.duration_ticks < 1:
            raise ValueError(f"a note starts at 0 or later and lasts at least 1 tick, not {self}")
        if not (0 <= self.pitch <= 127 and 1 <= self.velocity <= 127):
            raise ValueError(f"pitch must be in 0..127 and velocity in 1..127, not {self}")

    @property
    def end_ticks(self) -> int:
        """The first tick at which the note is silent again."""
        return self.onset_ticks + self.duration_ticks


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """The notes of one instrument: a General MIDI `program` 0..127, or a drum kit."""

    program: int = 0
    is_drum: bool = False
    notes: tuple[Note, ...]
    name: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.program <= 127:
            raise ValueError(f"program must be in 0..127, not {self.program}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tempo:
    """From `at_ticks` on, this many quarter notes to the minute."""

    at_ticks: int
    beats_per_minute: float

    def __post_init__(self) -> None:
        if self.at_ticks < 0 or not 0 < self.beats_per_minute < float("inf"):
            raise ValueError(f"a tempo needs a tick >= 0 and a positive rate, not {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """From `at_ticks` on, bars of `numerator` notes of 1/`denominator`; a bar starts there."""

    at_ticks: int
    numerator: int
    denominator: int  # a power of two

    def __post_init__(self) -> None:
        if self.at_ticks < 0 or not 1 <= self.numerator <= 255:
            raise ValueError(f"a meter needs a tick >= 0 and 1..255 beats, not {self}")
        if not 1 <= self.denominator <= 128 or self.denominator & (self.denominator - 1):
            raise ValueError(f"a meter's denominator is a power of two up to 128, not {self}")


DEFAULT_TEMPO = Tempo(at_ticks=0, beats_per_minute=120.0)  # what a MIDI file means by silence
DEFAULT_METER = Meter(at_ticks=0, numerator=4, denominator=4)

Event = TypeVar("Event", Tempo, Meter)


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A whole piece of music.

    Example:
        note = Note(onset_ticks=0, duration_ticks=480, pitch=60, velocity=80)
        piece = Piece(ticks_per_beat=480, tracks=(Track(notes=(note,)),)).normalised()
        piece.seconds    # 0.5, at the default 120 beats a minute
    """

    ticks_per_beat: int
    tracks: tuple[Track, ...] = ()
    tempos: tuple[Tempo, ...] = (DEFAULT_TEMPO,)
    meters: tuple[Meter, ...] = (DEFAULT_METER,)

    def __post_init__(self) -> None:
        if not 1 <= self.ticks_per_beat <= 0x7FFF:
            raise ValueError(f"ticks_per_beat must be in 1..32767, not {self.ticks_per_beat}")

    def normalised(self) -> Piece:
        """The one form of this music.

        Notes are sorted, notes of one pitch end in the order in which they began, tempos and
        meters are sorted, stated at tick 0 and then only where they change, rates are what a MIDI
        file can hold, and tracks without notes are gone.
        """
        tempos = (replace(t, beats_per_minute=midi_rate(t.beats_per_minute)) for t in self.tempos)
        return replace(
            self,
            tracks=tuple(replace(t, notes=in_order(t.notes)) for t in self.tracks if t.notes),
            tempos=_changes(tempos, DEFAULT_TEMPO),
            meters=_changes(self.meters, DEFAULT_METER),
        )

    @property
    def note_count(self) -> int:
        """How many notes, over all tracks."""
        return sum(len(track.notes) for track in self.tracks)

    @property
    def duration_ticks(self) -> int:
        """Where the last note ends; 0 without notes."""
        return max((n.end_ticks for track in self.tracks for n in track.notes), default=0)

    @property
    def seconds(self) -> float:
        """How long it lasts, through every change of tempo."""
        return self.tempo_map.seconds_at(self.duration_ticks)

    @property
    def bar_lines(self) -> tuple[int, ...]:
        """The ticks at which bars begin, up to the bar of the last onset, and where that bar ends.

        A change of meter begins a bar where it stands. Without notes there is no bar, only (0,).
        """
        onsets = [n.onset_ticks for track in self.tracks for n in track.notes]
        if not onsets:
            return (0,)
        last = max(onsets)
        meters = [m for m in self.meters if m.at_ticks <= last]
        lines: list[int] = []
        for meter, end in zip(meters, [*(m.at_ticks for m in meters[1:]), last + 1], strict=True):
            length = bar_ticks(meter, self.ticks_per_beat)
            count = -((meter.at_ticks - end) // length)  # whole bars, and one that is cut short
            lines += [meter.at_ticks + round(i * length) for i in range(count)]
        final = meters[-1]
        length = bar_ticks(final, self.ticks_per_beat)
        return (
            *lines,
            final.at_ticks + math.ceil(length * -((final.at_ticks - last - 1) // length)),
        )

    @property
    def bars(self) -> int:
        """How many bars, up to the one in which the last note begins."""
        return len(self.bar_lines) - 1

    @property
    def tempo_map(self) -> TempoMap:
        """What turns this piece's ticks into seconds."""
        return TempoMap(self.tempos, self.ticks_per_beat)

    def clipped(self, end_ticks: int) -> Piece:
        """What sounds before `end_ticks`: later notes are gone, notes across it are shortened."""

        def before(note: Note) -> Note:
            return replace(note, duration_ticks=min(note.end_ticks, end_ticks) - note.onset_ticks)

        tracks = (
            replace(track, notes=tuple(before(n) for n in track.notes if n.onset_ticks < end_ticks))
            for track in self.tracks
        )
        return replace(
            self,
            tracks=tuple(tracks),
            tempos=tuple(t for t in self.tempos if t.at_ticks < end_ticks),
            meters=tuple(m for m in self.meters if m.at_ticks < end_ticks),
        ).normalised()

    def since(self, begin_ticks: int) -> Piece:
        """What begins at `begin_ticks` or later, from there on; tempo and meter are as they were.

        A meter counts its bars from where it stands: `begin_ticks` should be a bar line.
        """

        def stands(event: Event) -> Event:
            return replace(event, at_ticks=max(event.at_ticks - begin_ticks, 0))

        tracks = (
            replace(
                track,
                notes=tuple(
                    replace(note, onset_ticks=note.onset_ticks - begin_ticks)
                    for note in track.notes
                    if note.onset_ticks >= begin_ticks
                ),
            )
            for track in self.tracks
        )
        return replace(
            self,
            tracks=tuple(tracks),
            tempos=tuple(map(stands, self.tempos)),
            meters=tuple(map(stands, self.meters)),
        ).normalised()

    def shifted(self, ticks: int) -> Piece:
        """All of it, so many ticks later."""

        def later(note: Note) -> Note:
            return replace(note, onset_ticks=note.onset_ticks + ticks)

        return replace(
            self,
            tracks=tuple(replace(t, notes=tuple(map(later, t.notes))) for t in self.tracks),
            tempos=tuple(replace(t, at_ticks=t.at_ticks + ticks) for t in self.tempos),
            meters=tuple(replace(m, at_ticks=m.at_ticks + ticks) for m in self.meters),
        )


class TempoMap:
    """Ticks to seconds and back, for tempos that are in normal form."""

    def __init__(self, tempos: Sequence[Tempo], ticks_per_beat: int) -> None:
        self._ticks = [tempo.at_ticks for tempo in tempos]
        self._seconds_per_tick = [
            SECONDS_PER_MINUTE / (tempo.beats_per_minute * ticks_per_beat) for tempo in tempos
        ]
        spans = (
            (after - before) * rate
            for (before, after), rate in zip(
                pairwise(self._ticks), self._seconds_per_tick, strict=False
            )
        )
        self._seconds = list(accumulate(spans, initial=0.0))  # at each change of tempo

    def seconds_at(self, ticks: float) -> float:
        """When that tick sounds, in seconds from the start."""
        i = bisect_right(self._ticks, ticks) - 1
        return self._seconds[i] + (ticks - self._ticks[i]) * self._seconds_per_tick[i]

    def ticks_at(self, seconds: float) -> float:
        """Which tick, a fraction and all, sounds at that many seconds."""
        i = bisect_right(self._seconds, seconds) - 1
        return self._ticks[i] + (seconds - self._seconds[i]) / self._seconds_per_tick[i]


def in_turn(pieces: Iterable[Piece]) -> Piece:
    """One piece after another, each from a beat on, and each with its own tracks and tempos.

    Raises:
        ValueError: no pieces, or pieces whose beats have different numbers of ticks.
    """
    start_ticks = 0
    parts: list[Piece] = []
    for piece in pieces:
        beats = -(-piece.duration_ticks // piece.ticks_per_beat)
        parts.append(piece.clipped(beats * piece.ticks_per_beat).shifted(start_ticks))
        start_ticks += beats * piece.ticks_per_beat
    resolutions = {part.ticks_per_beat for part in parts}
    if len(resolutions) != 1:
        raise ValueError(f"pieces need one number of ticks per beat, not {sorted(resolutions)}")
    return Piece(
        ticks_per_beat=resolutions.pop(),
        tracks=tuple(track for part in parts for track in part.tracks),
        tempos=tuple(tempo for part in parts for tempo in part.tempos),
        meters=tuple(meter for part in parts for meter in part.meters),
    ).normalised()


def bar_ticks(meter: Meter, ticks_per_beat: int) -> Fraction:
    """The length of a bar; a fraction where ticks are too coarse for the meter."""
    return Fraction(meter.numerator * BEATS_PER_WHOLE_NOTE * ticks_per_beat, meter.denominator)


def microseconds_per_beat(beats_per_minute: float) -> int:
    """A tempo as MIDI files write it: three bytes, at least 1."""
    return max(round(min(MICROSECONDS_PER_MINUTE / beats_per_minute, 0xFFFFFF)), 1)


def beats_per_minute(microseconds: int) -> float:
    """A tempo as people say it: the whole number that a file's microseconds stand for, if any.

    Example:
        beats_per_minute(461_538)    # 130.0, though 60,000,000 / 461,538 is 130.00013
    """
    whole = round(MICROSECONDS_PER_MINUTE / microseconds)
    if microseconds_per_beat(whole) == microseconds:
        return float(whole)
    return MICROSECONDS_PER_MINUTE / microseconds


def midi_rate(rate: float) -> float:
    """The nearest tempo that a MIDI file can hold, in beats a minute."""
    return beats_per_minute(microseconds_per_beat(rate))


def in_order(notes: Iterable[Note]) -> tuple[Note, ...]:
    """Notes sorted, where notes of one pitch that overlap end in the order in which they began.

    A MIDI note-off names a pitch, not a note: of two that sound at once, it ends the older one.
    """
    by_pitch: defaultdict[int, list[Note]] = defaultdict(list)
    for note in notes:
        by_pitch[note.pitch].append(note)
    ordered = [note for group in by_pitch.values() for note in _first_in_first_out(group)]
    return tuple(sorted(ordered, key=_place))


def _first_in_first_out(notes: list[Note]) -> list[Note]:
    notes = sorted(notes, key=_place)
    ends = sorted(note.end_ticks for note in notes)
    return [
        note if note.end_ticks == end else replace(note, duration_ticks=end - note.onset_ticks)
        for note, end in zip(notes, ends, strict=True)
    ]


def _place(note: Note) -> tuple[int, int, int, int]:
    return note.onset_ticks, note.pitch, note.duration_ticks, note.velocity


def _changes(events: Iterable[Event], default: Event) -> tuple[Event, ...]:
    """Events in order: of several at one tick the last, and none that repeats the one before."""
    by_tick: dict[int, Event] = {0: default}
    for event in sorted(events, key=lambda event: event.at_ticks):
        by_tick[event.at_ticks] = event
    changes: list[Event] = []
    for event in by_tick.values():
        if not changes or replace(changes[-1], at_ticks=event.at_ticks) != event:
            changes.append(event)
    return tuple(changes)
