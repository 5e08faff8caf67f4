"""Context managers for the signals that end a session: raised as exceptions, or ignored."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

# The closed terminal (not on Windows), Ctrl-C, and the default signal of `kill`.
SIGNALS = [
    getattr(signal, name) for name in ("SIGHUP", "SIGINT", "SIGTERM") if hasattr(signal, name)
]


class Ended(KeyboardInterrupt):
    """A signal ended the session. `exit_code` is 128 + the signal."""

    def __init__(self, signal_number: int) -> None:
        super().__init__("interrupted")
        self.exit_code = 128 + signal_number


@contextmanager
def as_exceptions() -> Iterator[None]:
    """Let each of the signals raise `Ended`."""

    def end(number: int, _: FrameType | None) -> None:
        raise Ended(number)

    with _handled(end):
        yield


@contextmanager
def ignored() -> Iterator[None]:
    """Ignore the signals."""
    with _handled(signal.SIG_IGN):
        yield


@contextmanager
def _handled(handler: signal._HANDLER) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # Only the main thread can handle signals.
        return
    previous = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)
