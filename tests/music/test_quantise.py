from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from generative.music import midi
from generative.music.piece import Tempo
from generative.music.quantise import (
    PERFORMANCE,
    PERFORMANCE_TICKS_PER_BEAT,
    SCORE,
    grid_of,
    in_time,
    quantised,
)
from tests.conftest import data
from tests.pieces import note, piece_of, pieces

if TYPE_CHECKING:
    from generative.music.piece import Piece


def tempo(at_ticks: int, rate: float) -> Tempo:
    return Tempo(at_ticks=at_ticks, beats_per_minute=rate)


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


def test_the_worst_errors_are_told_in_steps() -> None:
    _, report = quantised(piece_of(note(10, 20), note(43, 25), ticks_per_beat=480))
    assert report.max_onset_error_steps == pytest.approx(0.5)
    assert report.max_duration_error_steps == pytest.approx(0.25)
    assert (report.onsets_moved, report.durations_moved) == (2, 1)


def test_a_note_does_not_round_into_the_next_of_its_pitch() -> None:
    # onset 0.5 -> 1 and duration 9.5 -> 10 would end at 11, but the next begins at 10
    piece, report = quantised(piece_of(note(10, 190), note(200, 100), ticks_per_beat=480))
    assert piece.tracks[0].notes == (note(1, 9), note(10, 5))
    assert report.shortened == 1


@given(pieces, st.sampled_from([SCORE, PERFORMANCE]))
def test_no_note_is_lost_uncounted_or_moved_too_far(piece: Piece, grid: str) -> None:
    once, report = quantised(piece, grid)
    assert report.notes_in == report.notes_out + report.merged == piece.note_count
    assert report.max_onset_error_steps <= 0.5 + 1e-6
    assert report.max_duration_error_steps <= 0.5 + 1e-6
    if grid == SCORE:
        twice, again = quantised(once)
        assert twice == once
        assert (again.merged, again.lengthened, again.shortened) == (0, 0, 0)
        assert again.max_onset_error_steps == again.max_duration_error_steps == 0


def test_steps_of_time_go_through_changes_of_tempo() -> None:
    tempos = (tempo(0, 120), tempo(480, 60))
    piece = replace(
        piece_of(note(240, 480), note(1001, 240, 62), ticks_per_beat=480), tempos=tempos
    )
    stepped, report = quantised(piece, PERFORMANCE)
    # 0.25 s to 0.5 + 0.5 s; 0.5 + 521/480 s for half a second
    assert stepped.tracks[0].notes == (note(25, 75), note(159, 50, 62))
    assert report.max_onset_error_steps == pytest.approx(159 - 100 * (521 / 480 + 0.5))


@given(
    st.lists(st.tuples(st.integers(1, 5000), st.integers(16, 320)), max_size=30),
    st.lists(st.tuples(st.integers(0, 400_000), st.integers(1, 6000)), min_size=1, max_size=20),
)
def test_steps_come_back_from_any_tempo_map_without_drift(
    changes: list[tuple[int, int]], places: list[tuple[int, int]]
) -> None:
    tempos = (tempo(0, 120), *(tempo(step * 70, rate) for step, rate in sorted(changes)))
    notes = tuple(note(step, length, i) for i, (step, length) in enumerate(places))
    stepped = replace(
        piece_of(*notes, ticks_per_beat=PERFORMANCE_TICKS_PER_BEAT), tempos=tempos
    ).normalised()
    timed = in_time(stepped)
    assert quantised(timed, PERFORMANCE)[0] == stepped
    for before, after in zip(stepped.tracks[0].notes, timed.tracks[0].notes, strict=True):
        seconds = timed.tempo_map.seconds_at(after.onset_ticks)
        assert seconds == pytest.approx(before.onset_ticks / 100, abs=0.002)


def test_the_grid_is_told_by_where_onsets_lie() -> None:
    rng = np.random.default_rng(0)
    played = piece_of(*(note(int(t), 50, 60) for t in np.cumsum(rng.integers(60, 400, 300))),
                      ticks_per_beat=480)  # fmt: skip
    written = piece_of(*(note(120 * i, 50, 60) for i in range(300)), ticks_per_beat=480)
    late = written.shifted(37)  # on the beat of a recording that does not begin at tick 0
    assert [grid_of([piece]) for piece in (played, written, late)] == [PERFORMANCE, SCORE, SCORE]
    assert grid_of([played, written, late]) == SCORE
    assert grid_of([]) == SCORE


@pytest.mark.parametrize(
    ("folder", "grid"),
    [
        ("piano/asap_performance", PERFORMANCE),
        ("piano/maestro_sample", PERFORMANCE),
        ("piano/asap_score", SCORE),
        ("nottingham", SCORE),
        ("jsb/midi", SCORE),
        ("multitrack/freedoom", SCORE),
        ("multitrack/avgvst", SCORE),
        ("multitrack/pop909", SCORE),
    ],
)
def test_real_corpora_get_the_grid_that_suits_them(folder: str, grid: str) -> None:
    files = sorted(data(f"midi/{folder}").glob("*.mid"))
    assert grid_of(midi.read(file) for file in files[:: -(-len(files) // 9)]) == grid
