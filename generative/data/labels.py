"""Which label each place of a token stream has: knows numbers and stretches, no names and no files.

A label is a number: 0 for none, else one more than its place among a model's `config.labels`.
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
STRETCH_TOKENS = 4096  # of a long document keep or lose their label together


@dataclass(frozen=True)
class Labels:
    """The stretches of a stream that have one label each, and no more memory than they need.

    Attributes:
        begins: where each stretch begins, ascending from 0. (S,)
        values: its label. (S,)
        length: of the stream.
    """

    begins: NDArray[np.int64]
    values: NDArray[np.int64]
    length: int

    @classmethod
    def of_documents(
        cls, stream: NDArray[np.integer], start_id: int, labels: Sequence[int] | NDArray[np.int64]
    ) -> Labels:
        """Of a stream, (N,), with a start token before every document and after the last.

        labels: one a document; its start token has it too.
        """
        begins = [
            at + np.flatnonzero(stream[at : at + CHUNK_TOKENS] == start_id)
            for at in range(0, len(stream), CHUNK_TOKENS)
        ]
        values = np.asarray(labels, dtype=np.int64)
        places = np.concatenate([np.zeros(0, dtype=np.int64), *begins])[: len(values)]
        assert len(places) == len(values)
        return cls(places, values, len(stream))

    def at(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """The labels of some places, in their shape."""
        return self.values[np.searchsorted(self.begins, places, side="right") - 1]

    def withheld(self, probability: float, rng: np.random.Generator) -> Labels:
        """The same with each document's label gone so often; in long ones stretch by stretch."""
        lengths = np.diff(self.begins, append=self.length)
        counts = -(-lengths // STRETCH_TOKENS)  # stretches in each document
        firsts = np.cumsum(counts) - counts
        inner = np.arange(counts.sum()) - np.repeat(firsts, counts)
        begins = np.repeat(self.begins, counts) + inner * STRETCH_TOKENS
        values = np.repeat(self.values, counts)
        kept = np.where(rng.random(len(values)) < probability, NO_LABEL, values)
        return Labels(begins, kept, self.length)


def excerpt(
    stream: NDArray[np.integer], start_id: int, labels: Labels, tokens: int
) -> tuple[NDArray[np.integer], Labels]:
    """About so many tokens of a stream in which every label has an equal share at most.

    Documents come in the stream's order; the last one of a label may be cut short.
    """
    share = tokens // len(np.unique(labels.values))
    room = dict.fromkeys(labels.values.tolist(), share)
    parts: list[NDArray[np.integer]] = []
    kept: list[int] = []
    ends = [*labels.begins[1:].tolist(), labels.length - 1]
    for begin, end, label in zip(labels.begins.tolist(), ends, labels.values.tolist(), strict=True):
        part = stream[begin : min(end, begin + room[label])]
        if len(part) > 1:
            room[label] -= len(part)
            parts.append(part)
            kept.append(label)
    made = np.concatenate([*parts, np.array([start_id], dtype=stream.dtype)])
    return made, Labels.of_documents(made, start_id, kept)
