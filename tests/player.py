"""Someone who plays on a socket and listens on another: what a keyboard and a synthesizer do."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING

import mido
from mido.sockets import PortServer, connect

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType


def free_address() -> tuple[str, int]:
    """A place on this machine where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return "localhost", probe.getsockname()[1]


class Synthesizer:
    """Listens at an address and keeps what it gets, with the moments."""

    def __init__(self) -> None:
        self.address = free_address()
        self.heard: list[tuple[float, mido.Message]] = []
        self._server = PortServer(*self.address)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    @property
    def name(self) -> str:
        return "socket://{}:{}".format(*self.address)

    def notes(self) -> list[tuple[float, mido.Message]]:
        return [(at, m) for at, m in list(self.heard) if m.type in ("note_on", "note_off")]

    def __enter__(self) -> Synthesizer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_over.set()
        self._thread.join()
        self._server.close()

    def _listen(self) -> None:
        client = None
        while client is None and not self._is_over.is_set():
            client = self._server.accept(block=False)
            time.sleep(0.001)
        while client is not None and not client.closed:
            self.heard += [(time.monotonic(), message) for message in client.iter_pending()]
            time.sleep(0.001)
            if self._is_over.is_set():
                break


def play(address: tuple[str, int], phrase: Sequence[tuple[float, int]], length: float) -> None:
    """Play (seconds, pitch) on a socket, each note so many seconds long; then leave it."""
    deadline = time.monotonic() + 30
    while True:
        try:
            port = connect(*address)
            break
        except OSError:
            assert time.monotonic() < deadline, "nobody listens"
            time.sleep(0.01)
    events = [(at, mido.Message("note_on", note=pitch)) for at, pitch in phrase]
    events += [(at + length, mido.Message("note_off", note=pitch)) for at, pitch in phrase]
    began = time.monotonic()
    for at, message in sorted(events, key=lambda event: event[0]):
        time.sleep(max(0.0, began + at - time.monotonic()))
        port.send(message)
    port.close()
