"""The file format of sentencepiece models, and the settings that are used here.

Sentencepiece's own reader is native code that trusts its file, which may come from anyone. So a
file is read here, by the few fields that matter, and written anew for that reader.

Sources: sentencepiece_model.proto, https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_PIECES, MAX_BYTES = 1 << 18, 8 << 20
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6  # These are types of piece.
UNKNOWN_PIECE, START_PIECE = "<unk>", "<s>"
# these and no others, beside pieces of text
SPECIAL_PIECES = {
    (UNKNOWN, UNKNOWN_PIECE),
    (CONTROL, START_PIECE),
    *((BYTE, f"<0x{value:02X}>") for value in range(256)),
}
_VARINT, _EIGHT_BYTES, _TEXT, _FOUR_BYTES = 0, 1, 2, 5  # wire types
_MAX_SHIFT = 63  # of a number's bits
_PIECES, _TRAINER, _NORMALISER = 1, 2, 3  # fields of the model
_BPE = 2
# (message, field) -> its default and what it is here; other fields do not tell how text is cut
_SETTINGS: dict[tuple[int, int], tuple[int | bytes, int | bytes]] = {
    (_TRAINER, 3): (1, _BPE),  # model_type
    (_TRAINER, 24): (0, 0),  # treat_whitespace_as_suffix
    (_TRAINER, 35): (0, 1),  # byte_fallback
    (_TRAINER, 45): (UNKNOWN_PIECE.encode(), UNKNOWN_PIECE.encode()),
    (_TRAINER, 46): (START_PIECE.encode(), START_PIECE.encode()),
    (_NORMALISER, 2): (b"", b""),  # precompiled_charsmap
    (_NORMALISER, 3): (1, 0),  # add_dummy_prefix
    (_NORMALISER, 4): (1, 0),  # remove_extra_whitespaces
    (_NORMALISER, 5): (1, 1),  # escape_whitespaces
}


class Piece(NamedTuple):
    """One token: its kind, its text and how early it is merged."""

    kind: int
    text: str
    score: float


def rebuilt(data: bytes) -> bytes:
    """The same model with nothing in its file but what was checked.

    Raises:
        ValueError: not a model, or not one that `SentencePieceTokenizer.train` could have made.
    """
    return _written(read(data))


def read(data: bytes) -> list[Piece]:
    """The pieces of a model, in the order of their ids.

    Raises:
        ValueError: not a model, or one with other settings or special pieces than are made here.
    """
    if len(data) > MAX_BYTES:
        raise ValueError(f"the sentencepiece model has more than {MAX_BYTES:,} bytes")
    settings: dict[tuple[int, int], int | float | bytes]
    settings = {key: default for key, (default, _) in _SETTINGS.items()}
    pieces: list[Piece] = []
    for field, value in _fields(data):
        if field == _PIECES and isinstance(value, bytes):
            pieces.append(_piece(value))
            if len(pieces) > MAX_PIECES:
                raise ValueError(f"the sentencepiece model has more than {MAX_PIECES:,} pieces")
        elif field in (_TRAINER, _NORMALISER) and isinstance(value, bytes):
            settings |= {(field, inner): v for inner, v in _fields(value)}
    for key, (_, wanted) in _SETTINGS.items():
        if settings[key] != wanted:
            raise ValueError("not a sentencepiece model, or one with other settings than made here")
    texts = {piece.text for piece in pieces}
    if {(p.kind, p.text) for p in pieces if p.kind != NORMAL} != SPECIAL_PIECES:
        raise ValueError(
            "the sentencepiece model needs one unknown, one start and 256 byte pieces, "
            "and no other special ones"
        )
    if len(texts) < len(pieces) or "" in texts:
        raise ValueError("the sentencepiece model has a piece twice, or an empty one")
    if any("\0" in text for text in texts):  # which sentencepiece itself refuses
        raise ValueError("the sentencepiece model has a piece with a NUL")
    if not all(math.isfinite(piece.score) for piece in pieces):
        raise ValueError("the sentencepiece model has a score that is no number")
    return pieces


def _piece(data: bytes) -> Piece:
    """One piece from its message."""
    kind, text, score = NORMAL, b"", 0.0
    for field, value in _fields(data):
        if field == 1 and isinstance(value, bytes):
            text = value
        elif field == 2 and isinstance(value, float):
            score = value
        elif field == 3 and isinstance(value, int):
            kind = value
    return Piece(kind, text.decode("utf-8"), score)


def _fields(data: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """The number and value of each field of a message; of eight bytes 0 is given.

    Raises:
        ValueError: it breaks off, or is no message.
    """
    at = 0
    while at < len(data):
        tag, at = _number(data, at)
        field, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _number(data, at)
            yield field, value
            continue
        if wire not in (_EIGHT_BYTES, _TEXT, _FOUR_BYTES):
            raise ValueError("not a sentencepiece model")
        size = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}.get(wire, 0)
        if wire == _TEXT:
            size, at = _number(data, at)
        if at + size > len(data):
            raise ValueError("not a sentencepiece model, or one that breaks off")
        content = data[at : at + size]
        at += size
        if wire == _FOUR_BYTES:
            yield field, struct.unpack("<f", content)[0]
        else:
            yield field, content if wire == _TEXT else 0


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A number of variable length, and where it ends."""
    value = shift = 0
    while at < len(data) and shift <= _MAX_SHIFT:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 0x80:
            return value, at
    raise ValueError("not a sentencepiece model, or one that breaks off")


def _written(pieces: Sequence[Piece]) -> bytes:
    """The file of a model with these pieces."""
    parts = []
    for kind, text, score in pieces:
        inner = _message(1, text.encode()) + b"\x15" + struct.pack("<f", score) + b"\x18"
        parts.append(_message(_PIECES, inner + bytes([kind])))
    for message in (_TRAINER, _NORMALISER):
        fields = [
            _message(field, wanted) if isinstance(wanted, bytes) else _varint(field << 3, wanted)
            for (of, field), (_, wanted) in _SETTINGS.items()
            if of == message
        ]
        parts.append(_message(message, b"".join(fields)))
    return b"".join(parts)


def _message(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | _TEXT, len(content)) + content


def _varint(*numbers: int) -> bytes:
    """Numbers of variable length."""
    out = bytearray()
    for number in numbers:
        left = number
        while left > 0x7F:
            out.append(left & 0x7F | 0x80)
            left >>= 7
        out.append(left)
    return bytes(out)
