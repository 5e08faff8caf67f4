"""A piece of music: notes, tracks, tempo, meter and key, and their units.

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
from operator import attrgetter
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

SECONDS_PER_MINUTE = 60
MICROSECONDS_PER_MINUTE = 60_000_000
BEATS_PER_WHOLE_NOTE = 4  # a beat is a quarter note, as in MIDI files, whatever the meter
SUSTAIN_PEDAL, PITCH_BEND = 64, 128
HIGHEST_VALUES = {PITCH_BEND: 0x3FFF}  # The highest value of every other control is 127.
NO_BEND = 0x2000
MAX_SHARPS = 7  # A key has at most as many flats, too.
HIGHEST_PITCH = 127  # The lowest is 0.


@dataclass(frozen=True, slots=True, kw_only=True, init=False)
class Note:
    """One sounding note: `pitch` 0..127 (60 is middle C), `velocity` 1..127."""

    onset_ticks: int
    duration_ticks: int
    pitch: int
    velocity: int

    def __init__(self, *, onset_ticks: int, duration_ticks: int, pitch: int, velocity: int) -> None:
        # written out since a corpus has millions: the one that dataclass makes takes twice as long
        _set_onset(self, onset_ticks)
        _set_duration(self, duration_ticks)
        _set_pitch(self, pitch)
        _set_velocity(self, velocity)
        if onset_ticks < 0 or duration_ticks < 1:
            raise ValueError(f"a note starts at 0 or later and lasts at least 1 tick, not {self}")
        if not (0 <= pitch <= 127 and 1 <= velocity <= 127):
            raise ValueError(f"pitch must be in 0..127 and velocity in 1..127, not {self}")

    @property
    def end_ticks(self) -> int:
        """The first tick at which the note is silent again."""
        return self.onset_ticks + self.duration_ticks


_set_onset, _set_duration, _set_pitch, _set_velocity = (
    vars(Note)[name].__set__ for name in Note.__slots__
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """From `at_ticks` on, a pedal, wheel or slider of one instrument stands at `value`.

    `number` is a MIDI controller (64 is the sustain pedal) with values 0..127, or `PITCH_BEND`
    with values 0..16383.
    """

    at_ticks: int
    number: int
    value: int

    def __post_init__(self) -> None:
        if self.at_ticks < 0 or not 0 <= self.number <= PITCH_BEND:
            raise ValueError(f"a control needs a tick >= 0 and a number 0..128, not {self}")
        if not 0 <= self.value <= HIGHEST_VALUES.get(self.number, 127):
            raise ValueError(f"a control's value must be in 0..127 (a bend's to 16383), not {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """The notes of one instrument: a General MIDI `program` 0..127, or a drum kit."""

    program: int = 0
    is_drum: bool = False
    notes: tuple[Note, ...]
    controls: tuple[Control, ...] = ()
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """From `at_ticks` on, a key signature: -7 is seven flats, 2 and minor is B minor."""

    at_ticks: int
    sharps: int
    is_minor: bool = False

    def __post_init__(self) -> None:
        if self.at_ticks < 0 or not -MAX_SHARPS <= self.sharps <= MAX_SHARPS:
            raise ValueError(f"a key needs a tick >= 0 and -7..7 sharps, not {self}")


DEFAULT_TEMPO = Tempo(at_ticks=0, beats_per_minute=120.0)  # what a MIDI file means by silence
DEFAULT_METER = Meter(at_ticks=0, numerator=4, denominator=4)

Event = TypeVar("Event", Tempo, Meter, Key)
AnyEvent = TypeVar("AnyEvent", Tempo, Meter, Key, Control)


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
    keys: tuple[Key, ...] = ()  # a piece may say none

    def __post_init__(self) -> None:
        if not 1 <= self.ticks_per_beat <= 0x7FFF:
            raise ValueError(f"ticks_per_beat must be in 1..32767, not {self.ticks_per_beat}")

    def normalised(self) -> Piece:
        """The one form of this music.

        Notes are sorted, notes of one pitch end in the order in which they began, controls keep
        their order within a tick, tempos and meters are sorted, stated at tick 0 and then only
        where they change, keys only where they change, rates are what a MIDI file can hold, and
        tracks without notes are gone.
        """
        tempos = (replace(t, beats_per_minute=midi_rate(t.beats_per_minute)) for t in self.tempos)
        return replace(
            self,
            tracks=tuple(
                replace(t, notes=in_order(t.notes), controls=tuple(sorted(t.controls, key=_tick)))
                for t in self.tracks
                if t.notes
            ),
            tempos=changes(tempos, DEFAULT_TEMPO),
            meters=changes(self.meters, DEFAULT_METER),
            keys=changes(self.keys),
        )

    @property
    def note_count(self) -> int:
        """How many notes, over all tracks."""
        return sum(len(track.notes) for track in self.tracks)

    @property
    def duration_ticks(self) -> int:
        """Where the last note ends; 0 without notes."""
        return max(
            (n.onset_ticks + n.duration_ticks for track in self.tracks for n in track.notes),
            default=0,
        )

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
        return (*lines, meter.at_ticks + math.ceil(count * length))

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
            replace(
                track,
                notes=tuple(before(n) for n in track.notes if n.onset_ticks < end_ticks),
                controls=tuple(c for c in track.controls if c.at_ticks < end_ticks),
            )
            for track in self.tracks
        )
        return replace(
            self,
            tracks=tuple(tracks),
            tempos=tuple(t for t in self.tempos if t.at_ticks < end_ticks),
            meters=tuple(m for m in self.meters if m.at_ticks < end_ticks),
            keys=tuple(k for k in self.keys if k.at_ticks < end_ticks),
        ).normalised()

    def excerpt(self, first_bar: int, last_bar: int) -> Piece:
        """Bars `first_bar` to `last_bar`, counted from 1, as a piece that begins there.

        Notes across either bar line are shortened to it; tempo and meter go on as they were.

        Raises:
            ValueError: bars that the piece does not have.
        """
        if not 1 <= first_bar <= last_bar <= self.bars:
            raise ValueError(
                f"bars {first_bar}-{last_bar} are not among the {self.bars} bars of the piece"
            )
        begin, end = self.bar_lines[first_bar - 1], self.bar_lines[last_bar]

        def inside(note: Note) -> Note:
            onset = max(note.onset_ticks, begin)
            return replace(note, onset_ticks=onset, duration_ticks=note.end_ticks - onset)

        before_end = self.clipped(end)
        tracks = (
            replace(track, notes=tuple(inside(n) for n in track.notes if n.end_ticks > begin))
            for track in before_end.tracks
        )
        return replace(before_end, tracks=tuple(tracks)).since(begin)

    def since(self, begin_ticks: int) -> Piece:
        """What begins at `begin_ticks` or later, as a piece that begins there.

        Tempo, meter, key and controls go on as they were. A meter counts its bars from where it
        stands: `begin_ticks` should be a bar line.
        """
        tracks = (
            replace(track, notes=tuple(n for n in track.notes if n.onset_ticks >= begin_ticks))
            for track in self.tracks
        )
        return (
            replace(self, tracks=tuple(tracks))
            .moved(lambda at_ticks: max(at_ticks - begin_ticks, 0))
            .normalised()
        )

    def shifted(self, ticks: int) -> Piece:
        """All of it, so many ticks later."""
        return self.moved(lambda at_ticks: at_ticks + ticks)

    def moved(self, tick: Callable[[int], int]) -> Piece:
        """All of it, with what was at a tick, and every end of a note, where `tick` says."""

        def note_moved(note: Note) -> Note:
            onset = tick(note.onset_ticks)
            return replace(
                note, onset_ticks=onset, duration_ticks=max(tick(note.end_ticks) - onset, 1)
            )

        def event_moved(event: AnyEvent) -> AnyEvent:
            return replace(event, at_ticks=tick(event.at_ticks))

        return replace(
            self,
            tracks=tuple(
                replace(
                    track,
                    notes=tuple(map(note_moved, track.notes)),
                    controls=tuple(map(event_moved, track.controls)),
                )
                for track in self.tracks
            ),
            tempos=tuple(map(event_moved, self.tempos)),
            meters=tuple(map(event_moved, self.meters)),
            keys=tuple(map(event_moved, self.keys)),
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
        keys=tuple(key for part in parts for key in part.keys),
    ).normalised()


def bar_ticks(meter: Meter, ticks_per_beat: int) -> Fraction:
    """The length of a bar; a fraction where ticks are too coarse for the meter."""
    return Fraction(meter.numerator * BEATS_PER_WHOLE_NOTE * ticks_per_beat, meter.denominator)


def beat_ticks(piece: Piece, lines: Sequence[int]) -> list[float]:
    """The beats of the meter between bar lines; each bar counts from its own line."""
    beats: list[float] = []
    for begin, end in pairwise(lines):
        meter = max((m for m in piece.meters if m.at_ticks <= begin), key=_tick)
        length = BEATS_PER_WHOLE_NOTE * piece.ticks_per_beat / meter.denominator
        beats += [begin + i * length for i in range(1, meter.numerator) if begin + i * length < end]
    return beats


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
    ordered = sorted(notes, key=_place)
    last_ends = [0] * 128  # by pitch
    for note in ordered:
        end = note.onset_ticks + note.duration_ticks
        if end < last_ends[note.pitch]:
            return _first_in_first_out(ordered)
        last_ends[note.pitch] = end
    return tuple(ordered)


def _first_in_first_out(notes: list[Note]) -> tuple[Note, ...]:
    ends: defaultdict[int, list[int]] = defaultdict(list)  # by pitch, the latest first
    for note in sorted(notes, key=attrgetter("end_ticks"), reverse=True):
        ends[note.pitch].append(note.end_ticks)
    matched = (replace(n, duration_ticks=ends[n.pitch].pop() - n.onset_ticks) for n in notes)
    return tuple(sorted(matched, key=_place))


_place = attrgetter("onset_ticks", "pitch", "duration_ticks", "velocity")
_tick = attrgetter("at_ticks")


def changes(events: Iterable[Event], default: Event | None = None) -> tuple[Event, ...]:
    """Events in order: of several at one tick the last, and none that repeats the one before."""
    by_tick: dict[int, Event] = {} if default is None else {0: default}
    for event in sorted(events, key=_tick):
        by_tick[event.at_ticks] = event
    kept: list[Event] = []
    for event in by_tick.values():
        if not kept or replace(kept[-1], at_ticks=event.at_ticks) != event:
            kept.append(event)
    return tuple(kept)
