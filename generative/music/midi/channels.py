"""The assignment of the tracks of a piece to MIDI channels and ports, by the times they sound.

A port has 15 channels for melody and one for drums. Each track gets a channel of a port of its own.
Most players ignore ports, so that all tracks of one channel are one instrument to them. Therefore
tracks share a channel only if they do not sound together, as long as that is possible.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from generative.music.midi.event_parser import DRUM_CHANNEL, NUM_CHANNELS, SILENT_PORT
from generative.music.sounding import sounding_ends

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from generative.music.piece import Track

MELODIC_CHANNELS = [channel for channel in range(NUM_CHANNELS) if channel != DRUM_CHANNEL]

# the ticks (begin, end) between which a track sounds, in order and disjoint
Spans: TypeAlias = list[tuple[int, int]]


class Place(NamedTuple):
    """The port and the channel of a track."""

    port: int
    channel: int


def places(tracks: Sequence[Track]) -> list[Place]:
    """A place of its own for each track, on a channel of its own as long as there are enough."""
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
    """When a track sounds; for drums only the onsets, since drums ignore note-offs."""
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
    if conflicts:
        # In the order of their begins, tracks of one span each need the fewest channels.
        order = sorted(range(len(times)), key=lambda i: times[i][0])
        packed, fewer = _assigned(times, order, is_spread=False)
        if fewer < conflicts:
            chosen = packed
    return [MELODIC_CHANNELS[place] for place in chosen]


def _assigned(
    times: Sequence[Spans], order: Iterable[int], *, is_spread: bool
) -> tuple[list[int], int]:
    """Assign one of 15 channels to each track, one by one in an order.

    A track takes a channel that is free while it sounds, if there is one: of these the one with the
    fewest tracks (`is_spread`), or the one that has been silent for the shortest time.

    Returns:
        The index of the channel for each track, and the number of spans that overlap others.
    """
    occupied = [_Occupied() for _ in MELODIC_CHANNELS]
    result = [0] * len(times)
    conflicts = 0
    for i in order:
        overlaps = [place.overlaps(times[i], i) for place in occupied]
        least = min(overlaps)
        conflicts += least
        begin = times[i][0][0]
        free = [place for place, count in enumerate(overlaps) if count == least]
        if is_spread:
            result[i] = min(free, key=lambda place: occupied[place].tracks)
        else:
            pauses = {place: begin - occupied[place].end_before(begin) for place in free}
            result[i] = min(free, key=pauses.__getitem__)
        occupied[result[i]].add(times[i], i)
    return result, conflicts


class _Occupied:
    """The times at which a channel is taken, and the numbers of the tracks that take it."""

    def __init__(self) -> None:
        self.tracks = 0
        self._spans: Spans = []
        self._begins: dict[int, int] = {}  # tick -> the lowest number of a track that begins there
        self._ends: dict[int, int] = {}  # tick -> the highest number of a track that ends there

    def add(self, spans: Spans, number: int) -> None:
        """Assign a track."""
        self.tracks += 1
        self._spans = _joined([*self._spans, *spans])
        for begin, end in spans:
            self._begins[begin] = min(self._begins.get(begin, number), number)
            self._ends[end] = max(self._ends.get(end, number), number)

    def overlaps(self, spans: Spans, number: int) -> int:
        """How many of the spans of a track overlap those of others on this channel.

        At one tick, players read the tracks of a file in their order. So a note of an earlier track
        ends before a note of a later track begins, but not the other way round.
        """
        return sum(
            self._is_taken(begin, end)
            or self._ends.get(begin, -1) > number
            or self._begins.get(end, number) < number
            for begin, end in spans
        )

    def end_before(self, ticks: int) -> int:
        """The tick at which it was last taken before `ticks`; -1 if it never was."""
        place = bisect_left(self._spans, (ticks, ticks)) - 1
        return min(self._spans[place][1], ticks) if place >= 0 else -1

    def _is_taken(self, begin: int, end: int) -> bool:
        place = bisect_left(self._spans, (end, end)) - 1  # The last span that begins before `end`.
        return place >= 0 and self._spans[place][1] > begin


def _joined(times: Iterable[tuple[int, int]]) -> Spans:
    """Spans in order of their begin, with those that overlap or touch joined."""
    joined: Spans = []
    for begin, end in sorted(times):
        if joined and begin <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], end)
        else:
            joined.append((begin, end))
    return joined
