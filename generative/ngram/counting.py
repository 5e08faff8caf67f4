"""Counts of the symbols that follow each context in a stream of token ids, in bounded memory.

A symbol stands for an id: 1 + its index in the alphabet, which is the ids that occur, ascending.
Symbol 0 stands for places before the document. The k symbols of a context and the next symbol form
one key of 64 bits: the nearest symbol of the context in the most significant place, then the one
before it, the next symbol in the least significant place. Keys in ascending order are therefore
grouped by their contexts of every order. Keys are exact: nothing is hashed.

A running table for each order holds the counts. When one has too many rows, its rarest contexts are
taken out and go on in the table of the order below, without their farthest symbol. From then on,
contexts of this order are counted only in chunks of the stream that hold them several times;
elsewhere the longest of their shorter versions that may be counted is. This loses rare long
contexts, while short ones stay exact. The idea is that of lossy counting.

Source: Manku & Motwani 2002, Approximate Frequency Counts over Data Streams.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    Map = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]

KEY_BITS = 64
CHUNK_TOKENS = 1 << 20  # the tokens that are sorted at once
BLOCK_TOKENS = 1 << 16  # the tokens whose keys are built at once, in the processor's cache
BATCH_CHUNKS = 2  # the chunks that may be counted side by side
ROW_LIMIT = 1_000_000  # of the running table of one order
# Contexts of orders that have been pruned are counted if they occur so often in a chunk; a power
# of 2. More loses contexts; less fills the tables with contexts that do not come back.
FREQUENT = 4


class Stream(Protocol):
    """N ids: an array, or a file of which stretches are read."""

    def __len__(self) -> int:
        """N."""
        ...

    def __getitem__(self, stretch: slice, /) -> NDArray[np.integer]:
        """The ids of a stretch, its step 1."""
        ...


@dataclass(frozen=True, eq=False)
class Table:
    """The distinct pairs of a context of one order and the symbol after it.

    Attributes:
        keys: (rows,) uint64, strictly ascending.
        counts: (rows,) int64, the occurrences of each pair.
    """

    keys: NDArray[np.uint64]
    counts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True, eq=False)
class Counts:
    """The counts of a stream.

    Attributes:
        alphabet: (A,) int64, the ids that occur, ascending.
        bits: The width of a symbol in a key.
        tables: One for each order from 0. A key of order k has (k + 1) * bits bits. No context
            reaches beyond the start token of its document.
    """

    alphabet: NDArray[np.int64]
    bits: int
    tables: tuple[Table, ...]


class Alphabet:
    """The ids that occur in a stream, and the symbols that stand for them.

    Attributes:
        ids: (A,) int64, ascending.
        bits: The width of a symbol, so that symbols 0..A fit.
    """

    def __init__(self, ids: NDArray[np.int64]) -> None:
        self.ids = ids
        self.bits = len(ids).bit_length()
        self._symbols = np.zeros(int(ids[-1]) + 1, dtype=np.uint64)
        self._symbols[ids] = np.arange(1, len(ids) + 1, dtype=np.uint64)

    def symbols(self, ids: NDArray[np.integer]) -> NDArray[np.uint64]:
        """The symbols of ids, which are all in the alphabet, in the same shape."""
        symbols: NDArray[np.uint64] = self._symbols[ids]
        return symbols


def largest_order(alphabet_size: int) -> int:
    """The length of the longest context that fits into a key, beside the next symbol.

    >>> largest_order(66), largest_order(256)
    (8, 6)
    """
    return KEY_BITS // alphabet_size.bit_length() - 1


def count(
    stream: Stream,
    start_id: int,
    order: int,
    *,
    map: Map = map,  # noqa: A002 - it is called like the built-in function, and stands in for it
    row_limit: int = ROW_LIMIT,
    chunk_tokens: int = CHUNK_TOKENS,
) -> Counts:
    """Count what follows each context of up to `order` symbols.

    Args:
        stream: (N,) ids: a start token before every document and after the last one. All tokens
            but the first are predictions.
        start_id: The id of the start token.
        order: The length of the longest contexts.
        map: Applies a function to items and keeps their order, as the method of a pool of threads
            does. The result does not depend on it.
        row_limit: The rows of one order's running table beyond which rare contexts are taken out.
        chunk_tokens: The number of tokens that are sorted at once.

    Raises:
        ValueError: The stream does not begin with a start token, has no token after it or has
            negative ids; or the order does not fit into a key.
    """
    if len(stream) < 2 or int(stream[:1][0]) != start_id:
        raise ValueError(f"a stream needs start token {start_id} first, and tokens after it")
    alphabet = Alphabet(_distinct(stream, chunk_tokens, map))
    most = largest_order(len(alphabet.ids))
    if not 0 <= order <= most:
        raise ValueError(
            f"the order must be in 0..{most} with {len(alphabet.ids)} distinct ids, not {order}"
        )
    counter = _Counter(alphabet.bits, order, row_limit)
    begins = range(0, len(stream), chunk_tokens)
    for first in range(0, len(begins), BATCH_CHUNKS):
        batch = begins[first : first + BATCH_CHUNKS]
        tables_of = partial(
            _chunk_tables, stream, start_id, alphabet, chunk_tokens, order, counter.exact_order
        )
        counter.add(list(map(tables_of, batch)), map)
    return Counts(alphabet.ids, alphabet.bits, counter.all_orders())


def _distinct(stream: Stream, chunk_tokens: int, map_: Map) -> NDArray[np.int64]:
    """The distinct ids of a stream, ascending."""
    # Chunks are read by the workers: `map_` may take all items before it works on the first.
    begins = range(0, len(stream), chunk_tokens)
    occurs = np.zeros(0, dtype=np.bool_)
    for in_chunk in map_(partial(_occurring, stream, chunk_tokens), begins):
        size = max(len(occurs), len(in_chunk))
        occurs = np.pad(occurs, (0, size - len(occurs)))
        occurs[: len(in_chunk)] |= in_chunk
    return np.flatnonzero(occurs)


def _occurring(stream: Stream, chunk_tokens: int, begin: int) -> NDArray[np.bool_]:
    """Id -> whether it occurs in a chunk, up to the largest one."""
    ids = stream[begin : begin + chunk_tokens]
    if ids.min() < 0:
        raise ValueError(f"ids must be at least 0, not {ids.min()}")
    occurs = np.zeros(int(ids.max()) + 1, dtype=np.bool_)
    occurs[ids] = True
    return occurs


# ---- one chunk ----


def _chunk_tables(
    stream: Stream,
    start_id: int,
    alphabet: Alphabet,
    chunk_tokens: int,
    order: int,
    exact_order: int,
    begin: int,
) -> list[Table]:
    """The table of each order; each prediction of the chunk is a count in exactly one of them."""
    keys = _chunk_keys(stream, start_id, alphabet, order, begin, begin + chunk_tokens)
    keys.sort()
    tables = [_EMPTY] * (order + 1)
    if exact_order == order:
        tables[order] = _run_lengths(keys)
        return tables
    orders = _orders(keys, order, exact_order, alphabet.bits)
    for k in range(exact_order, order + 1):
        rows = keys[orders == k]
        if k < order:
            rows = _without_farthest(rows, order - k, alphabet.bits)
            rows.sort(kind="stable")  # It uses that contexts are in order.
        tables[k] = _run_lengths(rows)
    return tables


def _chunk_keys(
    stream: Stream,
    start_id: int,
    alphabet: Alphabet,
    order: int,
    begin: int,
    end: int,
) -> NDArray[np.uint64]:
    """The keys of the predictions among tokens begin..end. -> (end - begin,), or one less at 0."""
    [start_symbol] = alphabet.symbols(np.array([start_id]))
    begin, end = max(begin, 1), min(end, len(stream))
    keys = np.empty(end - begin, dtype=np.uint64)
    for at in range(begin, end, BLOCK_TOKENS):
        stop = min(at + BLOCK_TOKENS, end)
        read_from = max(at - max(order, 1), 0)
        symbols = alphabet.symbols(stream[read_from:stop])
        block = _keys(symbols, start_symbol, order, alphabet.bits)
        keys[at - begin : stop - begin] = block[at - read_from - 1 :]
    return keys


def _keys(
    symbols: NDArray[np.uint64], start_symbol: np.uint64, order: int, bits: int
) -> NDArray[np.uint64]:
    """The key of each symbol but the first, with `order` symbols of context. (N,) -> (N - 1,)

    The context is 0 beyond the start token of the document.
    """
    keys = (_windows(symbols[:-1], order, bits) << np.uint64(bits)) | symbols[1:]
    starts = np.flatnonzero(symbols[:-1] == start_symbol)
    for distance in range(1, order):
        # The start token is the last of so many symbols of context that these keys may keep.
        near = starts + (distance - 1)
        beyond = ((1 << (order - distance) * bits) - 1) << bits
        keys[near[near < len(keys)]] &= np.uint64(~beyond & ((1 << KEY_BITS) - 1))
    return keys


def _windows(symbols: NDArray[np.uint64], length: int, bits: int) -> NDArray[np.uint64]:
    """The last `length` symbols up to each place, the nearest one most significant. (N,) -> (N,)

    A window is put together from two of half the length.
    """
    if length <= 1:
        return symbols if length else np.zeros_like(symbols)
    far_length = length // 2
    near_length = length - far_length
    far = _windows(symbols, far_length, bits)
    near = far if near_length == far_length else _windows(symbols, near_length, bits)
    windows = near << np.uint64(far_length * bits)
    windows[near_length:] |= far[:-near_length]
    return windows


def _orders(keys: NDArray[np.uint64], order: int, exact_order: int, bits: int) -> NDArray[np.uint8]:
    """The order in whose table each of the sorted keys is counted. (N,) -> (N,)

    It is the largest one whose context occurs often enough among the keys, and at least the order
    up to which counts are exact.
    """
    orders = np.full(len(keys), exact_order, dtype=np.uint8)
    if len(keys) < FREQUENT:
        return orders
    # The highest bit in which the first and the last of FREQUENT neighbours differ says how much
    # context they share. The minimum is taken over all such groups that a key belongs to.
    differing = np.full(len(keys), (1 << KEY_BITS) - 1, dtype=np.uint64)
    apart = FREQUENT - 1
    np.bitwise_xor(keys[apart:], keys[:-apart], out=differing[: len(keys) - apart])
    reach = 1
    while reach < FREQUENT:
        np.minimum(differing[reach:], differing[:-reach], out=differing[reach:])
        reach *= 2
    for k in range(exact_order + 1, order + 1):
        orders += differing < np.uint64(1 << (order - k + 1) * bits)
    return orders


# ---- tables ----

_EMPTY = Table(np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int64))


def _run_starts(values: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The index of the first of each run of equal values."""
    differs = np.ones(len(values), dtype=np.bool_)
    np.not_equal(values[1:], values[:-1], out=differs[1:])
    return np.flatnonzero(differs)


def _run_lengths(keys: NDArray[np.uint64]) -> Table:
    """The table of sorted keys."""
    firsts = _run_starts(keys)
    return Table(keys[firsts], np.diff(firsts, append=len(keys)))


def _without_farthest(keys: NDArray[np.uint64], symbols: int, bits: int) -> NDArray[np.uint64]:
    """Keys whose contexts lack their farthest `symbols`."""
    contexts = keys >> np.uint64((symbols + 1) * bits)
    return (contexts << np.uint64(bits)) | (keys & np.uint64((1 << bits) - 1))


def _truncated(table: Table, bits: int) -> Table:
    """The counts of contexts without their farthest symbol."""
    if not len(table):
        return _EMPTY
    keys = _without_farthest(table.keys, 1, bits)
    by_key = np.argsort(keys, kind="stable")  # It is fast, since contexts are in order.
    keys = keys[by_key]
    firsts = _run_starts(keys)
    return Table(keys[firsts], np.add.reduceat(table.counts[by_key], firsts))


def _merged(one: Table, other: Table) -> Table:
    """The sum of two tables: the rows of the shorter one are looked up in the longer one."""
    long, short = (one, other) if len(one) >= len(other) else (other, one)
    if not len(short):
        return long
    at = np.searchsorted(long.keys, short.keys)
    is_new = long.keys[np.minimum(at, len(long) - 1)] != short.keys
    # Each new row goes before the row that it was looked up at, and moves that one back.
    at += np.cumsum(is_new) - is_new
    is_old = np.ones(len(long) + int(is_new.sum()), dtype=np.bool_)
    is_old[at[is_new]] = False
    keys = np.empty(len(is_old), dtype=np.uint64)
    keys[is_old] = long.keys
    keys[at] = short.keys
    counts = np.zeros(len(is_old), dtype=np.int64)
    counts[is_old] = long.counts
    counts[at] += short.counts
    return Table(keys, counts)


class _Counter:
    """The running tables of all orders; each prediction is a count in exactly one of them.

    Attributes:
        exact_order: The largest order whose table, and those of all orders below it, have not been
            pruned; the contexts of the next chunks are counted up to it in any case.
    """

    def __init__(self, bits: int, order: int, row_limit: int) -> None:
        self.exact_order = order
        self._bits = bits
        self._row_limit = row_limit
        self._tables = [_EMPTY] * (order + 1)

    def add(self, chunks: list[list[Table]], map_: Map) -> None:
        """Add the tables of chunks, and shorten tables that have become too long."""
        orders = range(len(self._tables))
        for _ in map_(partial(self._add_order, chunks), orders):
            pass
        long = [k for k in orders if k and len(self._tables[k]) > self._row_limit]
        if not long:
            return
        for k, rest in zip(long, list(map_(self._shorten, long)), strict=True):
            self._tables[k - 1] = _merged(self._tables[k - 1], rest)
        self.exact_order = min(self.exact_order, min(long) - 1)

    def _add_order(self, chunks: list[list[Table]], order: int) -> None:
        """Add the tables of one order, and forget those of the chunks."""
        short = _EMPTY
        for tables in chunks:
            short = _merged(short, tables[order])
            tables[order] = _EMPTY
        self._tables[order] = _merged(self._tables[order], short)

    def _shorten(self, order: int) -> Table:
        """Take rare contexts out of a table. -> their truncated counts

        All contexts below a number of occurrences are taken out, each of them whole.
        """
        table = self._tables[order]
        firsts = _run_starts(table.keys >> np.uint64(self._bits))
        lengths = np.diff(firsts, append=len(table))
        occurrences = np.add.reduceat(table.counts, firsts)
        least = 2
        while lengths[occurrences >= least].sum() > self._row_limit // 2:
            least *= 2
        kept = np.repeat(occurrences >= least, lengths)
        self._tables[order] = Table(table.keys[kept], table.counts[kept])
        return _truncated(Table(table.keys[~kept], table.counts[~kept]), self._bits)

    def all_orders(self) -> tuple[Table, ...]:
        """The counts of contexts of each order: its own and those of longer contexts."""
        tables: list[Table] = []
        longer = _EMPTY
        for k in reversed(range(len(self._tables))):
            longer = _merged(self._tables[k], _truncated(longer, self._bits))
            self._tables[k] = _EMPTY
            farthest = longer.keys >> np.uint64(self._bits) & np.uint64((1 << self._bits) - 1)
            complete = farthest > 0 if k else np.ones(len(longer), dtype=np.bool_)
            tables.append(Table(longer.keys[complete], longer.counts[complete]))
        return tuple(reversed(tables))
