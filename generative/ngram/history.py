"""The history of B documents as an immutable state, which the operations edit only in copies.

It must not know networks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from generative.ngram.records import (
    CHAIN_LENGTHS,
    END,
    HEADS,
    MAX_HISTORY,
    NO_SYMBOL,
    History,
    Tables,
    middle,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

FIRST_ROOM = 256  # The room of a document at its start, in tokens; it is doubled when it is full.


def start(tables: Tables, batch_size: int) -> History:
    """The history of documents that have not begun."""
    room, heads = (FIRST_ROOM, HEADS) if tables.reads_cache else (0, 0)
    return History(
        tokens=np.zeros((batch_size, room), np.int32),
        links=np.full((batch_size, len(CHAIN_LENGTHS), room), END, np.int32),
        heads=np.full((batch_size, len(CHAIN_LENGTHS), heads), END, np.int32),
        length=np.zeros(batch_size, np.int64),
        recent=np.full((batch_size, tables.order), NO_SYMBOL, np.int32),
        reference=np.full(batch_size, middle(tables.axis_first, tables.axis_last), np.int32),
    )


def select(history: History, rows: Sequence[int] | NDArray[np.int64]) -> History:
    """The history of the given rows, in that order; rows may repeat."""
    index = np.asarray(rows, dtype=np.int64)
    return History._make(array[index] for array in history)


def copied(history: History, tokens: int) -> History:
    """A copy with room for so many tokens more in each row."""
    room = history.tokens.shape[1]
    needed = min(MAX_HISTORY, int(history.length.max(initial=0)) + tokens)
    if room == 0 or needed <= room:
        return History._make(array.copy() for array in history)
    while room < needed:
        room = min(MAX_HISTORY, 2 * room)
    copy = History._make(array.copy() for array in history)
    return copy._replace(tokens=_widened(history.tokens, room), links=_widened(history.links, room))


def _widened(array: NDArray[np.int32], room: int) -> NDArray[np.int32]:
    """A copy whose last axis has that length."""
    wider = np.full((*array.shape[:-1], room), END, np.int32)
    wider[..., : array.shape[-1]] = array
    return wider


def restarted(tables: Tables, history: History) -> History:
    """The same cache before a new document: no context reaches back into the old ones."""
    fresh = start(tables, len(history.length))
    return history._replace(recent=fresh.recent, reference=fresh.reference)
