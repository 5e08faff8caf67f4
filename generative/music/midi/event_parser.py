"""The chunks and events of a MIDI file, read from its bytes; notes are not known here.

A header chunk (MThd) is followed by track chunks (MTrk). A track is a sequence of events, each a
delta time and a message. Lengths, counts and bytes in files are often wrong; the readers here go on
wherever the rest can still be parsed, and count each repair under a short description.
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
DRUM_CHANNEL = 9  # usually called channel 10, since channels are counted from 1
SILENT_PORT = 127  # A port without notes, on which controls are restored (see `writing`).

# status bytes of messages, without their channel
NOTE_OFF, NOTE_ON, CONTROLLER, PROGRAM_CHANGE, BEND = 0x80, 0x90, 0xB0, 0xC0, 0xE0
META, SYSEX, SYSEX_ESCAPE = 0xFF, 0xF0, 0xF7
# types of meta events
TRACK_NAME, PORT, END_OF_TRACK = 0x03, 0x21, 0x2F
SET_TEMPO, TIME_SIGNATURE, KEY_SIGNATURE = 0x51, 0x58, 0x59

# status byte without its channel -> number of data bytes
DATA_BYTES = {0x80: 2, 0x90: 2, 0xA0: 2, 0xB0: 2, 0xC0: 1, 0xD0: 1, 0xE0: 2}
# status byte that is illegal in a file, but occurs in some -> number of data bytes
ILLEGAL_DATA_BYTES = {
    status: {0xF1: 1, 0xF2: 2, 0xF3: 1}.get(status, 0)
    for status in range(SYSEX, META)
    if status not in (SYSEX, SYSEX_ESCAPE)
}
MAX_VARIABLE_LENGTH = 0x0FFFFFFF  # the largest variable-length quantity, of 28 bits

# SMPTE frames per second, as a header states them -> (frames per beat, beats per minute), where a
# beat is a second
SMPTE_RATES = {24: (24, 60.0), 25: (25, 60.0), 29: (30, 60_000 / 1001), 30: (30, 60.0)}


class MidiError(ValueError):
    """Data is not MIDI, has no notes, or is damaged beyond repair; the message is one line."""


@dataclass(frozen=True, slots=True)
class Header:
    """The contents of the header chunk.

    Attributes:
        file_type: 0 for one track, 1 for tracks that sound together, 2 for tracks in sequence.
        ticks_per_beat: Ticks to a beat.
        fixed_beats_per_minute: The rate if time is counted in SMPTE frames, which makes tempo
            events meaningless; else None.
    """

    file_type: int
    ticks_per_beat: int
    fixed_beats_per_minute: float | None


class Event(NamedTuple):
    """One event.

    Attributes:
        ticks: The time from the start of the track.
        status: The status byte without its channel, or META.
        detail: The channel of a message, or the type of a meta event.
        data: The data bytes of a message, or the payload of a meta event.
    """

    ticks: int
    status: int
    detail: int
    data: bytes


def read_chunks(data: bytes) -> tuple[Header, list[bytes], Counter[str]]:
    """The header, the contents of each track chunk, and the number of repairs of each kind.

    Raises:
        MidiError: There is no header, or its time division is invalid.
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
    """Iterates over the events of one track chunk, once; `repairs` is complete at the end.

    Example:
        list(EventReader(bytes.fromhex("00 90 3c 40  60 3c 00  00 ff 2f 00"), max_ticks=1000))
        # [(0, 0x90, 0, b"<@"), (96, 0x90, 0, b"<\\x00"), (96, 0xff, 0x2f, b"")]
    """

    def __init__(self, chunk: bytes, max_ticks: int) -> None:
        """A delta time that leads beyond `max_ticks` is taken for damage and ends the iteration."""
        self.repairs: Counter[str] = Counter()
        self._chunk = chunk
        self._max_ticks = max_ticks

    def __iter__(self) -> Iterator[Event]:
        try:
            yield from self._events()
        except IndexError:
            self.repairs["track cut short"] += 1

    def _events(self) -> Iterator[Event]:
        chunk, max_ticks = self._chunk, self._max_ticks
        size = len(chunk)
        position = ticks = 0
        running_status = None
        while position < size:
            delta = chunk[position]
            if delta < 0x80:  # Most delta times are, so this saves a call.
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
                running_status = status  # Meta events and sysex keep it, since files rely on that.
                message = status & 0xF0
                end = position + DATA_BYTES[message]
                data = chunk[position:end]
                if end > size:
                    raise IndexError
                position = end
                if not data.isascii():  # A byte is above 127.
                    self.repairs["data byte above 127"] += 1
                    data = bytes(min(byte, 127) for byte in data)
                yield _event(Event, (ticks, message, status & 0x0F, data))
                continue
            event, position = self._system_event(position, ticks, status)
            if event is not None:
                yield event
                if event.status == META and event.detail == END_OF_TRACK:
                    return  # Events after it are ignored.
        self.repairs["no end of track"] += 1

    def _system_event(self, position: int, ticks: int, status: int) -> tuple[Event | None, int]:
        """The meta event or sysex after a status byte, and its end; None for an illegal message."""
        chunk = self._chunk
        if status == META:
            meta_type = chunk[position]
            data, position = _payload(chunk, position + 1)
            return Event(ticks, META, meta_type, data), position
        if status in ILLEGAL_DATA_BYTES:
            self.repairs["illegal message skipped"] += 1
            return None, position + ILLEGAL_DATA_BYTES[status]
        data, position = _payload(chunk, position)
        return Event(ticks, SYSEX, 0, data), position


_event = tuple.__new__  # `_event(Event, ...)` takes half the time of `Event(...)`.


def _payload(chunk: bytes, position: int) -> tuple[bytes, int]:
    """The bytes after a length, and their end."""
    size, position = _variable_length(chunk, position)
    data = chunk[position : position + size]
    if len(data) < size:
        raise IndexError
    return data, position + size


def _variable_length(chunk: bytes, position: int) -> tuple[int, int]:
    """A variable-length quantity and its end.

    Each byte holds seven bits, the most significant first, and the last byte is below 128. Any
    number of leading bytes 0x80 is permitted.
    """
    value = 0
    while value <= MAX_VARIABLE_LENGTH:
        byte = chunk[position]
        position += 1
        value = value << 7 | byte & 0x7F
        if byte < 0x80 and value <= MAX_VARIABLE_LENGTH:
            return value, position
    raise IndexError  # A larger number means that the rest of the track is damaged.


def _header(header: bytes) -> Header:
    file_type, division = int.from_bytes(header[8:10]), int.from_bytes(header[12:14])
    if not division & 0x8000:
        if not division:
            raise MidiError("its ticks per beat are zero")
        return Header(file_type, division, None)
    frames, ticks_per_frame = 256 - (division >> 8), division & 0xFF
    if frames not in SMPTE_RATES or not ticks_per_frame:
        raise MidiError(f"its time division 0x{division:04x} means nothing")
    frames_per_beat, beats_per_minute = SMPTE_RATES[frames]
    return Header(file_type, frames_per_beat * ticks_per_frame, beats_per_minute)


def _chunk_end(data: bytes, position: int) -> int | None:
    """The end of a chunk by its length; None if the file goes on there without another chunk."""
    size = int.from_bytes(data[position + 4 : position + CHUNK_HEADER_BYTES])
    end = position + CHUNK_HEADER_BYTES + size
    if end == len(data) or re.match(rb"[A-Za-z][ -~]{3}", data[end : end + 4]):
        return end
    # A few bytes after the last chunk are ignored.
    return end if end < len(data) < end + CHUNK_HEADER_BYTES else None
