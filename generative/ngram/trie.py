"""The counts as a compact trie of contexts, pruned to a size, and the arrays that a query reads.

A node is a context; its children are one symbol longer, and farther in the past. Nodes are in level
order: the root, which is the empty context, first, then all of order 1. Siblings ascend by their
labels, so the children of a node are neighbours. Each node has its continuations: the symbols that
followed it, ascending, with quantised counts.

Probabilities are smoothed by interpolated absolute discounting. With n(c, x) the count of x after
context c, N(c) the sum over x, d the discount and c' the context without its farthest symbol:

    p(x | c) = max(n(c, x) - d, 0) / N(c) + (sum over x of min(n(c, x), d)) / N(c) * p(x | c')

Below the root p is uniform: over the alphabet where the trie is pruned, and over the vocabulary in
queries, which know it.

Sources: Ney, Essen & Kneser 1994, On Structuring Probabilistic Dependences in Stochastic Language
Modelling; Stolcke 1998, Entropy-based Pruning of Backoff Language Models.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from generative.ngram.counting import largest_order
from generative.ngram.records import (
    DISCOUNT,
    LARGEST_EXACT_COUNT,
    LEVELS,
    LEVELS_PER_OCTAVE,
    NO_SYMBOL,
    IndexedTrie,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from generative.ngram.counting import Counts, Table

MAX_ALPHABET = (1 << 16) - 1

_SYMBOL_TYPES = (np.uint8, np.uint16)
_MAX_ROWS = (1 << 31) - 1


def levels_of(counts: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The level whose count is nearest on a logarithmic scale, for counts of at least 1."""
    octaves = np.log2(np.maximum(counts, 1) / LARGEST_EXACT_COUNT)
    geometric = LARGEST_EXACT_COUNT + np.rint(LEVELS_PER_OCTAVE * octaves)
    levels = np.where(counts <= LARGEST_EXACT_COUNT, counts, np.minimum(geometric, 255))
    return levels.astype(np.uint8)


@dataclass(frozen=True, eq=False)
class CountTrie:
    """A trie of n contexts with E continuations, as it is stored.

    Attributes:
        alphabet: (A,) int32, the id that each symbol 1..A stands for, ascending.
        labels: (n - 1,) uint8 or uint16, the farthest symbol of each context but the root.
        child_counts: (n,) uint8 or uint16, the number of children of each node.
        next_counts: (n,) uint8 or uint16, the number of continuations of each node.
        next_symbols: (E,) uint8 or uint16, ascending for each node.
        next_levels: (E,) uint8, the quantised counts; see LEVELS.
    """

    alphabet: NDArray[np.int32]
    labels: NDArray[np.uint8] | NDArray[np.uint16]
    child_counts: NDArray[np.uint8] | NDArray[np.uint16]
    next_counts: NDArray[np.uint8] | NDArray[np.uint16]
    next_symbols: NDArray[np.uint8] | NDArray[np.uint16]
    next_levels: NDArray[np.uint8]

    @property
    def order(self) -> int:
        """The length of the longest contexts."""
        return _depth(_begins(self.child_counts, 1), _MAX_ROWS)

    @property
    def size_bytes(self) -> int:
        """The size as stored."""
        return sum(array.nbytes for array in self.to_arrays().values())

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays that `from_arrays` takes, by their names."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> CountTrie:
        """The trie of arrays that may come from a stranger.

        Raises:
            ValueError: They do not describe a trie.
        """
        _check_types(arrays)
        trie = cls(**arrays)
        _check_alphabet(trie)
        _check_nodes(trie)
        _check_continuations(trie)
        return trie


def index(trie: CountTrie, num_ids: int) -> IndexedTrie:
    """The arrays that a query of ids below `num_ids` reads."""
    symbols = np.full(num_ids, NO_SYMBOL, np.uint16)
    symbols[trie.alphabet] = np.arange(1, len(trie.alphabet) + 1)
    return IndexedTrie(
        ids=np.concatenate([np.array([-1], np.int32), trie.alphabet]),
        symbols=symbols,
        labels=np.concatenate([np.zeros(1, np.uint16), trie.labels], dtype=np.uint16),
        child_begin=_begins(trie.child_counts, 1),
        next_begin=_begins(trie.next_counts, 0),
        next_symbols=trie.next_symbols.astype(np.uint16),
        next_levels=trie.next_levels,
    )


# ---- pruning ----


@dataclass(frozen=True, eq=False)
class _Level:
    """All contexts of one order, before pruning.

    Attributes:
        firsts: (nodes + 1,) the first row of each context in the table, and the number of rows.
        parents: (nodes,) the index of the shorter context among those of its order, ascending.
        values: (nodes,) float64, the gain a byte: the largest one among a node and those below it.
        levels: (rows,) uint8, the quantised counts.
    """

    firsts: NDArray[np.int64]
    parents: NDArray[np.int64]
    values: NDArray[np.float64]
    levels: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.parents)


def build(counts: Counts, max_bytes: int) -> CountTrie:
    """The trie of at most `max_bytes` that predicts the counted stream best.

    The gain of a node is the log-likelihood that its counts gain over the shorter context. Nodes
    are kept by gain a byte, each with all its shorter contexts. The root is always kept.

    Raises:
        ValueError: The alphabet is too large.
    """
    size = len(counts.alphabet)
    if size > MAX_ALPHABET:
        raise ValueError(f"at most {MAX_ALPHABET} distinct ids can be counted, not {size}")
    width = 1 if size <= np.iinfo(np.uint8).max else 2
    levels = _levels(counts, width)
    kept = _kept(levels, width, max_bytes - 4 * size)
    return _assembled(counts, levels, kept)


def _node_bytes(next_counts: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """The most bytes of nodes: label and two numbers; symbol and level of each continuation."""
    return 3 * width + (width + 1) * next_counts


def _levels(counts: Counts, width: int) -> list[_Level]:
    """The contexts of all orders that have some, with their values."""
    levels: list[_Level] = []
    # Of each row of the shorter order: its probability and the index of its context.
    probabilities = np.zeros(0)
    nodes = np.zeros(0, dtype=np.int64)
    for k, table in enumerate(counts.tables):
        if not len(table):
            break
        firsts = _first_rows(table, counts.bits)
        next_counts = np.diff(firsts)
        if k:
            rows = _shorter_rows(table, counts.tables[k - 1], counts.bits)
            shorter = probabilities[rows]
            parents = nodes[rows[firsts[:-1]]]
        else:
            shorter = np.full(len(table), 1 / len(counts.alphabet))
            parents = np.zeros(1, dtype=np.int64)
        quantised = levels_of(table.counts)
        n = LEVELS[quantised].astype(np.float64)
        totals = np.add.reduceat(n, firsts[:-1])
        backoff = np.add.reduceat(np.minimum(n, DISCOUNT), firsts[:-1]) / totals
        nodes = np.repeat(np.arange(len(next_counts)), next_counts)
        probabilities = np.maximum(n - DISCOUNT, 0) / totals[nodes] + backoff[nodes] * shorter
        gains = np.add.reduceat(n * np.log(probabilities / shorter), firsts[:-1])
        levels.append(_Level(firsts, parents, gains / _node_bytes(next_counts, width), quantised))
    for shorter_level, level in zip(reversed(levels[:-1]), reversed(levels[1:]), strict=True):
        np.maximum.at(shorter_level.values, level.parents, level.values)
    return levels


def _first_rows(table: Table, bits: int) -> NDArray[np.int64]:
    """The first row of each context, and the number of rows."""
    contexts = table.keys >> np.uint64(bits)
    begins = np.flatnonzero(contexts[1:] != contexts[:-1]) + 1
    return np.concatenate([[0], begins, [len(table)]])


def _shorter_rows(table: Table, shorter: Table, bits: int) -> NDArray[np.int64]:
    """The row of the same next symbol after the shorter context, for each row of a table."""
    contexts = table.keys >> np.uint64(2 * bits)
    keys = (contexts << np.uint64(bits)) | (table.keys & np.uint64((1 << bits) - 1))
    return np.searchsorted(shorter.keys, keys)


def _kept(levels: list[_Level], width: int, max_bytes: int) -> list[NDArray[np.bool_]]:
    """Whether each context is kept, by levels."""
    values = np.concatenate([level.values for level in levels])
    sizes = np.concatenate([_node_bytes(np.diff(level.firsts), width) for level in levels])
    # The sort is stable and shorter contexts come first, so that none follows a longer one of its
    # own with the same value. The root has the largest value.
    best_first = np.argsort(-values, kind="stable")
    fitting = np.searchsorted(np.cumsum(sizes[best_first]), max_bytes, side="right")
    kept = np.zeros(len(values), dtype=np.bool_)
    kept[best_first[: max(int(fitting), 1)]] = True
    return np.split(kept, np.cumsum([len(level) for level in levels])[:-1])


def _assembled(counts: Counts, levels: list[_Level], kept: list[NDArray[np.bool_]]) -> CountTrie:
    """The trie of the contexts that are kept."""
    bits = np.uint64(counts.bits)
    mask = np.uint64((1 << counts.bits) - 1)
    labels, child_counts, next_counts, next_symbols, next_levels = [], [], [], [], []
    for k, (level, keep) in enumerate(zip(levels, kept, strict=True)):
        children = np.zeros(len(level), dtype=np.int64)
        if k + 1 < len(levels):
            children = np.bincount(levels[k + 1].parents[kept[k + 1]], minlength=len(level))
        child_counts.append(children[keep])
        lengths = np.diff(level.firsts)
        next_counts.append(lengths[keep])
        rows = np.repeat(keep, lengths)
        keys = counts.tables[k].keys
        next_symbols.append(keys[rows] & mask)
        next_levels.append(level.levels[rows])
        if k:
            labels.append(keys[level.firsts[:-1][keep]] >> bits & mask)
    return CountTrie(
        alphabet=counts.alphabet.astype(np.int32),
        labels=_narrow(np.concatenate([np.zeros(0, dtype=np.uint64), *labels])),
        child_counts=_narrow(np.concatenate(child_counts)),
        next_counts=_narrow(np.concatenate(next_counts)),
        next_symbols=_narrow(np.concatenate(next_symbols)),
        next_levels=np.concatenate(next_levels),
    )


def _narrow(values: NDArray[Any]) -> NDArray[Any]:
    """Values as the narrower type of symbols that holds them all."""
    largest = int(values.max(initial=0))
    return values.astype(np.uint8 if largest <= np.iinfo(np.uint8).max else np.uint16)


# ---- checks ----


def _begins(lengths: NDArray[Any], first: int) -> NDArray[np.int32]:
    """The begin of each of neighbouring groups, the first one at `first`, and the end of the last.

    >>> _begins(np.array([2, 0, 1]), 1)
    array([1, 3, 3, 4], dtype=int32)
    """
    begins = np.empty(len(lengths) + 1, dtype=np.int32)
    begins[0] = first
    np.cumsum(lengths, dtype=np.int32, out=begins[1:])
    begins[1:] += first
    return begins


def _depth(child_begin: NDArray[Any], most: int) -> int:
    """The number of levels below the root, counted up to `most`."""
    depth = 0
    end = 1  # of the nodes of a level, where the next level begins
    while child_begin[end] > end and depth < most:
        end = int(child_begin[end])
        depth += 1
    return depth


def _check_types(arrays: Mapping[str, NDArray[Any]]) -> None:
    names = {field.name for field in fields(CountTrie)}
    if set(arrays) != names:
        raise ValueError(f"a trie has the arrays {sorted(names)}, not {sorted(arrays)}")
    own = {"alphabet": (np.int32,), "next_levels": (np.uint8,)}
    for name, array in arrays.items():
        if array.ndim != 1 or array.dtype not in own.get(name, _SYMBOL_TYPES):
            raise ValueError(f"{name} must be a vector of small integers, not {array.dtype}")
        if len(array) > _MAX_ROWS:
            raise ValueError(f"{name} is too long")


def _check_alphabet(trie: CountTrie) -> None:
    alphabet = trie.alphabet
    if not 1 <= len(alphabet) <= MAX_ALPHABET:
        raise ValueError(f"the alphabet must have 1..{MAX_ALPHABET} ids, not {len(alphabet)}")
    if alphabet[0] < 0 or (alphabet[1:] <= alphabet[:-1]).any():
        raise ValueError("the alphabet must ascend from 0")


def _check_nodes(trie: CountTrie) -> None:
    nodes = len(trie.child_counts)
    if not nodes or len(trie.labels) != nodes - 1 or len(trie.next_counts) != nodes:
        raise ValueError("labels, child_counts and next_counts must be of one number of nodes")
    if int(trie.child_counts.sum(dtype=np.int64)) != nodes - 1:
        raise ValueError("child_counts must add up to the number of nodes without the root")
    child_begin = _begins(trie.child_counts, 1)
    if (child_begin[:-1] <= np.arange(nodes)).any():
        raise ValueError("child_counts must describe nodes in level order")
    most = largest_order(len(trie.alphabet))
    if _depth(child_begin, most + 1) > most:
        raise ValueError(f"contexts are longer than {most} symbols")
    _check_groups("labels", trie.labels, child_begin[:-1] - 1, len(trie.alphabet))


def _check_continuations(trie: CountTrie) -> None:
    if int(trie.next_counts.min()) < 1:
        raise ValueError("each node must have at least one continuation")
    rows = len(trie.next_symbols)
    if int(trie.next_counts.sum(dtype=np.int64)) != rows or len(trie.next_levels) != rows:
        raise ValueError("next_symbols and next_levels must be as many as next_counts add up to")
    if int(trie.next_levels.min()) < 1:
        raise ValueError("next_levels must be at least 1")
    begins = _begins(trie.next_counts, 0)[:-1]
    _check_groups("next_symbols", trie.next_symbols, begins, len(trie.alphabet))


def _check_groups(
    name: str, symbols: NDArray[Any], begins: NDArray[np.int32], alphabet_size: int
) -> None:
    """Refuse symbols outside of the alphabet, or groups that do not ascend strictly."""
    if not len(symbols):
        return
    if not 1 <= int(symbols.min()) <= int(symbols.max()) <= alphabet_size:
        raise ValueError(f"{name} must be in 1..{alphabet_size}")
    is_first = np.zeros(len(symbols), dtype=np.bool_)
    is_first[begins[begins < len(symbols)]] = True
    if not (is_first[1:] | (symbols[1:] > symbols[:-1])).all():
        raise ValueError(f"{name} must ascend within a node")
