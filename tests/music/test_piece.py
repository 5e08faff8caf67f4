from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generative.music.piece import (
    Meter,
    Note,
    Piece,
    Tempo,
    TempoMap,
    Track,
    beats_per_minute,
    in_order,
    in_turn,
    microseconds_per_beat,
)
from tests.pieces import note, piece_of, pieces


def meter(at_ticks: int, numerator: int, denominator: int) -> Meter:
    return Meter(at_ticks=at_ticks, numerator=numerator, denominator=denominator)


def tempo(at_ticks: int, rate: float) -> Tempo:
    return Tempo(at_ticks=at_ticks, beats_per_minute=rate)


@pytest.mark.parametrize(
    ("onset", "duration", "pitch", "velocity"),
    [(-1, 1, 60, 64), (0, 0, 60, 64), (0, 1, 128, 64), (0, 1, -1, 64), (0, 1, 60, 0)],
)
def test_a_note_out_of_range_is_refused(
    onset: int, duration: int, pitch: int, velocity: int
) -> None:
    with pytest.raises(ValueError, match="Note"):
        Note(onset_ticks=onset, duration_ticks=duration, pitch=pitch, velocity=velocity)


def test_a_meter_needs_a_power_of_two() -> None:
    with pytest.raises(ValueError, match="power of two"):
        meter(0, 3, 6)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("inf"), float("nan")])
def test_a_tempo_needs_a_positive_rate(rate: float) -> None:
    with pytest.raises(ValueError, match="positive rate"):
        tempo(0, rate)


def test_nested_notes_of_one_pitch_end_in_the_order_in_which_they_began() -> None:
    outer, inner = note(0, 10, velocity=1), note(5, 2, velocity=2)
    assert in_order([inner, outer]) == (note(0, 7, velocity=1), note(5, 5, velocity=2))


def test_normal_form_states_the_defaults_and_then_only_changes() -> None:
    piece = Piece(
        ticks_per_beat=24,
        tracks=(Track(notes=()),),
        tempos=(tempo(96, 90), tempo(48, 120), tempo(96, 80)),
        meters=(meter(24, 3, 4), meter(12, 4, 4)),
    ).normalised()
    assert piece.tracks == ()
    assert piece.tempos == (tempo(0, 120), tempo(96, 80))  # of two at one tick the last
    assert piece.meters == (meter(0, 4, 4), meter(24, 3, 4))


@given(pieces)
def test_normalising_twice_changes_nothing(piece: Piece) -> None:
    assert piece.normalised().normalised() == piece.normalised()


def test_seconds_go_through_every_change_of_tempo() -> None:
    piece = Piece(
        ticks_per_beat=24,
        tracks=(Track(notes=(note(0, 72),)),),
        tempos=(tempo(0, 120), tempo(24, 60)),
    ).normalised()
    assert piece.seconds == 0.5 + 2 * 1.0
    assert piece.tempo_map.seconds_at(12) == 0.25
    assert piece.tempo_map.ticks_at(1.5) == 48


@given(st.lists(st.tuples(st.integers(1, 500), st.floats(10, 400)), max_size=5), st.floats(0, 3000))
def test_ticks_to_seconds_and_back(changes: list[tuple[int, float]], ticks: float) -> None:
    times = TempoMap([tempo(0, 120), *(tempo(t, r) for t, r in sorted(dict(changes).items()))], 24)
    assert times.ticks_at(times.seconds_at(ticks)) == pytest.approx(ticks, abs=1e-6)


@pytest.mark.parametrize(
    ("last_onset", "meters", "bars"),
    [
        (0, [], 1),
        (95, [], 1),
        (96, [], 2),
        (72, [meter(0, 3, 4)], 2),
        (100, [meter(100, 3, 4)], 3),  # two bars of 4/4, the second cut short, then one of 3/4
        (96, [meter(96, 3, 4)], 2),
    ],
)
def test_bars_up_to_the_last_onset(last_onset: int, meters: list[Meter], bars: int) -> None:
    piece = Piece(
        ticks_per_beat=24, tracks=(Track(notes=(note(last_onset, 500),)),), meters=tuple(meters)
    )
    assert piece.normalised().bars == bars


def test_a_piece_without_notes_has_no_bars_and_no_seconds() -> None:
    piece = Piece(ticks_per_beat=24)
    assert (piece.bars, piece.seconds, piece.note_count) == (0, 0.0, 0)


def test_clipping_shortens_what_rings_on_and_drops_what_comes_later() -> None:
    piece = piece_of(note(0, 50), note(20, 5, pitch=62), note(30, 5, pitch=64))
    assert piece.clipped(30) == piece_of(note(0, 30), note(20, 5, pitch=62))


def test_in_turn_each_begins_on_a_beat() -> None:
    first, second = piece_of(note(0, 30)), piece_of(note(0, 10, pitch=62))
    both = in_turn([first, second])
    assert [track.notes for track in both.tracks] == [(note(0, 30),), (note(48, 10, pitch=62),)]
    with pytest.raises(ValueError, match=r"not \[24, 25\]"):
        in_turn([first, piece_of(note(0, 1), ticks_per_beat=25)])


@given(st.integers(4, 5000))
def test_whole_tempos_survive_microseconds(rate: int) -> None:
    assert beats_per_minute(microseconds_per_beat(rate)) == rate


@given(st.integers(1, 0xFFFFFF))
def test_every_tempo_of_a_file_comes_back(microseconds: int) -> None:
    assert microseconds_per_beat(beats_per_minute(microseconds)) == microseconds
