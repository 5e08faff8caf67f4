"""Bytes to text, exactly: knows encodings, byte order marks and what is no text; opens no files."""

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
# Byte order marks that mean "not UTF-8", longest first, for the error's advice.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE_BYTES = 1 << 16  # that tell whether text is UTF-16
_ZEROS = 0.01  # the least part of UTF-16's high bytes that are zero: spaces, digits, line ends
_RARE = 0.1  # the part of that which the low bytes stay below


class Compression(NamedTuple):
    """A way to compress files: how they begin, its name, and what unpacks one to a pipe."""

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
# after "BZh" come a digit and the first block's mark, or that of the end
_BZIP2_BLOCKS = (b"\x31\x41\x59\x26\x53\x59", b"\x17\x72\x45\x38\x50\x90")


def decode_text(data: bytes, encoding: str, name: str) -> str:
    """Bytes to text, exactly, but for byte order marks; `name` is for the error.

    Raises:
        CorpusError: `data` is not in `encoding`, or there is no such encoding.
    """
    return "".join(decoded(iter([data]), encoding, name))


def decoded(blocks: Iterator[bytes], encoding: str, name: str) -> Iterator[str]:
    """Text as its bytes come; a character may lie across blocks.

    Byte order marks are dropped wherever they are: in the middle of a text they are left over from
    files that were joined. UTF-16 that is read as something else is warned of.

    Raises:
        CorpusError: as `decode_text`.
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
        except UnicodeError as error:  # of UTF-16 and UTF-32 without their mark
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
            continue  # a text may begin with these letters
        file = "FILE" if name == "stdin" else shlex.quote(name)
        raise CorpusError(
            f"{name}: compressed ({compression}): unpack it into a pipe: "
            f"{unpack} {file} | generate train - (or generate score -)"
        )


def _other_encoding(data: bytes, encoding: str) -> str | None:
    """The encoding of 16 or 32 bits that the bytes seem to be in, where another was asked for."""
    if codecs.lookup(encoding).name.startswith(("utf-16", "utf-32")):
        return None
    marked = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    return marked or _unmarked_encoding(data[:_SAMPLE_BYTES])


def _unmarked_encoding(data: bytes) -> str | None:
    """The encoding of 16 or 32 bits that bytes without a mark seem to be in.

    Characters of one script share their high bytes, and those of spaces and digits are zero. So
    zeros lie at every second place (or at three places of four), and hardly ever at the others.
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


@functools.cache  # a text is read several times
def _warn(message: str) -> None:
    logging.getLogger(__name__).warning(message)
