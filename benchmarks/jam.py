"""How exactly `generate jam` answers in time: a scripted player against the command itself.

    python benchmarks/jam.py MODEL --minutes 10

The command runs as a user runs it, in its own process and by the real clock, once for each row of
`SESSIONS`. The player sends phrases over a socket and stamps what comes back over another. Phrases
of several kinds take turns (`PHRASES`), among them awkward ones.

Where the beat is: with `--bars` the answer's first bar begins where the phrase's last bar ends, by
the player's own clock, or by the clicks that it heard. Without `--bars` it begins on a beat of the
tempo that the command estimated; its distance from the player's own beat has a line of its own.
Within the answer, the session's file says on which tick a note stands.

"machine" is what a process has that does nothing but send bytes at given times: what the busy
machine itself costs, in this measurement.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mido
import numpy as np
from jam_phrases import PHRASES, Event, off, on

from generative.music import midi
from generative.music.piece import bar_ticks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from generative.music.piece import Note, Piece

BEATS_PER_BAR = 4
DRUM_CHANNEL, HIGH_CLICK = 9, 76
PLAYER_DEVIATION_SECONDS = 0.005  # standard deviation of a player's onsets, after the first
ANSWER_TIMEOUT_SECONDS = 15.0  # after the phrase; an answer that has not begun by then is missing
TURN_LINE = re.compile(r"(\d+) notes in (\d+) bars at (\d+); (\d+) back")
ON_TIME_SECONDS = 0.030


@dataclass(frozen=True)
class Session:
    """The options of one run of the command; `beats_per_minute` None lets the command estimate."""

    beats_per_minute: float | None
    bars: int | None
    click: bool = False

    @property
    def arguments(self) -> list[str]:
        """The options as on the command line."""
        tempo = ["--tempo", str(self.beats_per_minute)] if self.beats_per_minute else []
        bars = ["--bars", str(self.bars)] if self.bars else []
        return [*tempo, *bars, *(["--click"] if self.click else [])]


SESSIONS = [
    Session(90, 1),
    Session(140, 2),
    Session(110, 2, click=True),
    Session(100, 4),
    Session(None, None),
]


MUSICAL = {"note_on", "note_off"}


class Listener:
    """Accepts one connection, and stamps each message as it arrives."""

    def __init__(self) -> None:
        self._server = socket.create_server(("localhost", 0))
        self.heard: list[tuple[float, mido.Message]] = []
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def name(self) -> str:
        """The address as a port of the command."""
        return f"socket://localhost:{self._server.getsockname()[1]}"

    def onsets(self) -> list[tuple[float, int]]:
        """(time, pitch) of the notes so far, without clicks."""
        return [
            (at, m.note)
            for at, m in list(self.heard)
            if m.type == "note_on" and m.velocity and m.channel != DRUM_CHANNEL
        ]

    def clicks(self) -> list[tuple[float, int]]:
        """(time, pitch) of the clicks so far."""
        return [
            (at, m.note)
            for at, m in list(self.heard)
            if m.type == "note_on" and m.channel == DRUM_CHANNEL
        ]

    def sounding(self) -> int:
        """How many notes have begun and not ended."""
        balance: Counter[tuple[int, int]] = Counter()
        for _, m in list(self.heard):
            if m.type in MUSICAL:
                balance[m.channel, m.note] += 1 if m.type == "note_on" and m.velocity else -1
        return sum(abs(count) for count in balance.values())

    def _listen(self) -> None:
        connection, _ = self._server.accept()
        parser = mido.Parser()
        while data := connection.recv(4096):
            now = time.monotonic()
            parser.feed(data)
            self.heard += [(now, message) for message in parser]


@dataclass
class Round:
    """A phrase that was played: its kind, where its bars begin, and how long a beat is."""

    name: str
    bars: int
    beat_seconds: float
    origin: float
    played: list[int] = field(default_factory=list)  # pitches


class Player:
    """Plays against one process of the command, and keeps what is needed to judge it."""

    def __init__(self, session: Session, model: str, folder: Path, rng: random.Random) -> None:
        self._session = session
        self._rng = rng
        self.listener = Listener()
        self.file = folder / "session.mid"
        with socket.create_server(("localhost", 0)) as probe:
            self._port = probe.getsockname()[1]
        command = [
            sys.executable, "-c", "from generative.cli.main import main; main()", "jam",
            "-m", model, "--in", f"socket://localhost:{self._port}", "--out", self.listener.name,
            "--seed", "1", "--json", "-o", str(self.file), *session.arguments,
        ]  # fmt: skip
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._lines: list[str] = []
        threading.Thread(target=self._read_log, daemon=True).start()
        _wait_for(lambda: any("listening" in line for line in self._lines), 300.0)
        self._keyboard = socket.create_connection(("localhost", self._port))
        self._keyboard.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rounds: list[Round] = []
        self.missing: list[str] = []
        self.unasked = 0  # notes that were heard when nothing had been played
        self.hanging = 0  # after an answer that was heard to its end, and at the end of the session
        self._blocks = 0  # of clicks

    def play(self, name: str) -> None:
        """Play one phrase and hear the answer to its end."""
        tempo = self._session.beats_per_minute or self._rng.uniform(90, 140)
        bars = self._session.bars or self._rng.randint(1, 4)
        beat = 60 / tempo
        events = PHRASES[name](bars * BEATS_PER_BAR, self._rng)
        turns, before = len(self._turns()), len(self.listener.onsets())
        origin = self._origin(bars, beat)
        start = time.monotonic() + 0.01 if origin is None else origin
        if not events:
            _sleep_until(start + (bars + 1) * BEATS_PER_BAR * beat)
            self.unasked += len(self.listener.onsets()) - before
            return
        first = self._send(events, start, beat)
        played = [m.note for _, m in events if m.type == "note_on" and m.velocity]
        one = Round(name, bars, beat, first if origin is None else origin, played)
        if not _wait_for(lambda: len(self._turns()) > turns, ANSWER_TIMEOUT_SECONDS):
            self.missing.append(name)
            return
        self.rounds.append(one)
        count = self._turns()[turns]
        if not count:
            self.missing.append(name)
            return
        if name == "in between":
            _wait_for(lambda: len(self.listener.onsets()) > before, 10.0)
            self._send([(0.1, on(30)), (0.3, off(30))], time.monotonic(), beat)
        length = 2 * bars * BEATS_PER_BAR * beat + 10
        if not _wait_for(lambda: self._is_over(before + count), length):
            self.hanging += self.listener.sounding()
        _sleep_until(time.monotonic() + 0.5)

    def end(self) -> dict[str, Any]:
        """Press Ctrl-C, and return what the command printed."""
        self._process.send_signal(signal.SIGINT)
        printed, _ = self._process.stdout, self._process.wait(60)
        assert printed is not None
        text = printed.read()
        self._keyboard.close()
        _sleep_until(time.monotonic() + 0.3)
        self.hanging += self.listener.sounding()
        report: dict[str, Any] = json.loads(text)
        return report

    def _is_over(self, count: int) -> bool:
        return len(self.listener.onsets()) >= count and not self.listener.sounding()

    def _origin(self, bars: int, beat: float) -> float | None:
        """Where the phrase's first bar begins by the clicks, by the median of those counted in."""
        if not self._session.click:
            return None
        index = self._blocks * (bars + 1) * BEATS_PER_BAR
        self._blocks += 1
        _wait_for(lambda: len(self.listener.clicks()) >= index + 3, 60.0)
        heard = self.listener.clicks()[index : index + 3]
        assert [pitch == HIGH_CLICK for _, pitch in heard] == [True, False, False]
        begins = np.median([at - i * beat for i, (at, _) in enumerate(heard)])
        return float(begins) + BEATS_PER_BAR * beat

    def _send(self, events: Sequence[Event], start: float, beat: float) -> float:
        """Send messages at their times, and return when the first one left."""
        first = None
        for at, message in _played(events, self._rng, beat):
            _sleep_until(start + at)
            first = first or time.monotonic()
            self._keyboard.sendall(bytes(message.bytes()))
        return first or start

    def _turns(self) -> list[int]:
        """The number of notes of each answer so far."""
        found = map(TURN_LINE.search, list(self._lines))
        return [int(match[4]) for match in found if match]

    def _read_log(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._lines.append(line)


def _played(events: Sequence[Event], rng: random.Random, beat: float) -> Iterator[Event]:
    """(seconds, message) in order of time; onsets on the beat's parts deviate as a player's do."""
    moved = []
    for at, message in events:
        deviates = at > 0 and message.type == "note_on" and message.velocity
        deviation = rng.gauss(0, PLAYER_DEVIATION_SECONDS) if deviates else 0.0
        moved.append((at * beat + deviation, message))
    return iter(sorted(moved, key=lambda event: event[0]))


def _sleep_until(moment: float) -> None:
    while (left := moment - time.monotonic()) > 0:
        time.sleep(left)


def _wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@dataclass
class Judgement:
    """Seconds off the beat, of all sessions, and what the files lack."""

    first: list[float] = field(default_factory=list)
    following: list[float] = field(default_factory=list)
    off_the_players_beat: list[float] = field(default_factory=list)
    late: list[str] = field(default_factory=list)  # the kinds of phrases, with ms
    lost: int = 0  # notes that were played or heard and are not in the session's file

    def judge(self, player: Player, session: Session, report: dict[str, Any]) -> None:
        """Compare what one session heard with its file and with the beat."""
        piece = midi.read(player.file)
        heard = _in_order(piece, "heard")
        answered = _in_order(piece, "answered")
        onsets = player.listener.onsets()
        assert len(report["turns"]) == len(player.rounds), "turns that the player did not notice"
        for one, turn in zip(player.rounds, report["turns"], strict=True):
            phrase, heard = heard[: turn["heard"]], heard[turn["heard"] :]
            answer, answered = answered[: turn["answered"]], answered[turn["answered"] :]
            sounds, onsets = onsets[: turn["answered"]], onsets[turn["answered"] :]
            self.lost += _difference([n.pitch for n in phrase], one.played)
            self.lost += _difference([n.pitch for n in answer], [pitch for _, pitch in sounds])
            if not answer or not phrase:
                continue
            bar = round(bar_ticks(piece.meters[0], piece.ticks_per_beat))
            line_ticks = phrase[0].onset_ticks + turn["bars"] * bar
            beat = one.beat_seconds if session.bars else 60 / turn["tempo"]
            offsets = _offsets(answer, sounds, line_ticks, piece.ticks_per_beat, beat)
            line = one.origin + one.bars * BEATS_PER_BAR * one.beat_seconds
            if session.bars is None:
                after = offsets[0] - one.origin
                if len(one.played) > 2:  # Fewer notes have no tempo.
                    self.off_the_players_beat.append(_from_grid(after, one.beat_seconds))
                line = one.origin + after - _from_grid(after, beat)
            self.first.append(offsets[0] - line)
            if abs(self.first[-1]) > ON_TIME_SECONDS:
                self.late.append(f"{one.name} {self.first[-1] * 1000:.0f}")
            self.following += [offset - line for offset in offsets[1:]]
        self.lost += len(heard) + len(answered) + len(onsets)


def _from_grid(seconds: float, span: float) -> float:
    """The signed distance from the nearest multiple of a span."""
    return float(seconds - round(seconds / span) * span)


def _in_order(piece: Piece, name: str) -> list[Note]:
    notes = [note for track in piece.tracks if track.name == name for note in track.notes]
    return sorted(notes, key=lambda note: note.onset_ticks)


def _difference(these: Sequence[int], those: Sequence[int]) -> int:
    left, right = Counter(these), Counter(those)
    return max(sum((left - right).values()), sum((right - left).values()))


def _offsets(
    answer: Sequence[Note],
    sounds: Sequence[tuple[float, int]],
    line_ticks: int,
    ticks_per_beat: int,
    beat: float,
) -> list[float]:
    """When the answer's first bar began, as each of its notes says, in order of time."""
    found = []
    for pitch in {note.pitch for note in answer}:
        ticks = [note.onset_ticks - line_ticks for note in answer if note.pitch == pitch]
        times = [at for at, sounded in sounds if sounded == pitch]
        found += [
            (at, at - tick / ticks_per_beat * beat) for at, tick in zip(times, ticks, strict=False)
        ]
    return [offset for _, offset in sorted(found)]


METRONOME = """
import socket, struct, sys, time
port = socket.create_connection(("localhost", int(sys.argv[1])))
port.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
due = time.monotonic()
while True:
    due += 0.1
    time.sleep(max(0.0, due - time.monotonic()))
    port.sendall(struct.pack("d", due))
"""


class Metronome:
    """A process that sends bytes at given times and does nothing else."""

    def __init__(self) -> None:
        self.late: list[float] = []
        self._server = socket.create_server(("localhost", 0))
        port = str(self._server.getsockname()[1])
        self._process = subprocess.Popen([sys.executable, "-c", METRONOME, port])
        threading.Thread(target=self._listen, daemon=True).start()

    def end(self) -> None:
        """Stop the process."""
        self._process.kill()
        self._process.wait()

    def _listen(self) -> None:
        connection, _ = self._server.accept()
        while len(data := connection.recv(8)) == 8:
            self.late.append(time.monotonic() - struct.unpack("d", data)[0])


def row(name: str, seconds: Sequence[float]) -> str:
    """Median, 95th percentile and maximum of the distances, in ms, and the part within 30 ms."""
    if not seconds:
        return f"{name:<28} none"
    distances = np.abs(np.asarray(seconds))
    middle, most = np.percentile(distances, [50, 95]) * 1000
    within = float((distances <= ON_TIME_SECONDS).mean())
    figures = f"{len(distances):>6} {middle:>9.1f} {most:>9.1f} {distances.max() * 1000:>9.1f}"
    return f"{name:<28} {figures} {within:>8.1%}"


def main() -> None:
    """Play, judge and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    judged, rounds, hanging, unasked = Judgement(), 0, 0, 0
    missing: list[str] = []
    metronome = Metronome()
    kinds = list(PHRASES)
    print(f"{'ms off the beat':<28}  notes    median      95th   maximum  <=30 ms")
    for session in SESSIONS:
        with tempfile.TemporaryDirectory() as folder:
            player = Player(session, arguments.model, Path(folder), rng)
            deadline = time.monotonic() + 60 * arguments.minutes / len(SESSIONS)
            played = 0
            while time.monotonic() < deadline:
                player.play(kinds[played % len(kinds)])
                played += 1
            report = player.end()
            own = Judgement()
            for judgement in (own, judged):
                judgement.judge(player, session, report)
        print(row(" ".join(session.arguments) or "(no option)", own.first), flush=True)
        rounds += len(player.rounds)
        missing += player.missing
        hanging += player.hanging
        unasked += player.unasked
    metronome.end()
    print(row("first notes", judged.first))
    print(row("following notes", judged.following))
    print(row("first, from player's beat", judged.off_the_players_beat))
    print(row("machine", metronome.late))
    print("late:", ", ".join(judged.late) or "none")
    print(
        f"{rounds} rounds; {len(missing)} without an answer {missing or ''}; {hanging} hanging "
        f"notes; {unasked} unasked notes; {judged.lost} notes not in the session's file"
    )


if __name__ == "__main__":
    main()
