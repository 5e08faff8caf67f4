"""MIDI ports by name, through the backends and sockets of mido.

A name is that of a port of the machine, or a unique part of it, or "socket://host:port". A socket
input listens at that address (for `mido-forward`), and a socket output connects to it (to
`mido-serve`). Sockets need only mido; the ports of the machine need a backend, which is
python-rtmidi unless another is named.
"""

from __future__ import annotations

import difflib
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from mido.backends.backend import Backend
from mido.sockets import PortServer, SocketPort, parse_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager
    from types import TracebackType

    import mido

SOCKET = "socket://"


class PortError(ValueError):
    """A port cannot be found or opened; the message lists the ports that there are."""


class InputPort(Protocol):
    """A port from which messages are read."""

    def iter_pending(self) -> Iterable[mido.Message]:
        """The messages that arrived since the last call, without waiting."""
        ...


class OutputPort(Protocol):
    """A port to which messages are sent."""

    def send(self, message: mido.Message) -> None:
        """Send a message at once."""
        ...


def names(backend: str | None = None) -> tuple[list[str], list[str]]:
    """The names of the inputs and of the outputs of the machine.

    Raises:
        PortError: The backend is missing or does not work here.
    """
    with _as_port_errors(backend):
        loaded = Backend(backend, load=True)
        return loaded.get_input_names(), loaded.get_output_names()


def open_input(
    name: str | None = None, backend: str | None = None
) -> AbstractContextManager[InputPort]:
    """Open an input by name until the context ends; None stands for the only one.

    Raises:
        PortError: There is no such port, there are several, or it cannot be opened.
    """
    return _opened(name, backend, "input", SocketInput)


def open_output(
    name: str | None = None, backend: str | None = None
) -> AbstractContextManager[OutputPort]:
    """Open an output by name until the context ends; None stands for the only one.

    Raises:
        PortError: There is no such port, there are several, or it cannot be opened.
    """
    return _opened(name, backend, "output", connected)


@contextmanager
def _opened(
    name: str | None, backend: str | None, kind: str, by_socket: Callable[[str, int], Any]
) -> Iterator[Any]:
    """Open an "input" or "output" by name until the context ends."""
    if name is not None and name.startswith(SOCKET):
        with _as_port_errors(backend, name):
            port = by_socket(*_address(name))
    else:
        inputs, outputs = names(backend)
        chosen = choose(name, inputs if kind == "input" else outputs, kind)
        with _as_port_errors(backend, chosen):
            port = getattr(Backend(backend), f"open_{kind}")(chosen)
    with port:
        yield port


def choose(name: str | None, known: list[str], kind: str) -> str:
    """The port that a name, or a part of a name in upper or lower case, stands for.

    Raises:
        PortError: There is none, or more than one.
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
    """An input to which any number of clients may connect.

    Connections are accepted by mido's `PortServer`, whose own polling would block.
    """

    def __init__(self, host: str, port: int) -> None:
        """Listen at an address."""
        self._server = PortServer(host, port)
        self._clients: list[Any] = []

    def iter_pending(self) -> Iterator[mido.Message]:
        """The messages that all clients have sent."""
        if client := self._server.accept(block=False):
            self._clients.append(client)
        for client in self._clients:
            yield from client.iter_pending()
        self._clients = [client for client in self._clients if not client.closed]

    def __enter__(self) -> SocketInput:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for client in self._clients:
            client.close()
        self._server.close()


def connected(host: str, port: int) -> Any:
    """An output to a socket, which sends each message at once.

    By default TCP holds a message back while an earlier one is not acknowledged, for up to 40 ms.
    """
    connection = socket.create_connection((host, port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return SocketPort(host, port, conn=connection)


def _address(name: str) -> tuple[str, int]:
    try:
        host, port = parse_address(name.removeprefix(SOCKET))
    except ValueError as error:
        raise PortError(f"{name}: write {SOCKET}host:port: {error}") from None
    return host or "localhost", port


@contextmanager
def _as_port_errors(backend: str | None, port: str | None = None) -> Iterator[None]:
    """Turn the errors of a backend into `PortError`."""
    try:
        yield
    except ImportError as error:
        if backend is not None:
            raise PortError(f"no MIDI backend {backend!r}: {error}") from None
        raise PortError(
            "MIDI ports need python-rtmidi: in a checkout, pip install '.[live]' has it "
            f"(or name {SOCKET}host:port)"
        ) from None
    except OSError as error:
        where = f"MIDI port {port}" if port else "MIDI ports"
        raise PortError(f"{where} cannot be opened: {error}") from None
