"""Bytes decoded to text: encodings, byte order marks, and bytes that are not text.

No file is opened here.
"""

from __future__ import annotations

import codecs
import functools
import itertools
import logging
import shlex
from typing import TYPE_CHECKING, NamedTuple

from generative.errors import CorpusError

if TYPE_CHECKING:
    from collections.abc import Iterator

BYTE_ORDER_MARK = "\ufeff"
# Byte order marks of other encodings than UTF-8, the longest first.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE_BYTES = 1 << 16  # bytes by which UTF-16 and UTF-32 without a mark are detected
_ZEROS = 0.01  # the least fraction of UTF-16's high bytes that are zero: spaces, digits, line ends
_RARE = 0.1  # The low bytes have less than this fraction of the zeros of the high bytes.


class Compression(NamedTuple):
    """A file compression: its first bytes, its name, and the command that unpacks to a pipe."""

    mark: bytes
    name: str
    unpack: str


COMPRESSIONS = (
    Compression(b"\x1f\x8b", "gzip", "zcat"),
    Compression(b"BZh", "bzip2", "bzcat"),
    Compression(b"\xfd7zXZ\x00", "xz", "xzcat"),
    Compression(b"\x28\xb5\x2f\xfd", "zstd", "zstdcat"),
    Compression(b"\x04\x22\x4d\x18", "lz4", "lz4cat"),
    Compression(b"\x1f\x9d", "compress", "zcat"),
    Compression(b"PK\x03\x04", "zip", "unzip -p"),
    Compression(b"7z\xbc\xaf\x27\x1c", "7-zip", "7z x -so"),
)
# After "BZh" and a digit, a bzip2 file has the mark of a block or of its end.
_BZIP2_BLOCKS = (b"\x31\x41\x59\x26\x53\x59", b"\x17\x72\x45\x38\x50\x90")


def decode_text(data: bytes, encoding: str, name: str) -> str:
    """Decode bytes without byte order marks; `name` is the file that errors name.

    Raises:
        CorpusError: `data` is not in `encoding`, or there is no such encoding.
    """
    return "".join(decode_blocks(iter([data]), encoding, name))


def decode_blocks(blocks: Iterator[bytes], encoding: str, name: str) -> Iterator[str]:
    """Decode blocks of bytes one by one; a character may extend across blocks.

    Byte order marks are removed everywhere, since those in the middle of a text come from files
    that were joined. A warning is logged for text that looks like UTF-16 or UTF-32 but is read in
    another encoding.

    Raises:
        CorpusError: See `decode_text`.
    """
    try:
        decoder = codecs.getincrementaldecoder(encoding)()
    except LookupError as error:
        raise CorpusError(f"unknown encoding {encoding!r}; try utf-8, latin-1, utf-16 …") from error
    offset, looks_like = 0, None
    for block in itertools.chain(blocks, [b""]):
        if offset == 0:
            _refuse_compressed(block, name)
            looks_like = _other_encoding(block, encoding)
        pending = len(decoder.getstate()[0])  # bytes of an unfinished character
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            advice = f"it looks like {looks_like}: " if looks_like else "if it is text, "
            other = looks_like or "NAME (latin-1, cp1252, shift-jis, …)"
            raise CorpusError(
                f"{name}: not {encoding}: byte 0x{error.object[error.start]:02x} at offset "
                f"{offset - pending + error.start}; {advice}say so with --encoding {other}"
            ) from error
        except UnicodeError as error:  # UTF-16 or UTF-32 lacks its mark.
            raise CorpusError(
                f"{name}: {error}; say --encoding {encoding}-le or {encoding}-be"
            ) from error
        if looks_like and offset == 0:
            _warn(f"{name}: looks like {looks_like}: if it is, say so with --encoding {looks_like}")
        offset += len(block)
        if text := text.replace(BYTE_ORDER_MARK, ""):
            yield text


def _refuse_compressed(data: bytes, name: str) -> None:
    for mark, compression, unpack in COMPRESSIONS:
        if not data.startswith(mark):
            continue
        if mark == b"BZh" and data[4:10] not in _BZIP2_BLOCKS:
            continue  # It may be a text that begins with these letters.
        file = "FILE" if name == "stdin" else shlex.quote(name)
        raise CorpusError(
            f"{name}: compressed ({compression}): unpack it into a pipe: "
            f"{unpack} {file} | generate train - (or generate score -)"
        )


def _other_encoding(data: bytes, encoding: str) -> str | None:
    """The encoding of 16 or 32 bits that bytes seem to be in, unless `encoding` is one; or None."""
    if codecs.lookup(encoding).name.startswith(("utf-16", "utf-32")):
        return None
    marked = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    return marked or _unmarked_encoding(data[:_SAMPLE_BYTES])


def _unmarked_encoding(data: bytes) -> str | None:
    """The encoding of 16 or 32 bits that bytes without a mark seem to be in, or None.

    The characters of a script share their high bytes, and the high bytes of spaces and digits are
    zero. So many zeros are in every second byte (or in two of four bytes), and few in the others.
    """
    units = len(data) // 4
    if units < 2 or 0 not in data:
        return None
    zeros = [data[place : 4 * units : 4].count(0) / units for place in range(4)]
    for name, (first, second, *_) in (("utf-32-le", zeros[::-1]), ("utf-32-be", zeros)):
        if first > 1.0 - _ZEROS and second > 1.0 - _RARE:
            return name
    even, odd = zeros[0] + zeros[2], zeros[1] + zeros[3]
    for name, low, high in (("utf-16-le", even, odd), ("utf-16-be", odd, even)):
        if high >= 2 * _ZEROS and low <= _RARE * high:
            return name
    return None


@functools.cache  # A text is read several times, but one warning is enough.
def _warn(message: str) -> None:
    logging.getLogger(__name__).warning(message)
