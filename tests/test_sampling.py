"""Processors, samplers and the loop on distributions and chains whose answers are known."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from generative.sampling import (
    Categorical,
    Greedy,
    Past,
    Rows,
    SamplingOptions,
    begin,
    bend,
    build,
    collect,
    row_generator,
    sample,
)
from generative.sampling.processors import (
    MinP,
    Need,
    NoRepeatNgram,
    RepetitionPenalty,
    Temperature,
    TopK,
    TopP,
    TypicalP,
)
from tests.chain import CHAIN, END, ChainStepper

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOUR = np.log(np.array([[0.1, 0.5, 0.15, 0.25]]))


def rows(*said: list[int], size: int = 4, **more: Any) -> Rows:
    """Rows that have said that, every kind of memory kept; one silent row for no argument."""
    need = Need(counts=True, window=None)
    past = tuple(Past.of(tokens, size, need) for tokens in said or ([],))
    rngs = tuple(row_generator(0, row) for row in range(len(past)))
    return Rows(past=past, rngs=rngs, **more)


def kept(logits: NDArray[Any]) -> list[int]:
    return np.flatnonzero(np.isfinite(logits[0])).tolist()


def probabilities(logits: NDArray[Any]) -> NDArray[np.float64]:
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        (TopK(1), [1]),
        (TopK(2), [1, 3]),
        (TopK(9), [0, 1, 2, 3]),
        (TopP(0.5), [1]),
        (TopP(0.51), [1, 3]),
        (TopP(0.76), [1, 2, 3]),
        (TopP(1e-9), [1]),
        (MinP(0.4), [1, 3]),
        (MinP(1.0), [1]),
        # entropy 1.208; surprises 2.30, 0.69, 1.90, 1.39: nearest first 3, 1, 2, 0
        (TypicalP(0.2), [3]),
        (TypicalP(0.3), [1, 3]),
        (TypicalP(0.8), [1, 2, 3]),
    ],
)
def test_the_tail_that_is_cut(processor: Any, expected: list[int]) -> None:
    before = FOUR.copy()
    result = processor(rows(), FOUR)
    assert kept(result) == expected
    np.testing.assert_array_equal(result[0, expected], FOUR[0, expected])
    np.testing.assert_array_equal(FOUR, before)


def test_temperature_is_a_power_of_the_probabilities() -> None:
    cold = probabilities(Temperature(0.5)(rows(), FOUR))
    np.testing.assert_allclose(cold, probabilities(FOUR) ** 2 / (probabilities(FOUR) ** 2).sum())


def test_repetition_penalty_divides_positive_and_multiplies_negative_logits() -> None:
    logits = np.array([[2.0, -1.0, 3.0, -4.0]])
    np.testing.assert_array_equal(
        RepetitionPenalty(2.0)(rows([0, 1, 1]), logits), [[1.0, -2.0, 3.0, -4.0]]
    )


def test_no_repeat_ngram_forbids_what_would_complete_one() -> None:
    assert kept(NoRepeatNgram(3)(rows([1, 2, 3, 1, 2]), FOUR)) == [0, 1, 2]
    assert kept(NoRepeatNgram(2)(rows([1, 2, 1, 0, 1]), FOUR)) == [1, 3]
    assert kept(NoRepeatNgram(1)(rows([1, 2]), FOUR)) == [0, 3]
    assert kept(NoRepeatNgram(3)(rows([1, 2]), FOUR)) == [0, 1, 2, 3]
    assert kept(NoRepeatNgram(1)(rows([0, 1, 2, 3]), FOUR)) == [0, 1, 2, 3]  # never a dead end


def test_ties_go_to_the_lower_id() -> None:
    flat = np.zeros((1, 5))
    assert kept(TopK(2)(rows(), flat)) == [0, 1]
    assert Greedy()(flat, [row_generator(0, 0)]).tolist() == [0]


OPTIONS = st.builds(
    SamplingOptions,
    temperature=st.none() | st.floats(0, 10),
    top_k=st.none() | st.integers(0, 8),
    top_p=st.none() | st.floats(0.01, 1),
    min_p=st.none() | st.floats(0, 1),
    typical_p=st.none() | st.floats(0.01, 1),
    repetition_penalty=st.none() | st.floats(0.1, 10),
    no_repeat_ngram_size=st.none() | st.integers(0, 4),
)
LOGITS = hnp.arrays(
    np.float32,
    (2, 6),
    elements=st.sampled_from([-np.inf, 0.0, 1.0]) | st.floats(-50, 50, width=32),
).filter(lambda x: bool(np.isfinite(x).any(axis=1).all()))


@given(options=OPTIONS, logits=LOGITS, history=st.lists(st.integers(0, 5), max_size=8))
def test_any_options_leave_a_distribution_within_the_given_one(
    options: SamplingOptions, logits: NDArray[np.float32], history: list[int]
) -> None:
    processors, sampler = build(options)
    rngs = [row_generator(0, 0), row_generator(0, 1)]
    known = begin(processors, [0, *history], 6, rngs, steps=4)
    result, known = bend(processors, known, logits)
    assert not np.isnan(result).any()
    assert np.isfinite(result).any(axis=1).all()
    assert not (np.isfinite(result) & ~np.isfinite(logits)).any()
    drawn = sampler(result, [row_generator(0, 0), row_generator(0, 1)])
    assert np.isfinite(result[[0, 1], drawn]).all()


def test_neutral_values_add_nothing() -> None:
    neutral = SamplingOptions(
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        min_p=0.0,
        typical_p=1.0,
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
    )
    assert build(neutral)[0] == build(SamplingOptions())[0] == []
    assert isinstance(build(neutral)[1], Categorical)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, "temperature must be at least 0, not -1.0"),
        ({"temperature": float("nan")}, "temperature must be at least 0, not nan"),
        ({"top_k": -1}, "top_k must be at least 1"),
        ({"top_p": 0.0}, r"top_p must be in \(0, 1\], not 0.0"),
        ({"top_p": 1.5}, r"top_p must be in \(0, 1\], not 1.5"),
        ({"min_p": 2.0}, r"min_p must be in \[0, 1\], not 2.0"),
        ({"typical_p": -0.1}, "typical_p must be in"),
        ({"repetition_penalty": 0.0}, "repetition_penalty must be above 0"),
        ({"no_repeat_ngram_size": -2}, "no_repeat_ngram_size must be at least 1"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(SamplingOptions(**options))


def test_drawn_frequencies_match_the_probabilities() -> None:
    rngs = [row_generator(7, 0)]
    draws = [int(Categorical()(FOUR, rngs)[0]) for _ in range(20_000)]
    counts = np.bincount(draws, minlength=4)
    assert stats.chisquare(counts, probabilities(FOUR)[0] * len(draws)).pvalue > 0.01


def test_impossible_tokens_are_never_drawn() -> None:
    logits = np.array([[-np.inf, 0.0, -np.inf, 0.0, -np.inf]])

    @dataclass
    class Fixed:
        value: float

        def random(self) -> float:
            return self.value

    for value, token in [(0.0, 1), (0.4999, 1), (0.5, 3), (1 - 2**-53, 3)]:
        assert Categorical()(logits, [Fixed(value)]).tolist() == [token]  # type: ignore[list-item]


def run(**changes: Any) -> list[Any]:
    arguments = {
        "max_new_tokens": 12,
        "options": SamplingOptions(),
        "seed": 5,
        "num_sequences": 1,
        "end_id": END,
        **changes,
    }
    return collect(sample(ChainStepper(), [END], **arguments), arguments["num_sequences"])


def test_a_chain_is_sampled_with_its_own_probabilities() -> None:
    made = run(num_sequences=8000, max_new_tokens=1)
    first = [m.tokens[0] if m.tokens else END for m in made]
    counts = np.bincount(first, minlength=len(CHAIN))
    possible = CHAIN[END] > 0
    assert not counts[~possible].any()
    expected = CHAIN[END][possible] * len(made)
    assert stats.chisquare(counts[possible], expected).pvalue > 0.01


def test_reported_log_probabilities_are_the_models_own() -> None:
    for one in run(num_sequences=50, options=SamplingOptions(temperature=0.3, top_k=2)):
        path = [END, *one.tokens]
        exact = [np.log(CHAIN[a, b]) for a, b in itertools.pairwise(path)]
        np.testing.assert_allclose(one.logprobs, exact, rtol=1e-5)
        assert one.nats == pytest.approx(-sum(exact))


def test_a_row_is_the_same_alone_and_in_a_batch() -> None:
    batch = run(num_sequences=6, options=SamplingOptions(top_p=0.9))
    for n in range(1, 6):
        assert run(num_sequences=n, options=SamplingOptions(top_p=0.9)) == batch[:n]
    assert run(seed=6) != run(seed=5)


def test_endings() -> None:
    reasons = {m.finish_reason for m in run(num_sequences=200)}
    assert reasons == {"length", "end"}
    assert all(END not in m.tokens for m in run(num_sequences=200))
    assert run(max_new_tokens=0)[0].tokens == []
    stopped = run(stop=lambda row, token: True)[0]
    assert (len(stopped.tokens), stopped.finish_reason) == (1, "stop")


def test_greedy_is_top_k_one() -> None:
    greedy = run(options=SamplingOptions(temperature=0))
    assert greedy == run(options=SamplingOptions(top_k=1), seed=99)


def test_an_empty_prompt_is_refused() -> None:
    with pytest.raises(ValueError, match="at least the start token"):
        next(sample(ChainStepper(), [], max_new_tokens=1, options=SamplingOptions(), seed=0))


class NoTwice:
    """A grammar in which no token follows itself; its state is the last token."""

    def start(self) -> int:
        return END

    def advance(self, state: int, token: int) -> int:
        return token

    def allowed(self, state: int) -> NDArray[np.bool_]:
        return np.asarray(np.arange(len(CHAIN)) != state)


def test_a_constraint_is_obeyed() -> None:
    free, bound = (run(num_sequences=100, constraint=c) for c in (None, NoTwice()))
    twice = [any(a == b for a, b in zip(m.tokens, m.tokens[1:], strict=False)) for m in free]
    assert any(twice)
    for m in bound:
        assert all(a != b for a, b in zip(m.tokens, m.tokens[1:], strict=False))


def test_a_dead_end_is_an_error() -> None:
    class Nothing(NoTwice):
        def allowed(self, state: int) -> NDArray[np.bool_]:
            return np.zeros(len(CHAIN), dtype=bool)

    with pytest.raises(ValueError, match="allows no token that is possible"):
        run(constraint=Nothing())
