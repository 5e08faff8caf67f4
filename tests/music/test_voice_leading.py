"""Parallel voices, counted in pieces that are written by hand."""

from __future__ import annotations

import pytest

from generative.music.piece import Piece, Track
from generative.music.voice_leading import chord_changes, is_parallel, perfect_interval
from tests.pieces import note


def voices(*lines: list[int | None]) -> Piece:
    """Each line is a track with one quarter note a beat; None is a rest."""
    tracks = [
        Track(notes=tuple(note(24 * beat, 24, p) for beat, p in enumerate(line) if p is not None))
        for line in lines
    ]
    return Piece(ticks_per_beat=24, tracks=tuple(tracks)).normalised()


@pytest.mark.parametrize(
    ("one", "other", "interval"),
    [
        (60, 60, 0), (60, 72, 0), (72, 60, 0), (36, 84, 0),
        (60, 67, 7), (67, 60, 7), (60, 79, 7), (60, 91, 7), (53, 60, 7),
        (60, 65, None), (60, 55, None), (60, 64, None), (60, 66, None), (60, 71, None),
    ],
)  # fmt: skip
def test_perfect_intervals(one: int, other: int, interval: int | None) -> None:
    assert perfect_interval(one, other) == interval


def test_parallels_keep_their_interval() -> None:
    assert is_parallel((60, 62), (67, 69))
    assert is_parallel((60, 62), (79, 69))  # from a twelfth to a fifth
    assert is_parallel((67, 62), (60, 69))  # crossing
    assert is_parallel((60, 62), (72, 50))
    assert not is_parallel((60, 62), (67, 74))  # from a fifth to an octave
    assert not is_parallel((60, 62), (65, 67))  # fourths


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (([60, 62, 64], [67, 69, 71]), (2, 2)),  # fifths
        (([60, 62, 64], [48, 50, 52]), (2, 2)),  # octaves
        (([60, 62, 64], [60, 62, 64]), (2, 2)),  # unisons
        (([60, 62, 64], [64, 65, 67]), (2, 0)),
        (([60, 60, 62], [67, 67, 67]), (1, 0)),  # one voice moves
        (([60, None, 62], [67, 67, 69]), (1, 1)),  # after a rest
        (([60, None, 62], [67, 69, 69]), (2, 0)),  # one after the other
        (([60, 62], [67, 69], [48, 50]), (1, 1)),  # three parallels at once
        (([60, 62], [67, 69], [72, 71], [48, 43]), (1, 1)),
        (([60], [67]), (0, 0)),
        ((), (0, 0)),
    ],
)
def test_chord_changes_of_known_pieces(
    lines: tuple[list[int | None], ...], expected: tuple[int, int]
) -> None:
    assert chord_changes(voices(*lines)) == expected


def test_a_chord_counts_by_its_highest_note_and_drums_do_not() -> None:
    chords = Track(notes=(note(0, 24, 60), note(0, 24, 64), note(24, 24, 62), note(24, 24, 65)))
    fifths_of_the_highest = Track(notes=(note(0, 24, 71), note(24, 24, 72)))
    fifths_of_the_lowest = Track(notes=(note(0, 24, 67), note(24, 24, 69)))
    for other, expected in ((fifths_of_the_highest, 1), (fifths_of_the_lowest, 0)):
        piece = Piece(ticks_per_beat=24, tracks=(chords, other))
        assert chord_changes(piece) == (1, expected)
    drums = Track(is_drum=True, notes=fifths_of_the_highest.notes)
    assert chord_changes(Piece(ticks_per_beat=24, tracks=(chords, drums))) == (1, 0)
    assert chord_changes(Piece(ticks_per_beat=24, tracks=(drums,))) == (0, 0)
