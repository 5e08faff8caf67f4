"""Pitches, keys, ranges and meters in words."""

from __future__ import annotations

import pytest

from generative.errors import OptionError
from generative.music.theory import (
    parse_key,
    parse_meter,
    parse_pitch,
    parse_pitch_class,
    parse_range,
)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("C major", {0, 2, 4, 5, 7, 9, 11}),
        ("D minor", {2, 4, 5, 7, 9, 10, 0}),
        ("  eb   Major ", {3, 5, 7, 8, 10, 0, 2}),
        ("F# harmonic minor", {6, 8, 9, 11, 1, 2, 5}),
        ("D dorian", {0, 2, 4, 5, 7, 9, 11}),
        ("C D, E♭ G# Bb", {0, 2, 3, 8, 10}),
        ("Cb", {11}),
    ],
)
def test_keys(key: str, expected: set[int]) -> None:
    assert parse_key(key) == expected


def test_pitches_ranges_and_meters() -> None:
    names = ("C4", "A4", "c-1", "G9", "B#3", "Cb4", "60")
    assert [parse_pitch(name) for name in names] == [60, 69, 0, 127, 60, 59, 60]
    assert parse_range("C3-C6") == parse_range("48-84") == (48, 84)
    assert parse_range("C-1-C1") == (0, 24)
    assert parse_meter("3/4") == (3, 4)
    assert parse_pitch_class("Bb") == 10


def test_pitches_that_are_none_are_refused() -> None:
    with pytest.raises(OptionError, match="a pitch must be like C4 or 60, not 'H4'"):
        parse_pitch("H4")
