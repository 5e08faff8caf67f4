"""Answers that are made in the background while the phrase still goes on.

An answer takes time, so one that is to begin with the bar line after a phrase must be begun before
that line. How long before follows from the time that the last answers took.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from generative.music.jam.playing import timed

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from generative.music.jam.clock import Clock
    from generative.music.jam.playing import Timed
    from generative.music.piece import Piece

FIRST_ANSWER_SECONDS = 1.0  # what the first answer is expected to take
REMEMBERED_ANSWERS = 8
SAFETY_FACTOR = 1.5  # times the longest of the answers remembered
MARGIN_SECONDS = 0.05
LONGEST_SHARE = 0.5  # of a phrase: the model hears at least the other half


class Answerer:
    """Makes one answer at a time."""

    def __init__(self, answer: Callable[[Piece], Piece], clock: Clock) -> None:
        """`answer` maps a phrase to the music after it."""
        self._answer = answer
        self._clock = clock
        self._seconds: deque[float] = deque(maxlen=REMEMBERED_ANSWERS)
        self._pending: Future[tuple[Piece, Timed]] | None = None

    def lead_seconds(self, phrase_seconds: float) -> float:
        """How long before the end of a phrase of known length its answer must be begun."""
        expected = SAFETY_FACTOR * max(self._seconds) if self._seconds else FIRST_ANSWER_SECONDS
        return min(expected + MARGIN_SECONDS, LONGEST_SHARE * phrase_seconds)

    @property
    def has_begun(self) -> bool:
        """Whether an answer was begun and not taken yet."""
        return self._pending is not None

    def begin(self, phrase: Piece) -> None:
        """Begin an answer."""

        def make() -> tuple[Piece, Timed]:
            began = self._clock.now()
            answer = self._answer(phrase)
            messages = timed(answer)
            self._seconds.append(self._clock.now() - began)
            return answer, messages

        self._pending = self._clock.start(make)

    def take(self, wait: Callable[[], None]) -> tuple[Piece, Timed]:
        """The answer that was begun, and its messages; `wait` is called until it is there."""
        assert self._pending is not None
        while not self._pending.done():
            wait()
        pending, self._pending = self._pending, None
        return pending.result()
