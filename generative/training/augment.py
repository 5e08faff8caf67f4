"""Documents varied while a model learns: knows ladders of ids, not what climbs them.

A ladder is a range of ids that rise with what they say: pitches by semitones, velocities by levels,
tempos by beats a minute. To move all of a document's ids on it by one number of rungs is to
transpose the piece, or to play it louder or faster, and to leave everything else as it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from generative.training.batches import Ids
    from generative.training.config import TrainingConfig

# ladder -> the field of `TrainingConfig` that says how far a document may move on it
REACHES = {"pitch": "transpose", "velocity": "velocity_jitter", "tempo": "tempo_jitter"}
# In another key a piece is as good as before, but a corpus of one tempo or loudness keeps to it.
UNBOUNDED = frozenset({"pitch"})


@runtime_checkable
class Climbable(Protocol):
    """A tokenizer of documents that may be varied: music's; text has no ladders."""

    @property
    def ladders(self) -> Mapping[str, range]:
        """A key of `REACHES` -> ids in rising order."""
        ...

    def shifted(self, ids: Ids, ladder: str, rungs: int) -> Ids:
        """All ids on a ladder moved, and what depends on them. (T,) -> (T,)"""
        ...


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """One ladder.

    Attributes:
        name: a key of `REACHES`.
        first, last: the lowest and highest id on it; nothing is moved beyond them.
        reach: how many rungs a document may move at most, up or down.
    """

    name: str
    first: int
    last: int
    reach: int

    def shifts(self, document: Ids) -> tuple[int, int]:
        """How far the document may move, down (negative or 0) and up. (T,) -> (low, high)"""
        rungs = document[self.holds(document)]
        if not rungs.size:
            return 0, 0
        low, high = self.first - int(rungs.min()), self.last - int(rungs.max())
        return max(-self.reach, low), min(self.reach, high)

    def holds(self, document: Ids) -> NDArray[np.bool_]:
        """Which ids stand on it. (T,) -> (T,)"""
        return (document >= self.first) & (document <= self.last)


@dataclass(frozen=True)
class Variation:
    """A document moved on each ladder by a number of rungs drawn anew; ladders are independent."""

    tokenizer: Climbable
    ladders: tuple[Ladder, ...]

    @classmethod
    def of(cls, tokenizer: Climbable, counts: NDArray[np.integer], config: TrainingConfig) -> Self:
        """The ladders of a tokenizer; those of tempo and velocity as far as a corpus uses them.

        Args:
            tokenizer: of the corpus.
            counts: (V,) how often each id occurs in it.
            config: how far a document may move.
        """
        found = []
        for name, ids in tokenizer.ladders.items():
            used = ids if name in UNBOUNDED else [i for i in ids if counts[i]]
            if used and (reach := getattr(config, REACHES[name])):
                found.append(Ladder(name=name, first=used[0], last=used[-1], reach=reach))
        return cls(tokenizer, tuple(found))

    def __call__(self, document: Ids, rng: np.random.Generator) -> Ids:
        """(T,) -> (T,)"""
        varied: Ids = document.astype(np.int32)  # a shift may be negative
        for ladder in self.ladders:
            low, high = ladder.shifts(document)
            rungs = int(rng.integers(low, high, endpoint=True))
            varied = self.tokenizer.shifted(varied, ladder.name, rungs)
        return varied

    def reachable(self, used: NDArray[np.int64]) -> NDArray[np.int64]:
        """The ids that documents of these ids may come to hold. (K,) -> (at least K,)"""
        found: list[Ids] = [used]
        for ladder in self.ladders:
            for rungs in range(-ladder.reach, ladder.reach + 1):
                stays = (used + rungs >= ladder.first) & (used + rungs <= ladder.last)
                movable = used[stays | ~ladder.holds(used)]
                found.append(self.tokenizer.shifted(movable, ladder.name, rungs))
        return np.unique(np.concatenate(found))
