"""The loop of listening and answering, and the times at which turns begin and end."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from generative.music.jam import interrupts
from generative.music.jam.answering import Answerer
from generative.music.jam.clock import Clock, RealClock
from generative.music.jam.listening import NoteCollector, as_piece, estimated_tempo
from generative.music.jam.output import TrackedOutput
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
POLL_SECONDS = 0.002  # the longest time between two polls of the input
LATE_SECONDS = 0.02  # an answer may begin late by so much instead of a bar or beat later
# A counted phrase is over so shortly before its last bar line that there is time to begin on it.
# By all but the finest grids a note that begins later belongs to the next bar.
SETTLE_SECONDS = 0.03
EARLY_SECONDS = 0.3  # notes that begin so shortly before an answer ends count for the next phrase


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
    """A phrase that was played, and the answer to it."""

    number: int
    phrase: Piece
    answer: Piece


def jam(
    input_port: InputPort,
    output_port: OutputPort,
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
        input_port: The port of the keyboard.
        output_port: The port of the synthesizer.
        answer: Maps a phrase to the music after it, which begins at tick 0.
        settings: How turns are taken.
        rounds: The number of turns; None goes on until interrupted.
        recording: Receives the phrases and answers; one that is interrupted up to that time.
        on_turn: Called with each answer before it is played.
        clock: The clock; None is that of the machine.

    Raises:
        OSError: A port is gone.
        KeyboardInterrupt: A signal ended the session.
    """
    with interrupts.as_exceptions(), TrackedOutput(output_port) as output:
        session = _Session(
            input_port,
            output,
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
    """The state of a session: its ports, the notes of the phrase so far, and the recording."""

    def __init__(
        self,
        input_port: InputPort,
        output: TrackedOutput,
        answer: Callable[[Piece], Piece],
        settings: Settings,
        *,
        recording: Recording,
        clock: Clock,
    ) -> None:
        self._input = input_port
        self._output = output
        self._answerer = Answerer(answer, clock)
        self._settings = settings
        self._recording = recording
        self._clock = clock
        self._collector = NoteCollector(settings.program)

    def take_turn(self, number: int, on_turn: Callable[[Turn], None] | None) -> None:
        """Wait for one phrase and answer it."""
        phrase, origin, end = self._listen()
        self._recording.add(phrase, "heard")
        self._output.silence()  # Keys that are still held were sent on if `thru` is set.
        answer, messages = self._answerer.take(self._wait)
        if on_turn:
            on_turn(Turn(number=number, phrase=phrase, answer=answer))
        began = self._next_line(origin, end, phrase.tempos[0].beats_per_minute)
        try:
            self._play(messages, began, self._poll)
        finally:
            ticks = answer.tempo_map.ticks_at(max(self._clock.now() - began, 0.0))
            self._recording.add(answer.clipped(math.ceil(ticks)), "answered")
        self._collector.forget_before(self._clock.now() - EARLY_SECONDS)

    def _listen(self) -> tuple[Piece, float, float]:
        """Wait for a phrase with notes; return it and when its first bar began and it was over.

        Its answer has been begun by then.
        """
        while True:
            origin: float | None = None
            ticking: Timed = ()
            began = self._clock.now()
            tempo, bars = self._settings.beats_per_minute, self._settings.bars
            if self._settings.click and tempo and bars:
                origin = began + self._bar_seconds(tempo)
                ticking = timed(clicks(1 + bars, tempo, self._settings.meter))

            def attend(origin: float | None = origin) -> None:
                self._poll()
                self._answer_ahead(origin)

            try:
                self._play(ticking, began, attend)
                while not self._is_over(origin):
                    attend()
                    self._clock.sleep(POLL_SECONDS)
            except BaseException:  # Usually it is an interrupt.
                self._recording.add(self._phrase(origin)[0], "heard")
                raise
            end = self._end(origin) or self._clock.now()
            phrase, start = self._phrase(origin, end)
            self._collector.forget_before(math.inf)
            if phrase.note_count:
                if not self._answerer.has_begun:
                    self._answerer.begin(phrase)
                return phrase, start, end

    def _answer_ahead(self, origin: float | None) -> None:
        """Begin an answer to what has been played if it is time to.

        It does not hear what is played from then on; keys that are held are taken to be held until
        the phrase's end.
        """
        end, length = self._end(origin), self._counted_seconds
        if end is None or length is None:
            return
        if self._answerer.is_time(end - self._clock.now(), length):
            phrase, _ = self._phrase(origin, end)
            if phrase.note_count:
                self._answerer.begin(phrase)

    def _end(self, origin: float | None) -> float | None:
        """The bar line that ends a phrase of counted bars; None before its first note, or by pause.

        The phrase's bars begin at `origin`, or if None at its first note.
        """
        start = self._collector.onset_seconds if origin is None else origin
        length = self._counted_seconds
        return None if start is None or length is None else start + length

    def _is_over(self, origin: float | None) -> bool:
        """Whether the phrase is over, or as good as over."""
        now = self._clock.now()
        if self._settings.bars:
            end = self._end(origin)
            return end is not None and now >= end - SETTLE_SECONDS
        has_notes = self._collector.onset_seconds is not None
        return has_notes and self._collector.pause_seconds(now) >= self._settings.pause_seconds

    def _phrase(self, origin: float | None, end: float | None = None) -> tuple[Piece, float]:
        """The phrase, and the time at which its first bar began.

        Notes that still sound end at `end`; None is now.
        """
        notes = self._collector.notes(self._clock.now() if end is None else end)
        onsets = [note.onset_seconds for note in notes]
        start = min(onsets, default=0.0) if origin is None else origin
        piece = as_piece(
            notes,
            origin_seconds=start,
            beats_per_minute=self._settings.beats_per_minute or estimated_tempo(onsets),
            meter=self._settings.meter,
            steps_per_beat=self._settings.steps_per_beat,
            bars=self._settings.bars,
        )
        return piece, start

    def _play(self, messages: Timed, began: float, meanwhile: Callable[[], None]) -> None:
        """Send each message at its time, and call `meanwhile` again and again until then."""
        for seconds, message in messages:
            while (left := began + seconds - self._clock.now()) > 0:
                meanwhile()
                self._clock.sleep(min(left, POLL_SECONDS))
            self._output.send(message)

    def _wait(self) -> None:
        """Poll the input and wait for a moment."""
        self._poll()
        self._clock.sleep(POLL_SECONDS)

    def _poll(self) -> None:
        """Take in the messages that have arrived, and send them on if `thru` is set."""
        for message in self._input.iter_pending():
            if self._settings.thru:
                self._output.send(message)
            self._collector.receive(message, self._clock.now())

    def _next_line(self, origin: float, end: float, tempo: float) -> float:
        """The first bar line from a phrase's end on if bars are counted, else the first beat."""
        beat = SECONDS_PER_MINUTE / tempo
        span = self._bar_seconds(tempo) if self._settings.bars else beat
        earliest = max(end, self._clock.now()) - LATE_SECONDS
        return origin + math.ceil((earliest - origin) / span) * span

    @property
    def _counted_seconds(self) -> float | None:
        """The length of a phrase of counted bars; None where a pause ends it."""
        tempo, bars = self._settings.beats_per_minute, self._settings.bars
        return bars * self._bar_seconds(tempo) if bars and tempo else None

    def _bar_seconds(self, tempo: float) -> float:
        numerator, denominator = self._settings.meter
        beats = numerator * BEATS_PER_WHOLE_NOTE / denominator
        return beats * SECONDS_PER_MINUTE / tempo
