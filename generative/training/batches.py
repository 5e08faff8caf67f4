"""A token stream as batches of B rows and T tokens.

It must not know what tokens mean.

The stream is cut into B contiguous rows, and a batch is the next T tokens of each row. The next
batch therefore continues with the state after this one (truncated backpropagation through time).
The rows are those of the whole run: where several processes share it, each takes its own rows of
the same batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from generative.data.labels import Labels

if TYPE_CHECKING:
    from generative.context.reader import Reader
    from generative.context.records import Memory

Ids = NDArray[np.integer]
Augment = Callable[[Ids, np.random.Generator], Ids]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One window of every row.

    Attributes:
        inputs: (T, B) ids.
        targets: (T, B) the id after each input.
        fresh: whether the window begins with an empty state, since it continues no other.
        labels: (T, B) of the inputs; None where the corpus has none.
        memory: (B, M) what context features depend on before the window; None without features.
            It replaces that of the model's state, which lacks the tokens before a row's first
            window, is not saved with a run, and has read other tokens in scheduled sampling.
    """

    inputs: NDArray[np.int64]
    targets: NDArray[np.int64]
    fresh: bool
    labels: NDArray[np.int64] | None = None
    memory: Memory | None = None


def windows(
    stream: Ids,
    batch_size: int,
    sequence_length: int,
    *,
    offset: int = 0,
    first: int = 0,
    rows: slice = slice(None),
    labels: Labels | None = None,
    context: Reader | None = None,
) -> Iterator[Batch]:
    """The batches of one stream in order; up to B * T - 1 tokens at its end are left out.

    Args:
        stream: (N,) ids, which may be a memory map: only the tokens of a batch are read.
        batch_size: rows, B.
        sequence_length: tokens a window, T.
        offset: the position in the stream to begin at; the tokens before it come last.
        first: the number of the first batch to yield.
        rows: which rows to yield; all by default.
        labels: of the stream's positions.
        context: the reader of context features; None without any. What a row remembers is a
            function of the stream and its place in it, whichever batch is the first.
    """
    row_length = (len(stream) - 1) // batch_size
    starts = offset + row_length * np.arange(batch_size)[rows]
    steps = np.arange(sequence_length + 1)[:, np.newaxis]
    memory: Memory | None = None
    for number in range(first, row_length // sequence_length):
        places = (starts + number * sequence_length + steps) % len(stream)  # (T + 1, B)
        window = stream[places].astype(np.int64)
        if context is not None and memory is None:
            memory = context.memory_at(stream, places[0])
        yield Batch(
            inputs=window[:-1],
            targets=window[1:],
            fresh=number == 0,
            labels=None if labels is None else labels.at(places[:-1]),
            memory=memory,
        )
        if context is not None and memory is not None:
            _, memory = context.read(window[:-1], memory)


@dataclass(frozen=True, kw_only=True)
class StreamBatches:
    """The training batches of all epochs, which the seed determines.

    A corpus may be long and ordered (a book). Its stream keeps its order and is rotated by a random
    offset each epoch, so that windows begin elsewhere. Or it may be a collection (tunes): then
    `shuffle` draws a new order each epoch, and `augment` may vary each document.

    Attributes:
        stream: (N,) ids, a start token before every document and after the last.
        labels: of its positions; each epoch withholds the part `label_dropout` of them.
        context: the reader of context features; None without any.
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
    context: Reader | None = None

    @property
    def windows_per_epoch(self) -> int:
        """The number of batches of an epoch, which does not vary, since `augment` keeps lengths."""
        return (len(self.stream) - 1) // self.batch_size // self.sequence_length

    def epoch(self, number: int, *, first: int = 0, rows: slice = slice(None)) -> Iterator[Batch]:
        """The batches of epoch `number` (0, 1, ...) from batch `first` on, or some rows of them.

        They depend only on the seed and the number.
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
            context=self.context,
        )

    def _shuffled(self, rng: np.random.Generator) -> tuple[Ids, Labels | None]:
        """A stream of the documents in another order, each of them augmented, and its labels."""
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
