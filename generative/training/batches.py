"""Token arrays to batches: knows contiguous lanes and windows, not what the tokens mean.

An epoch is one long stream: every document after a start token. The stream is cut into B lanes
that lie side by side, and a batch is the next T tokens of each lane, so that the state left by
one batch is the right one to begin the next with (truncated backpropagation through time).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.integer]
Augment = Callable[[Ids, np.random.Generator], Ids]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One window of every lane: predict `targets` from `inputs`, both (T, B) int64.

    `fresh` says that the window does not continue the one before: begin with an empty state.
    """

    inputs: NDArray[np.int64]
    targets: NDArray[np.int64]
    fresh: bool


def stream_of(documents: Sequence[Ids], start_id: int) -> Ids:
    """Every document after a start token, and one start token to end the last. -> (N,)"""
    separator = np.array([start_id], dtype=documents[0].dtype if documents else np.int64)
    parts = [part for document in documents for part in (separator, document)]
    return np.concatenate([*parts, separator])


def windows(stream: Ids, batch_size: int, sequence_length: int) -> Iterator[Batch]:
    """The batches of one stream in order; up to B * T - 1 tokens at its end are left out."""
    lane_length = (len(stream) - 1) // batch_size
    used = lane_length * batch_size
    inputs = stream[:used].reshape(batch_size, lane_length).T  # (lane_length, B)
    targets = stream[1 : used + 1].reshape(batch_size, lane_length).T
    for begin in range(0, lane_length - sequence_length + 1, sequence_length):
        piece = slice(begin, begin + sequence_length)
        yield Batch(
            inputs=np.ascontiguousarray(inputs[piece], dtype=np.int64),
            targets=np.ascontiguousarray(targets[piece], dtype=np.int64),
            fresh=begin == 0,
        )


@dataclass(frozen=True, kw_only=True)
class Lanes:
    """The training batches, epoch after epoch, the same for the same seed.

    One kind of corpus is long and ordered (a book): its stream keeps its order and is rotated by
    a random offset each epoch, so that windows begin elsewhere. The other is a collection (tunes):
    `shuffle` draws a new order each epoch, and `augment` may vary each document.
    """

    documents: Sequence[Ids]
    start_id: int
    batch_size: int
    sequence_length: int
    seed: int
    shuffle: bool = False
    augment: Augment | None = None

    @property
    def windows_per_epoch(self) -> int:
        """How many batches `epoch` yields; `augment` keeps lengths."""
        tokens = sum(map(len, self.documents)) + len(self.documents)
        return tokens // self.batch_size // self.sequence_length

    def epoch(self, number: int) -> Iterator[Batch]:
        """The batches of epoch `number` (0, 1, ...); it depends on nothing but (seed, number)."""
        rng = np.random.default_rng([self.seed, number])
        documents: Sequence[Ids] = self.documents
        if self.shuffle:
            documents = [documents[i] for i in rng.permutation(len(documents))]
        if self.augment is not None:
            documents = [self.augment(document, rng) for document in documents]
        stream = stream_of(documents, self.start_id)
        if not self.shuffle:
            stream = np.roll(stream, -int(rng.integers(len(stream))))
        return windows(stream, self.batch_size, self.sequence_length)
