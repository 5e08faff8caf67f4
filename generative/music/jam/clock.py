"""Time, and work that goes on beside the session; tests replace both by ones that need not wait."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Clock(Protocol):
    """A clock, and what takes time by it."""

    def now(self) -> float:
        """Seconds since some moment, which never decrease."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait for about so many seconds."""
        ...

    def start(self, task: Callable[[], T]) -> Future[T]:
        """Run a task beside the caller."""
        ...


class RealClock:
    """The monotonic clock of the machine, and one thread for tasks."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1)

    def now(self) -> float:
        """Seconds since some moment."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def start(self, task: Callable[[], T]) -> Future[T]:
        """Run a task in the thread, after those that were started before."""
        return self._executor.submit(task)
