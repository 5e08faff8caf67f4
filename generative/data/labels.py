"""The labels of the positions of a token stream, as numbers.

Label 0 is none; any other is one more than an index of a model's `config.labels`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

NO_LABEL = 0
CHUNK_TOKENS = 1 << 20
SPAN_TOKENS = 4096  # the tokens of a long document that keep or lose their label together


@dataclass(frozen=True)
class Labels:
    """The labels of a stream, stored as spans of one label each.

    Attributes:
        begins: The position at which each span begins, ascending from 0. (S,)
        values: The label of each span. (S,)
        length: The length of the stream.
    """

    begins: NDArray[np.int64]
    values: NDArray[np.int64]
    length: int

    @classmethod
    def of_documents(
        cls, stream: NDArray[np.integer], start_id: int, labels: Sequence[int] | NDArray[np.int64]
    ) -> Labels:
        """The labels of a stream with a start token before every document and after the last.

        Args:
            stream: Token ids. (N,)
            start_id: The id of the start token.
            labels: One for each document, which its start token has too.
        """
        begins = [
            at + np.flatnonzero(stream[at : at + CHUNK_TOKENS] == start_id)
            for at in range(0, len(stream), CHUNK_TOKENS)
        ]
        values = np.asarray(labels, dtype=np.int64)
        starts = np.concatenate([np.zeros(0, dtype=np.int64), *begins])[: len(values)]
        assert len(starts) == len(values)
        return cls(starts, values, len(stream))

    def at(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """The labels of positions, in their shape."""
        return self.values[np.searchsorted(self.begins, positions, side="right") - 1]

    def withheld(self, probability: float, rng: np.random.Generator) -> Labels:
        """The labels with that of each document, or span of a long one, removed at random."""
        lengths = np.diff(self.begins, append=self.length)
        counts = -(-lengths // SPAN_TOKENS)  # spans of each document
        firsts = np.cumsum(counts) - counts
        inner = np.arange(counts.sum()) - np.repeat(firsts, counts)
        begins = np.repeat(self.begins, counts) + inner * SPAN_TOKENS
        values = np.repeat(self.values, counts)
        kept = np.where(rng.random(len(values)) < probability, NO_LABEL, values)
        return Labels(begins, kept, self.length)


def excerpt(
    stream: NDArray[np.integer], start_id: int, labels: Labels, tokens: int
) -> tuple[NDArray[np.integer], Labels]:
    """About `tokens` tokens of a stream, of which every label has at most an equal part.

    Documents are in the order of the stream, and the last one of each label may be cut short.
    """
    tokens_per_label = tokens // len(np.unique(labels.values))
    remaining = dict.fromkeys(labels.values.tolist(), tokens_per_label)
    parts: list[NDArray[np.integer]] = []
    kept: list[int] = []
    ends = [*labels.begins[1:].tolist(), labels.length - 1]
    for begin, end, label in zip(labels.begins.tolist(), ends, labels.values.tolist(), strict=True):
        part = stream[begin : min(end, begin + remaining[label])]
        if len(part) > 1:
            remaining[label] -= len(part)
            parts.append(part)
            kept.append(label)
    made = np.concatenate([*parts, np.array([start_id], dtype=stream.dtype)])
    return made, Labels.of_documents(made, start_id, kept)
