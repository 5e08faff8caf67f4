"""Signals that end a session: all of them as exceptions, and none while notes are being ended."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

# The terminal was closed, Ctrl-C, and what `kill` sends; the first is unknown to Windows.
SIGNALS = [
    getattr(signal, name) for name in ("SIGHUP", "SIGINT", "SIGTERM") if hasattr(signal, name)
]


class Ended(KeyboardInterrupt):
    """A signal ended the session. `exit_code` is 128 + the signal."""

    def __init__(self, signal_number: int) -> None:
        super().__init__("interrupted")
        self.exit_code = 128 + signal_number


@contextmanager
def raised() -> Iterator[None]:
    """Each of the signals raises `Ended`."""

    def end(number: int, _: FrameType | None) -> None:
        raise Ended(number)

    with _handled(end):
        yield


@contextmanager
def held_off() -> Iterator[None]:
    """None of the signals does anything."""
    with _handled(signal.SIG_IGN):
        yield


@contextmanager
def _handled(handler: signal._HANDLER) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may listen
        return
    previous = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)
