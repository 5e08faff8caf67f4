"""A clock, a keyboard and a synthesizer for sessions that need not wait; notes that hang."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

from generative.music.piece import Note, Piece, Track

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import mido

T = TypeVar("T")

LONGEST_SECONDS = 100.0  # of a session in a test


class Clock:
    """Time that passes when somebody sleeps; an interrupt may come at a moment."""

    def __init__(self, interrupt_at: float | None = None) -> None:
        self.moment = 0.0
        self.interrupt_at = interrupt_at

    def now(self) -> float:
        return self.moment

    def sleep(self, seconds: float) -> None:
        self.moment += max(seconds, 1e-4)  # nothing takes no time
        assert self.moment < LONGEST_SECONDS, "the session does not end"
        if self.interrupt_at is not None and self.moment >= self.interrupt_at:
            self.interrupt_at = None
            raise KeyboardInterrupt

    def start(self, task: Callable[[], T]) -> Future[T]:
        """Run a task at once; it is done after the time for which it has slept."""
        began = self.moment
        future: Future[T] = Future()
        result = task()
        ready, self.moment = self.moment, began
        future.set_result(result)
        vars(future)["done"] = lambda: self.moment >= ready
        return future


class Keyboard:
    """Plays messages at their moments."""

    def __init__(self, clock: Clock, script: Sequence[tuple[float, mido.Message]]) -> None:
        self.clock = clock
        self.script = sorted(script, key=lambda event: event[0])

    def iter_pending(self) -> Iterator[mido.Message]:
        while self.script and self.script[0][0] <= self.clock.now():
            yield self.script.pop(0)[1]


class Synthesizer:
    """Writes down what it gets."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.heard: list[tuple[float, mido.Message]] = []

    def send(self, message: mido.Message) -> None:
        self.heard.append((self.clock.now(), message))

    def onsets(self) -> list[tuple[float, int]]:
        return [(at, m.note) for at, m in self.heard if m.type == "note_on"]


def hanging(messages: Sequence[mido.Message]) -> Counter[tuple[int, int]]:
    """The notes that were begun more often than ended; an end before its note is an error."""
    sounding: Counter[tuple[int, int]] = Counter()
    for message in messages:
        if message.type == "note_on" and message.velocity:
            sounding[message.channel, message.note] += 1
        elif message.type in ("note_on", "note_off"):
            sounding[message.channel, message.note] -= 1
            assert sounding[message.channel, message.note] >= 0
    return +sounding


def has_panicked(messages: Sequence[mido.Message]) -> bool:
    """Whether every channel's pedal is lifted and its notes are ended, at the end."""
    last = [(m.channel, m.control, m.value) for m in messages if m.type == "control_change"]
    return {(channel, control, 0) for channel in range(16) for control in (64, 123)} <= set(last)


def echo(phrase: Piece) -> Piece:
    """The same again, an octave up."""
    tracks = (
        Track(
            program=track.program,
            notes=tuple(
                Note(
                    onset_ticks=n.onset_ticks,
                    duration_ticks=n.duration_ticks,
                    pitch=n.pitch + 12,
                    velocity=n.velocity,
                )
                for n in track.notes
            ),
        )
        for track in phrase.tracks
    )
    return Piece(
        ticks_per_beat=phrase.ticks_per_beat,
        tracks=tuple(tracks),
        tempos=phrase.tempos,
        meters=phrase.meters,
    )
