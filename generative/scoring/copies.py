"""The longest run of symbols that a document shares with a corpus, found exactly.

It must not know models or files.

A text is compared by its characters. A piece is compared by its notes in the order of time, each as
its duration and the steps in pitch and in time to the next: a copy counts in any key and at any
velocity, tempo or instrument. It may lie in the texture (all parts as one) or in a single part, as
a melody does. Drums are left out, since beats are common property.

Example:
    corpus = [of_text(text) for text in texts_learnt_from]
    longest_copies([of_text("to be or not")], corpus)[0].length
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from generative.music.piece import Note, Piece

# The widths of the fields of a note-to-note step, which is one number. They are wide enough for
# every piece that the music tokenizer can hold.
_PITCH_SPAN, _TICKS_SPAN = 1 << 8, 1 << 24


@dataclass(frozen=True, kw_only=True)
class Symbols:
    """A document in the form in which it is compared.

    Attributes:
        rows: the sequences of symbols, each (N,) int64.
        extra: how much longer a run is than its symbols: n steps join n + 1 notes.
        size: characters or notes of the document.
    """

    rows: tuple[NDArray[np.int64], ...]
    extra: int
    size: int


@dataclass(frozen=True, kw_only=True)
class Copied:
    """The longest run of one document that also occurs in the corpus.

    Attributes:
        length: in characters or notes; 0 where nothing is shared.
        size: characters or notes of the whole document.
        start: where the run begins in its row.
        source: the index of a corpus document that has the run; None where nothing is shared.
    """

    length: int
    size: int
    start: int
    source: int | None


def of_text(text: str) -> Symbols:
    """A text as its characters."""
    points = np.frombuffer(text.encode("utf-32-le", errors="surrogatepass"), dtype="<u4")
    return Symbols(rows=(points.astype(np.int64),), extra=0, size=len(points))


def of_piece(piece: Piece) -> Symbols:
    """A piece as steps from note to note; all pieces that are compared must share one
    `ticks_per_beat`.
    """
    parts = [track.notes for track in piece.tracks if track.notes and not track.is_drum]
    texture = [note for part in parts for note in part]
    rows = [texture, *parts] if len(parts) > 1 else [texture]
    return Symbols(rows=tuple(map(_steps, rows)), extra=1, size=len(texture))


def longest_copies(documents: Sequence[Symbols], corpus: Sequence[Symbols]) -> list[Copied]:
    """For each document the longest run that occurs in any document of the corpus.

    Raises:
        ValueError: the corpus is empty.
    """
    if not corpus:
        raise ValueError("there is no corpus to look for copies in")
    rows = [row for document in documents for row in document.rows]
    found = _matches(rows, [row for document in corpus for row in document.rows])
    sources = [index for index, document in enumerate(corpus) for _ in document.rows]
    copies = []
    for document in documents:
        mine, found = found[: len(document.rows)], found[len(document.rows) :]
        length, start, row = max(mine, key=lambda match: match[0])
        copies.append(
            Copied(
                length=length + document.extra if length else 0,
                size=document.size,
                start=start,
                source=sources[row] if length else None,
            )
        )
    return copies


def _steps(notes: Iterable[Note]) -> NDArray[np.int64]:
    """For each note but the last its duration, and the steps in time and pitch to the next note."""
    order = sorted(notes, key=attrgetter("onset_ticks", "pitch", "duration_ticks"))
    table = np.array([(n.onset_ticks, n.pitch, n.duration_ticks) for n in order], dtype=np.int64)
    table = table.reshape(-1, 3)
    later, higher, _ = np.diff(table, axis=0).T
    steps: NDArray[np.int64] = (table[:-1, 2] * _TICKS_SPAN + later) * _PITCH_SPAN + higher
    return steps + _PITCH_SPAN // 2  # `higher` may be -127.


def _matches(
    documents: Sequence[NDArray[np.int64]], corpus: Sequence[NDArray[np.int64]]
) -> list[tuple[int, int, int]]:
    """For each document's row the length, start and corpus row of its longest match."""
    rows = [*documents, *corpus]
    starts = np.concatenate([[0], np.cumsum([len(row) + 1 for row in rows])])
    border = int(starts[len(documents)])
    best, partner = _longest_matches(_joined(rows, starts), border)
    matches = []
    for number, row in enumerate(documents):
        start = int(starts[number])
        at = start + int(best[start : start + len(row) + 1].argmax())
        source = int(np.searchsorted(starts, partner[at], side="right")) - 1 - len(documents)
        matches.append((int(best[at]), at - start, source))
    return matches


def _joined(rows: Sequence[NDArray[np.int64]], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """All rows in one array, each with a separator of its own, so that no match crosses an end.

    starts: where each row begins, and the length of the result.
    """
    symbols = np.zeros(int(starts[-1]), dtype=np.int64)
    for start, row in zip(starts, rows, strict=False):
        symbols[start : start + len(row)] = row
    symbols[starts[1:] - 1] = symbols.max() + 1 + np.arange(len(rows))
    return symbols


def _longest_matches(
    symbols: NDArray[np.int64], border: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The longest match after the border of each position before it: length and position.

    Windows of 1, 2, 4 ... symbols get names, equal ones the same (Karp, Miller and Rosenberg, 1972,
    "Rapid identification of repeated patterns"), until no window before the border occurs after it.
    By then names sort positions as a suffix array does (Manber and Myers, 1993), and a position's
    longest match is its nearest neighbour from after the border, above or below.
    """
    total = len(symbols)
    levels = [_named(symbols)]
    while _is_shared(levels[-1], border):
        names, width = levels[-1], 1 << (len(levels) - 1)
        ahead = np.full(total, -1, dtype=np.int64)
        ahead[: total - width] = names[width:]
        levels.append(_named(names.astype(np.int64) * (total + 1) + ahead + 1))

    order = np.argsort(levels[-1], kind="stable")
    place = np.arange(total)
    below = np.maximum.accumulate(np.where(order >= border, place, -1))
    above = np.minimum.accumulate(np.where(order >= border, place, total)[::-1])[::-1]
    is_before = order < border
    best = np.zeros(border, dtype=np.int64)
    partner = np.zeros(border, dtype=np.int64)
    positions = order[is_before]
    for neighbour in (below[is_before], above[is_before]):
        exists = (neighbour >= 0) & (neighbour < total)
        at, other = positions[exists], order[neighbour[exists]]
        shared = _shared_length(levels, at, other)
        better = shared > best[at]
        best[at[better]], partner[at[better]] = shared[better], other[better]
    return best, partner


def _named(values: NDArray[np.int64]) -> NDArray[np.int32]:
    """Equal values get equal names, in the order of the values: 0, 1, 2 ..."""
    return np.unique(values, return_inverse=True)[1].astype(np.int32)


def _is_shared(names: NDArray[np.int32], border: int) -> bool:
    """Whether any name of a position before the border occurs after it."""
    later = np.zeros(len(names), dtype=np.bool_)
    later[names[border:]] = True
    return bool(later[names[:border]].any())


def _shared_length(
    levels: Sequence[NDArray[np.int32]], one: NDArray[np.int64], other: NDArray[np.int64]
) -> NDArray[np.int64]:
    """How many symbols are equal from two positions on, by halving windows. (N,), (N,) -> (N,)"""
    shared = np.zeros(len(one), dtype=np.int64)
    last = len(levels[0]) - 1  # A separator equals no other symbol.
    for level in reversed(range(len(levels))):
        names = levels[level]
        equal = names[np.minimum(one + shared, last)] == names[np.minimum(other + shared, last)]
        shared += equal.astype(np.int64) << level
    return shared
