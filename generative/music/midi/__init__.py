"""MIDI files read into a `Piece` and written from one; tokens and models are not known here.

Many files are slightly damaged. Reading repairs them where it can, counts what was repaired and
what was left out (`ReadReport`), and refuses the rest with one line (`MidiError`). Files are
written through mido (`writing`). They are read here byte by byte (`event_parser`, `track_chunk`,
`reading`), since mido gives up a whole file at its first bad byte. A test ensures that both read
the same from files without damage.
"""

from __future__ import annotations

import io
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

from generative.files import write_bytes
from generative.music.midi.event_parser import DRUM_CHANNEL, MidiError, read_chunks
from generative.music.midi.reading import piece_of, read_track_chunks
from generative.music.midi.track_chunk import MAX_BEATS
from generative.music.midi.writing import as_file
from generative.music.piece import in_turn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from generative.music.midi.track_chunk import TrackChunk
    from generative.music.piece import Piece

__all__ = [
    "DRUM_CHANNEL", "MAX_BEATS", "MidiError", "ReadReport", "read", "read_with_report", "to_bytes",
    "write",
]  # fmt: skip

MAX_FILE_BYTES = 4 * 2**20  # the largest of 2,000 real files has 0.3 MB
SEQUENTIAL = 2  # the type of files whose tracks are patterns that do not sound together

Source: TypeAlias = str | os.PathLike[str] | bytes | BinaryIO


@dataclass(frozen=True, slots=True)
class ReadReport:
    """What reading repaired and what it left out, each with how often."""

    repairs: Mapping[str, int]
    dropped: Mapping[str, int]


def read(source: Source) -> Piece:
    """The music of a MIDI file: a path, its bytes, or an open binary file.

    Raises:
        MidiError: The data is not MIDI, has no notes, or is damaged beyond repair.
        OSError: The file cannot be opened.
    """
    return read_with_report(source)[0]


def read_with_report(source: Source) -> tuple[Piece, ReadReport]:
    """Like `read`, with a report of what was repaired and what was left out."""
    name = _name_of(source)
    try:
        return _parse(_load(source))
    except MidiError as error:
        raise MidiError(f"{name}: {error}") from None


def to_bytes(piece: Piece) -> bytes:
    """A type 1 MIDI file: a track of tempos, meters and keys, then one track for each instrument.

    More than 15 instruments share channels, each on a port of its own. If that loses something in
    players that ignore ports, a warning is logged.
    """
    buffer = io.BytesIO()
    as_file(piece).save(file=buffer)
    return buffer.getvalue()


def write(piece: Piece, target: str | os.PathLike[str] | BinaryIO) -> None:
    """Write `to_bytes(piece)`; a path is replaced in one move.

    Raises:
        FileError: The path cannot be written.
    """
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
    header, data_of_chunks, repairs = read_chunks(data)
    if header.file_type > SEQUENTIAL:
        repairs["unknown file type"] += 1
    if header.file_type == SEQUENTIAL:
        patterns = [read_track_chunks([one], header) for one in data_of_chunks]
    else:
        patterns = [read_track_chunks(data_of_chunks, header)]
    chunks = [chunk for pattern in patterns for chunk in pattern]
    if not any(chunk.notes for chunk in chunks):
        raise MidiError("no notes")
    if header.file_type == SEQUENTIAL:
        piece = in_turn(
            piece_of(pattern, header)
            for pattern in patterns
            if any(chunk.notes for chunk in pattern)
        )
    else:
        piece = piece_of(chunks, header)
    if piece.duration_ticks > MAX_BEATS * piece.ticks_per_beat:
        raise MidiError(f"longer than {MAX_BEATS:,} beats")
    dropped = sum((chunk.dropped for chunk in chunks), Counter[str]())
    return piece, ReadReport(
        repairs=dict(sum((chunk.repairs for chunk in chunks), repairs)),
        dropped={**dropped, **_redundant_events(chunks, piece)},
    )


def _redundant_events(chunks: Sequence[TrackChunk], piece: Piece) -> dict[str, int]:
    """How many tempos, meters and keys of the chunks are left out because they change nothing."""
    redundant: dict[str, int] = {}
    for name in ("tempos", "meters", "keys"):
        events = [event for chunk in chunks for event in getattr(chunk, name)]
        # A piece begins with a tempo and a meter; a file may leave the default ones out.
        is_implied = name != "keys" and not any(event.at_ticks == 0 for event in events)
        count = len(events) - len(getattr(piece, name)) + is_implied
        if count > 0:
            redundant[f"{name.removesuffix('s')} that changes nothing"] = count
    return redundant
