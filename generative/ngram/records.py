"""The records that the operations of count models work on, and the sizes that they are made of.

It must not know what is done with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# These constants define what the weights of a stored model mean: changing one of them makes a new
# format of checkpoints.
# Positions that agree in their last so many tokens form a chain, longest first. With one chain for
# short agreements alone, those of a repetitive document fill it and hide a long one far back.
CHAIN_LENGTHS = (12, 3)
# Agreements are told apart by these numbers of tokens. The least is that of the shortest chain.
MATCH_LENGTHS = (3, 4, 5, 6, 8, 12, 16, 24, 32, 64, 128, 256, 512)
# The discount of the counts at each of them. What follows a long agreement is more certain.
MATCH_DISCOUNTS = tuple(0.4 if length < 8 else 0.1 for length in MATCH_LENGTHS)
# How far back the latest of the longest agreements is, told apart by these numbers of tokens.
DISTANCES = (8, 16, 32, 64, 128, 256, 512, 1024)
# Of the candidates that agree so far only the latest is compared further back.
LONG_MATCH = 32
CHAIN_CANDIDATES = 32  # At most so many of the latest candidates of a chain are counted.
CANDIDATES = CHAIN_CANDIDATES * len(CHAIN_LENGTHS)
DISCOUNT = 0.65  # of the static counts
LARGEST_EXACT_COUNT = 16
LEVELS_PER_OCTAVE = 8
# level -> count: exact up to the largest exact count, then geometric
LEVELS = np.arange(256, dtype=np.float32)
LEVELS[LARGEST_EXACT_COUNT:] = LARGEST_EXACT_COUNT * np.exp2(
    np.arange(256 - LARGEST_EXACT_COUNT) / LEVELS_PER_OCTAVE
)
MAX_TYPES = 5  # More continuations of a context are not told apart.
NUM_MODELS = 3  # The network, the static counts and the cache.
LEAST_P = 1e-9  # The static counts give every token at least this probability.
LEAST_TOTAL = 1e-30  # The tokens that occurred have this probability together, at the least.
LEAST_LOGIT = -1e30  # below every number that a mixture may come to

# Positions of a chain that are looked at, other contexts included.
MAX_STEPS = 4 * CHAIN_CANDIDATES
MAX_HISTORY = 1 << 18  # Tokens of a document in the cache; a longer one loses its older half.
HEADS = 1 << 12  # Chains of one length; several contexts may share one.
NO_SYMBOL = 0  # stands before the first token of a document, and for ids that never occurred
END = -1  # ends a chain


class IndexedTrie(NamedTuple):
    """A trie of n contexts with E continuations over A symbols, as a query reads it.

    Attributes:
        ids: (A + 1,) int32, the id of each symbol; symbol 0 has none.
        symbols: the symbol of each id; NO_SYMBOL where it never occurred. uint16
        labels: (n,) uint16, the farthest symbol of each context, ascending among siblings; 0 at
            the root.
        child_begin: (n + 1,) int32; child_begin[v]..child_begin[v + 1] are the children of v.
        next_begin: (n + 1,) int32, the same for continuations.
        next_symbols: (E,) uint16, ascending for each node.
        next_levels: (E,) uint8, the quantised counts; see LEVELS.
    """

    ids: NDArray[np.int32]
    symbols: NDArray[np.uint16]
    labels: NDArray[np.uint16]
    child_begin: NDArray[np.int32]
    next_begin: NDArray[np.int32]
    next_symbols: NDArray[np.uint16]
    next_levels: NDArray[np.uint8]


class Tables(NamedTuple):
    """A count model as it is read at each token. Order K, vocabulary V.

    Attributes:
        is_on: whether there is a count model; if not, everything else is empty.
        trie: the static counts.
        known: 1 for ids that occurred or that steps on the axis may lead to, else 0. (V,) float32
        weights: of the mixture, see `num_rows`. (F, NUM_MODELS) float32
        order: the longest context, K.
        vocab_size: V.
        axis_first, axis_last: the ids of the augmentation axis; without one the first is greater.
        reads_cache: whether the cache is looked at.
        fills_cache: whether tokens that are read enter the cache.
    """

    is_on: bool
    trie: IndexedTrie
    known: NDArray[np.float32]
    weights: NDArray[np.float32]
    order: int
    vocab_size: int
    axis_first: int
    axis_last: int
    reads_cache: bool
    fills_cache: bool


class History(NamedTuple):
    """What was read of B documents. The operations edit it in place.

    Attributes:
        tokens: the ids of each document in a row with room for more. (B, C) int32
        links: for each of CHAIN_LENGTHS and each position the one before it in its chain.
            (B, len(CHAIN_LENGTHS), C) int32
        heads: the latest position of each chain. (B, len(CHAIN_LENGTHS), HEADS) int32
        length: the number of tokens in each row. (B,) int64
        recent: the last K symbols of each document, the latest first. (B, K) int32
        reference: the last id of the augmentation axis. (B,) int32
    """

    tokens: NDArray[np.int32]
    links: NDArray[np.int32]
    heads: NDArray[np.int32]
    length: NDArray[np.int64]
    recent: NDArray[np.int32]
    reference: NDArray[np.int32]


class Scratch(NamedTuple):
    """Arrays that `predict` needs besides its results; `counts` is zero between calls.

    Attributes:
        static_p: (V,) float32
        counts: (V,) float32
        cache_p: (V,) float32
        path: the contexts from the root on. (K + 1,) int32
        ids, lengths, distances: what followed at each candidate, its agreement, and how many tokens
            back it is. (CANDIDATES,) int32
    """

    static_p: NDArray[np.float32]
    counts: NDArray[np.float32]
    cache_p: NDArray[np.float32]
    path: NDArray[np.int32]
    ids: NDArray[np.int32]
    lengths: NDArray[np.int32]
    distances: NDArray[np.int32]


def num_rows(order: int) -> int:
    """The rows of the weights, F: one an order, a number of types, an agreement and a distance."""
    distances = 1 + 2 * (1 + len(DISTANCES))
    return (order + 1) + MAX_TYPES + (1 + len(MATCH_LENGTHS)) + distances


def middle(axis_first: int, axis_last: int) -> int:
    """The reference of the first step of a document on an axis, which has no id before it."""
    return (axis_first + axis_last) // 2


def make_scratch(vocab_size: int, order: int) -> Scratch:
    """Scratch arrays for a model of this size."""
    return Scratch(
        static_p=np.zeros(vocab_size, np.float32),
        counts=np.zeros(vocab_size, np.float32),
        cache_p=np.zeros(vocab_size, np.float32),
        path=np.zeros(order + 1, np.int32),
        ids=np.zeros(CANDIDATES, np.int32),
        lengths=np.zeros(CANDIDATES, np.int32),
        distances=np.zeros(CANDIDATES, np.int32),
    )


_NONE = np.zeros(0, np.int32)
_NO_SYMBOLS = np.zeros(0, np.uint16)
NO_COUNTS = Tables(
    is_on=False,
    trie=IndexedTrie(
        ids=_NONE,
        symbols=_NO_SYMBOLS,
        labels=_NO_SYMBOLS,
        child_begin=_NONE,
        next_begin=_NONE,
        next_symbols=_NO_SYMBOLS,
        next_levels=np.zeros(0, np.uint8),
    ),
    known=np.zeros(0, np.float32),
    weights=np.zeros((0, NUM_MODELS), np.float32),
    order=0,
    vocab_size=0,
    axis_first=0,
    axis_last=-1,
    reads_cache=False,
    fills_cache=False,
)
