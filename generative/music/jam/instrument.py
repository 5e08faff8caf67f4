"""An output that remembers what sounds on it, so that all of it can be ended at any moment."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import mido

from generative.music.jam.interrupts import held_off

if TYPE_CHECKING:
    from types import TracebackType

    from generative.music.jam.ports import OutputPort

NUM_CHANNELS = 16
SUSTAIN_PEDAL, ALL_NOTES_OFF = 64, 123  # controllers


class Instrument:
    """Plays on a port; leaving it as a context ends every note and lifts every pedal."""

    def __init__(self, port: OutputPort) -> None:
        """`port` is what it plays on."""
        self._port = port
        self._sounding: Counter[tuple[int, int]] = Counter()  # (channel, pitch) -> how many

    def send(self, message: mido.Message) -> None:
        """One message; the end of a note that does not sound is passed over."""
        if message.type not in ("note_on", "note_off"):
            self._port.send(message)
            return
        key = (message.channel, message.note)
        if message.type == "note_on" and message.velocity:
            self._sounding[key] += 1  # before it sounds: an interrupt may come between the two
            self._port.send(message)
        elif self._sounding[key]:
            self._port.send(message)
            self._sounding[key] -= 1

    def silence(self) -> None:
        """End what sounds, note by note."""
        for (channel, pitch), count in self._sounding.items():
            for _ in range(count):
                self._port.send(mido.Message("note_off", channel=channel, note=pitch, velocity=0))
        self._sounding.clear()

    def panic(self) -> None:
        """End what sounds, lift the pedals, and say so again to every channel."""
        self.silence()
        for channel in range(NUM_CHANNELS):
            for control in (SUSTAIN_PEDAL, ALL_NOTES_OFF):
                self._port.send(
                    mido.Message("control_change", channel=channel, control=control, value=0)
                )

    def __enter__(self) -> Instrument:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with held_off():  # a second Ctrl-C does not stop what the first one asked for
            try:
                self.panic()
            except (OSError, ValueError):  # the port is gone, and with it what sounded
                if error is None:
                    raise
