from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generative.quantise import quantised
from tests.pieces import note, piece_of, pieces

if TYPE_CHECKING:
    from generative.piece import Piece


@pytest.mark.parametrize(("ticks", "step"), [(0, 0), (9, 0), (10, 1), (29, 1), (30, 2), (480, 24)])
def test_onsets_go_to_the_nearest_step_and_a_half_goes_up(ticks: int, step: int) -> None:
    # 480 ticks a beat are 20 ticks a step
    piece, _ = quantised(piece_of(note(ticks, 100), ticks_per_beat=480))
    assert piece.tracks[0].notes[0].onset_ticks == step


def test_a_note_lasts_at_least_a_step() -> None:
    piece, report = quantised(piece_of(note(0, 1), ticks_per_beat=480))
    assert piece == piece_of(note(0, 1))
    assert report.lengthened == 1


def test_of_two_notes_on_one_step_the_longer_stays() -> None:
    piece, report = quantised(piece_of(note(0, 100), note(1, 400), ticks_per_beat=480))
    assert piece == piece_of(note(0, 20))
    assert (report.notes_in, report.notes_out, report.merged) == (2, 1, 1)


def test_the_worst_error_is_told_in_beats() -> None:
    _, report = quantised(piece_of(note(10, 20), note(43, 20), ticks_per_beat=480))
    assert report.max_onset_error_beats == pytest.approx(10 / 480)


@given(pieces, st.sampled_from([1, 4, 24, 96]))
def test_twice_is_once_and_no_note_is_lost_uncounted(piece: Piece, steps_per_beat: int) -> None:
    once, report = quantised(piece, steps_per_beat)
    twice, again = quantised(once, steps_per_beat)
    assert twice == once
    assert report.notes_in == report.notes_out + report.merged == piece.note_count
    assert again.merged == again.lengthened == 0
    assert again.max_onset_error_beats == 0
    assert report.max_onset_error_beats <= 0.5 / steps_per_beat
