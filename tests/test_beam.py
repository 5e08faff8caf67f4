"""Beam search against every sequence that there is."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from generative.sampling import SamplingOptions, beam_search, collect, sample
from tests.chain import CHAIN, END, ChainStepper
from tests.test_sampling import NoTwice

LENGTH = 4


def search(**changes: Any) -> list[Any]:
    arguments = {"num_beams": 4, "max_new_tokens": LENGTH, "end_id": END, **changes}
    stepper = ChainStepper(arguments.pop("chain", CHAIN))
    return beam_search(stepper, [[END]], **arguments)[0]


def exhaustive(chain: Any, length_penalty: float) -> list[tuple[float, list[int]]]:
    """Every sequence that ends by END or by length, with its score, best first."""
    found = []
    others = [t for t in range(len(chain)) if t != END]
    for length in range(LENGTH + 1):
        for body in itertools.product(others, repeat=length):
            path = [END, *body] if length == LENGTH else [END, *body, END]
            p = np.prod([chain[a, b] for a, b in itertools.pairwise(path)])
            if p > 0:
                found.append((float(np.log(p)) / (len(path) - 1) ** length_penalty, list(body)))
    return sorted(found, key=lambda pair: -pair[0])


@given(
    weights=st.lists(st.floats(0.01, 1), min_size=16, max_size=16),
    length_penalty=st.sampled_from([0.0, 0.5, 1.0, 2.0, -0.5]),
)
def test_a_wide_beam_finds_what_exhaustive_search_finds(
    weights: list[float], length_penalty: float
) -> None:
    chain = np.array(weights).reshape(4, 4)
    chain /= chain.sum(axis=1, keepdims=True)
    found = search(chain=chain, num_beams=64, num_return_sequences=5, length_penalty=length_penalty)
    best = exhaustive(chain, length_penalty)[:5]
    np.testing.assert_allclose([f.score for f in found], [score for score, _ in best], rtol=1e-4)


def test_the_best_sequence_and_its_score() -> None:
    best = exhaustive(CHAIN, 0.0)
    found = search(num_beams=64, num_return_sequences=3)
    assert [f.tokens for f in found] == [tokens for _, tokens in best[:3]]
    assert found[0].score == pytest.approx(best[0][0])
    assert found[0].finish_reason == "end"
    # what ends has one log-probability more in its score than in its tokens
    assert found[0].score < sum(found[0].logprobs)


def test_width_one_is_greedy() -> None:
    (beam,) = search(num_beams=1, max_new_tokens=9)
    greedy = sample(
        ChainStepper(),
        [END],
        max_new_tokens=9,
        options=SamplingOptions(temperature=0),
        seed=0,
        end_id=END,
    )
    (sampled,) = collect(greedy, 1)
    assert beam.tokens == sampled.tokens
    assert beam.logprobs == pytest.approx(sampled.logprobs)


def test_n_best_come_in_order_and_differ() -> None:
    found = search(num_beams=6, num_return_sequences=6)
    scores = [f.score for f in found]
    assert scores == sorted(scores, reverse=True)
    assert len({tuple(f.tokens) for f in found}) == 6


def test_a_constraint_binds_the_beam() -> None:
    for f in search(num_beams=8, num_return_sequences=8, constraint=NoTwice()):
        assert all(a != b for a, b in itertools.pairwise(f.tokens))


def test_a_penalty_changes_the_ranking_but_not_the_reported_probabilities() -> None:
    (found,) = search(
        end_id=None, max_new_tokens=3, options=SamplingOptions(no_repeat_ngram_size=1)
    )
    assert len(set(found.tokens)) == len(found.tokens)
    with np.errstate(divide="ignore"):
        exact = [np.log(CHAIN[a, b]) for a, b in itertools.pairwise([END, *found.tokens])]
    np.testing.assert_allclose(found.logprobs, exact, rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_beams": 0}, "num_beams must be at least 1, not 0"),
        ({"num_return_sequences": 5}, r"must be in 1..num_beams \(4\), not 5"),
    ],
)
def test_impossible_searches_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        search(**changes)


def test_no_tokens_asked_for() -> None:
    assert search(max_new_tokens=0)[0].tokens == []
