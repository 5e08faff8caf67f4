"""The longest run that a document shares with a corpus: knows rows of symbols, not models or files.

A text is compared by its characters. A piece is compared by its notes in the order of time, each as
its duration and the steps in pitch and in time to the next: a copy counts in any key and at any
velocity, tempo or instrument. It may lie in the texture (all parts as one) or in a single part, as
a melody does; drums are left out, since a beat belongs to everyone.

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

# A step from note to note as one number: fields wide enough for every piece there are tokens for.
_PITCH_SPAN, _TICKS_SPAN = 1 << 8, 1 << 24


@dataclass(frozen=True, kw_only=True)
class Symbols:
    """A document as it is compared.

    Attributes:
        rows: each (N,) int64: what runs lie in.
        extra: how much longer a run is than the symbols that match: n steps join n + 1 notes.
        size: characters or notes of the document.
    """

    rows: tuple[NDArray[np.int64], ...]
    extra: int
    size: int


@dataclass(frozen=True, kw_only=True)
class Copied:
    """The longest run of one document that the corpus has too.

    Attributes:
        length: in characters or notes; 0 where nothing is shared.
        size: characters or notes of the whole document.
        start: where the run begins in its row.
        source: the index of a corpus document that has it; None where nothing is shared.
    """

    length: int
    size: int
    start: int
    source: int | None


def of_text(text: str) -> Symbols:
    """A text's characters."""
    points = np.frombuffer(text.encode("utf-32-le", errors="surrogatepass"), dtype="<u4")
    return Symbols(rows=(points.astype(np.int64),), extra=0, size=len(points))


def of_piece(piece: Piece) -> Symbols:
    """A piece's steps from note to note; pieces that are compared share one `ticks_per_beat`."""
    parts = [track.notes for track in piece.tracks if track.notes and not track.is_drum]
    texture = [note for part in parts for note in part]
    rows = [texture, *parts] if len(parts) > 1 else [texture]
    return Symbols(rows=tuple(map(_steps, rows)), extra=1, size=len(texture))


def longest_copies(documents: Sequence[Symbols], corpus: Sequence[Symbols]) -> list[Copied]:
    """The longest run of each document that some document of the corpus has, found exactly.

    Raises:
        ValueError: no corpus to compare with.
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
    """From each note but the last: its duration, and how far on and up the next one begins."""
    order = sorted(notes, key=attrgetter("onset_ticks", "pitch", "duration_ticks"))
    table = np.array([(n.onset_ticks, n.pitch, n.duration_ticks) for n in order], dtype=np.int64)
    table = table.reshape(-1, 3)
    later, higher, _ = np.diff(table, axis=0).T
    steps: NDArray[np.int64] = (table[:-1, 2] * _TICKS_SPAN + later) * _PITCH_SPAN + higher
    return steps + _PITCH_SPAN // 2  # higher may be -127


def _matches(
    documents: Sequence[NDArray[np.int64]], corpus: Sequence[NDArray[np.int64]]
) -> list[tuple[int, int, int]]:
    """For each document's row the length, start and corpus row of its longest match.

    Windows of 1, 2, 4 ... symbols get names, equal ones the same (Karp, Miller and Rosenberg, 1972,
    "Rapid identification of repeated patterns"), until no window of a document is in the corpus.
    By then names sort positions as a suffix array does (Manber and Myers, 1993), and a position's
    longest match is its neighbour from the corpus, above or below.
    """
    rows = [*documents, *corpus]
    lengths = np.array([len(row) for row in rows])
    starts = np.concatenate([[0], np.cumsum(lengths + 1)])  # each row and a separator after it
    total = int(starts[-1])
    symbols = np.zeros(total, dtype=np.int64)
    for start, row in zip(starts, rows, strict=False):
        symbols[start : start + len(row)] = row
    separators = starts[1:] - 1
    # what no two positions share, so that no match runs over an end
    symbols[separators] = symbols.max() + 1 + np.arange(len(rows))
    border = int(starts[len(documents)])

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
    mine = order < border
    best = np.zeros(border, dtype=np.int64)
    partner = np.zeros(border, dtype=np.int64)
    positions = order[mine]
    for neighbour in (below[mine], above[mine]):
        exists = (neighbour >= 0) & (neighbour < total)
        at, other = positions[exists], order[neighbour[exists]]
        shared = _shared_length(levels, at, other)
        better = shared > best[at]
        best[at[better]], partner[at[better]] = shared[better], other[better]

    matches = []
    for start, length in zip(starts.tolist(), lengths[: len(documents)].tolist(), strict=False):
        at = start + int(best[start : start + length + 1].argmax())
        source = int(np.searchsorted(starts, partner[at], side="right")) - 1 - len(documents)
        matches.append((int(best[at]), at - start, source))
    return matches


def _named(values: NDArray[np.int64]) -> NDArray[np.int32]:
    """Equal values get equal names, in the order of the values: 0, 1, 2 ..."""
    return np.unique(values, return_inverse=True)[1].astype(np.int32)


def _is_shared(names: NDArray[np.int32], border: int) -> bool:
    """Whether a name from before the border occurs after it."""
    later = np.zeros(len(names), dtype=np.bool_)
    later[names[border:]] = True
    return bool(later[names[:border]].any())


def _shared_length(
    levels: Sequence[NDArray[np.int32]], one: NDArray[np.int64], other: NDArray[np.int64]
) -> NDArray[np.int64]:
    """How many symbols from two positions on are equal: by halving windows. (N,), (N,) -> (N,)"""
    shared = np.zeros(len(one), dtype=np.int64)
    last = len(levels[0]) - 1  # a separator: it equals nothing
    for level in reversed(range(len(levels))):
        names = levels[level]
        equal = names[np.minimum(one + shared, last)] == names[np.minimum(other + shared, last)]
        shared += equal.astype(np.int64) << level
    return shared
