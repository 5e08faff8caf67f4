"""The operations at each token, beside slow references that look at everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generative.ngram import history as histories
from generative.ngram import operations
from generative.ngram.model import ADAPTIVE, CACHED, PROTOCOLS, STATIC
from generative.ngram.operations import INTERPRETED
from generative.ngram.records import (
    DISTANCES,
    MATCH_LENGTHS,
    MAX_TYPES,
    History,
    Tables,
    make_scratch,
)
from generative.ngram.scorer import Learning, Scorer
from generative.sampling.samplers import log_softmax
from tests.ngram.models import START, cache_reference, count_model, static_reference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

VOCAB = 6
TOKENS = st.lists(st.integers(1, VOCAB - 1), max_size=30)
DOCUMENTS = st.lists(st.lists(st.integers(1, VOCAB - 1), max_size=12), min_size=1, max_size=4)


def read(tables: Tables, tokens: Sequence[int]) -> History:
    """The history of one row that has read the tokens."""
    history = histories.copied(histories.start(tables, 1), len(tokens))
    for token in tokens:
        INTERPRETED.append(tables, history, 0, token)
    return history


def predicted(
    tables: Tables, history: History
) -> tuple[NDArray[np.float32], NDArray[np.float32], tuple[int, int, int, int]]:
    """What `predict` fills and returns."""
    static, cache = np.full((2, tables.vocab_size), np.nan, np.float32)
    scratch = make_scratch(tables.vocab_size, tables.order)
    rows = INTERPRETED.predict(tables, history, 0, scratch, static, cache)
    assert not scratch.counts.any()  # ready for the next call
    return static, cache, rows


@settings(deadline=None)
@given(documents=DOCUMENTS, tokens=TOKENS, order=st.integers(1, 5))
def test_static_counts_are_those_of_a_dictionary(
    documents: list[list[int]], tokens: list[int], order: int
) -> None:
    tables = count_model(documents, VOCAB, order).tables(STATIC)
    p, reached, types = static_reference(documents, [START, *tokens], VOCAB, order)
    static, cache, rows = predicted(tables, read(tables, [START, *tokens]))
    assert static == pytest.approx(np.log(list(p.values())), abs=1e-4)
    assert rows[0] == reached
    assert rows[1] == tables.order + min(types, MAX_TYPES)
    assert not cache.any()
    assert rows[2] == tables.order + 1 + MAX_TYPES
    assert rows[3] == rows[2] + 1 + len(MATCH_LENGTHS)


@settings(deadline=None)
@given(
    tokens=st.lists(st.integers(1, 3), max_size=60).map(lambda part: part + part[:40]),
)
def test_the_cache_is_that_of_all_positions(tokens: list[int]) -> None:
    tables = count_model([[1, 2]], VOCAB).tables(CACHED)
    expected, reached, distance = cache_reference([START, *tokens], VOCAB)
    _, cache, rows = predicted(tables, read(tables, [START, *tokens]))
    assert cache == pytest.approx(expected, abs=1e-4)
    first = tables.order + 1 + MAX_TYPES
    assert rows[2:] == (first + reached, first + 1 + len(MATCH_LENGTHS) + distance)


@pytest.mark.parametrize(
    ("between", "expected"), [(1, 1), (4, 1), (5, 2), (12, 2), (13, 3), (60, 4), (1100, 9)]
)
def test_the_distance_of_an_agreement(between: int, expected: int) -> None:
    tables = count_model([[1, 2]], VOCAB).tables(CACHED)
    filler = [5] * between
    tokens = [START, 1, 2, 3, *filler, 1, 2, 3]  # It is 3 + `between` tokens back.
    rows = predicted(tables, read(tables, tokens))[2]
    assert rows[3] - (tables.order + 1 + MAX_TYPES + 1 + len(MATCH_LENGTHS)) == expected


@pytest.mark.parametrize(
    ("times", "expected"), [(1, 0), (2, 2), (3, 3 + len(DISTANCES)), (9, 3 + len(DISTANCES))]
)
def test_a_passage_that_was_repeated_at_once_has_a_class_of_its_own(
    times: int, expected: int
) -> None:
    tables = count_model([[1, 2]], VOCAB).tables(CACHED)
    passage = [1, 2, 3, 4, 5, 1, 2, 4, 3]
    # Of two passages the second is new up to its end: what is repeated is as long as its distance.
    tokens = [START, *(passage * times)[:-1]]
    rows = predicted(tables, read(tables, tokens))[2]
    assert rows[3] - (tables.order + 1 + MAX_TYPES + 1 + len(MATCH_LENGTHS)) == expected


def test_short_agreements_do_not_hide_a_long_one_far_back() -> None:
    tables = count_model([[1, 2]], VOCAB).tables(CACHED)
    passage = [1, 2, 3, 4, 5] * 4
    short = [3, 4, 5, 1] * 200  # The three last tokens of the passage, again and again.
    tokens = [START, *passage, 2, *short, 2, *passage]
    _, cache, rows = predicted(tables, read(tables, tokens))
    assert rows[2] == tables.order + 1 + MAX_TYPES + sum(n <= 20 for n in MATCH_LENGTHS)
    assert cache[2] == max(cache)
    assert cache == pytest.approx(cache_reference(tokens, VOCAB)[0], abs=1e-4)


def test_a_worked_example_of_the_cache() -> None:
    tables = count_model([[1, 2]], VOCAB).tables(CACHED)
    _, cache, _ = predicted(tables, read(tables, [START, 1, 2, 3, 4, 1, 2, 3, 5, 1, 2, 3]))
    # The three last tokens occurred twice: 5 followed, and before that 4. One agreement is counted:
    # p of each is (1 - 0.4) / 2 + 0.4 * 1/6, of an unseen token 0.4 * 1/6.
    assert cache == pytest.approx([0, 0, 0, 0, np.log(5.5), np.log(5.5)], abs=1e-6)


@settings(deadline=None, max_examples=30)
@given(documents=DOCUMENTS, tokens=TOKENS, shift=st.integers(-3, 3))
def test_on_an_axis_counts_hold_in_every_key(
    documents: list[list[int]], tokens: list[int], shift: int
) -> None:
    vocab_size, axis = 24, range(6, 24)  # ids 1..5 are others, 11..15 lie in the middle of the axis

    def moved(document: Sequence[int], by: int) -> list[int]:
        return [token + 10 + by if token % 2 else token for token in document]

    model = count_model([moved(d, 0) for d in documents], vocab_size, axis=axis)
    tables = model.tables(STATIC)
    # A first note fixes the key; the step to it differs between the keys.
    first = [12 + shift], [12]
    there, here = (
        predicted(tables, read(tables, [START, *note, *moved(tokens, by)]))[0]
        for note, by in zip(first, (shift, 0), strict=True)
    )
    # From the second step on all contexts of this length are equal.
    if sum(token % 2 for token in tokens) and len(tokens) > model.order:
        inner = slice(axis.start + 3, axis.stop - 3)
        assert there[inner.start + shift : inner.stop + shift] == pytest.approx(
            here[inner], abs=1e-5
        )
        assert there[: axis.start] == pytest.approx(here[: axis.start], abs=1e-5)


def test_a_full_history_loses_its_older_half(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "MAX_HISTORY", 64)
    monkeypatch.setattr(histories, "MAX_HISTORY", 64)
    rng = np.random.default_rng(0)
    tokens = rng.integers(1, 4, size=200).tolist()
    tables = count_model([[1, 2]], VOCAB).tables(CACHED)
    history = histories.start(tables, 1)
    for count, token in enumerate(tokens, start=1):
        history = histories.copied(history, 1)
        INTERPRETED.append(tables, history, 0, token)
        assert history.tokens.shape == (1, 64) or history.tokens.shape[1] == histories.FIRST_ROOM
        kept = int(history.length[0])
        assert min(count, 32) <= kept <= 64
        expected, _, _ = cache_reference(tokens[count - kept : count], VOCAB)
        assert predicted(tables, history)[1] == pytest.approx(expected, abs=1e-4)


@settings(deadline=None)
@given(
    documents=DOCUMENTS,
    tokens=TOKENS,
    seed=st.integers(0, 99),
    protocol=st.sampled_from([STATIC, CACHED]),
)
def test_the_mixture_gives_every_token_a_probability(
    documents: list[list[int]], tokens: list[int], seed: int, protocol: str
) -> None:
    tables = count_model(documents, VOCAB, seed=seed).tables(protocol)
    history = read(tables, [START, *tokens])
    logits = np.random.default_rng(seed).normal(0, 5, VOCAB).astype(np.float32)
    static, cache = np.empty((2, VOCAB), np.float32)
    scratch = make_scratch(VOCAB, tables.order)
    INTERPRETED.mix(tables, history, 0, scratch, static, cache, logits)
    p = np.exp(logits - logits.max())
    assert np.isfinite(logits).all()
    assert (p / p.sum() > 0).all()


def test_with_weight_for_the_network_alone_its_logits_stay() -> None:
    tables = count_model([[1, 2, 3]], VOCAB, seed=None).tables(CACHED)
    history = read(tables, [START, 1, 2, 1, 2])
    logits = np.arange(VOCAB, dtype=np.float32)
    expected = log_softmax(logits[None])[0]
    static, cache = np.empty((2, VOCAB), np.float32)
    INTERPRETED.mix(tables, history, 0, make_scratch(VOCAB, tables.order), static, cache, logits)
    assert logits == pytest.approx(expected, abs=1e-6)


def test_tokens_that_never_occurred_keep_the_networks_probability() -> None:
    tables = count_model([[1, 2, 3]], VOCAB).tables(CACHED)  # 4 and 5 never occur
    history = read(tables, [START, 1, 2, 1, 2])
    logits = np.random.default_rng(0).normal(size=VOCAB).astype(np.float32)
    expected = log_softmax(logits[None])[0]
    static, cache = np.empty((2, VOCAB), np.float32)
    INTERPRETED.mix(tables, history, 0, make_scratch(VOCAB, tables.order), static, cache, logits)
    assert logits[4:] == pytest.approx(expected[4:], abs=1e-6)
    assert logits[:4] != pytest.approx(expected[:4], abs=1e-2)
    assert np.exp(logits).sum() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_compiled_operations_equal_the_interpreted_ones(protocol: str) -> None:
    compiled = pytest.importorskip("generative.ngram.compiled")
    rng = np.random.default_rng(0)
    documents = [rng.integers(1, VOCAB, size=50).tolist() for _ in range(3)]
    axis = range(3, VOCAB)
    model = count_model(documents, VOCAB, axis=axis)
    ids = np.array([START, *rng.integers(1, 4, size=400)])
    logits = rng.normal(size=(400, VOCAB)).astype(np.float32)
    results = []
    for score in (INTERPRETED.score, compiled.score):
        tables = model.tables(protocol)
        tables = tables._replace(weights=tables.weights.copy())
        history = histories.copied(model.start(protocol), 400)
        nats, squares = np.empty(400), np.ones(tables.weights.shape)
        rate = 0.02 if protocol == ADAPTIVE else 0.0
        score(
            tables, history, make_scratch(VOCAB, model.order), squares, rate, logits, ids[:-1],
            ids[1:], nats,
        )  # fmt: skip
        results.append((nats, tables.weights, *history))
    for one, other in zip(*results, strict=True):
        assert one == pytest.approx(other, abs=1e-4)


def test_the_weights_learn_along_the_gradient() -> None:
    model = count_model([[1, 2, 3, 1, 2, 4]], VOCAB)
    tables = model.tables(CACHED)
    inputs, target = [START, 1, 2, 3, 1, 2], 3
    logits = np.random.default_rng(1).normal(size=(1, VOCAB)).astype(np.float32)

    def nats(weights: NDArray[np.float32]) -> float:
        scorer = Scorer(tables._replace(weights=weights), read(tables, inputs[:-1]))
        return float(scorer(logits, np.array(inputs[-1:]), np.array([target]))[0])

    scorer = Scorer(tables, read(tables, inputs[:-1]), Learning(1e-3, 1.0))
    scorer(logits, np.array(inputs[-1:]), np.array([target]))
    change = scorer.tables.weights - tables.weights
    for place in np.ndindex(change.shape):
        step = np.zeros(change.shape, np.float32)
        step[place] = 1e-2
        slope = (nats(tables.weights + step) - nats(tables.weights - step)) / 2e-2
        # AdaGrad divides the slope by the root of 1 and its own square.
        assert change[place] == pytest.approx(-1e-3 * slope / np.sqrt(1 + slope**2), abs=2e-5)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_network_that_is_sure_of_unknown_tokens_leaves_the_others_something(sign: int) -> None:
    tables = count_model([[1, 2, 3]], VOCAB).tables(CACHED)  # 4 and 5 never occur
    history = read(tables, [START, 1, 2, 1, 2])
    logits = np.array([0, 0, 0, 0, 1000, 0], np.float32) * sign
    static, cache = np.empty((2, VOCAB), np.float32)
    with np.errstate(all="raise", under="ignore"):
        INTERPRETED.mix(
            tables, history, 0, make_scratch(VOCAB, tables.order), static, cache, logits
        )
    assert np.isfinite(logits).all()
    assert np.exp(logits).sum() == pytest.approx(1, abs=1e-5)


def test_a_scorer_may_take_a_document_in_pieces() -> None:
    rng = np.random.default_rng(0)
    model = count_model([rng.integers(1, VOCAB, size=80).tolist()], VOCAB)
    ids = np.array([START, *rng.integers(1, VOCAB, size=700)])
    logits = rng.normal(size=(700, VOCAB)).astype(np.float32)
    for protocol in PROTOCOLS:
        whole = model.scorer(protocol)(logits, ids[:-1], ids[1:])
        scorer = model.scorer(protocol)
        pieces = [
            scorer(logits[at : at + 33], ids[:-1][at : at + 33], ids[1:][at : at + 33])
            for at in range(0, 700, 33)
        ]
        assert np.concatenate(pieces) == pytest.approx(whole, abs=1e-9)


def test_agreements_of_any_length_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    passage = rng.integers(1, VOCAB, size=600).tolist()
    tables = count_model([[1, 2]], VOCAB).tables(CACHED)
    reached = []
    for length in (4, 40, 100, 200, 290, 590):
        tokens = [START, *passage, *passage[:length]]
        expected, agreed, _ = cache_reference(tokens, VOCAB)
        _, cache, rows = predicted(tables, read(tables, tokens))
        assert cache == pytest.approx(expected, abs=1e-3)
        assert rows[2] == tables.order + 1 + MAX_TYPES + agreed
        reached.append(agreed)
    assert reached == [2, 9, 10, 11, 12, 13]
