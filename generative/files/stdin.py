"""Standard input as a file that can be read once, and whose first bytes can be examined."""

from __future__ import annotations

import functools
import io
import logging
import sys
import threading
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, BinaryIO, cast

from generative.errors import FileError, OptionError

if TYPE_CHECKING:
    from collections.abc import Iterator

STDIN = "-"  # the path that stands for stdin
NAME = "stdin"  # the name of stdin in messages
WAIT_SECONDS = 2.0  # the time without input after which a message is logged
BLOCK_BYTES = 1 << 16


class Stdin:
    """The standard input of a process.

    Example:
        stdin = standard_input()
        stdin.head(4)                      # b"MThd", which remains to be read
        data = stdin.open("MIDI").read()
    """

    def __init__(self, stream: BinaryIO) -> None:
        """`stream` is the binary stream of its bytes."""
        self._stream = stream
        self._head = b""
        self._is_opened = False
        self._has_begun = False

    def head(self, size: int, what: str = "input") -> bytes:
        """The first bytes, or all if there are fewer; they remain to be read.

        Args:
            size: The number of bytes.
            what: What is expected, for the message that is logged if nothing comes.

        Raises:
            FileError: They cannot be read.
        """
        while len(self._head) < size and (block := self._block(what)):
            self._head += block
        return self._head[:size]

    def open(self, what: str = "input") -> BinaryIO:
        """Open it as a file, once; `what` is as in `head`.

        Raises:
            OptionError: It was opened before.
        """
        if self._is_opened:
            raise OptionError(f"stdin can be read only once: use {STDIN!r} in one place")
        self._is_opened = True
        return io.BufferedReader(_Bytes(self, what), BLOCK_BYTES)  # type: ignore[type-var]

    def take(self, size: int, what: str) -> bytes:
        """The next bytes, at most `size`; none at the end."""
        data = self._head or self._block(what)
        self._head = data[size:]
        return data[:size]

    def _block(self, what: str) -> bytes:
        read = getattr(
            self._stream, "read1", self._stream.read
        )  # `read1` returns what is available.
        with nullcontext() if self._has_begun else _waiting(what):
            try:
                block = cast("bytes", read(BLOCK_BYTES))
            except OSError as error:
                raise FileError(f"{NAME}: cannot be read: {error.strerror}") from error
        self._has_begun = True
        return block


class _Bytes(io.RawIOBase):
    """The raw stream below `io.BufferedReader`."""

    name = NAME

    def __init__(self, stdin: Stdin, what: str) -> None:
        self._stdin = stdin
        self._what = what

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        """Read at most `len(buffer)` bytes into `buffer`."""
        data = self._stdin.take(len(buffer), self._what)
        buffer[: len(data)] = data
        return len(data)


def standard_input() -> Stdin:
    """The standard input of this process.

    Raises:
        FileError: It is closed.
    """
    if sys.stdin is None or sys.stdin.closed:
        raise FileError(f"{NAME} is closed: there is nothing to read")
    return _of(sys.stdin.buffer)


@functools.lru_cache(maxsize=1)
def _of(stream: BinaryIO) -> Stdin:
    return Stdin(stream)


@contextmanager
def _waiting(what: str) -> Iterator[None]:
    """Log what is awaited if the block takes long."""
    note = f"reading {what} from stdin ...; Ctrl-D ends it"
    timer = threading.Timer(WAIT_SECONDS, logging.getLogger(__name__).warning, [note])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
