"""What the benchmark of samples measures, on pieces that are known."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import pytest
from measures import (
    HISTOGRAMS,
    MEASURES,
    durations,
    final_beats,
    last_bar_onsets,
    loops,
    mean,
    onset_intervals,
    overlap,
    parallels,
    persistence,
    pitches,
    similarity,
)

from generative.music.piece import Piece, Track
from tests.pieces import note, piece_of


def tracks_of(*several: Track) -> Piece:
    return Piece(ticks_per_beat=24, tracks=several).normalised()


def test_a_mean_of_nothing_is_nan() -> None:
    assert math.isnan(mean([]))
    assert mean([1.0, 2.0]) == 1.5
    nothing = [Piece(ticks_per_beat=24)]
    for measure in MEASURES.values():
        assert math.isnan(measure.of(nothing))
        assert math.isnan(measure.of([]))
    for histogram in HISTOGRAMS.values():
        assert not histogram(nothing)


def test_parallels_are_those_of_all_pieces_together() -> None:
    def line(*pitches: int) -> Track:
        return Track(notes=tuple(note(24 * i, 24, pitch) for i, pitch in enumerate(pitches)))

    fifths = tracks_of(line(60, 62), line(67, 69))
    thirds = tracks_of(line(60, 62, 64, 65), line(64, 65, 67, 69))
    assert parallels([fifths, thirds]) == 25


def test_pieces_that_loop_a_bar() -> None:
    def bars(*pitches: int) -> Piece:
        return piece_of(*(note(96 * i, 24, pitch) for i, pitch in enumerate(pitches)))

    assert loops([bars(60, 60, 60, 62)]) == 1
    assert loops([bars(60, 62, 60, 62), bars(60, 60, 62, 64, 65)]) == 0  # one bar of four is 25%
    assert loops([bars(60, 60, 62, 64), bars(60, 62)]) == 0.5  # one of three


def test_endings() -> None:
    first = tracks_of(
        Track(notes=(note(0, 24), note(96, 48, 60), note(96, 36, 64))),
        Track(notes=(note(0, 24), note(120, 24), note(132, 12))),
        Track(is_drum=True, notes=(note(144, 6),)),
    )
    second = piece_of(note(0, 200))
    # 2 beats and half a beat; four beats, since the bar ends there
    assert final_beats([first]) == 1.25
    assert final_beats([first, second]) == 6.5 / 3
    # 96, 120, 132 and 144, and only 0
    assert last_bar_onsets([first]) == 4
    assert last_bar_onsets([first, second]) == 2.5


def test_similarity_is_the_overlap_of_notes() -> None:
    bars = [{(0, 60), (24, 62)}, {(0, 60)}, {(0, 60), (24, 62)}, {(0, 62), (0, 60), (24, 60)}]
    notes = [note(96 * bar + at, 6, pitch) for bar, two in enumerate(bars) for at, pitch in two]
    piece = piece_of(*notes)
    assert similarity([piece], 2) == (1 + 1 / 3) / 2
    assert similarity([piece], 1) == pytest.approx((1 / 2 + 1 / 2 + 1 / 4) / 3)
    assert math.isnan(similarity([piece], 4))
    assert similarity([piece_of(note(0, 6), note(384, 6))], 1) == 0  # Empty pairs do not count.
    assert similarity([piece_of(note(0, 6), note(384, 6))], 4) == 1
    drums = tracks_of(Track(is_drum=True, notes=(note(0, 6),)), Track(notes=(note(96, 6),)))
    assert similarity([drums], 1) == 0


@pytest.mark.parametrize(
    ("bars", "expected"),
    [
        ([0, 1, 2, 3, 4], 1),
        ([0, 2, 4], 1),  # 2 of 4
        ([0, 4], 0),  # 1 of 4
        ([2, 4], 1),  # 1 of 2
        ([3], 0),
        ([4], math.nan),
    ],
)
def test_tracks_that_stay(bars: list[int], expected: float) -> None:
    clock = Track(is_drum=True, notes=(note(480 - 96, 6),))  # It makes five bars, and enters last.
    piece = tracks_of(Track(notes=tuple(note(96 * bar, 24) for bar in bars)), clock)
    assert persistence([piece]) == pytest.approx(expected, nan_ok=True)


def test_a_held_note_plays_in_all_its_bars() -> None:
    for duration, expected in ((96 * 3, 1), (96 * 2, 0)):
        piece = tracks_of(Track(notes=(note(0, duration),)), Track(notes=(note(384, 24),)))
        assert persistence([piece]) == expected
    both = tracks_of(
        Track(notes=(note(0, 24),)), Track(notes=(note(0, 480),)), Track(notes=(note(384, 24),))
    )
    assert persistence([both]) == 0.5


def test_histograms() -> None:
    piece = tracks_of(
        Track(notes=(note(0, 24, 60), note(0, 12, 64), note(36, 24, 60))),
        Track(is_drum=True, notes=(note(0, 6, 36), note(12, 6, 36))),
    )
    assert pitches([piece, piece]) == {60: 4, 64: 2}
    assert durations([piece]) == {1.0: 2, 0.5: 1}
    assert onset_intervals([piece]) == {1.5: 1, 0.5: 1}
    faster = replace(piece, ticks_per_beat=12)
    assert durations([faster]) == {2.0: 2, 1.0: 1}


def test_overlapping_areas() -> None:
    assert overlap(Counter({60: 1}), Counter({60: 7})) == 1
    assert overlap(Counter({60: 1}), Counter({61: 1})) == 0
    assert overlap(Counter({60: 3, 61: 1}), Counter({60: 1, 62: 1})) == 0.5
    assert math.isnan(overlap(Counter(), Counter({60: 1})))
