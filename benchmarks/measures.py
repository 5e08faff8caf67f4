"""Measures of pieces of music, by which samples are compared with a corpus.

They need no libraries but NumPy, and do not know models. Each takes all pieces at once; it is nan
where it applies to none of them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from generative.music.voice_leading import chord_changes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from generative.music.piece import Piece, Track

Histogram = Counter[float]
LOOPING_SHARE = 0.3


def mean(values: Iterable[float]) -> float:
    """Return the mean, or nan without values."""
    numbers = list(values)
    return float(np.mean(numbers)) if numbers else float("nan")


def parallels(pieces: Sequence[Piece]) -> float:
    """Return how many of 100 chord changes have parallel fifths, octaves or unisons."""
    found = [chord_changes(piece) for piece in pieces]
    changes = sum(one.changes for one in found)
    return 100 * sum(one.parallel for one in found) / changes if changes else float("nan")


def final_beats(pieces: Sequence[Piece]) -> float:
    """Return the mean duration, in quarter notes, of the last note of each track but drums.

    Of several notes that begin last in a track the longest counts. Notes count up to the end of the
    last bar.
    """
    beats = []
    for piece in pieces:
        end_ticks = piece.bar_lines[-1]
        for track in piece.tracks:
            if track.notes and not track.is_drum:
                onset, end = max((note.onset_ticks, note.end_ticks) for note in track.notes)
                beats.append((min(end, end_ticks) - onset) / piece.ticks_per_beat)
    return mean(beats)


def last_bar_onsets(pieces: Sequence[Piece]) -> float:
    """Return the mean number of ticks in the last bar at which notes begin, drums included."""
    return mean(
        len({onset for onset in _onsets(piece) if onset >= piece.bar_lines[-2]})
        for piece in pieces
        if piece.note_count
    )


def similarity(pieces: Sequence[Piece], bars: int) -> float:
    """Return the mean overlap of bars with those that are so many bars before, from 0 to 1.

    The overlap of two bars is the Jaccard index of their sets of notes, each a position in the bar,
    a pitch, and whether it is of drums: the number of notes that both have over that of all
    different notes. Bars that are both empty do not count.
    """
    return mean(
        len(one & other) / len(one | other)
        for piece in pieces
        for one, other in _pairs_apart(_bars(piece), bars)
        if one | other
    )


def loops(pieces: Sequence[Piece]) -> float:
    """Return the share of pieces in which over 30% of the bars have the notes of the bar before.

    Two bars that are both empty do not count.
    """
    shares = []
    for piece in pieces:
        same = [one == other for one, other in pairwise(_bars(piece)) if one or other]
        if same:
            shares.append(mean(same) > LOOPING_SHARE)
    return mean(shares)


def persistence(pieces: Sequence[Piece]) -> float:
    """Return the share of tracks that sound in at least half of the bars after they enter.

    A track enters in the bar of its first note. Tracks that enter in the last bar do not count.
    """
    shares = []
    for piece in pieces:
        lines = piece.bar_lines
        for track in piece.tracks:
            played = _bars_played(track, lines)
            following = len(lines) - 2 - min(played, default=len(lines))
            if following > 0:
                shares.append(2 * (len(played) - 1) >= following)
    return mean(shares)


@dataclass(frozen=True)
class Measure:
    """One measure.

    Attributes:
        of: computes it from pieces.
        needs_equal_lengths: whether it depends on the length of the pieces, so that the corpus is
            cut to the length of the samples.
    """

    of: Callable[[Sequence[Piece]], float]
    needs_equal_lengths: bool = True


MEASURES = {
    "parallels in 100": Measure(parallels, needs_equal_lengths=False),
    "final notes' beats": Measure(final_beats, needs_equal_lengths=False),
    "last bar's onsets": Measure(last_bar_onsets, needs_equal_lengths=False),
    "similarity, 4 bars": Measure(lambda pieces: similarity(pieces, 4)),
    "similarity, 8 bars": Measure(lambda pieces: similarity(pieces, 8)),
    "looping pieces": Measure(loops),
    "persistent tracks": Measure(persistence),
}


# Histograms, and how much two of them overlap.


def pitches(pieces: Sequence[Piece]) -> Histogram:
    """Count the pitches, without drums."""
    return Counter(
        note.pitch
        for piece in pieces
        for track in piece.tracks
        if not track.is_drum
        for note in track.notes
    )


def durations(pieces: Sequence[Piece]) -> Histogram:
    """Count the durations in quarter notes, without drums."""
    return Counter(
        note.duration_ticks / piece.ticks_per_beat
        for piece in pieces
        for track in piece.tracks
        if not track.is_drum
        for note in track.notes
    )


def onset_intervals(pieces: Sequence[Piece]) -> Histogram:
    """Count the quarter notes between one onset of a track and its next, drums included."""
    return Counter(
        (after - before) / piece.ticks_per_beat
        for piece in pieces
        for track in piece.tracks
        for before, after in pairwise(sorted({note.onset_ticks for note in track.notes}))
    )


HISTOGRAMS = {"pitch": pitches, "duration": durations, "onset interval": onset_intervals}


def overlap(one: Histogram, other: Histogram) -> float:
    """Return the area that two histograms share when each has an area of 1; nan if one is empty."""
    totals = one.total(), other.total()
    if not all(totals):
        return float("nan")
    return sum(min(one[value] / totals[0], other[value] / totals[1]) for value in one)


def _onsets(piece: Piece) -> list[int]:
    return [note.onset_ticks for track in piece.tracks for note in track.notes]


def _bars(piece: Piece) -> list[set[tuple[int, int, bool]]]:
    """Return the notes of each bar as positions in ticks, pitches, and whether drums play them."""
    lines = piece.bar_lines
    bars: list[set[tuple[int, int, bool]]] = [set() for _ in lines[1:]]
    for track in piece.tracks:
        for note in track.notes:
            bar = bisect_right(lines, note.onset_ticks) - 1
            bars[bar].add((note.onset_ticks - lines[bar], note.pitch, track.is_drum))
    return bars


def _pairs_apart(
    bars: Sequence[set[tuple[int, int, bool]]], distance: int
) -> Iterable[tuple[set[tuple[int, int, bool]], set[tuple[int, int, bool]]]]:
    return zip(bars, bars[distance:], strict=False)


def _bars_played(track: Track, lines: Sequence[int]) -> set[int]:
    """Return the bars in which a track sounds, among those between bar lines."""
    last = len(lines) - 2
    played: set[int] = set()
    for note in track.notes:
        first = bisect_right(lines, note.onset_ticks) - 1
        end = min(bisect_right(lines, note.end_ticks - 1) - 1, last)
        played.update(range(first, end + 1))
    return played
