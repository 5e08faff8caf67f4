"""Sets of characters as sequences of UTF-8 bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Ranges: TypeAlias = list[tuple[int, int]]  # code points or bytes, both ends included

LAST_CODE_POINT = 0x10FFFF
# Between these bounds all encodings have one length. Surrogates are not text and left out.
_LENGTHS = ((0x0, 0x7F), (0x80, 0x7FF), (0x800, 0xD7FF), (0xE000, 0xFFFF), (0x10000, 0x10FFFF))
_BITS = 6  # bits of a character in each byte after the first


def merged(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """The same set as ordered ranges that neither overlap nor touch."""
    result: Ranges = []
    for low, high in sorted(ranges):
        if result and low <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(high, result[-1][1]))
        else:
            result.append((low, high))
    return result


def complement(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Every other code point."""
    result: Ranges = []
    begin = 0
    for low, high in merged(ranges):
        if begin < low:
            result.append((begin, low - 1))
        begin = high + 1
    if begin <= LAST_CODE_POINT:
        result.append((begin, LAST_CODE_POINT))
    return result


def byte_sequences(ranges: Iterable[tuple[int, int]]) -> Iterator[Ranges]:
    """The encodings of a set of characters, as sequences of byte ranges.

    Example:
        list(byte_sequences([(ord("a"), ord("ÿ"))]))
        # [[(97, 127)], [(194, 195), (128, 191)]]
    """
    for low, high in merged(ranges):
        for first, last in _LENGTHS:
            if max(low, first) <= min(high, last):
                yield from _split(max(low, first), min(high, last))


def _split(low: int, high: int) -> Iterator[Ranges]:
    """Split characters `low` to `high`, encoded in one length, into products of byte ranges."""
    lows, highs = chr(low).encode(), chr(high).encode()
    for place in range(1, len(lows)):
        size = 1 << _BITS * place  # characters that share all but the last `place` bytes
        if low // size != high // size:
            if low % size:
                middle = low // size * size + size
                yield from _split(low, middle - 1)
                yield from _split(middle, high)
                return
            if (high + 1) % size:
                middle = high // size * size
                yield from _split(low, middle - 1)
                yield from _split(middle, high)
                return
    yield list(zip(lows, highs, strict=True))
