"""An output port whose sounding notes are tracked, so that all can be ended at any moment."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import mido

from generative.music.jam.interrupts import ignored

if TYPE_CHECKING:
    from types import TracebackType

    from generative.music.jam.ports import OutputPort

NUM_CHANNELS = 16
SUSTAIN_PEDAL, ALL_NOTES_OFF = 64, 123  # controllers


class TrackedOutput:
    """An output port; leaving it as a context ends every note and lifts every pedal."""

    def __init__(self, port: OutputPort) -> None:
        """Messages go to `port`."""
        self._port = port
        self._sounding: Counter[tuple[int, int]] = Counter()  # (channel, pitch) -> count

    def send(self, message: mido.Message) -> None:
        """Send a message; a note-off for a note that does not sound is dropped."""
        if message.type not in ("note_on", "note_off"):
            self._port.send(message)
            return
        key = (message.channel, message.note)
        if message.type == "note_on" and message.velocity:
            self._sounding[key] += 1  # An interrupt may come before it is sent.
            self._port.send(message)
        elif self._sounding[key]:
            self._port.send(message)
            self._sounding[key] -= 1

    def silence(self) -> None:
        """Send a note-off for every sounding note."""
        for (channel, pitch), count in self._sounding.items():
            for _ in range(count):
                self._port.send(mido.Message("note_off", channel=channel, note=pitch, velocity=0))
        self._sounding.clear()

    def panic(self) -> None:
        """End every sounding note, and send pedal up and all-notes-off to every channel."""
        self.silence()
        for channel in range(NUM_CHANNELS):
            for control in (SUSTAIN_PEDAL, ALL_NOTES_OFF):
                self._port.send(
                    mido.Message("control_change", channel=channel, control=control, value=0)
                )

    def __enter__(self) -> TrackedOutput:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with ignored():  # A second Ctrl-C must not stop the clean-up after the first.
            try:
                self.panic()
            except (OSError, ValueError):  # The port is gone, and its notes with it.
                if error is None:
                    raise
