"""The meta events of a track chunk: its name, tempos, meters and keys, and those left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from generative.music.midi.event_parser import (
    END_OF_TRACK,
    KEY_SIGNATURE,
    SET_TEMPO,
    TIME_SIGNATURE,
    TRACK_NAME,
)
from generative.music.piece import MAX_SHARPS, Key, Meter, Tempo, beats_per_minute

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Mapping

    from generative.music.midi.event_parser import Event

# meta events that a Piece cannot hold -> their name in a report
DROPPED = {
    0x00: "sequence number",
    0x01: "text",
    0x02: "copyright",
    0x04: "instrument name",
    0x05: "lyric",
    0x06: "marker",
    0x07: "cue",
    0x08: "program name",
    0x09: "device name",
    0x20: "channel prefix",
    0x54: "SMPTE offset",
    0x7F: "sequencer's own",
}
MAX_DENOMINATOR_EXPONENT = 7  # 1/128


class MetaContents(Protocol):
    """The part of a `TrackChunk` that meta events set."""

    name: str
    tempos: list[Tempo]
    meters: list[Meter]
    keys: list[Key]
    dropped: Counter[str]
    repairs: Counter[str]


def read(chunk: MetaContents, event: Event) -> None:
    """Enter a meta event into what is read from its chunk."""
    if event.detail in _READERS:
        _READERS[event.detail](chunk, event)
    elif event.detail != END_OF_TRACK:
        chunk.dropped[DROPPED.get(event.detail, "meta event of no known kind")] += 1


def _track_name(chunk: MetaContents, event: Event) -> None:
    if chunk.name:
        chunk.dropped["second name of a track"] += 1
        return
    try:
        chunk.name = event.data.decode("utf-8")
    except UnicodeDecodeError:
        chunk.name = event.data.decode("latin-1")


def _tempo(chunk: MetaContents, event: Event) -> None:
    microseconds = int.from_bytes(event.data[:3])
    if len(event.data) < 3 or not microseconds:
        chunk.repairs["impossible tempo"] += 1
        return
    rate = beats_per_minute(microseconds)
    chunk.tempos.append(Tempo(at_ticks=event.ticks, beats_per_minute=rate))


def _time_signature(chunk: MetaContents, event: Event) -> None:
    numerator, exponent = (*event.data[:2], 0, 0)[:2]
    if not numerator or exponent > MAX_DENOMINATOR_EXPONENT:
        chunk.repairs["impossible meter"] += 1
        return
    meter = Meter(at_ticks=event.ticks, numerator=numerator, denominator=2**exponent)
    chunk.meters.append(meter)


def _key_signature(chunk: MetaContents, event: Event) -> None:
    sharps, minor = (*event.data[:2], 0x80, 0)[:2]
    sharps -= 256 * (sharps > 127)  # a signed byte
    if not -MAX_SHARPS <= sharps <= MAX_SHARPS or minor > 1:
        chunk.repairs["impossible key"] += 1
        return
    chunk.keys.append(Key(at_ticks=event.ticks, sharps=sharps, is_minor=bool(minor)))


_READERS: Mapping[int, Callable[[MetaContents, Event], None]] = {
    TRACK_NAME: _track_name,
    SET_TEMPO: _tempo,
    TIME_SIGNATURE: _time_signature,
    KEY_SIGNATURE: _key_signature,
}
