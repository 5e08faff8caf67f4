"""Played messages become notes, a tempo and a piece."""

from __future__ import annotations

import mido
import pytest

from generative.music.jam.listening import NoteCollector, as_piece, estimated_tempo
from generative.music.piece import Meter, Piece, Tempo, Track
from tests.midi_messages import keys, off, on, pedal
from tests.pieces import note


def test_the_pedal_holds_and_a_lost_release_does_not_wait_for_ever() -> None:
    collector = NoteCollector()
    for at, message in [
        (0.0, mido.Message("program_change", program=19)),
        (0.0, pedal(127)),
        (0.0, on(60)),
        (0.2, off(60)),
        (0.5, on(60)),  # struck again: the first one ends
        (0.6, off(60)),
        (1.0, pedal(0)),
        (1.0, on(40, channel=9)),
        (1.1, off(40, channel=9)),
        (2.0, on(70)),
    ]:
        collector.receive(message, at)
    spans = {(n.pitch, n.onset_seconds, n.end_seconds): n for n in collector.notes(3.0)}
    assert set(spans) == {(60, 0.0, 0.5), (60, 0.5, 1.0), (40, 1.0, 1.1), (70, 2.0, 3.0)}
    assert spans[70, 2.0, 3.0].program == 19
    assert spans[40, 1.0, 1.1].is_drum
    assert collector.pause_seconds(5.0) == 0.0
    assert collector.pause_seconds(12.5) == 10.5
    collector.forget_before(2.0)
    assert [n.pitch for n in collector.notes(3.0)] == [70]
    collector.receive(on(72), 4.0)
    assert [n.program for n in collector.notes(5.0)] == [19, 19]  # a program outlives the phrase


@pytest.mark.parametrize("tempo", [66.0, 84.0, 100.0, 120.0, 138.0])
@pytest.mark.parametrize(
    "rhythm", [[1, 1, 1, 1, 1, 1], [1, 0.5, 0.5, 1, 0.5, 0.5, 1], [1.5, 0.5, 1, 1, 2, 1]]
)
def test_the_tempo_of_a_played_rhythm_or_its_double_is_found(
    tempo: float, rhythm: list[float]
) -> None:
    beats, onsets = 0.0, []
    for i, length in enumerate([*rhythm, *rhythm]):
        onsets.append(beats * 60 / tempo + 0.008 * (-1) ** (i // 2))  # nobody is a machine
        beats += length
    found = estimated_tempo(onsets)
    assert min(found, found / 2, key=lambda beat: abs(beat - tempo)) == pytest.approx(
        tempo, rel=0.02
    )


def test_too_few_notes_have_the_usual_tempo() -> None:
    assert estimated_tempo([]) == estimated_tempo([3.0, 3.5]) == 110.0


def test_what_was_heard_becomes_a_piece() -> None:
    collector = NoteCollector(program=19)
    for at, message in keys([(10.0, 60), (10.52, 64), (10.52, 67)], length=0.45):
        collector.receive(message, at)
    piece = as_piece(
        collector.notes(12.0),
        origin_seconds=10.0,
        beats_per_minute=120,
        meter=(3, 4),
        steps_per_beat=4,
    )
    assert piece == Piece(
        ticks_per_beat=4,
        tracks=(
            Track(program=19, notes=(note(0, 4, 60, 80), note(4, 4, 64, 80), note(4, 4, 67, 80))),
        ),
        tempos=(Tempo(at_ticks=0, beats_per_minute=120.0),),
        meters=(Meter(at_ticks=0, numerator=3, denominator=4),),
    )
