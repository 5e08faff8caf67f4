"""The trie of counts: levels, a worked example, distributions, pruning, and damaged arrays."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generative.ngram.counting import count
from generative.ngram.records import DISCOUNT, LEVELS, NO_SYMBOL
from generative.ngram.trie import CountTrie, build, index, levels_of
from tests.ngram.test_counting import START, brute_force, random_stream, streams

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from generative.ngram.records import IndexedTrie

VOCAB = 12
PLENTY = 1 << 30  # bytes


def trie_of(stream: list[int], order: int, max_bytes: int = PLENTY) -> CountTrie:
    return build(count(np.array(stream), START, order), max_bytes)


def path(trie: IndexedTrie, history: list[int]) -> list[int]:
    """The nodes of the contexts of a history, the root first."""
    nodes = [0]
    for token in reversed(history):
        symbol = trie.symbols[token]
        children = range(trie.child_begin[nodes[-1]], trie.child_begin[nodes[-1] + 1])
        found = [node for node in children if trie.labels[node] == symbol != NO_SYMBOL]
        if not found:
            break
        nodes += found
    return nodes


def distribution(trie: IndexedTrie, history: list[int]) -> NDArray[np.float64]:
    """The probability of each id after a history."""
    p = np.full(VOCAB, 1 / VOCAB)
    for node in path(trie, history):
        rows = slice(trie.next_begin[node], trie.next_begin[node + 1])
        counts = LEVELS[trie.next_levels[rows]]
        p *= float(DISCOUNT * len(counts) / counts.sum())
        p[trie.ids[trie.next_symbols[rows]]] += (counts - DISCOUNT) / counts.sum()
    return p


def contexts_of(trie: IndexedTrie) -> list[tuple[int, ...]]:
    """The context of each node, in the order of the stream."""
    contexts: list[tuple[int, ...]] = [()] * len(trie.labels)
    for node in range(len(trie.labels)):
        for child in range(trie.child_begin[node], trie.child_begin[node + 1]):
            contexts[child] = (int(trie.ids[trie.labels[child]]), *contexts[node])
    return contexts


# ---- levels ----


def test_small_counts_are_exact() -> None:
    numbers = np.arange(1, 17)
    assert levels_of(numbers).tolist() == numbers.tolist()
    assert LEVELS[:17].tolist() == list(range(17))


@pytest.mark.parametrize(("number", "level"), [(17, 17), (18, 17), (19, 18), (32, 24), (64, 32)])
def test_an_octave_has_eight_levels(number: int, level: int) -> None:
    assert levels_of(np.array([number])).tolist() == [level]


@given(st.integers(1, 1 << 33))
def test_levels_are_near_their_counts(number: int) -> None:
    [level] = levels_of(np.array([number]))
    assert abs(math.log2(float(LEVELS[level]) / number)) <= 1 / 16 + 1e-6


# ---- building ----


def test_a_worked_example() -> None:
    # two documents, "abab" and "b", of a = 3 and b = 5
    trie = trie_of([7, 3, 5, 3, 5, 7, 5, 7], 1)
    assert trie.alphabet.tolist() == [3, 5, 7]
    assert trie.labels.tolist() == [1, 2, 3]
    assert trie.child_counts.tolist() == [3, 0, 0, 0]
    assert trie.next_counts.tolist() == [3, 1, 2, 2]
    assert trie.next_symbols.tolist() == [1, 2, 3, 2, 1, 3, 1, 2]
    assert trie.next_levels.tolist() == [2, 3, 2, 2, 1, 2, 1, 1]
    assert trie.order == 1
    assert trie.size_bytes == 3 * 4 + 3 + 4 + 4 + 8 + 8
    indexed = index(trie, VOCAB)
    assert indexed.ids.tolist() == [-1, 3, 5, 7]
    assert [indexed.symbols[token] for token in (0, 3, 4, 5, 7)] == [NO_SYMBOL, 1, NO_SYMBOL, 2, 3]
    assert indexed.labels.tolist() == [0, 1, 2, 3]
    assert indexed.child_begin.tolist() == [1, 4, 4, 4, 4]
    assert indexed.next_begin.tolist() == [0, 3, 4, 6, 8]
    # p(b | a), from the formula
    p = 1.35 / 2 + 0.65 / 2 * (2.35 / 7 + 1.95 / 7 / VOCAB)
    assert distribution(indexed, [3])[5] == pytest.approx(p)


@settings(deadline=None)
@given(streams(), st.integers(0, 5))
def test_an_unpruned_trie_has_all_counts(stream: list[int], order: int) -> None:
    trie = trie_of(stream, order)
    indexed = index(trie, VOCAB)
    found: dict[tuple[int, ...], int] = {}
    for node, context in enumerate(contexts_of(indexed)):
        for row in range(indexed.next_begin[node], indexed.next_begin[node + 1]):
            token = int(indexed.ids[indexed.next_symbols[row]])
            found[*context, token] = round(float(LEVELS[indexed.next_levels[row]]))
    exact = {row: n for k in range(order + 1) for row, n in brute_force(stream, k).items()}
    assert set(found) == set(exact)
    assert all(found[row] == n for row, n in exact.items() if n <= 16)


@settings(deadline=None)
@given(streams(), st.integers(0, 5), st.integers(0, 400), st.lists(st.integers(0, 11), max_size=7))
def test_distributions_are_positive_and_sum_to_1(
    stream: list[int], order: int, max_bytes: int, history: list[int]
) -> None:
    p = distribution(index(trie_of(stream, order, max_bytes), VOCAB), history)
    assert (p > 0).all()
    assert p.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("max_bytes", [0, 100, 400, 1000, 4000])
def test_the_budget_is_kept_and_filled(max_bytes: int) -> None:
    stream = random_stream(3000)
    whole = trie_of(stream, 5)
    trie = trie_of(stream, 5, max_bytes)
    assert whole.size_bytes > 8000
    root_bytes = 4 * len(trie.alphabet) + 3 + 2 * len(trie.alphabet)
    largest_node = 3 + 2 * len(trie.alphabet)
    assert trie.size_bytes <= max(max_bytes, root_bytes)
    assert trie.size_bytes > max_bytes - largest_node


def test_what_is_kept_gains_most_a_byte() -> None:
    stream = random_stream(3000)
    whole, pruned = (index(trie_of(stream, 4, size), VOCAB) for size in (PLENTY, 1500))
    rows = {row: n for k in range(5) for row, n in brute_force(stream, k).items()}
    own: dict[tuple[int, ...], float] = {}
    for context in contexts_of(whole):
        if context:
            p, shorter = distribution(whole, [*context]), distribution(whole, [*context[1:]])
            follows = [t for t in range(VOCAB) if (*context, t) in rows]
            levels = LEVELS[levels_of(np.array([rows[*context, t] for t in follows]))]
            gain = float((levels * np.log(p[follows] / shorter[follows])).sum())
            own[context] = gain / (3 + 2 * len(follows))
    value = {c: max(own[d] for d in own if d[len(d) - len(c) :] == c) for c in own}
    kept = set(contexts_of(pruned)) - {()}
    assert 10 < len(kept) < len(own)
    assert min(value[c] for c in kept) >= max(value[c] for c in own if c not in kept) - 1e-4
    assert all(c[1:] in kept for c in kept if len(c) > 1)


def test_equal_counts_give_equal_tries() -> None:
    one, other = (trie_of(random_stream(2000), 5, 3000).to_arrays() for _ in range(2))
    assert all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(("largest", "dtype"), [(255, np.uint8), (256, np.uint16)])
def test_types_are_as_narrow_as_the_alphabet_permits(largest: int, dtype: Any) -> None:
    stream = np.array([0, *range(1, largest), 0])  # as many ids as `largest`
    trie = build(count(stream, 0, 2), PLENTY)
    assert trie.next_symbols.dtype == trie.labels.dtype == trie.next_counts.dtype == dtype
    assert CountTrie.from_arrays(trie.to_arrays()).order == 2


def test_an_alphabet_may_be_too_large() -> None:
    counts = count(np.array([0, *range(1, 1 << 16), 0]), 0, 1)
    with pytest.raises(ValueError, match="at most 65535 distinct ids"):
        build(counts, PLENTY)


# ---- arrays from strangers ----

ARRAYS = trie_of([7, 3, 5, 3, 5, 7, 5, 7], 2).to_arrays()


def test_arrays_round_trip() -> None:
    trie = trie_of(random_stream(2000), 5, 3000)
    again = CountTrie.from_arrays(trie.to_arrays())
    for name, array in trie.to_arrays().items():
        np.testing.assert_array_equal(array, again.to_arrays()[name])
    assert again.order == trie.order > 1


def test_the_arrays_that_are_damaged_below() -> None:
    assert {name: array.tolist() for name, array in ARRAYS.items()} == {
        "alphabet": [3, 5, 7],
        "labels": [1, 2, 3, 2, 3, 1, 3],
        "child_counts": [3, 2, 2, 0, 0, 0, 0, 0],
        "next_counts": [3, 1, 2, 2, 1, 1, 2, 1],
        "next_symbols": [1, 2, 3, 2, 1, 3, 1, 2, 2, 2, 1, 3, 3],
        "next_levels": [2, 3, 2, 2, 1, 2, 1, 1, 1, 1, 1, 1, 1],
    }


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("alphabet", [], "alphabet must have"),
        ("alphabet", [-1, 5, 7], "ascend"),
        ("alphabet", [3, 3, 7], "ascend"),
        ("alphabet", [3, 5], "1..2"),
        ("labels", [1, 2, 3, 2, 3, 1], "number of nodes"),
        ("labels", [1, 2, 2, 2, 3, 1, 3], "labels must ascend"),
        ("labels", [1, 3, 2, 2, 3, 1, 3], "labels must ascend"),
        ("labels", [0, 2, 3, 2, 3, 1, 3], "labels must be in"),
        ("labels", [1, 2, 4, 2, 3, 1, 3], "labels must be in"),
        ("child_counts", [], "number of nodes"),
        ("child_counts", [3, 2, 2, 0, 0, 0, 0, 1], "add up"),
        ("child_counts", [3, 2, 1, 0, 0, 0, 0, 0], "add up"),
        ("child_counts", [0, 3, 2, 2, 0, 0, 0, 0], "level order"),
        ("child_counts", [3, 0, 0, 0, 2, 2, 0, 0], "level order"),
        ("next_counts", [3, 1, 2, 2, 1, 1, 2], "number of nodes"),
        ("next_counts", [3, 1, 2, 2, 1, 1, 3, 0], "at least one"),
        ("next_counts", [3, 1, 2, 2, 1, 1, 2, 2], "add up"),
        ("next_symbols", [1, 2, 3, 2, 1, 3, 1, 2, 2, 2, 1, 3], "add up"),
        ("next_symbols", [1, 2, 2, 2, 1, 3, 1, 2, 2, 2, 1, 3, 3], "next_symbols must ascend"),
        ("next_symbols", [0, 2, 3, 2, 1, 3, 1, 2, 2, 2, 1, 3, 3], "next_symbols must be in"),
        ("next_symbols", [1, 2, 4, 2, 1, 3, 1, 2, 2, 2, 1, 3, 3], "next_symbols must be in"),
        ("next_levels", [2, 3, 2, 2, 1, 2, 1, 1, 1, 1, 1, 1], "add up"),
        ("next_levels", [0, 3, 2, 2, 1, 2, 1, 1, 1, 1, 1, 1, 1], "at least 1"),
    ],
)
def test_damage_is_refused(name: str, values: list[int], message: str) -> None:
    damaged = ARRAYS | {name: np.array(values, dtype=ARRAYS[name].dtype)}
    with pytest.raises(ValueError, match=message):
        CountTrie.from_arrays(damaged)


@pytest.mark.parametrize(
    "damaged",
    [
        {name: array for name, array in ARRAYS.items() if name != "labels"},
        ARRAYS | {"more": ARRAYS["labels"]},
        ARRAYS | {"labels": ARRAYS["labels"].astype(np.float32)},
        ARRAYS | {"labels": ARRAYS["labels"].astype(np.int64)},
        ARRAYS | {"next_levels": ARRAYS["next_levels"].astype(np.uint16)},
        ARRAYS | {"alphabet": ARRAYS["alphabet"].astype(np.uint8)},
        ARRAYS | {"alphabet": ARRAYS["alphabet"][:, None]},
        ARRAYS | {"next_levels": np.array(1, dtype=np.uint8)},
    ],
)
def test_arrays_of_other_names_and_types_are_refused(damaged: dict[str, NDArray[Any]]) -> None:
    with pytest.raises(ValueError, match=r"arrays|vector"):
        CountTrie.from_arrays(damaged)


def test_contexts_must_fit_into_a_key() -> None:
    nodes = 65  # one path; with an alphabet of 1, the longest context has 63 symbols
    arrays: dict[str, NDArray[Any]] = {
        "alphabet": np.array([0], dtype=np.int32),
        "labels": np.ones(nodes - 1, dtype=np.uint8),
        "child_counts": np.array([1] * (nodes - 1) + [0], dtype=np.uint8),
        "next_counts": np.ones(nodes, dtype=np.uint8),
        "next_symbols": np.ones(nodes, dtype=np.uint8),
        "next_levels": np.ones(nodes, dtype=np.uint8),
    }
    with pytest.raises(ValueError, match="longer than 63"):
        CountTrie.from_arrays(arrays)


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_changed_arrays_are_refused_or_a_trie(data: st.DataObject) -> None:
    arrays = {name: array.copy() for name, array in ARRAYS.items()}
    for _ in range(data.draw(st.integers(1, 3))):
        name = data.draw(st.sampled_from(sorted(arrays)))
        array = arrays[name]
        if len(array) and data.draw(st.booleans()):
            array[data.draw(st.integers(0, len(array) - 1))] = data.draw(st.integers(0, 8))
        else:
            arrays[name] = array[: data.draw(st.integers(0, len(array)))]
    try:
        trie = CountTrie.from_arrays(arrays)
    except ValueError:
        return
    assert trie.order <= 31
    indexed = index(trie, VOCAB)
    assert len(contexts_of(indexed)) == len(set(contexts_of(indexed)))
    for history in ([], [3], [5, 3, 5], [7, 7, 7, 7]):
        p = distribution(indexed, history)
        assert (p > 0).all()
        assert p.sum() == pytest.approx(1, abs=1e-5)


def test_the_discount_is_that_of_the_worked_example() -> None:
    assert DISCOUNT == 0.65
