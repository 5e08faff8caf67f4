"""Tokens as the symbols that static counts are kept of: ids, or steps on an axis.

An axis is a range of ids along which a document may be moved as a whole, such as the pitches of
music. On it a symbol is the step from the last id of the axis in the document. A transposed piece
has the symbols of the original, so what was counted in one key holds in all of them.

`operations.append` computes the same symbols one at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from generative.ngram.records import middle

if TYPE_CHECKING:
    from numpy.typing import NDArray

NO_AXIS = range(0)


def symbols_of(
    stream: NDArray[np.integer], start_id: int, axis: range, vocab_size: int
) -> NDArray[np.integer]:
    """The symbols of a stream. (N,) -> (N,)

    Args:
        stream: ids, a start token before each document.
        start_id: the start token.
        axis: the ids on which symbols are steps; empty for none.
        vocab_size: V; steps have the symbols from V on.

    Example:
        symbols_of([0, 5, 7], 0, range(4, 9), 10)   # [0, 10 + 4 - 1, 10 + 4 + 2]; the middle is 6
    """
    if not axis:
        return stream
    ids = stream.astype(np.int64)
    places = np.arange(len(ids))
    is_step = (ids >= axis.start) & (ids < axis.stop)
    begins = np.maximum.accumulate(np.where(ids == start_id, places, -1))
    latest = np.maximum.accumulate(np.where(is_step, places, -1))
    before = np.concatenate([[-1], latest[:-1]])
    reference = np.where(before > begins, ids[before], middle(axis[0], axis[-1]))
    return np.where(is_step, vocab_size + len(axis) - 1 + ids - reference, ids)
