"""The signals that ask a run to stop: it saves its state first.

It must not know what a run does.
"""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import FrameType

# A terminal that is closed sends SIGHUP. Not every system has all of these.
SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


class Interrupted(KeyboardInterrupt):
    """Training was stopped by a signal; everything is saved. `exit_code` is 128 + the signal."""

    def __init__(self, signal_number: int, folder: Path) -> None:
        super().__init__(f"stopped and saved; continue with --resume -o {folder}")
        self.exit_code = 128 + signal_number


@contextmanager
def collected_signals() -> Iterator[list[int]]:
    """Collect the numbers of `SIGNALS` that arrive, where they would end the process otherwise.

    After the first one SIGINT is handled as usual, so that a second Ctrl-C ends the process. A
    signal that is ignored already, as `nohup` does with SIGHUP, stays ignored. Only the main thread
    can collect signals; in another thread the list stays empty.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def note(number: int, _: FrameType | None) -> None:
        received.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    handled = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    previous = {number: signal.signal(number, note) for number in handled}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
