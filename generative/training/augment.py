"""Data augmentation: documents that are moved along ranges of ids in each epoch.

It must not know what ids mean.

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

# The axis -> the field of `TrainingConfig` with the largest offset on it.
RANGE_FIELDS = {"pitch": "transpose", "velocity": "velocity_jitter", "tempo": "tempo_jitter"}
# A piece may be transposed beyond the pitches of its corpus, but tempo and velocity stay within
# those that occur.
UNBOUNDED = frozenset({"pitch"})


@runtime_checkable
class Augmentable(Protocol):
    """A tokenizer whose documents can be augmented, as that of music; text has no axes."""

    @property
    def augmentation_axes(self) -> Mapping[str, range]:
        """The ids of each axis in rising order, by keys of `RANGE_FIELDS`."""
        ...

    def shifted(self, ids: Ids, axis: str, offset: int) -> Ids:
        """A document with all ids on an axis moved, and those that depend on them. (T,) -> (T,)"""
        ...


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One augmentation axis.

    Attributes:
        name: a key of `RANGE_FIELDS`.
        first, last: the lowest and highest id; nothing is moved beyond them.
        max_offset: the largest offset, up or down.
    """

    name: str
    first: int
    last: int
    max_offset: int

    def shifts(self, document: Ids) -> tuple[int, int]:
        """The smallest and largest offset of a document, (T,); the smallest is 0 or negative."""
        ids = document[self.holds(document)]
        if not ids.size:
            return 0, 0
        low, high = self.first - int(ids.min()), self.last - int(ids.max())
        return max(-self.max_offset, low), min(self.max_offset, high)

    def holds(self, document: Ids) -> NDArray[np.bool_]:
        """Which ids lie on the axis. (T,) -> (T,)"""
        return (document >= self.first) & (document <= self.last)


@dataclass(frozen=True)
class Augmentation:
    """Moves a document on each axis by a random offset; the axes are independent."""

    tokenizer: Augmentable
    axes: tuple[Axis, ...]

    @classmethod
    def of(
        cls, tokenizer: Augmentable, counts: NDArray[np.integer], config: TrainingConfig
    ) -> Self:
        """The augmentation of a corpus; tempo and velocity keep to the range that occurs in it.

        Args:
            tokenizer: of the corpus.
            counts: (V,) how often each id occurs.
            config: has the largest offset on each axis.
        """
        found = []
        for name, ids in tokenizer.augmentation_axes.items():
            used = ids if name in UNBOUNDED else [i for i in ids if counts[i]]
            if used and (max_offset := getattr(config, RANGE_FIELDS[name])):
                found.append(Axis(name=name, first=used[0], last=used[-1], max_offset=max_offset))
        return cls(tokenizer, tuple(found))

    def __call__(self, document: Ids, rng: np.random.Generator) -> Ids:
        """A document after random offsets. (T,) -> (T,)"""
        varied: Ids = document.astype(np.int32)  # A signed type, since an offset may be negative.
        for axis in self.axes:
            low, high = axis.shifts(document)
            offset = int(rng.integers(low, high, endpoint=True))
            varied = self.tokenizer.shifted(varied, axis.name, offset)
        return varied

    def reachable(self, used: NDArray[np.int64]) -> NDArray[np.int64]:
        """All ids that augmented documents of these ids can hold. (K,) -> (at least K,)"""
        found: list[Ids] = [used]
        for axis in self.axes:
            for offset in range(-axis.max_offset, axis.max_offset + 1):
                stays = (used + offset >= axis.first) & (used + offset <= axis.last)
                movable = used[stays | ~axis.holds(used)]
                found.append(self.tokenizer.shifted(movable, axis.name, offset))
        return np.unique(np.concatenate(found))
