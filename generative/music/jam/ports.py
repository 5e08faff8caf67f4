"""Ports by name: knows mido's backends and sockets, not what goes through them.

A name is a port of the machine, or enough of it to tell it from the others, or
"socket://host:port": an input listens there (as `mido-forward` expects it), an output connects to
what listens there (as `mido-serve` does). Sockets need nothing but mido; the machine's own ports
need a backend, python-rtmidi unless another is named.
"""

from __future__ import annotations

import difflib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from mido.backends.backend import Backend
from mido.sockets import PortServer, connect, parse_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager
    from types import TracebackType

    import mido

SOCKET = "socket://"


class PortError(ValueError):
    """A port cannot be found or opened; the message says which there are."""


class InputPort(Protocol):
    """What is listened to."""

    def iter_pending(self) -> Iterable[mido.Message]:
        """What has come since the last call; waits for nothing."""
        ...


class OutputPort(Protocol):
    """What is played on."""

    def send(self, message: mido.Message) -> None:
        """One message, at once."""
        ...


def names(backend: str | None = None) -> tuple[list[str], list[str]]:
    """The machine's inputs and outputs.

    Raises:
        PortError: no backend, or none that works here.
    """
    with _explained(backend):
        loaded = Backend(backend, load=True)
        return loaded.get_input_names(), loaded.get_output_names()


def open_input(
    name: str | None = None, backend: str | None = None
) -> AbstractContextManager[InputPort]:
    """The input of that name, closed in the end; None is the only one there is.

    Raises:
        PortError: no such port, several, or it cannot be opened.
    """
    return _opened(name, backend, "input", SocketInput)


def open_output(
    name: str | None = None, backend: str | None = None
) -> AbstractContextManager[OutputPort]:
    """The output of that name, closed in the end; None is the only one there is.

    Raises:
        PortError: no such port, several, or it cannot be opened.
    """
    return _opened(name, backend, "output", connect)


@contextmanager
def _opened(
    name: str | None, backend: str | None, kind: str, by_socket: Callable[[str, int], Any]
) -> Iterator[Any]:
    """A port of a kind, "input" or "output", closed in the end."""
    if name is not None and name.startswith(SOCKET):
        with _explained(backend, name):
            port = by_socket(*_address(name))
    else:
        inputs, outputs = names(backend)
        chosen = choose(name, inputs if kind == "input" else outputs, kind)
        with _explained(backend, chosen):
            port = getattr(Backend(backend), f"open_{kind}")(chosen)
    with port:
        yield port


def choose(name: str | None, known: list[str], kind: str) -> str:
    """The port that a name, or a part of it in any case, stands for.

    Raises:
        PortError: none, or more than one.
    """
    if not known:
        raise PortError(f"this machine has no MIDI {kind}: connect one, or name {SOCKET}host:port")
    listed = ", ".join(map(repr, known))
    if name is None:
        if len(known) > 1:
            raise PortError(f"which MIDI {kind}? Choose one with --{kind[:-3]}: {listed}")
        return known[0]
    if name in known:
        return name
    found = [one for one in known if name.casefold() in one.casefold()]
    if len(found) > 1:
        raise PortError(f"{name!r} may be each of these {kind}s: {', '.join(map(repr, found))}")
    if found:
        return found[0]
    lowered = {one.casefold(): one for one in known}
    near = difflib.get_close_matches(name.casefold(), lowered, n=1, cutoff=0.4)
    hint = f" Did you mean {lowered[near[0]]!r}?" if near else ""
    raise PortError(f"no MIDI {kind} {name!r}.{hint} There are: {listed}")


class SocketInput:
    """An input that anyone may connect to and play on, one after the other or together.

    mido's `PortServer` accepts them; its own way of polling waits for ever.
    """

    def __init__(self, host: str, port: int) -> None:
        """Listen at that address."""
        self._server = PortServer(host, port)
        self._players: list[Any] = []

    def iter_pending(self) -> Iterator[mido.Message]:
        """What all players have sent."""
        if newcomer := self._server.accept(block=False):
            self._players.append(newcomer)
        for player in self._players:
            yield from player.iter_pending()
        self._players = [player for player in self._players if not player.closed]

    def __enter__(self) -> SocketInput:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for player in self._players:
            player.close()
        self._server.close()


def _address(name: str) -> tuple[str, int]:
    try:
        host, port = parse_address(name.removeprefix(SOCKET))
    except ValueError as error:
        raise PortError(f"{name}: write {SOCKET}host:port: {error}") from None
    return host or "localhost", port


@contextmanager
def _explained(backend: str | None, port: str | None = None) -> Iterator[None]:
    """A backend's errors as ours."""
    try:
        yield
    except ImportError as error:
        if backend is not None:
            raise PortError(f"no MIDI backend {backend!r}: {error}") from None
        raise PortError(
            "MIDI ports need python-rtmidi: pip install 'generative[live]' "
            f"(or name {SOCKET}host:port)"
        ) from None
    except OSError as error:
        where = f"MIDI port {port}" if port else "MIDI ports"
        raise PortError(f"{where} cannot be opened: {error}") from None
