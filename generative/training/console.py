"""What a run shows while it trains: a progress bar on a terminal, and lines of text.

It must not know models or files.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

from tqdm import tqdm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class DisposableStream:
    """A text stream that drops what it is given once its reader has gone.

    A terminal may be closed, and `head` may have read enough, long before a training ends.
    """

    def __init__(self, stream: TextIO | None) -> None:
        """`stream` may be None, as `sys.stderr` is where it was closed from the start."""
        self._stream = stream
        self.encoding = getattr(stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        """Write or drop the text; nothing is raised."""
        if self._stream is not None:
            try:
                self._stream.write(text)
            except (OSError, ValueError):
                self._stream = None
        return len(text)

    def flush(self) -> None:
        """Flush the stream; nothing is raised."""
        if self._stream is not None:
            try:
                self._stream.flush()
            except (OSError, ValueError):
                self._stream = None

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        try:
            return self._stream is not None and self._stream.isatty()
        except (OSError, ValueError):
            return False


class Console:
    """A progress bar on stderr, where that is a terminal, and lines that do not disturb it."""

    def __init__(self, say: Callable[[str], None]) -> None:
        """`say` is called with each line."""
        self._say = say
        self._stream = DisposableStream(sys.stderr)
        self._bar = tqdm(
            total=100.0,
            file=self._stream,
            disable=not self._stream.isatty(),
            bar_format="{l_bar}{bar}| {elapsed}<{remaining} {postfix}",
            leave=False,
        )

    def advance(self, fraction: float, note: str) -> None:
        """Set the bar to the part of the budget that is spent, with a note beside it."""
        self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(100.0 * fraction - self._bar.n)

    def say(self, lines: Iterable[str]) -> None:
        """Show lines above the bar."""
        with tqdm.external_write_mode(file=self._stream):
            for line in lines:
                self._say(line)

    def close(self) -> None:
        """Remove the bar."""
        self._bar.close()
