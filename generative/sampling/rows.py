"""What processors may know of the rows of a batch: histories, generators, progress.

It must not know logits. Nothing here is edited in place: a step takes rows and returns new ones, so
that beams can share them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

RowArrays: TypeAlias = tuple[NDArray[Any], ...]  # a processor's own memory; each array has B rows


@dataclass(frozen=True, slots=True)
class HistoryNeed:
    """How much of the history a processor looks at, and so how much is kept.

    Attributes:
        counts: whether it counts each token's occurrences; they take constant memory.
        window: the number of last tokens that it reads; None is all of them, 0 is none.
    """

    counts: bool = False
    window: int | None = 0

    def join(self, other: HistoryNeed) -> HistoryNeed:
        """What both need together."""
        windows = (self.window, other.window)
        return HistoryNeed(
            counts=self.counts or other.counts,
            window=None if None in windows else max(w for w in windows if w is not None),
        )


NO_HISTORY = HistoryNeed()


@dataclass(frozen=True, slots=True)
class History:
    """The tokens of one row so far, prompt included and start token left out.

    Attributes:
        counts: how often each token occurred. (V,), or (0,) where no processor needs it
        tokens: the last tokens, as many as are needed. (T,)
        window: how many tokens are kept; None is all.
    """

    counts: NDArray[np.int32]
    tokens: NDArray[np.int32]
    window: int | None = 0

    @classmethod
    def of(cls, tokens: Iterable[int], vocab_size: int, need: HistoryNeed) -> History:
        """The history that a prompt makes."""
        ids = np.fromiter(tokens, dtype=np.int32)
        counts = np.bincount(ids, minlength=vocab_size) if need.counts else np.zeros(0)
        return cls(counts.astype(np.int32), _last(ids, need.window), need.window)

    def after(self, token: int) -> History:
        """The history with one token more."""
        counts = self.counts
        if counts.size:
            counts = counts.copy()
            counts[token] += 1
        tokens = self.tokens
        if self.window != 0:
            tokens = _last(np.append(tokens, np.int32(token)), self.window)
        return History(counts, tokens, self.window)


def _last(tokens: NDArray[np.int32], window: int | None) -> NDArray[np.int32]:
    return tokens if window is None else tokens[max(0, len(tokens) - window) :]


@dataclass(frozen=True, slots=True)
class Rows:
    """B unfinished sequences, as processors see them.

    Attributes:
        histories: the history of each row.
        rngs: the generator of each row, from which processors draw their random numbers.
        last: the token that each row took last; None before the first. (B,)
        step: how many tokens each row has taken.
        max_steps: how many it may take at most.
        memory: for each processor what it remembers between tokens; None for most.
        measured: how far each row has come, 0 to 1, where the constraint measures it. (B, 1)
    """

    histories: tuple[History, ...]
    rngs: tuple[np.random.Generator, ...] = ()
    last: NDArray[np.int64] | None = None
    step: int = 0
    max_steps: int = 1
    memory: tuple[RowArrays | None, ...] = ()
    measured: NDArray[np.float64] | None = None

    @property
    def progress(self) -> NDArray[np.float64] | float:
        """0 at the first token, 1 at the last: what the constraint measured, else of the steps."""
        return self.step / max(1, self.max_steps - 1) if self.measured is None else self.measured

    def select(self, rows: Sequence[int] | NDArray[np.int64]) -> Rows:
        """The given rows, in that order; rows may repeat."""
        index = np.asarray(rows, dtype=np.int64)
        return replace(
            self,
            histories=tuple(self.histories[i] for i in index.tolist()),
            rngs=tuple(self.rngs[i] for i in index.tolist()) if self.rngs else (),
            last=None if self.last is None else self.last[index],
            memory=tuple(
                None if arrays is None else tuple(array[index] for array in arrays)
                for arrays in self.memory
            ),
        )

    def after(self, tokens: NDArray[np.int64]) -> Rows:
        """The rows with one token more each. tokens: (B,)"""
        histories = self.histories
        if histories[0].window != 0 or histories[0].counts.size:
            pairs = zip(histories, tokens.tolist(), strict=True)
            histories = tuple(history.after(token) for history, token in pairs)
        return Rows(histories, self.rngs, tokens, self.step + 1, self.max_steps, self.memory)
