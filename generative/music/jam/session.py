"""Turns of listening and answering: knows when each begins and ends, not how music is made."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from generative.music.jam import interrupts
from generative.music.jam.instrument import Instrument
from generative.music.jam.listening import Ear, as_piece, estimated_tempo
from generative.music.jam.playing import clicks, timed
from generative.music.jam.recording import Recording
from generative.music.piece import BEATS_PER_WHOLE_NOTE, SECONDS_PER_MINUTE

if TYPE_CHECKING:
    from collections.abc import Callable

    from generative.music.jam.playing import Timed
    from generative.music.jam.ports import InputPort, OutputPort
    from generative.music.piece import Piece

PAUSE_SECONDS = 1.5
GRID_STEPS_PER_BEAT = 4  # sixteenth notes
LONGEST_NAP_SECONDS = 0.002  # between looks at the port
LATE_SECONDS = 0.05  # an answer may begin so long after its line, rather than wait for the next
EARLY_SECONDS = 0.3  # whoever comes in so long before the answer ends is heard


class Clock(Protocol):
    """Time, so that tests need not wait for it."""

    def now(self) -> float:
        """Seconds since some moment; it never goes back."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let so much time pass, about."""
        ...


class RealClock:
    """The machine's time."""

    def now(self) -> float:
        """Seconds since some moment."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How turns are taken; the command line's options have the names of these fields.

    Attributes:
        beats_per_minute: the tempo; None estimates the tempo of each phrase.
        bars: the length of a phrase, from its first note; None ends a phrase at a pause.
        meter: (numerator, denominator) of the phrases.
        pause_seconds: the time without a held or pressed key that ends a phrase.
        steps_per_beat: the grid that played notes are moved to.
        program: the General MIDI program, 0..127, of the phrases; None keeps the keyboard's own.
        click: play one bar of clicks before each phrase and clicks during it; requires `bars`.
        thru: forward the keyboard's messages, for a keyboard that makes no sound itself.
    """

    beats_per_minute: float | None = None
    bars: int | None = None
    meter: tuple[int, int] = (4, 4)
    pause_seconds: float = PAUSE_SECONDS
    steps_per_beat: int = GRID_STEPS_PER_BEAT
    program: int | None = None
    click: bool = False
    thru: bool = False

    def __post_init__(self) -> None:
        if self.bars is not None and self.beats_per_minute is None:
            raise ValueError("bars are counted at a tempo: give one (--tempo)")
        if self.click and self.bars is None:
            raise ValueError("a click counts bars: say how many (--bars)")
        for name in ("beats_per_minute", "pause_seconds", "bars", "steps_per_beat"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} must be a positive number, not {value}")


@dataclass(frozen=True, kw_only=True)
class Turn:
    """A phrase that was heard, and what will be played after it."""

    number: int
    phrase: Piece
    answer: Piece


def jam(
    heard: InputPort,
    played: OutputPort,
    answer: Callable[[Piece], Piece],
    settings: Settings | None = None,
    *,
    rounds: int | None = None,
    recording: Recording | None = None,
    on_turn: Callable[[Turn], None] | None = None,
    clock: Clock | None = None,
) -> None:
    """Listen, answer, and listen again.

    Args:
        heard: the keyboard.
        played: the synthesizer.
        answer: from the phrase to what follows it, which begins at tick 0.
        settings: how turns are taken.
        rounds: how many turns; None goes on until interrupted.
        recording: takes what was played, what was interrupted as far as it came.
        on_turn: told of each answer before it sounds.
        clock: None is the machine's.

    Raises:
        OSError: a port is gone.
        KeyboardInterrupt: a signal ended it.
    """
    with interrupts.raised(), Instrument(played) as instrument:
        session = _Session(
            heard,
            instrument,
            answer,
            settings or Settings(),
            recording=recording or Recording(),
            clock=clock or RealClock(),
        )
        number = 0
        while rounds is None or number < rounds:
            number += 1
            session.take_turn(number, on_turn)


class _Session:
    """One ear and one instrument, and whose turn it is."""

    def __init__(
        self,
        heard: InputPort,
        instrument: Instrument,
        answer: Callable[[Piece], Piece],
        settings: Settings,
        *,
        recording: Recording,
        clock: Clock,
    ) -> None:
        self._heard = heard
        self._instrument = instrument
        self._answer = answer
        self._settings = settings
        self._recording = recording
        self._clock = clock
        self._ear = Ear(settings.program)

    def take_turn(self, number: int, on_turn: Callable[[Turn], None] | None) -> None:
        """Hear one phrase and answer it."""
        phrase, origin = self._listen()
        self._recording.add(phrase, "heard")
        self._instrument.silence()  # what went through, and was not released
        answer = self._answer(phrase)
        if on_turn:
            on_turn(Turn(number=number, phrase=phrase, answer=answer))
        began = self._next_line(origin, phrase.tempos[0].beats_per_minute)
        try:
            self._play(timed(answer), began)
        finally:
            ticks = answer.tempo_map.ticks_at(max(self._clock.now() - began, 0.0))
            self._recording.add(answer.clipped(math.ceil(ticks)), "answered")
        self._ear.forget_before(self._clock.now() - EARLY_SECONDS)

    def _listen(self) -> tuple[Piece, float]:
        """A phrase with notes, and when its first bar began."""
        while True:
            origin: float | None = None
            ticking: Timed = ()
            began = self._clock.now()
            tempo, bars = self._settings.beats_per_minute, self._settings.bars
            if self._settings.click and tempo and bars:
                origin = began + self._bar_seconds(tempo)
                ticking = timed(clicks(1 + bars, tempo, self._settings.meter))
            try:
                self._play(ticking, began)
                while not self._is_over(origin):
                    self._attend()
                    self._clock.sleep(LONGEST_NAP_SECONDS)
            except BaseException:  # an interrupt, mostly
                self._recording.add(self._phrase(origin)[0], "heard")
                raise
            phrase, start = self._phrase(origin)
            self._ear.forget_before(math.inf)
            if phrase.note_count:
                return phrase, start

    def _is_over(self, origin: float | None) -> bool:
        """Whether the phrase is; `origin` is where its bars begin, if not with its first note."""
        now = self._clock.now()
        start = self._ear.onset_seconds if origin is None else origin
        if start is None:
            return False
        tempo, bars = self._settings.beats_per_minute, self._settings.bars
        if bars and tempo:
            return now >= start + bars * self._bar_seconds(tempo)
        return self._ear.pause_seconds(now) >= self._settings.pause_seconds

    def _phrase(self, origin: float | None) -> tuple[Piece, float]:
        """What was heard so far, and when its first bar began."""
        notes = self._ear.notes(self._clock.now())
        onsets = [note.onset_seconds for note in notes]
        start = min(onsets, default=0.0) if origin is None else origin
        piece = as_piece(
            notes,
            origin_seconds=start,
            beats_per_minute=self._settings.beats_per_minute or estimated_tempo(onsets),
            meter=self._settings.meter,
            steps_per_beat=self._settings.steps_per_beat,
        )
        return piece, start

    def _play(self, messages: Timed, began: float) -> None:
        """Send each message at its moment, with an ear on what comes meanwhile."""
        for seconds, message in messages:
            while (left := began + seconds - self._clock.now()) > 0:
                self._attend()
                self._clock.sleep(min(left, LONGEST_NAP_SECONDS))
            self._instrument.send(message)

    def _attend(self) -> None:
        """Hear what has come; sent on at once where that is asked for."""
        for message in self._heard.iter_pending():
            if self._settings.thru:
                self._instrument.send(message)
            self._ear.hear(message, self._clock.now())

    def _next_line(self, origin: float, tempo: float) -> float:
        """The next bar line where bars are counted, else the next beat."""
        beat = SECONDS_PER_MINUTE / tempo
        span = self._bar_seconds(tempo) if self._settings.bars else beat
        now = self._clock.now() - LATE_SECONDS
        return origin + math.ceil((now - origin) / span) * span

    def _bar_seconds(self, tempo: float) -> float:
        numerator, denominator = self._settings.meter
        beats = numerator * BEATS_PER_WHOLE_NOTE / denominator
        return beats * SECONDS_PER_MINUTE / tempo
