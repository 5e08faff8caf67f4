"""A count model: static counts of a corpus, how they are mixed with a network, and its stored form.

It must not know networks, files or what tokens stand for.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from generative.ngram import history as histories
from generative.ngram.operations import INTERPRETED
from generative.ngram.records import NUM_MODELS, History, Tables, num_rows
from generative.ngram.scorer import ADAPTING, Learning, Scorer
from generative.ngram.symbols import NO_AXIS
from generative.ngram.trie import CountTrie, index

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

# How the mixture treats a document. "static": counts and weights are fixed. "cached": the document
# so far fills the cache, as in generation. "adaptive": the mixture's weights learn as well.
PROTOCOLS = ("static", "cached", "adaptive")
STATIC, CACHED, ADAPTIVE = PROTOCOLS
MAX_MIXTURE_WEIGHT = 64.0
_TRIE_PREFIX, _STATIC_NAME, _CACHED_NAME, _AXIS_NAME = "trie.", "static", "cached", "axis"
# The weights before any were fitted, whatever the context: network, static counts, cache.
FIRST_WEIGHTS = (0.7, 0.2, 0.1)


@dataclass(frozen=True)
class CountModel:
    """Count models of one corpus over a vocabulary of V ids.

    Attributes:
        trie: the counts.
        vocab_size: V.
        axis: ids whose symbols are steps, see `symbols`.
        static_weights: of the mixture without a cache. (F, NUM_MODELS)
        cached_weights: of the mixture with the cache. (F, NUM_MODELS)
        learnt: documents that every cache begins with, which an adapted model has read.
    """

    trie: CountTrie
    vocab_size: int
    axis: range
    static_weights: NDArray[np.float32]
    cached_weights: NDArray[np.float32]
    learnt: tuple[NDArray[np.int64], ...] = field(default=())

    @classmethod
    def untrained(cls, trie: CountTrie, vocab_size: int, axis: range = NO_AXIS) -> CountModel:
        """Counts with weights that were not fitted."""
        weights = np.zeros((num_rows(trie.order), NUM_MODELS), np.float32)
        weights[: trie.order + 1] = FIRST_WEIGHTS
        return cls(trie, vocab_size, axis, weights, weights.copy())

    @property
    def is_fitted(self) -> bool:
        """Whether the weights were fitted."""
        untrained = self.untrained(self.trie, self.vocab_size, self.axis)
        return not np.array_equal(self.cached_weights, untrained.cached_weights)

    @property
    def order(self) -> int:
        """The length of the longest context, K."""
        return self.trie.order

    @cached_property
    def _cached_tables(self) -> Tables:
        """The tables with a cache."""
        return Tables(
            is_on=True,
            trie=index(self.trie, _num_symbol_ids(self.vocab_size, self.axis)),
            known=self._known(),
            weights=self.cached_weights.astype(np.float32),
            order=self.order,
            vocab_size=self.vocab_size,
            axis_first=self.axis.start if self.axis else 0,
            axis_last=self.axis.stop - 1 if self.axis else -1,
            reads_cache=True,
            fills_cache=True,
        )

    def _known(self) -> NDArray[np.float32]:
        """1 for ids that occurred and those that steps on the axis may lead to, else 0. (V,)"""
        ids = self.trie.alphabet
        known = np.zeros(self.vocab_size, np.bool_)
        known[ids[ids < self.vocab_size]] = True
        if ids[-1] >= self.vocab_size:
            known[self.axis.start : self.axis.stop] = True
        return known.astype(np.float32)

    def tables(self, protocol: str) -> Tables:
        """The tables for one of `PROTOCOLS`.

        A static model that has read documents looks them up, but nothing is added to them.
        """
        if protocol != STATIC:
            return self._cached_tables
        if self.learnt:
            return self._cached_tables._replace(fills_cache=False)
        return self._cached_tables._replace(
            weights=self.static_weights.astype(np.float32), reads_cache=False, fills_cache=False
        )

    def start(self, protocol: str) -> History:
        """The history of one row before a document."""
        if self.learnt:
            return self._learnt_history
        return histories.start(self.tables(protocol), 1)

    @cached_property
    def _learnt_history(self) -> History:
        tables = self._cached_tables
        history = histories.copied(histories.start(tables, 1), sum(map(len, self.learnt)))
        for document in self.learnt:
            history = histories.restarted(tables, history)
            for token in document.tolist():
                INTERPRETED.append(tables, history, 0, token)
        return histories.restarted(tables, history)

    def scorer(self, protocol: str, learning: Learning | None = None) -> Scorer:
        """What scores a document under one of `PROTOCOLS`.

        learning: how the mixture's weights learn; None is as the protocol says.
        """
        if learning is None and protocol == ADAPTIVE:
            learning = ADAPTING
        return Scorer(self.tables(protocol), self.start(protocol), learning)

    def fitted(
        self, static_weights: NDArray[np.floating], cached_weights: NDArray[np.floating]
    ) -> CountModel:
        """The same counts with other weights. (F, NUM_MODELS) each"""
        return replace(
            self,
            static_weights=static_weights.astype(np.float32),
            cached_weights=cached_weights.astype(np.float32),
        )

    def adapted(self, document: Sequence[int]) -> CountModel:
        """A model whose caches begin with a document, its start token first, which it has read."""
        return replace(self, learnt=(*self.learnt, np.asarray(document, np.int64)))

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """What is stored, by name."""
        arrays = {_TRIE_PREFIX + name: array for name, array in self.trie.to_arrays().items()}
        ends = (self.axis.start, self.axis.stop) if self.axis else (0, 0)
        return {
            **arrays,
            _STATIC_NAME: self.static_weights,
            _CACHED_NAME: self.cached_weights,
            _AXIS_NAME: np.array(ends, np.int32),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]], vocab_size: int) -> CountModel:
        """The inverse of `to_arrays`, for arrays that may come from a stranger.

        Raises:
            ValueError: arrays that are missing, or do not describe a count model of V ids.
        """
        arrays = dict(arrays)
        try:
            static, cached, ends = (
                arrays.pop(name) for name in (_STATIC_NAME, _CACHED_NAME, _AXIS_NAME)
            )
        except KeyError as error:
            raise ValueError(f"the array {error} is missing") from None
        trie = CountTrie.from_arrays(
            {name.removeprefix(_TRIE_PREFIX): array for name, array in arrays.items()}
        )
        if ends.shape != (2,) or ends.dtype.kind != "i":
            raise ValueError("the axis is not given by two ids")
        axis = range(int(ends[0]), int(ends[1]))
        if not 0 <= axis.start <= axis.stop <= vocab_size:
            raise ValueError(f"the axis must lie within the {vocab_size} ids, not {axis}")
        symbols = _num_symbol_ids(vocab_size, axis)
        if int(trie.alphabet[-1]) >= symbols:
            raise ValueError(f"symbols must be below {symbols}, not {int(trie.alphabet[-1])}")
        for weights in (static, cached):
            if weights.shape != (num_rows(trie.order), NUM_MODELS) or weights.dtype.kind != "f":
                raise ValueError(
                    "the weights of the mixture have another shape: they are damaged, or another "
                    "version wrote them"
                )
            if not np.abs(weights).max() <= MAX_MIXTURE_WEIGHT:
                raise ValueError(f"a weight of the mixture is beyond {MAX_MIXTURE_WEIGHT}")
        return cls(trie, vocab_size, axis, static.astype(np.float32), cached.astype(np.float32))


def _num_symbol_ids(vocab_size: int, axis: range) -> int:
    """The number of ids and of steps between two ids of the axis."""
    return vocab_size + (2 * len(axis) - 1 if axis else 0)
