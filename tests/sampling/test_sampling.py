"""Samplers and the loop on distributions and chains whose answers are known."""

from __future__ import annotations

import gc
import itertools
import tracemalloc
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import stats

from generative.sampling import (
    Categorical,
    Request,
    SamplingOptions,
    collect,
    row_generator,
    sample,
)
from tests.chain import CHAIN, END, ChainStepper
from tests.sampling.test_processors import NEUTRAL

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOUR = np.log(np.array([[0.1, 0.5, 0.15, 0.25]]))


def test_drawn_frequencies_match_the_probabilities() -> None:
    rngs = [row_generator(7, 0)]
    draws = [int(Categorical()(FOUR, rngs)[0]) for _ in range(20_000)]
    counts = np.bincount(draws, minlength=4)
    assert stats.chisquare(counts, np.exp(FOUR[0]) * len(draws)).pvalue > 0.01


def test_impossible_tokens_are_never_drawn() -> None:
    logits = np.array([[-np.inf, 0.0, -np.inf, 0.0, -np.inf]])

    @dataclass
    class Fixed:
        value: float

        def random(self) -> float:
            return self.value

    for value, token in [(0.0, 1), (0.4999, 1), (0.5, 3), (1 - 2**-53, 3)]:
        assert Categorical()(logits, [Fixed(value)]).tolist() == [token]  # type: ignore[list-item]


def run(options: SamplingOptions | None = None, **changes: Any) -> list[Any]:
    request = Request(**{"max_new_tokens": 12, "seed": 5, "end_id": END, **changes})
    draws = sample(ChainStepper(), [END], request, options)
    return collect(draws, request.num_return_sequences)


def test_a_chain_is_sampled_with_its_own_probabilities() -> None:
    made = run(num_return_sequences=8000, max_new_tokens=1)
    first = [m.tokens[0] if m.tokens else END for m in made]
    counts = np.bincount(first, minlength=len(CHAIN))
    possible = CHAIN[END] > 0
    assert not counts[~possible].any()
    expected = CHAIN[END][possible] * len(made)
    assert stats.chisquare(counts[possible], expected).pvalue > 0.01


def test_reported_log_probabilities_are_the_models_own() -> None:
    for one in run(num_return_sequences=50, options=SamplingOptions(temperature=0.3, top_k=2)):
        path = [END, *one.tokens]
        exact = [np.log(CHAIN[a, b]) for a, b in itertools.pairwise(path)]
        np.testing.assert_allclose(one.logprobs, exact, rtol=1e-5)
        assert one.nats == pytest.approx(-sum(exact))


def test_a_row_is_the_same_alone_and_in_a_batch() -> None:
    batch = run(num_return_sequences=6, options=SamplingOptions(top_p=0.9))
    for n in range(1, 6):
        assert run(num_return_sequences=n, options=SamplingOptions(top_p=0.9)) == batch[:n]
    assert run(seed=6) != run(seed=5)


def test_endings() -> None:
    reasons = {m.finish_reason for m in run(num_return_sequences=200)}
    assert reasons == {"length", "end"}
    assert all(END not in m.tokens for m in run(num_return_sequences=200))
    assert run(max_new_tokens=0)[0].tokens == []
    stopped = run(stop=lambda state, token: (state, True))[0]
    assert (len(stopped.tokens), stopped.finish_reason) == (1, "stop")


def test_greedy_is_top_k_one() -> None:
    greedy = run(options=SamplingOptions(temperature=0))
    assert greedy == run(options=SamplingOptions(top_k=1), seed=99)


def test_an_empty_prompt_is_refused() -> None:
    with pytest.raises(ValueError, match="at least the start token"):
        next(sample(ChainStepper(), [], Request(max_new_tokens=1)))


class NoTwice:
    """A grammar in which no token follows itself; its state is the last token."""

    def start(self) -> int:
        return END

    def advance(self, state: int, token: int) -> int:
        return token

    def allowed(self, state: int) -> NDArray[np.bool_]:
        return np.asarray(np.arange(len(CHAIN)) != state)


def test_a_constraint_is_obeyed() -> None:
    free, bound = (run(num_return_sequences=100, constraint=c) for c in (None, NoTwice()))
    twice = [any(a == b for a, b in zip(m.tokens, m.tokens[1:], strict=False)) for m in free]
    assert any(twice)
    for m in bound:
        assert all(a != b for a, b in zip(m.tokens, m.tokens[1:], strict=False))


def test_a_schedule_follows_a_constraint_that_measures() -> None:
    class Done(NoTwice):
        def progress(self, state: int) -> float:
            return 1.0

    schedule = SamplingOptions(temperature=(9.0, 1e-9))
    cold = run(options=schedule, constraint=Done(), num_return_sequences=3)
    greedy = run(
        options=SamplingOptions(temperature=0), constraint=NoTwice(), num_return_sequences=3
    )
    assert cold == greedy
    assert run(options=schedule, constraint=NoTwice(), num_return_sequences=3) != greedy


def test_a_dead_end_is_an_error() -> None:
    class Nothing(NoTwice):
        def allowed(self, state: int) -> NDArray[np.bool_]:
            return np.zeros(len(CHAIN), dtype=bool)

    with pytest.raises(ValueError, match="allows no token that is possible"):
        run(constraint=Nothing())


def test_a_row_of_its_own_whatever_remembers_or_draws() -> None:
    options = SamplingOptions(
        temperature=(1.5, 0.5),
        xtc_probability=0.5,
        mirostat_tau=1.2,
        presence_penalty=0.3,
        dry_multiplier=0.5,
        no_repeat_ngram_size=4,
    )
    batch = run(num_return_sequences=6, options=options, max_new_tokens=30)
    for n in range(1, 6):
        assert run(num_return_sequences=n, options=options, max_new_tokens=30) == batch[:n]


def test_neutral_values_change_nothing_bit_for_bit() -> None:
    assert run(num_return_sequences=20, options=NEUTRAL) == run(num_return_sequences=20)


def test_no_end_before_its_time() -> None:
    made = run(num_return_sequences=300, options=SamplingOptions(min_new_tokens=5))
    assert min(len(m.tokens) for m in made) == 5
    assert len(run(num_return_sequences=300)) == 300
    assert min(len(m.tokens) for m in run(num_return_sequences=300)) < 5


def test_each_token_can_be_told_with_what_stood_beside_it() -> None:
    options = SamplingOptions(temperature=0.5, top_k=2)
    for one in run(num_return_sequences=20, options=options, top_logprobs=2):
        path = [END, *one.tokens]
        assert [d.chosen.token for d in one.details] == one.tokens
        for last, detail, logprob in zip(path, one.details, one.logprobs, strict=False):
            p = CHAIN[last]
            best = np.argsort(-p, kind="stable")[:2]
            assert [a.token for a in detail.top] == best.tolist()
            assert detail.chosen.logprob == logprob
            sharp = p[best] ** 2 / (p[best] ** 2).sum()
            processed = [a.processed_logprob for a in detail.top]
            np.testing.assert_allclose(processed, np.log(sharp), rtol=1e-5)
    (bare,) = run(top_logprobs=0)
    assert all(d.top == () and d.chosen.logprob == d.chosen.processed_logprob for d in bare.details)
    assert run()[0].details == []
    (greedy,) = run(options=SamplingOptions(temperature=0), top_logprobs=9)
    assert {d.chosen.processed_logprob for d in greedy.details} == {0.0}
    assert all(len(d.top) == len(CHAIN) for d in greedy.details)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_logits_that_are_no_distribution_are_refused(wrong: float) -> None:
    class Broken(ChainStepper):
        def step(self, tokens: Any, state: Any) -> Any:
            logits, state = super().step(tokens, state)
            return np.full_like(logits, wrong), state

    draws = sample(Broken(), [END], Request(max_new_tokens=9))
    with pytest.raises(ValueError, match="NaN or infinity, or make every token impossible"):
        list(draws)


def test_a_long_stream_has_flat_memory() -> None:
    """What processors keep does not grow with the stream: counts, a window, one number.

    (`no_repeat_ngram_size` is the exception: it has to know every n-gram there was.) So a
    million tokens need what a few thousand do, and these show it: a list of them would take eight
    bytes a token.
    """
    options = SamplingOptions(
        temperature=(1.2, 0.8),
        repetition_penalty=1.1,
        frequency_penalty=0.01,
        dry_multiplier=0.5,
        dry_penalty_last_n=16,
        mirostat_tau=1.5,
        xtc_probability=0.1,
    )
    draws = sample(ChainStepper(), [END], Request(max_new_tokens=10**6), options)
    for _ in itertools.islice(draws, 1500):  # fills what the interpreter keeps at hand
        pass
    tracemalloc.start()
    for _ in itertools.islice(draws, 1500):
        pass
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert grown < 8 * 1500
