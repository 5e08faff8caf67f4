"""Short names for the MIDI messages of a keyboard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mido

if TYPE_CHECKING:
    from collections.abc import Sequence


def on(pitch: int, channel: int = 0, velocity: int = 80) -> mido.Message:
    return mido.Message("note_on", note=pitch, channel=channel, velocity=velocity)


def off(pitch: int, channel: int = 0) -> mido.Message:
    return mido.Message("note_off", note=pitch, channel=channel)


def pedal(value: int) -> mido.Message:
    return mido.Message("control_change", control=64, value=value)


def keys(
    phrase: Sequence[tuple[float, int]], length: float = 0.4
) -> list[tuple[float, mido.Message]]:
    return [(at, on(p)) for at, p in phrase] + [(at + length, off(p)) for at, p in phrase]
