"""Bars are split into notes and rests that can be written, and nothing is lost."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generative.music.bars import Placed
from generative.music.glyphs import (
    Window,
    beat_of,
    glyphs,
    is_single,
    note_spans,
    rest_spans,
    windows_of,
)
from generative.music.piece import Meter
from tests.pieces import note

F = Fraction


@pytest.mark.parametrize(
    ("numerator", "denominator", "beat"),
    [(4, 4, F(1)), (2, 2, F(2)), (6, 8, F(3, 2)), (3, 8, F(1, 2)), (12, 16, F(3, 4)), (6, 4, F(1))],
)
def test_a_beat(numerator: int, denominator: int, beat: Fraction) -> None:
    assert beat_of(Meter(at_ticks=0, numerator=numerator, denominator=denominator)) == beat


def test_lengths_of_one_note() -> None:
    assert all(map(is_single, (F(1), F(3, 2), F(1, 32), F(3, 16), F(8))))
    assert not any(map(is_single, (F(5, 4), F(7, 4), F(1, 3), F(16), F(12))))


@pytest.mark.parametrize(
    ("begin", "end", "beat", "cuts"),
    [
        (F(0), F(5, 2), F(1), [F(2)]),
        (F(1, 2), F(3), F(1), [F(2)]),
        (F(1, 2), F(3), F(3, 2), [F(3, 2)]),
        (F(1, 2), F(4), F(1), [F(2)]),
        (F(1, 4), F(3, 2), F(1), [F(1)]),
        (F(0), F(9), F(1), [F(8)]),
    ],
)
def test_a_note_is_cut_at_a_strong_beat(
    begin: Fraction, end: Fraction, beat: Fraction, cuts: list[Fraction]
) -> None:
    assert note_spans(begin, end, beat) == list(pairwise([begin, *cuts, end]))


@pytest.mark.parametrize(
    ("begin", "end", "beat", "cuts"),
    [
        (F(1, 2), F(4), F(1), [F(1), F(2)]),
        (F(0), F(7, 2), F(1), [F(2), F(3)]),
        (F(1), F(3), F(1), [F(2)]),
        (F(1, 2), F(3), F(3, 2), [F(3, 2)]),
        (F(0), F(9, 2), F(3, 2), [F(3)]),
    ],
)
def test_rests_begin_at_beats(
    begin: Fraction, end: Fraction, beat: Fraction, cuts: list[Fraction]
) -> None:
    assert rest_spans(begin, end, beat) == list(pairwise([begin, *cuts, end]))


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        ([F(1, 3), F(2, 3)], [Window(F(0), F(1), True), Window(F(1), F(4), False)]),
        (
            [F(1, 2), F(2, 3), F(5, 6), F(1)],
            [Window(F(0), F(1, 2), False), Window(F(1, 2), F(1), True), Window(F(1), F(4), False)],
        ),
        ([F(8, 3), F(10, 3)], [Window(F(0), F(2), False), Window(F(2), F(4), True)]),
        ([F(1, 8), F(1, 3)], [Window(F(0), F(1), True), Window(F(1), F(4), False)]),
        ([F(1, 2), F(3)], [Window(F(0), F(4), False)]),
    ],
)
def test_triplets_are_no_longer_than_needed(edges: list[Fraction], expected: list[Window]) -> None:
    assert windows_of([F(0), *edges, F(4)], F(4)) == expected


@given(
    st.sets(
        st.integers(1, 8 * 5 - 1).map(lambda i: F(i, 8))
        | st.integers(1, 6 * 5 - 1).map(lambda i: F(i, 6)),
        max_size=12,
    ),
    st.lists(st.booleans(), min_size=13, max_size=13),
    st.sampled_from([F(1), F(3, 2), F(1, 2)]),
)
def test_what_is_written_lasts_as_long(
    cuts: set[Fraction], sounding: list[bool], beat: Fraction
) -> None:
    spans = pairwise([F(0), *sorted(cuts), F(5)])
    bar = [
        Placed(begin, end, (note(0, 1, 60 + i),) if sounds else ())
        for i, ((begin, end), sounds) in enumerate(zip(spans, sounding, strict=False))
    ]
    written = glyphs(bar, F(5), beat)
    assert all(is_single(glyph.written_length) for glyph in written)
    assert [a.placed.end for a in written][:-1] == [b.placed.begin for b in written][1:]
    for placed in bar:
        parts = [g.placed for g in written if placed.begin <= g.placed.begin < placed.end]
        assert (parts[0].begin, parts[-1].end) == (placed.begin, placed.end)
        assert all(part.notes == placed.notes for part in parts)
        if placed.notes:
            assert [p.tied_after for p in parts] == [True] * (len(parts) - 1) + [False]
            assert [p.tied_before for p in parts] == [False] + [True] * (len(parts) - 1)
        else:
            assert not any(part.tied_before or part.tied_after for part in parts)
