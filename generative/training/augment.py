"""Data augmentation of documents while a model learns; knows ranges of ids, not their meaning.

An augmentation axis is a range of ids in rising order: pitches by semitones, velocities by levels,
tempos by beats a minute. Adding one offset to all ids of a document on an axis transposes the
piece, or makes it louder or faster, and leaves everything else as it was.
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

# axis -> the field of `TrainingConfig` that says how far a document may move on it
RANGE_FIELDS = {"pitch": "transpose", "velocity": "velocity_jitter", "tempo": "tempo_jitter"}
# In another key a piece is as good as before, but a corpus of one tempo or loudness keeps to it.
UNBOUNDED = frozenset({"pitch"})


@runtime_checkable
class Augmentable(Protocol):
    """A tokenizer of documents that may be varied: music's; text has no axes."""

    @property
    def augmentation_axes(self) -> Mapping[str, range]:
        """A key of `RANGE_FIELDS` -> ids in rising order."""
        ...

    def shifted(self, ids: Ids, axis: str, offset: int) -> Ids:
        """All ids on an axis moved, and what depends on them. (T,) -> (T,)"""
        ...


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One augmentation axis.

    Attributes:
        name: a key of `RANGE_FIELDS`.
        first, last: the lowest and highest id on it; nothing is moved beyond them.
        max_offset: the largest offset, up or down.
    """

    name: str
    first: int
    last: int
    max_offset: int

    def shifts(self, document: Ids) -> tuple[int, int]:
        """How far the document may move, down (negative or 0) and up. (T,) -> (low, high)"""
        ids = document[self.holds(document)]
        if not ids.size:
            return 0, 0
        low, high = self.first - int(ids.min()), self.last - int(ids.max())
        return max(-self.max_offset, low), min(self.max_offset, high)

    def holds(self, document: Ids) -> NDArray[np.bool_]:
        """Which ids stand on it. (T,) -> (T,)"""
        return (document >= self.first) & (document <= self.last)


@dataclass(frozen=True)
class Augmentation:
    """A document moved on each axis by an offset drawn anew; the axes are independent."""

    tokenizer: Augmentable
    axes: tuple[Axis, ...]

    @classmethod
    def of(
        cls, tokenizer: Augmentable, counts: NDArray[np.integer], config: TrainingConfig
    ) -> Self:
        """The axes of a tokenizer; those of tempo and velocity as far as a corpus uses them.

        Args:
            tokenizer: of the corpus.
            counts: (V,) how often each id occurs in it.
            config: how far a document may move.
        """
        found = []
        for name, ids in tokenizer.augmentation_axes.items():
            used = ids if name in UNBOUNDED else [i for i in ids if counts[i]]
            if used and (max_offset := getattr(config, RANGE_FIELDS[name])):
                found.append(Axis(name=name, first=used[0], last=used[-1], max_offset=max_offset))
        return cls(tokenizer, tuple(found))

    def __call__(self, document: Ids, rng: np.random.Generator) -> Ids:
        """(T,) -> (T,)"""
        varied: Ids = document.astype(np.int32)  # a shift may be negative
        for axis in self.axes:
            low, high = axis.shifts(document)
            offset = int(rng.integers(low, high, endpoint=True))
            varied = self.tokenizer.shifted(varied, axis.name, offset)
        return varied

    def reachable(self, used: NDArray[np.int64]) -> NDArray[np.int64]:
        """The ids that documents of these ids may come to hold. (K,) -> (at least K,)"""
        found: list[Ids] = [used]
        for axis in self.axes:
            for offset in range(-axis.max_offset, axis.max_offset + 1):
                stays = (used + offset >= axis.first) & (used + offset <= axis.last)
                movable = used[stays | ~axis.holds(used)]
                found.append(self.tokenizer.shifted(movable, axis.name, offset))
        return np.unique(np.concatenate(found))
