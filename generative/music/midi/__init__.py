"""MIDI files to a `Piece` and back: knows notes, controls, tempos and keys, not what they are for.

Files in the wild are damaged in many small ways, so reading mends what it can, counts what it
mended and what it left out (`ReadReport`), and refuses the rest with one line (`MidiError`).
mido writes what `midi_writing` lays out; reading walks the bytes itself (`midi_bytes`,
`midi_reading`), since mido gives up a whole file at its first bad byte. Where a file is sound the
two agree, and a test holds them to it.
"""

from __future__ import annotations

import io
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

from generative.files import write_bytes
from generative.music.midi.events import DRUM_CHANNEL, Header, MidiError, read_chunks
from generative.music.midi.reading import MAX_BEATS, Listener, hear
from generative.music.midi.writing import as_file
from generative.music.piece import Piece, Tempo, in_turn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "DRUM_CHANNEL", "MAX_BEATS", "MidiError", "ReadReport", "read", "read_with_report", "to_bytes",
    "write",
]  # fmt: skip

MAX_FILE_BYTES = 4 * 2**20  # the largest of 2,000 real files has 0.3 MB

Source: TypeAlias = str | os.PathLike[str] | bytes | BinaryIO


@dataclass(frozen=True, slots=True)
class ReadReport:
    """What reading mended and what it left out: kind -> how often."""

    repairs: Mapping[str, int]
    dropped: Mapping[str, int]


def read(source: Source) -> Piece:
    """The music of a MIDI file: a path, its bytes, or an open binary file.

    Raises:
        MidiError: not MIDI, no notes, or beyond repair.
        OSError: the file cannot be opened.
    """
    return read_with_report(source)[0]


def read_with_report(source: Source) -> tuple[Piece, ReadReport]:
    """As `read`, with an account of what was mended and what was left out."""
    name = _name_of(source)
    try:
        return _parse(_load(source))
    except MidiError as error:
        raise MidiError(f"{name}: {error}") from None


def to_bytes(piece: Piece) -> bytes:
    """A type 1 MIDI file: tempos and meters in a first track, then one track an instrument.

    More than 15 instruments share channels, each on a port of its own; where players that know no
    ports lose something by it, a warning is logged.
    """
    buffer = io.BytesIO()
    as_file(piece).save(file=buffer)
    return buffer.getvalue()


def write(piece: Piece, target: str | os.PathLike[str] | BinaryIO) -> None:
    """Write `to_bytes(piece)`; a path is replaced at once, so that nobody sees half a file."""
    data = to_bytes(piece)
    if not isinstance(target, str | os.PathLike):
        target.write(data)
        return
    write_bytes(Path(target), data)


def _name_of(source: Source) -> str:
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    return str(getattr(source, "name", "MIDI data"))


def _load(source: Source) -> bytes:
    if isinstance(source, bytes):
        data = source
    elif isinstance(source, str | os.PathLike):
        with Path(source).open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    else:
        data = source.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise MidiError(f"larger than {MAX_FILE_BYTES // 2**20} MB")
    return data


def _parse(data: bytes) -> tuple[Piece, ReadReport]:
    header, chunks, repairs = read_chunks(data)
    if header.file_type > 2:
        repairs["unknown file type"] += 1
    # the tracks of a type 2 file are patterns that were never meant to sound at once
    parts = [[chunk] for chunk in chunks] if header.file_type == 2 else [chunks]
    heard = [hear(part, header) for part in parts]
    listeners = [listener for part in heard for listener in part]
    if not any(listener.notes for listener in listeners):
        raise MidiError("no notes")
    if header.file_type == 2:
        piece = in_turn(
            _together(part, header) for part in heard if any(listener.notes for listener in part)
        )
    else:
        piece = _together(listeners, header)
    dropped = sum((listener.dropped for listener in listeners), Counter[str]())
    for kind in ("tempos", "meters", "keys"):
        said = sum(len(getattr(listener, kind)) for listener in listeners)
        # the normal form begins with a tempo and a meter, which a file need not say
        unsaid = kind != "keys" and not any(
            event.at_ticks == 0 for listener in listeners for event in getattr(listener, kind)
        )
        repeated = said - len(getattr(piece, kind)) + unsaid
        if repeated > 0:
            dropped[f"{kind.removesuffix('s')} that changes nothing"] = repeated
    if piece.duration_ticks > MAX_BEATS * piece.ticks_per_beat:
        raise MidiError(f"longer than {MAX_BEATS:,} beats")
    return piece, ReadReport(
        repairs=dict(sum((listener.repairs for listener in listeners), repairs)),
        dropped=dict(dropped),
    )


def _together(listeners: Sequence[Listener], header: Header) -> Piece:
    tempos = [tempo for listener in listeners for tempo in listener.tempos]
    if header.fixed_beats_per_minute is not None:
        tempos = [Tempo(at_ticks=0, beats_per_minute=header.fixed_beats_per_minute)]
    return Piece(
        ticks_per_beat=header.ticks_per_beat,
        tracks=tuple(track for listener in listeners for track in listener.tracks()),
        tempos=tuple(tempos),
        meters=tuple(meter for listener in listeners for meter in listener.meters),
        keys=tuple(key for listener in listeners for key in listener.keys),
    ).normalised()
