"""Which MIDI channel plays which track of a piece: knows tracks and when they sound, no files.

A file has 15 channels for melody and one for drums. Each track has a channel of a port for itself;
but most players know no ports, and to them all tracks of one channel are one instrument. So tracks
share a channel only if they do not sound together, as long as there is such a choice.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from generative.music.midi.events import DRUM_CHANNEL, NUM_CHANNELS, SILENT_PORT
from generative.music.sounding import sounding_ends

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from generative.music.piece import Track

MELODIC_CHANNELS = [channel for channel in range(NUM_CHANNELS) if channel != DRUM_CHANNEL]

# from which tick to which a track sounds, in order and apart from each other
Spans: TypeAlias = list[tuple[int, int]]


class Place(NamedTuple):
    """Where a track is played."""

    port: int
    channel: int


def places(tracks: Sequence[Track]) -> list[Place]:
    """A place for each track, no two alike: a channel of its own as long as there are enough."""
    melodic = [i for i, track in enumerate(tracks) if not track.is_drum]
    channels = [DRUM_CHANNEL] * len(tracks)
    for i, channel in zip(melodic, _channels([tracks[i] for i in melodic]), strict=True):
        channels[i] = channel
    used = [0] * NUM_CHANNELS
    result = []
    for channel in channels:
        result.append(Place(min(used[channel], SILENT_PORT - 1), channel))
        used[channel] += 1
    return result


def spans(track: Track) -> Spans:
    """When a track sounds; of drums, which no note-off ends, only the strokes."""
    if track.is_drum:
        return _joined((note.onset_ticks, note.onset_ticks + 1) for note in track.notes)
    ends = sounding_ends(track)
    return _joined((n.onset_ticks, end) for n, end in zip(track.notes, ends, strict=True))


def _channels(tracks: Sequence[Track]) -> list[int]:
    """A melodic channel for each track."""
    if len(tracks) <= len(MELODIC_CHANNELS):
        return MELODIC_CHANNELS[: len(tracks)]
    times = [spans(track) for track in tracks]
    chosen, conflicts = _assigned(times, range(len(times)), is_spread=True)
    if conflicts:  # those that begin first, first: this needs the fewest channels for single spans
        order = sorted(range(len(times)), key=lambda i: times[i][0])
        packed, fewer = _assigned(times, order, is_spread=False)
        if fewer < conflicts:
            chosen = packed
    return [MELODIC_CHANNELS[place] for place in chosen]


def _assigned(
    times: Sequence[Spans], order: Iterable[int], *, is_spread: bool
) -> tuple[list[int], int]:
    """One of 15 places for each track, in that order, and how many spans meet others in theirs.

    The place is one that is free while the track sounds, if there is any: of these the one with the
    fewest tracks (`is_spread`), or the one that has been silent for the shortest time.
    """
    occupied = [_Occupied() for _ in MELODIC_CHANNELS]
    result = [0] * len(times)
    conflicts = 0
    for i in order:
        meetings = [place.meetings(times[i], i) for place in occupied]
        least = min(meetings)
        conflicts += least
        begin = times[i][0][0]
        free = [place for place, count in enumerate(meetings) if count == least]
        if is_spread:
            result[i] = min(free, key=lambda place: occupied[place].tracks)
        else:
            pauses = {place: begin - occupied[place].end_before(begin) for place in free}
            result[i] = min(free, key=pauses.__getitem__)
        occupied[result[i]].add(times[i], i)
    return result, conflicts


class _Occupied:
    """When a channel is taken, by tracks that are known by their number in the file."""

    def __init__(self) -> None:
        self.tracks = 0
        self._spans: Spans = []
        self._begins: dict[int, int] = {}  # tick -> the first track that begins there
        self._ends: dict[int, int] = {}  # tick -> the last track that ends there

    def add(self, spans: Spans, number: int) -> None:
        """Take it for a track."""
        self.tracks += 1
        self._spans = _joined([*self._spans, *spans])
        for begin, end in spans:
            self._begins[begin] = min(self._begins.get(begin, number), number)
            self._ends[end] = max(self._ends.get(end, number), number)

    def meetings(self, spans: Spans, number: int) -> int:
        """How many of a track's spans find it taken.

        At one tick a file's tracks are read in their order: what ends in an earlier one has ended
        before what begins in a later one, but not the other way round.
        """
        return sum(
            self._is_taken(begin, end)
            or self._ends.get(begin, -1) > number
            or self._begins.get(end, number) < number
            for begin, end in spans
        )

    def end_before(self, ticks: int) -> int:
        """Where it was last taken before a tick; -1 if never."""
        place = bisect_left(self._spans, (ticks, ticks)) - 1
        return min(self._spans[place][1], ticks) if place >= 0 else -1

    def _is_taken(self, begin: int, end: int) -> bool:
        place = bisect_left(self._spans, (end, end)) - 1  # the last that begins before `end`
        return place >= 0 and self._spans[place][1] > begin


def _joined(times: Iterable[tuple[int, int]]) -> Spans:
    """Spans in order of their begin, those that overlap or touch made one."""
    joined: Spans = []
    for begin, end in sorted(times):
        if joined and begin <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], end)
        else:
            joined.append((begin, end))
    return joined
