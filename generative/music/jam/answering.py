"""Answers that are made in the background while the phrase still goes on.

An answer takes time, so one that is to begin with the bar line after a phrase is begun before that
line: once so early that it is surely ready, and once more as late as answers usually allow if more
has been played by then. The newest one that is ready counts.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from generative.music.jam.playing import timed

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from generative.music.jam.clock import Clock
    from generative.music.jam.playing import Timed
    from generative.music.piece import Piece

SURE_SECONDS = 1.0  # before the phrase's end, at least, an answer is begun that is surely ready
REMEMBERED_ANSWERS = 16
SURE_FACTOR = 2.0  # times the longest of the answers remembered
USUAL_FACTOR = 1.5  # times their median
MARGIN_SECONDS = 0.05
LONGEST_SHARE = 0.5  # of a phrase: the model hears at least the other half


class Answerer:
    """Makes the answer to one phrase at a time."""

    def __init__(self, answer: Callable[[Piece], Piece], clock: Clock) -> None:
        """`answer` maps a phrase to the music after it."""
        self._answer = answer
        self._clock = clock
        self._seconds: list[float] = []  # that the last answers took; replaced, never changed
        self._pending: list[Future[tuple[Piece, Timed]]] = []
        self._phrase: Piece | None = None

    @property
    def has_begun(self) -> bool:
        """Whether an answer was begun and not taken yet."""
        return bool(self._pending)

    def is_time(self, left_seconds: float, phrase_seconds: float) -> bool:
        """Whether to begin an answer to a phrase that ends in `left_seconds`."""
        seconds = self._seconds
        if not self._pending:
            sure = max(SURE_SECONDS, SURE_FACTOR * max(seconds, default=0.0))
            return left_seconds <= min(sure, LONGEST_SHARE * phrase_seconds)
        if len(self._pending) > 1 or not self._pending[0].done() or not seconds:
            return False
        usual = median(seconds)
        return usual <= left_seconds <= USUAL_FACTOR * usual + MARGIN_SECONDS

    def begin(self, phrase: Piece) -> None:
        """Begin an answer, unless one to the same phrase was begun last."""
        if self._pending and phrase == self._phrase:
            return

        def make() -> tuple[Piece, Timed]:
            began = self._clock.now()
            answer = self._answer(phrase)
            messages = timed(answer)
            took = self._clock.now() - began
            self._seconds = [*self._seconds, took][-REMEMBERED_ANSWERS:]
            return answer, messages

        self._phrase = phrase
        self._pending.append(self._clock.start(make))

    def take(self, wait: Callable[[], None]) -> tuple[Piece, Timed]:
        """The newest answer that is ready, and its messages; `wait` is called until one is."""
        assert self._pending
        while not (ready := [pending for pending in self._pending if pending.done()]):
            wait()
        self._pending = []
        return ready[-1].result()
