"""A token stream as batches of B rows and T tokens; knows windows, not what the tokens mean.

The stream is cut into B contiguous rows, and a batch is the next T tokens of each row. The state
left by one batch is therefore the right one to begin the next with (truncated backpropagation
through time). The rows are those of the whole run: where several processes share it, each takes its
own rows of the same batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from generative.data.labels import Labels

Ids = NDArray[np.integer]
Augment = Callable[[Ids, np.random.Generator], Ids]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One window of every row: predict `targets` from `inputs`, both (T, B) int64.

    `fresh` says that the window does not continue the one before: begin with an empty state.
    `labels`, (T, B), are those of the inputs; None where the corpus has none.
    """

    inputs: NDArray[np.int64]
    targets: NDArray[np.int64]
    fresh: bool
    labels: NDArray[np.int64] | None = None


def windows(
    stream: Ids,
    batch_size: int,
    sequence_length: int,
    *,
    offset: int = 0,
    first: int = 0,
    rows: slice = slice(None),
    labels: Labels | None = None,
) -> Iterator[Batch]:
    """The batches of one stream in order; up to B * T - 1 tokens at its end are left out.

    Args:
        stream: (N,) ids; only what a batch needs is read, so a memory map will do.
        batch_size: rows, B.
        sequence_length: tokens a window, T.
        offset: where in the stream to begin; what lies before comes last.
        first: the number of the first batch to yield.
        rows: which rows to yield; all by default.
        labels: of the stream's places.
    """
    row_length = (len(stream) - 1) // batch_size
    starts = offset + row_length * np.arange(batch_size)[rows]
    steps = np.arange(sequence_length + 1)[:, np.newaxis]
    for number in range(first, row_length // sequence_length):
        places = (starts + number * sequence_length + steps) % len(stream)  # (T + 1, B)
        window = stream[places].astype(np.int64)
        yield Batch(
            inputs=window[:-1],
            targets=window[1:],
            fresh=number == 0,
            labels=None if labels is None else labels.at(places[:-1]),
        )


@dataclass(frozen=True, kw_only=True)
class StreamBatches:
    """The training batches, epoch after epoch, the same for the same seed.

    One kind of corpus is long and ordered (a book): its stream keeps its order and is rotated by
    a random offset each epoch, so that windows begin elsewhere. The other is a collection (tunes):
    `shuffle` draws a new order each epoch, and `augment` may vary each document.

    Attributes:
        stream: (N,) ids, a start token before every document and after the last.
        labels: of its places, of which each epoch withholds the part `label_dropout`.
    """

    stream: Ids
    start_id: int
    batch_size: int
    sequence_length: int
    seed: int
    shuffle: bool = False
    augment: Augment | None = None
    labels: Labels | None = None
    label_dropout: float = 0.0

    @property
    def windows_per_epoch(self) -> int:
        """How many batches `epoch` yields; `augment` keeps lengths."""
        return (len(self.stream) - 1) // self.batch_size // self.sequence_length

    def epoch(self, number: int, *, first: int = 0, rows: slice = slice(None)) -> Iterator[Batch]:
        """The batches of epoch `number` (0, 1, ...) from batch `first` on, or some rows of them.

        They depend on nothing but (seed, number).
        """
        rng = np.random.default_rng([self.seed, number])
        stream, labels, offset = self.stream, self.labels, 0
        if self.shuffle:
            stream, labels = self._shuffled(rng)
        else:
            offset = int(rng.integers(len(stream)))
        if labels is not None:
            labels = labels.withheld(self.label_dropout, rng)
        return windows(
            stream,
            self.batch_size,
            self.sequence_length,
            offset=offset,
            first=first,
            rows=rows,
            labels=labels,
        )

    def _shuffled(self, rng: np.random.Generator) -> tuple[Ids, Labels | None]:
        """The documents in another order, each of them varied, as a stream; and their labels."""
        starts = np.flatnonzero(self.stream == self.start_id)
        order = rng.permutation(len(starts) - 1)
        parts: list[Ids] = []
        for i in order.tolist():
            begin, end = int(starts[i]), int(starts[i + 1])
            document = self.stream[begin + 1 : end]
            varied = document if self.augment is None else self.augment(document, rng)
            parts += [self.stream[begin : begin + 1], varied]
        stream = np.concatenate([*parts, self.stream[-1:]])
        if self.labels is None:
            return stream, None
        return stream, Labels.of_documents(stream, self.start_id, self.labels.values[order])
