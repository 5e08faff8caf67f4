"""The chunks and events of a MIDI file: knows its bytes and how they break, not notes or music.

A header chunk (MThd) is followed by track chunks (MTrk), and a track is a row of events, each a
delta time and a message. Lengths, counts and bytes in files are often wrong; a reader here goes on
wherever the rest can still be told apart, and counts each repair under a few plain words.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_HEADER_OFFSET = 4096  # RIFF (.rmi) and Macintosh files put a few bytes before the header
HEADER_BYTES = 14  # "MThd", a length of 6, type, number of tracks, time division
CHUNK_HEADER_BYTES = 8  # four letters and a length

NUM_CHANNELS = 16
DRUM_CHANNEL = 9  # channel 10, as people count
SILENT_PORT = 127  # no note is on it: there controls are set back for players that know no ports

# messages, without their channel
NOTE_OFF, NOTE_ON, CONTROLLER, PROGRAM_CHANGE, BEND = 0x80, 0x90, 0xB0, 0xC0, 0xE0
META, SYSEX, SYSEX_ESCAPE = 0xFF, 0xF0, 0xF7
# kinds of meta event
TRACK_NAME, PORT, END_OF_TRACK = 0x03, 0x21, 0x2F
SET_TEMPO, TIME_SIGNATURE, KEY_SIGNATURE = 0x51, 0x58, 0x59

# status byte without its channel -> number of data bytes
DATA_BYTES = {0x80: 2, 0x90: 2, 0xA0: 2, 0xB0: 2, 0xC0: 1, 0xD0: 1, 0xE0: 2}
# status byte that has no place in a file, but is met in some -> number of data bytes
ILLEGAL_DATA_BYTES = {
    status: {0xF1: 1, 0xF2: 2, 0xF3: 1}.get(status, 0)
    for status in range(SYSEX, META)
    if status not in (SYSEX, SYSEX_ESCAPE)
}
MAX_VARIABLE_LENGTH = 0x0FFFFFFF  # of a number that says for itself where it ends: 28 bits

# frames a second, as a header names them -> (ticks per beat and frame subdivision, beats a minute)
# of a grid in which a beat is a second
FILM_RATES = {24: (24, 60.0), 25: (25, 60.0), 29: (30, 60_000 / 1001), 30: (30, 60.0)}


class MidiError(ValueError):
    """Bytes that hold no music we can read; the message is one line."""


@dataclass(frozen=True, slots=True)
class Header:
    """What the header chunk says."""

    file_type: int  # 0: one track, 1: tracks that sound together, 2: tracks that sound in turn
    ticks_per_beat: int
    fixed_beats_per_minute: float | None  # where time counts film frames, tempo events mean nothing


class Event(NamedTuple):
    """One event; `data` is a message's data bytes or a meta event's payload."""

    ticks: int  # from the start of the track
    status: int  # a message without its channel, or META
    detail: int  # a message's channel, or which meta event
    data: bytes


def read_chunks(data: bytes) -> tuple[Header, list[bytes], Counter[str]]:
    """The header, the contents of each track chunk, and what had to be repaired.

    Raises:
        MidiError: no header, or a time division that means nothing.
    """
    start = data.find(b"MThd", 0, MAX_HEADER_OFFSET)
    if start < 0:
        raise MidiError("not a MIDI file (no MThd header)")
    if len(data) < start + HEADER_BYTES:
        raise MidiError("cut short within its header")
    repairs: Counter[str] = Counter()
    header = _header(data[start : start + HEADER_BYTES])
    tracks: list[bytes] = []
    position = _chunk_end(data, start)
    if position is None:
        repairs["wrong header length"] += 1
        position = start + HEADER_BYTES
    while position + CHUNK_HEADER_BYTES <= len(data):
        end = _chunk_end(data, position)
        if end is None:
            repairs["wrong chunk length"] += 1
            found = data.find(b"MTrk", position + CHUNK_HEADER_BYTES)
            end = found if found >= 0 else len(data)
        if data[position : position + 4].lower() == b"mtrk":
            tracks.append(data[position + CHUNK_HEADER_BYTES : end])
        else:
            repairs["foreign chunk skipped"] += 1
        position = end
    return header, tracks, repairs


class EventReader:
    """Walks the events of one track chunk, once; `repairs` is complete when the walk is.

    Example:
        list(EventReader(bytes.fromhex("00 90 3c 40  60 3c 00  00 ff 2f 00"), max_ticks=1000))
        # [(0, 0x90, 0, b"<@"), (96, 0x90, 0, b"<\\x00"), (96, 0xff, 0x2f, b"")]
    """

    def __init__(self, chunk: bytes, max_ticks: int) -> None:
        """`max_ticks`: where a delta time leads beyond it, the file is broken and the walk ends."""
        self.repairs: Counter[str] = Counter()
        self._chunk = chunk
        self._max_ticks = max_ticks

    def __iter__(self) -> Iterator[Event]:
        try:
            yield from self._walk()
        except IndexError:
            self.repairs["track cut short"] += 1

    def _walk(self) -> Iterator[Event]:  # noqa: PLR0912 - calls would take longer than the work
        chunk, max_ticks = self._chunk, self._max_ticks
        size = len(chunk)
        position = ticks = 0
        running_status = None
        while position < size:
            delta = chunk[position]
            if delta < 0x80:  # most are, and most time is spent here
                position += 1
            else:
                delta, position = _variable_length(chunk, position)
            ticks += delta
            if ticks > max_ticks:
                self.repairs["impossible delta time"] += 1
                return
            status = chunk[position]
            if status >= 0x80:
                position += 1
            elif running_status is None:
                self.repairs["data without a status byte"] += 1
                return
            else:
                status = running_status

            if status < SYSEX:
                running_status = status  # kept through meta events and sysex, as files rely on it
                message = status & 0xF0
                end = position + DATA_BYTES[message]
                data = chunk[position:end]
                if end > size:
                    raise IndexError
                position = end
                if not data.isascii():  # ASCII is what is below 128
                    self.repairs["data byte above 127"] += 1
                    data = bytes(min(byte, 127) for byte in data)
                yield _event(Event, (ticks, message, status & 0x0F, data))
            elif status == META:
                kind = chunk[position]
                data, position = _payload(chunk, position + 1)
                yield Event(ticks, META, kind, data)
                if kind == END_OF_TRACK:
                    return  # whatever comes after it does not sound
            elif status in ILLEGAL_DATA_BYTES:
                self.repairs["illegal message skipped"] += 1
                position += ILLEGAL_DATA_BYTES[status]
            else:
                data, position = _payload(chunk, position)
                yield Event(ticks, SYSEX, 0, data)
        self.repairs["no end of track"] += 1


_event = tuple.__new__  # what `Event(...)` comes to, in half the time


def _payload(chunk: bytes, position: int) -> tuple[bytes, int]:
    """The bytes whose number stands first, and where they end."""
    size, position = _variable_length(chunk, position)
    data = chunk[position : position + size]
    if len(data) < size:
        raise IndexError
    return data, position + size


def _variable_length(chunk: bytes, position: int) -> tuple[int, int]:
    """Seven bits a byte, the highest first; the last byte is the one below 128. And its end.

    Leading bytes of 0x80 add nothing, however many there are.
    """
    value = 0
    while value <= MAX_VARIABLE_LENGTH:
        byte = chunk[position]
        position += 1
        value = value << 7 | byte & 0x7F
        if byte < 0x80 and value <= MAX_VARIABLE_LENGTH:
            return value, position
    raise IndexError  # no number is larger: the track is lost from here on


def _header(header: bytes) -> Header:
    file_type, division = int.from_bytes(header[8:10]), int.from_bytes(header[12:14])
    if not division & 0x8000:
        if not division:
            raise MidiError("its ticks per beat are zero")
        return Header(file_type, division, None)
    frames, ticks_per_frame = 256 - (division >> 8), division & 0xFF
    if frames not in FILM_RATES or not ticks_per_frame:
        raise MidiError(f"its time division 0x{division:04x} means nothing")
    frames_per_beat, beats_per_minute = FILM_RATES[frames]
    return Header(file_type, frames_per_beat * ticks_per_frame, beats_per_minute)


def _chunk_end(data: bytes, position: int) -> int | None:
    """Where the chunk says that it ends; None if no chunk starts there and the file goes on."""
    size = int.from_bytes(data[position + 4 : position + CHUNK_HEADER_BYTES])
    end = position + CHUNK_HEADER_BYTES + size
    if end == len(data) or re.match(rb"[A-Za-z][ -~]{3}", data[end : end + 4]):
        return end
    # a few bytes after the last chunk are no chunk, and do no harm
    return end if end < len(data) < end + CHUNK_HEADER_BYTES else None
