"""What processors may know of the rows they bend: knows past tokens and generators, no logits.

Nothing here is edited: a step hands in rows and gets new ones, so that beams can share them.
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
class Need:
    """How much of the past a processor looks at, and so how much is kept.

    Attributes:
        counts: how often each token was there; constant memory.
        window: so many of the last tokens; None is all of them, 0 is none.
    """

    counts: bool = False
    window: int | None = 0

    def join(self, other: Need) -> Need:
        """What both need together."""
        windows = (self.window, other.window)
        return Need(
            counts=self.counts or other.counts,
            window=None if None in windows else max(w for w in windows if w is not None),
        )


NOTHING = Need()


@dataclass(frozen=True, slots=True)
class Past:
    """What one row has said so far, prompt included and start token left out.

    Attributes:
        counts: how often each token was there. (V,), or (0,) where no processor needs it
        tokens: the last tokens, as many as are needed. (T,)
        window: how many that is; None is all.
    """

    counts: NDArray[np.int32]
    tokens: NDArray[np.int32]
    window: int | None = 0

    @classmethod
    def of(cls, tokens: Iterable[int], vocab_size: int, need: Need) -> Past:
        """The past that a prompt makes."""
        said = np.fromiter(tokens, dtype=np.int32)
        counts = np.bincount(said, minlength=vocab_size) if need.counts else np.zeros(0)
        return cls(counts.astype(np.int32), _last(said, need.window), need.window)

    def after(self, token: int) -> Past:
        """One token later."""
        counts = self.counts
        if counts.size:
            counts = counts.copy()
            counts[token] += 1
        tokens = self.tokens
        if self.window != 0:
            tokens = _last(np.append(tokens, np.int32(token)), self.window)
        return Past(counts, tokens, self.window)


def _last(tokens: NDArray[np.int32], window: int | None) -> NDArray[np.int32]:
    return tokens if window is None else tokens[max(0, len(tokens) - window) :]


@dataclass(frozen=True, slots=True)
class Rows:
    """B sequences on their way, as processors see them.

    Attributes:
        past: what each row has said.
        rngs: the generator of each row; processors that leave things to chance draw from it.
        last: the token that each row took last; None before the first. (B,)
        step: how many tokens each row has taken.
        steps: how many it may take at most.
        memory: for each processor what it remembers between tokens; None for most.
        shares: how much of what was asked for each row has, where the constraint can say. (B, 1)
    """

    past: tuple[Past, ...]
    rngs: tuple[np.random.Generator, ...] = ()
    last: NDArray[np.int64] | None = None
    step: int = 0
    steps: int = 1
    memory: tuple[RowArrays | None, ...] = ()
    shares: NDArray[np.float64] | None = None

    @property
    def progress(self) -> NDArray[np.float64] | float:
        """0 at the first token, 1 at the last: of the constraint's measure, else of `steps`."""
        return self.step / max(1, self.steps - 1) if self.shares is None else self.shares

    def select(self, rows: Sequence[int] | NDArray[np.int64]) -> Rows:
        """The given rows, in that order; rows may repeat."""
        index = np.asarray(rows, dtype=np.int64)
        return replace(
            self,
            past=tuple(self.past[i] for i in index.tolist()),
            rngs=tuple(self.rngs[i] for i in index.tolist()) if self.rngs else (),
            last=None if self.last is None else self.last[index],
            memory=tuple(
                None if arrays is None else tuple(array[index] for array in arrays)
                for arrays in self.memory
            ),
        )

    def after(self, tokens: NDArray[np.int64]) -> Rows:
        """One token later. tokens: (B,)"""
        past = self.past
        if past[0].window != 0 or past[0].counts.size:
            past = tuple(p.after(token) for p, token in zip(past, tokens.tolist(), strict=True))
        return Rows(past, self.rngs, tokens, self.step + 1, self.steps, self.memory)
