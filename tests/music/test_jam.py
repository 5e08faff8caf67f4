"""Call and response: heard rightly, answered in time, and no note hangs whatever happens."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from generative.cli.main import main
from generative.music import midi
from generative.music.jam import Recording, Settings, Turn, jam, ports
from generative.music.jam.output import TrackedOutput
from generative.music.piece import Meter, Piece, Tempo, Track
from tests import player
from tests.jamming import Clock, Keyboard, Synthesizer, echo, hanging, has_panicked
from tests.midi_messages import keys, off, on
from tests.pieces import note, piece_of

if TYPE_CHECKING:
    from pathlib import Path

BEAT = 0.5  # seconds, at 120 beats a minute
FOUR_BEATS = [(i * BEAT, pitch) for i, pitch in enumerate([60, 64, 67, 72])]


def test_a_phrase_is_answered_on_the_next_beat() -> None:
    clock = Clock()
    synth, recording = Synthesizer(clock), Recording()
    turns: list[Turn] = []
    wrong_by_a_little = [
        (at + 0.02 * (-1) ** i, pitch) for i, (at, pitch) in enumerate(FOUR_BEATS, 1)
    ]
    keyboard = Keyboard(clock, keys([(at + 1.02, pitch) for at, pitch in wrong_by_a_little]))
    jam(
        keyboard,
        synth,
        echo,
        Settings(beats_per_minute=120, pause_seconds=1.2),
        rounds=1,
        recording=recording,
        on_turn=turns.append,
        clock=clock,
    )
    (turn,) = turns
    assert isinstance(turn, Turn)
    assert [n.onset_ticks for n in turn.phrase.tracks[0].notes] == [0, 4, 8, 12]  # on the grid
    # from 1.0 on; over at 2.94 and 1.2 s later: the next beat is at 4.5
    expected = [(4.5 + at, pitch + 12) for at, pitch in FOUR_BEATS]
    assert [pitch for _, pitch in synth.onsets()] == [pitch for _, pitch in expected]
    for (at, _), (due, _) in zip(synth.onsets(), expected, strict=True):
        assert at == pytest.approx(due, abs=0.01)
    messages = [message for _, message in synth.heard]
    assert not hanging(messages)
    assert has_panicked(messages)
    whole = recording.piece
    assert [(t.name, [n.onset_ticks for n in t.notes]) for t in whole.tracks] == [
        ("heard", [0, 24, 48, 72]),
        ("answered", [96, 120, 144, 168]),
    ]


@pytest.mark.parametrize("moment", [0.6, 4.01, 4.3, 4.6, 5.1])
def test_an_interrupt_leaves_no_note_hanging(moment: float) -> None:
    clock = Clock(interrupt_at=moment)
    synth, recording = Synthesizer(clock), Recording()
    keyboard = Keyboard(clock, keys(FOUR_BEATS))
    with pytest.raises(KeyboardInterrupt):
        jam(
            keyboard,
            synth,
            echo,
            Settings(beats_per_minute=120, bars=2, thru=True),
            recording=recording,
            clock=clock,
        )
    messages = [message for _, message in synth.heard]
    assert messages
    assert not hanging(messages)
    assert has_panicked(messages)
    answered = [t for t in recording.piece.tracks if t.name == "answered"]
    begun = [pitch for at, pitch in synth.onsets() if at > 2]
    assert [n.pitch for t in answered for n in t.notes] == begun
    assert len(begun) == len([at for at, _ in FOUR_BEATS if 4 + at < moment])


def test_an_error_leaves_no_note_hanging() -> None:
    clock = Clock()
    synth = Synthesizer(clock)
    keyboard = Keyboard(clock, [(0.0, on(60)), (0.1, on(64))])  # never released

    def fail(phrase: Piece) -> Piece:
        raise ValueError("no answer")

    with pytest.raises(ValueError, match="no answer"):
        jam(
            keyboard,
            synth,
            fail,
            Settings(beats_per_minute=120, bars=1, thru=True),
            clock=clock,
        )
    messages = [message for _, message in synth.heard]
    assert len(synth.onsets()) == 2
    assert not hanging(messages)
    assert has_panicked(messages)


def test_bars_are_counted_in_and_answered_on_the_bar_line() -> None:
    clock = Clock()
    synth = Synthesizer(clock)
    # one bar is counted in from 0 to 2; the first note is early, the answer comes at 4
    keyboard = Keyboard(clock, keys([(1.95, 60), (2.5, 62), (3.0, 64)]))
    turns: list[Turn] = []
    jam(
        keyboard,
        synth,
        echo,
        Settings(beats_per_minute=120, bars=1, click=True),
        rounds=1,
        on_turn=turns.append,
        clock=clock,
    )
    ticks = [(at, m.note) for at, m in synth.heard if m.type == "note_on" and m.channel == 9]
    assert [pitch for _, pitch in ticks] == [76, 77, 77, 77] * 2
    assert [at for at, _ in ticks] == pytest.approx([i * BEAT for i in range(8)], abs=0.01)
    assert [n.onset_ticks for n in turns[0].phrase.tracks[0].notes] == [0, 4, 8]
    answer = [(at, m.note) for at, m in synth.heard if m.type == "note_on" and m.channel != 9]
    assert [pitch for _, pitch in answer] == [72, 74, 76]
    assert [at for at, _ in answer] == pytest.approx([4.0, 4.5, 5.0], abs=0.01)
    assert not hanging([message for _, message in synth.heard])


def test_who_comes_in_early_is_heard_and_who_talks_in_between_is_not() -> None:
    clock = Clock()
    synth = Synthesizer(clock)
    turns: list[Turn] = []
    first = keys(FOUR_BEATS)  # over at 3.4: the answer sounds from 3.5 to 5.375
    between, early = keys([(4.5, 30)]), keys([(5.2, 61), (6.0, 65)])
    jam(
        Keyboard(clock, first + between + early),
        synth,
        echo,
        Settings(beats_per_minute=120, pause_seconds=1.5),
        rounds=2,
        on_turn=turns.append,
        clock=clock,
    )
    assert [n.pitch for n in turns[1].phrase.tracks[0].notes] == [61, 65]


def test_an_output_ends_only_what_it_began() -> None:
    synth = Synthesizer(Clock())
    with TrackedOutput(synth) as output:
        output.send(off(60))
        output.send(on(60))
        output.send(on(60))
        output.send(on(60, velocity=0))
    messages = [message for _, message in synth.heard]
    kinds = [m.type for m in messages if m.type != "control_change"]
    assert kinds == ["note_on", "note_on", "note_on", "note_off"]
    assert not hanging(messages)


KNOWN = ["Arturia KeyStep 32:0", "Arturia MiniLab 28:0", "Midi Through 14:0"]


def test_ports_go_by_a_part_of_their_name() -> None:
    assert ports.choose("keystep", KNOWN, "input") == KNOWN[0]
    assert ports.choose(KNOWN[1], KNOWN, "input") == KNOWN[1]
    assert ports.choose(None, KNOWN[:1], "input") == KNOWN[0]
    with pytest.raises(ports.PortError, match=r"may be each of .*KeyStep.*MiniLab"):
        ports.choose("arturia", KNOWN, "input")
    with pytest.raises(ports.PortError, match="Did you mean 'Midi Through 14:0'"):
        ports.choose("midi thruogh", KNOWN, "input")
    with pytest.raises(ports.PortError, match="Choose one with --in"):
        ports.choose(None, KNOWN, "input")
    with pytest.raises(ports.PortError, match="Choose one with --out"):
        ports.choose(None, KNOWN, "output")
    with pytest.raises(ports.PortError, match="no MIDI output: connect one"):
        ports.choose("x", [], "output")


def test_a_missing_backend_or_a_closed_door_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MIDO_BACKEND", raising=False)
    monkeypatch.setitem(sys.modules, "rtmidi", None)
    monkeypatch.delitem(sys.modules, "mido.backends.rtmidi", raising=False)
    with pytest.raises(SystemExit) as stopped:
        main(["jam", "--list"])
    assert stopped.value.code == 1
    assert "pip install '.[live]' has it" in capsys.readouterr().err
    with pytest.raises(ports.PortError, match="no MIDI backend 'nosuch'"):
        ports.names("nosuch")
    host, port = player.free_address()
    with (
        pytest.raises(ports.PortError, match="cannot be opened"),
        ports.open_output(f"socket://{host}:{port}"),
    ):
        pass
    with (
        pytest.raises(ports.PortError, match="write socket://host:port"),
        ports.open_input("socket://x"),
    ):
        pass


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bars": 2}, "give one"),
        ({"beats_per_minute": 100, "click": True}, "how many"),
        ({"pause_seconds": 0}, "positive"),
        ({"beats_per_minute": float("nan")}, "positive"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Settings(**options)  # type: ignore[arg-type]


def test_a_player_is_answered_through_sockets() -> None:
    host, port = player.free_address()
    phrase = [(0.0, 60), (0.1, 64), (0.2, 67), (0.3, 72)]  # at 600 beats a minute
    settings = Settings(beats_per_minute=600, pause_seconds=0.15)
    with player.Synthesizer() as synth:
        for_keys = threading.Thread(target=player.play, args=((host, port), phrase, 0.08))
        for_keys.start()
        with (
            ports.open_input(f"socket://{host}:{port}") as heard,
            ports.open_output(synth.name) as played,
        ):
            jam(heard, played, echo, settings, rounds=1)
        for_keys.join()
        deadline = time.monotonic() + 5
        while not has_panicked([m for _, m in synth.heard]) and time.monotonic() < deadline:
            time.sleep(0.01)
    onsets = [(at, m.note) for at, m in synth.notes() if m.type == "note_on"]
    assert [pitch for _, pitch in onsets] == [72, 76, 79, 84]
    first = onsets[0][0]
    assert [at - first for at, _ in onsets] == pytest.approx([0, 0.1, 0.2, 0.3], abs=0.09)
    messages = [m for _, m in synth.heard]
    assert not hanging(messages)
    assert has_panicked(messages)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_each_signal_ends_the_notes(number: int) -> None:
    clock = Clock()
    synth = Synthesizer(clock)

    def stopped(phrase: Piece) -> Piece:
        signal.raise_signal(number)
        return phrase

    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt) as interrupt:
        jam(
            Keyboard(clock, [(0.0, on(60))]),
            synth,
            stopped,
            Settings(beats_per_minute=120, bars=1, thru=True),
            clock=clock,
        )
    assert getattr(interrupt.value, "exit_code", None) == 128 + number
    assert signal.getsignal(number) is before
    messages = [message for _, message in synth.heard]
    assert len(synth.onsets()) == 1
    assert not hanging(messages)
    assert has_panicked(messages)


def test_the_command_ends_its_notes_when_it_is_interrupted(tmp_path: Path) -> None:
    address = player.free_address()
    output = tmp_path / "session.mid"
    with player.Synthesizer() as synth:
        command = [
            sys.executable, "-c", "from generative.cli.main import main; main()", "jam",
            "--in", "socket://{}:{}".format(*address), "--out", synth.name,
            "--tempo", "240", "--pause", "0.2", "--seed", "1", "-o", str(output),
        ]  # fmt: skip
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert process.stderr
        lines = iter(process.stderr.readline, "")
        assert any("listening" in line for line in lines)
        player.play(address, [(0.25 * i, 60 + i) for i in range(5)], 0.2)
        deadline = time.monotonic() + 20
        while not synth.notes() and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)  # the answer has begun: two bars, two seconds
        assert process.wait(20) == 130
        said = process.stderr.read()
        process.stderr.close()
        while not has_panicked([m for _, m in synth.heard]) and time.monotonic() < deadline:
            time.sleep(0.01)
    messages = [m for _, m in synth.heard]
    assert "Traceback" not in said
    assert any(m.type == "note_on" for m in messages)
    assert not hanging(messages)
    assert has_panicked(messages)
    names = {track.name for track in midi.read(output).tracks}
    assert names == {"heard", "answered"}


def test_a_recording_follows_tempo_and_meter() -> None:
    recording = Recording()
    assert recording.piece.note_count == 0
    recording.add(piece_of(note(0, 24), note(100, 30)), "heard")
    recording.add(Piece(ticks_per_beat=24), "answered")
    waltz = Piece(
        ticks_per_beat=4,
        tracks=(Track(notes=(note(0, 4, 70),)),),
        tempos=(Tempo(at_ticks=0, beats_per_minute=90.0),),
        meters=(Meter(at_ticks=0, numerator=3, denominator=4),),
    )
    recording.add(waltz, "heard")
    piece = recording.piece
    assert [n.onset_ticks for n in piece.tracks[0].notes] == [0, 100, 192]
    assert piece.bar_lines == (0, 96, 192, 264)
    assert [(t.at_ticks, t.beats_per_minute) for t in piece.tempos] == [(0, 120.0), (192, 90.0)]
