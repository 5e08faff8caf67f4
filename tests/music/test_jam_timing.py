"""Answers begin on their bar line or beat, however long they take to make."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from generative.music.jam import Settings, jam, ports
from tests.jamming import Clock, Keyboard, Synthesizer, echo, hanging
from tests.midi_messages import keys, on, pedal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import mido

    from generative.music.jam import Turn
    from generative.music.piece import Piece

BEAT = 0.5  # seconds, at 120 beats a minute
BAR = 4 * BEAT
POLL = 0.003


def slow(
    clock: Clock, seconds: float | Sequence[float], asked: list[Piece]
) -> Callable[[Piece], Piece]:
    """The same again after so many seconds, or after those of its turn; each phrase is noted."""

    def answer(phrase: Piece) -> Piece:
        asked.append(phrase)
        clock.sleep(seconds if isinstance(seconds, float) else seconds[len(asked) - 1])
        return echo(phrase)

    return answer


def bar_of_quarters(begin: float) -> list[tuple[float, mido.Message]]:
    return keys([(begin + i * BEAT, 60 + i) for i in range(4)])


def begins(synth: Synthesizer) -> list[float]:
    """When notes of middle C's octave above began: the answers' first ones."""
    return [at for at, pitch in synth.onsets() if pitch == 72]


def played(
    script: Sequence[tuple[float, mido.Message]],
    settings: Settings,
    seconds: float | Sequence[float],
    rounds: int,
) -> tuple[Synthesizer, list[Piece], list[Turn]]:
    """The synthesizer, the phrases that were to be answered, and the turns."""
    clock = Clock()
    synth = Synthesizer(clock)
    asked: list[Piece] = []
    turns: list[Turn] = []
    answer = slow(clock, seconds, asked)
    jam(
        Keyboard(clock, script),
        synth,
        answer,
        settings,
        rounds=rounds,
        on_turn=turns.append,
        clock=clock,
    )
    assert not hanging([message for _, message in synth.heard])
    return synth, asked, turns


def pitches(phrase: Piece) -> list[int]:
    return [note.pitch for track in phrase.tracks for note in track.notes]


@pytest.mark.parametrize("seconds", [0.0, 0.2, 0.9])
def test_an_answer_begins_with_the_bar_line_after_the_phrase(seconds: float) -> None:
    script = bar_of_quarters(0.0) + bar_of_quarters(2 * BAR)
    settings = Settings(beats_per_minute=120, bars=1)
    synth, _, turns = played(script, settings, seconds, rounds=2)
    assert begins(synth) == pytest.approx([BAR, 3 * BAR], abs=POLL)
    assert [pitches(turn.phrase) for turn in turns] == [[60, 61, 62, 63]] * 2


def test_the_model_hears_as_much_as_its_usual_time_allows() -> None:
    script = bar_of_quarters(0.0) + bar_of_quarters(2 * BAR)
    settings = Settings(beats_per_minute=120, bars=1)
    _, asked, turns = played(script, settings, 0.15, rounds=2)
    # One is begun at 1.0, a second before the end and half of the phrase, and one more when the
    # usual time is left, at 2 - (1.5 * 0.15 + 0.05).
    assert [pitches(phrase) for phrase in asked] == [[60, 61, 62], [60, 61, 62, 63]] * 2
    assert [phrase.bars for phrase in asked] == [1] * 4
    assert [pitches(turn.answer) for turn in turns] == [[72, 73, 74, 75]] * 2
    # Keys that are held are taken to be held on.
    assert [note.duration_ticks for note in asked[0].tracks[0].notes][-1] == 8


def test_an_earlier_answer_stands_in_for_one_that_is_late() -> None:
    seconds = [0.1, 0.5]
    settings = Settings(beats_per_minute=120, bars=1)
    synth, asked, turns = played(bar_of_quarters(0.0), settings, seconds, rounds=1)
    assert [pitches(phrase) for phrase in asked] == [[60, 61, 62], [60, 61, 62, 63]]
    assert [pitches(turn.answer) for turn in turns] == [[72, 73, 74]]
    assert begins(synth) == pytest.approx([BAR], abs=POLL)


def test_an_answer_that_takes_much_longer_than_those_before_is_in_time() -> None:
    script = bar_of_quarters(0.0) + bar_of_quarters(2 * BAR)
    settings = Settings(beats_per_minute=120, bars=1)
    synth, _, _ = played(script, settings, [0.1, 0.1, 0.7, 0.7], rounds=2)
    assert begins(synth) == pytest.approx([BAR, 3 * BAR], abs=POLL)


def test_an_answer_that_takes_too_long_begins_with_a_later_bar_line() -> None:
    settings = Settings(beats_per_minute=120, bars=1)
    synth, asked, _ = played(bar_of_quarters(0.0), settings, 1.1, rounds=1)
    assert begins(synth) == pytest.approx([2 * BAR], abs=POLL)
    assert len(asked) == 1


def test_an_answer_that_is_just_too_late_for_a_beat_waits_for_the_next_one() -> None:
    # The last key is released at 1.9 and the phrase over at 2.4; the beat is at 2.5.
    settings = Settings(beats_per_minute=120, pause_seconds=0.5)
    synth, _, _ = played(bar_of_quarters(0.0), settings, 0.14, rounds=1)
    assert begins(synth) == pytest.approx([3.0], abs=POLL)
    synth, _, _ = played(bar_of_quarters(0.0), settings, 0.09, rounds=1)
    assert begins(synth) == pytest.approx([2.5], abs=POLL)


def test_the_keyboard_is_heard_while_an_answer_is_made() -> None:
    # The phrase is over at 2.4, and its answer is there at 3.4.
    settings = Settings(beats_per_minute=120, pause_seconds=0.5, thru=True)
    script = [*bar_of_quarters(0.0), *keys([(2.6, 40)])]
    synth, _, _ = played(script, settings, 1.0, rounds=1)
    assert [at for at, pitch in synth.onsets() if pitch == 40] == pytest.approx([2.6], abs=POLL)
    assert begins(synth) == pytest.approx([3.5], abs=POLL)


def test_clicks_and_a_slow_answer_are_in_time() -> None:
    settings = Settings(beats_per_minute=120, bars=1, click=True)
    script = [event for begin in (BAR, 4 * BAR) for event in bar_of_quarters(begin)]
    synth, asked, _ = played(script, settings, 0.2, rounds=2)
    # The clicks begin again where the first answer's last note ends: that of a key that was held.
    assert begins(synth) == pytest.approx([2 * BAR, 5 * BAR], abs=POLL)
    assert [pitches(phrase) for phrase in asked[:2]] == [[60, 61, 62], [60, 61, 62, 63]]


def test_a_note_just_before_the_line_belongs_to_the_phrase() -> None:
    script = [*bar_of_quarters(0.0), *keys([(BAR - 0.05, 67)])]
    settings = Settings(beats_per_minute=120, bars=1)
    synth, _, turns = played(script, settings, 0.0, rounds=1)
    assert turns[0].phrase.bars == 1
    onsets = {note.pitch: note.onset_ticks for note in turns[0].phrase.tracks[0].notes}
    assert onsets[67] == 15  # the last sixteenth
    assert begins(synth) == pytest.approx([BAR], abs=POLL)


@pytest.mark.parametrize("control", [120, 123, 124, 125, 126, 127])
def test_all_notes_off_ends_held_keys(control: int) -> None:
    end = pedal(0).copy(control=control)
    script = [(0.0, on(60)), (0.5, on(64)), (1.0, end)]
    settings = Settings(beats_per_minute=120, pause_seconds=0.7)
    synth, asked, _ = played(script, settings, 0.0, rounds=1)
    assert [note.duration_ticks for note in asked[0].tracks[0].notes] == [8, 4]
    assert begins(synth) == pytest.approx([2.0], abs=POLL)


def test_a_socket_sends_each_message_at_once() -> None:
    with (
        socket.create_server(("localhost", 0)) as server,
        ports.connected("localhost", server.getsockname()[1]) as port,
    ):
        assert port._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
