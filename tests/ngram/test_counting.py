"""Counts of contexts: a worked example, brute force, and what pruning while counting may lose."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from generative.ngram import counting
from generative.ngram.counting import Counts, count, largest_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

START = 7
Rows = dict[tuple[int, ...], int]  # (context in the order of the stream, next) -> count


def rows_of(counts: Counts, order: int) -> Rows:
    """The rows of a table, unpacked."""
    table = counts.tables[order]
    rows: Rows = {}
    for key, number in zip(table.keys.tolist(), table.counts.tolist(), strict=True):
        symbols = [
            key >> place * counts.bits & ((1 << counts.bits) - 1)
            for place in reversed(range(order + 1))
        ]
        *context, following = (int(counts.alphabet[symbol - 1]) for symbol in symbols)
        rows[*reversed(context), following] = number
    assert len(rows) == len(table.keys)
    return rows


def brute_force(stream: list[int], order: int) -> Rows:
    """The rows of a table: contexts may begin with a start token, but have none inside."""
    rows: Counter[tuple[int, ...]] = Counter()
    for at in range(max(order, 1), len(stream)):
        context = tuple(stream[at - order : at])
        if START not in context[1:]:
            rows[*context, stream[at]] += 1
    return dict(rows)


def streams(largest_id: int = 9, size: int = 60) -> st.SearchStrategy[list[int]]:
    ids = st.integers(0, largest_id) | st.sampled_from([1, 2, START])
    return st.lists(ids, max_size=size).map(lambda inner: [START, *inner, START])


def random_stream(tokens: int, *, seed: int = 0) -> list[int]:
    """Documents of skewed letters, in which contexts repeat."""
    rng = np.random.default_rng(seed)
    letters = np.minimum(rng.geometric(0.4, tokens), 6)
    letters[rng.random(tokens) < 0.01] = START
    return [START, *letters.tolist(), START]


def test_a_worked_example() -> None:
    # two documents, "abab" and "b", of a = 3 and b = 5
    stream = np.array([7, 3, 5, 3, 5, 7, 5, 7])
    counts = count(stream, START, 2)
    assert counts.alphabet.tolist() == [3, 5, 7]
    assert counts.bits == 2
    assert rows_of(counts, 0) == {(3,): 2, (5,): 3, (7,): 2}
    assert rows_of(counts, 1) == {(7, 3): 1, (3, 5): 2, (5, 3): 1, (5, 7): 2, (7, 5): 1}
    assert rows_of(counts, 2) == {
        (7, 3, 5): 1,
        (3, 5, 3): 1,
        (5, 3, 5): 1,
        (3, 5, 7): 1,
        (7, 5, 7): 1,
    }


def test_a_key_has_the_nearest_symbol_of_the_context_first() -> None:
    counts = count(np.array([7, 3, 5, 7]), START, 2)
    # symbols: a 1, b 2, start 3; contexts "start a" before b and "a b" before start
    assert counts.tables[2].keys.tolist() == [1 << 4 | 3 << 2 | 2, 2 << 4 | 1 << 2 | 3]


@pytest.mark.parametrize(
    ("alphabet", "order"), [(1, 63), (3, 31), (4, 20), (66, 8), (255, 7), (256, 6), (65535, 3)]
)
def test_the_largest_order_fills_a_key(alphabet: int, order: int) -> None:
    assert largest_order(alphabet) == order


@settings(deadline=None)
@given(stream=streams(), order=st.integers(0, 15), chunk=st.integers(1, 70))
def test_counts_are_those_of_brute_force(stream: list[int], order: int, chunk: int) -> None:
    most = largest_order(len(set(stream)))
    order = min(order, most)
    counts = count(np.array(stream, dtype=np.uint16), START, order, chunk_tokens=chunk)
    assert len(counts.tables) == order + 1
    for k, table in enumerate(counts.tables):
        assert rows_of(counts, k) == brute_force(stream, k)
        assert (np.diff(table.keys.astype(object)) > 0).all()
        assert table.keys.dtype == np.uint64
        assert table.counts.dtype == np.int64


@pytest.mark.parametrize("block", [1, 5, 64])
def test_blocks_of_a_chunk_join(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "BLOCK_TOKENS", block)
    stream = random_stream(300)
    counts = count(np.array(stream), START, 5, chunk_tokens=100)
    for k in range(6):
        assert rows_of(counts, k) == brute_force(stream, k)


def test_a_key_may_have_all_64_bits() -> None:
    stream = [START, *range(8, 8 + 14), 9, 8, START]  # 15 ids, 4 bits, order 15
    counts = count(np.array(stream), START, 15)
    assert rows_of(counts, 15) == brute_force(stream, 15)
    assert int(counts.tables[15].keys.max()) >> 60


def pruned(stream: list[int], order: int, limit: int, chunk: int = 500) -> Counts:
    return count(np.array(stream), START, order, row_limit=limit, chunk_tokens=chunk)


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 1000),
    limit=st.integers(1, 300),
    chunk=st.sampled_from([50, 500, 2000]),
)
def test_pruned_counts_are_at_most_the_exact_ones(seed: int, limit: int, chunk: int) -> None:
    stream = random_stream(5000, seed=seed)
    counts = pruned(stream, 6, limit, chunk)
    assert rows_of(counts, 0) == brute_force(stream, 0)
    for k in range(7):
        rows, exact = rows_of(counts, k), brute_force(stream, k)
        assert all(0 < rows[row] <= exact.get(row, 0) for row in rows)
    for k in range(1, 7):
        shorter: Counter[tuple[int, ...]] = Counter()
        for row, number in rows_of(counts, k).items():
            shorter[row[1:]] += number
        below = rows_of(counts, k - 1)
        assert all(number <= below[row] for row, number in shorter.items())


def test_pruning_loses_long_contexts_first() -> None:
    stream = random_stream(20_000)
    limit = 300
    counts = pruned(stream, 6, limit, chunk=2000)
    exact = [brute_force(stream, k) for k in range(7)]
    # A table whose exact rows fit is never pruned, since what it holds are some of these.
    for k in range(4):
        if len(exact[k]) <= limit:
            assert rows_of(counts, k) == exact[k]
    assert len(exact[2]) <= limit < len(exact[6])
    totals = [int(table.counts.sum()) for table in counts.tables]
    assert totals == sorted(totals, reverse=True)
    assert totals[6] < sum(exact[6].values())
    assert all(len(table.keys) < 4 * limit for table in counts.tables)
    # The most frequent long context is still there, with most of its occurrences.
    often = max(exact[5], key=lambda row: exact[5][row])
    assert rows_of(counts, 5)[often] > exact[5][often] / 2


@given(st.lists(st.integers(0, 255), max_size=60), st.integers(0, 3))
@example([0, 0, 0, 16], 0)  # They differ in the lowest bit of a context only.
def test_a_key_counts_at_the_longest_context_that_is_frequent(
    keys: list[int], exact_order: int
) -> None:
    # 3 symbols of context and the next one, 2 bits each
    keys.sort()
    expected = []
    for key in keys:
        frequent = [
            k
            for k in range(4)
            if k <= exact_order
            or sum(other >> 2 * (4 - k) == key >> 2 * (4 - k) for other in keys)
            >= counting.FREQUENT
        ]
        expected.append(max(frequent))
    orders = counting._orders(np.array(keys, dtype=np.uint64), 3, exact_order, 2)
    assert orders.tolist() == expected


def test_contexts_are_taken_out_whole() -> None:
    # In one chunk, a context of order 1 occurs as often as all that follows it.
    stream = random_stream(3000)
    counts = pruned(stream, 4, 100, chunk=5000)
    exact = brute_force(stream, 4)
    rows = rows_of(counts, 4)
    assert 0 < len(rows) < len(exact)
    contexts = {row[:-1] for row in rows}
    assert rows == {row: number for row, number in exact.items() if row[:-1] in contexts}


class WatchedStream:
    """A stream that knows how many of its ids were read."""

    def __init__(self, ids: list[int]) -> None:
        self.ids = np.array(ids)
        self.tokens_read = 0

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, stretch: slice) -> NDArray[np.integer]:
        self.tokens_read += len(self.ids[stretch])
        return self.ids[stretch]


def test_a_map_that_takes_all_items_first_does_not_read_the_stream_by_it() -> None:
    stream = WatchedStream(random_stream(20_000))

    def eager(function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        before = stream.tokens_read
        taken = list(items)
        assert stream.tokens_read == before
        return [function(item) for item in taken]

    counts = count(stream, START, 2, chunk_tokens=700, map=eager)
    assert stream.tokens_read > 2 * len(stream)
    assert rows_of(counts, 2) == brute_force(stream.ids.tolist(), 2)


@pytest.mark.parametrize("limit", [150, 10**6])
def test_threads_change_nothing(limit: int) -> None:
    stream = np.array(random_stream(20_000))
    alone = count(stream, START, 6, row_limit=limit, chunk_tokens=700)
    with ThreadPoolExecutor(3) as pool:
        shared = count(stream, START, 6, row_limit=limit, chunk_tokens=700, map=pool.map)
    for one, other in zip(alone.tables, shared.tables, strict=True):
        np.testing.assert_array_equal(one.keys, other.keys)
        np.testing.assert_array_equal(one.counts, other.counts)


@pytest.mark.parametrize(
    ("stream", "order", "message"),
    [
        ([], 1, "start token"),
        ([START], 1, "start token"),
        ([1, START], 1, "start token"),
        ([START, -1, START], 1, "at least 0"),
        ([START, 1, START], 32, r"0\.\.31"),
        ([START, 1, START], -1, r"0\.\.31"),
    ],
)
def test_what_cannot_be_counted(stream: list[int], order: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        count(np.array(stream, dtype=np.int64), START, order)
