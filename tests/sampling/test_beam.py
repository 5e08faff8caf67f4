"""Beam search against every sequence that there is."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import fields
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from generative.sampling import (
    BeamOptions,
    Request,
    SamplingOptions,
    beam_search,
    collect,
    sample,
)
from tests.chain import CHAIN, END, ChainStepper, HistoryState, HistoryStepper
from tests.sampling.test_sampling import NoTwice

LENGTH = 4


def find(
    stepper: Any, prompts: Any, options: SamplingOptions | None = None, **settings: Any
) -> list[list[Any]]:
    """`beam_search`, whose settings are those of its beams and of its request."""
    names = {field.name for field in fields(BeamOptions)} & set(settings)
    beams = BeamOptions(**{name: settings.pop(name) for name in names})
    return beam_search(stepper, prompts, beams, Request(**settings), options)


def search(chain: Any = CHAIN, **changes: Any) -> list[Any]:
    settings = {"num_beams": 4, "max_new_tokens": LENGTH, "end_id": END, **changes}
    return find(ChainStepper(chain), [[END]], **settings)[0]


def exhaustive(
    chain: Any, length_penalty: float, longest: int = LENGTH
) -> list[tuple[float, list[int]]]:
    """Every sequence that ends by END or by length, with its score, best first."""
    found = []
    others = [t for t in range(len(chain)) if t != END]
    for length in range(longest + 1):
        for body in itertools.product(others, repeat=length):
            path = [END, *body] if length == longest else [END, *body, END]
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
        Request(max_new_tokens=9, end_id=END),
        SamplingOptions(temperature=0),
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


def test_a_penalty_and_a_constraint_rank_by_the_models_own_probabilities() -> None:
    plain = search(num_beams=8, num_return_sequences=8, constraint=NoTwice())
    barely = SamplingOptions(presence_penalty=1e-12)
    both = search(num_beams=8, num_return_sequences=8, constraint=NoTwice(), options=barely)
    assert [f.tokens for f in both] == [f.tokens for f in plain]
    np.testing.assert_allclose([f.score for f in both], [f.score for f in plain], rtol=1e-6)


def test_a_ban_and_a_constraint_are_one_to_a_search() -> None:
    class Not1(NoTwice):
        def allowed(self, state: int) -> Any:
            return np.arange(4) != 1

    wide: dict[str, Any] = {"num_beams": 64, "num_return_sequences": 5}
    bound = search(constraint=Not1(), **wide)
    banned = search(options=SamplingOptions(banned_tokens=(1,)), **wide)
    assert [f.tokens for f in banned] == [f.tokens for f in bound]
    np.testing.assert_allclose([f.score for f in banned], [f.score for f in bound], rtol=1e-6)


def test_a_search_ranks_by_the_model_whatever_sampling_would_do() -> None:
    shaped = SamplingOptions(temperature=2.0, top_k=1, top_n_sigma=0.1)
    assert search(options=shaped) == search()


def test_a_stop_ends_a_hypothesis() -> None:
    def after_2(state: Any, token: int) -> tuple[Any, bool]:
        return state, token == 2

    found = search(num_beams=64, num_return_sequences=20, stop=after_2)
    assert {f.finish_reason for f in found} >= {"stop", "end"}
    for f in found:
        assert 2 not in f.tokens[:-1]
        assert (f.finish_reason == "stop") == (f.tokens[-1:] == [2])
    assert len({(*f.tokens, f.finish_reason) for f in found}) == len(found)


def test_what_is_allowed_may_be_as_unlikely_as_it_likes() -> None:
    class Certain(HistoryStepper):
        def step(self, tokens: Any, state: Any) -> Any:
            logits, state = super().step(tokens, state)
            logits[:, 0] += 5000.0  # nothing else has a probability that a float can hold
            return logits, state

    class NotThat(NoTwice):
        def allowed(self, state: int) -> Any:
            return np.arange(4) > 0

    for options in (SamplingOptions(), SamplingOptions(presence_penalty=0.5)):
        (found,) = find(
            Certain(4),
            [[END]],
            num_beams=2,
            max_new_tokens=3,
            constraint=NotThat(),
            options=options,
        )[0]
        assert len(found.tokens) == 3


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
        ({"num_beam_groups": 3}, r"num_beam_groups must divide num_beams \(4\), not 3"),
        ({"diversity_penalty": -1.0}, "diversity_penalty must be finite and at least 0, not -1.0"),
        (
            {"beam_method": "wild"},
            "beam_method must be one of search, sample, stochastic, not 'wild'",
        ),
        ({"beam_method": "sample", "num_beam_groups": 2}, "num_beam_groups must be 1 where"),
    ],
)
def test_impossible_searches_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        search(**changes)


def test_no_tokens_asked_for() -> None:
    assert search(max_new_tokens=0)[0].tokens == []


def leaf(sampled: Any) -> tuple[tuple[int, ...], bool]:
    return tuple(sampled.tokens), sampled.finish_reason == "end"


def leaf_probabilities(longest: int) -> dict[tuple[tuple[int, ...], bool], float]:
    """Every sequence that the chain can say, and whether it ended it."""
    found = {}
    for log_p, tokens in exhaustive(CHAIN, 0.0, longest):
        found[tuple(tokens), len(tokens) < longest] = np.exp(log_p)
    assert sum(found.values()) == pytest.approx(1.0)
    return found


@pytest.mark.parametrize("method", ["sample", "stochastic"])
def test_a_drawn_beam_of_one_is_ordinary_sampling(method: str) -> None:
    count = 4000
    expected = leaf_probabilities(LENGTH)
    made = find(
        ChainStepper(), [[END]] * count, num_beams=1, max_new_tokens=LENGTH, end_id=END,
        beam_method=method, seed=1,
    )  # fmt: skip
    seen = Counter(leaf(one) for (one,) in made)
    assert set(seen) <= set(expected)
    likely = [which for which, p in expected.items() if p * count > 5]
    observed = np.array([seen[which] for which in likely] + [0])
    wanted = np.array([expected[which] * count for which in likely] + [0.0])
    observed[-1], wanted[-1] = count - observed.sum(), count - wanted.sum()  # all the rare ones
    assert stats.chisquare(observed, wanted).pvalue > 0.01


def test_stochastic_beams_are_a_sample_without_replacement() -> None:
    """How often each sequence is in the beam, against successive draws from all sequences."""
    count, width, longest = 5000, 3, 3
    expected = leaf_probabilities(longest)
    leaves, p = list(expected), np.array(list(expected.values()))
    left = 1 - p[:, None] - p[None, :]  # after two draws; (N, N)
    pairs = p[:, None] * p[None, :] / (1 - p[:, None])  # in this order
    np.fill_diagonal(pairs, 0.0)
    triples = (pairs / left)[:, :, None] * p  # (N, N, N)
    index = np.arange(len(p))
    triples[index, :, index] = triples[:, index, index] = 0.0
    inclusion = p + pairs.sum(axis=0) + triples.sum(axis=(0, 1))
    assert inclusion.sum() == pytest.approx(width)
    made = find(
        ChainStepper(), [[END]] * count, num_beams=width, num_return_sequences=width,
        max_new_tokens=longest, end_id=END, beam_method="stochastic", seed=2,
    )  # fmt: skip
    assert all(len({leaf(one) for one in beam}) == width for beam in made)
    seen = Counter(leaf(one) for beam in made for one in beam)
    frequency = np.array([seen[which] for which in leaves]) / count
    sigma = np.sqrt(inclusion * (1 - inclusion) / count)
    assert (np.abs(frequency - inclusion) <= 3 * sigma).all()
    # the first of each beam is an ordinary draw, and noise ranks them
    first = Counter(leaf(beam[0]) for beam in made)
    z = [(first[which] - count * q) / np.sqrt(count * q * (1 - q)) for which, q in expected.items()]
    assert np.abs(z).max() < 4
    assert all(b.score <= a.score for beam in made for a, b in itertools.pairwise(beam))


def test_groups_shun_each_others_tokens() -> None:
    alike = search(num_beams=4, num_beam_groups=4, num_return_sequences=4)
    assert len(alike) == 1  # without a penalty all groups find the same, which counts once
    found = search(num_beams=3, num_beam_groups=3, num_return_sequences=3, diversity_penalty=99.0)
    assert len({f.tokens[0] for f in found}) == 3
    # the first group does not depend on the others; scores stay log-probabilities
    (greedy,) = search(num_beams=1)
    assert greedy.tokens in [f.tokens for f in found]
    for f in found:
        path = [END, *f.tokens, *[END] * (f.finish_reason == "end")]
        exact = sum(np.log(CHAIN[a, b]) for a, b in itertools.pairwise(path))
        assert f.score == pytest.approx(exact, rel=1e-5)


def test_one_group_is_plain_beam_search() -> None:
    plain = search(num_beams=6, num_return_sequences=6)
    assert search(num_beams=6, num_return_sequences=6, diversity_penalty=5.0) == plain


PROMPTS = [[0, 1, 2], [0], [0, 1, 2, 3, 4, 5, 6], [0, 1, 7], [0, 1, 2]]


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"num_beam_groups": 2, "diversity_penalty": 0.5},
        {"options": SamplingOptions(no_repeat_ngram_size=2, presence_penalty=0.3)},
        {"length_penalty": 1.0, "end_id": 3},
    ],
)
def test_prompts_of_any_length_search_as_one_batch(more: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"num_beams": 4, "max_new_tokens": 6, "num_return_sequences": 2}
    stepper = HistoryStepper(9, scale=3.0)
    together = find(stepper, PROMPTS, **arguments, **more)
    # one token for all of them at each step, and the longest prompt decides how many
    assert len(stepper.steps) <= len(PROMPTS[2]) + 6
    for prompt, found in zip(PROMPTS, together, strict=True):
        alone = find(HistoryStepper(9, scale=3.0), [prompt], **arguments, **more)[0]
        assert [f.tokens for f in found] == [f.tokens for f in alone]
        np.testing.assert_allclose([f.score for f in found], [f.score for f in alone])


def test_states_are_selected_only_where_their_order_changes() -> None:
    class Counting(HistoryState):
        selected: ClassVar[list[list[int]]] = []

        def select(self, rows: Any) -> HistoryState:
            self.selected.append(list(rows))
            return Counting(super().select(rows).digests)

    class Stepper(HistoryStepper):
        def initial_state(self, batch_size: int) -> HistoryState:
            return Counting(super().initial_state(batch_size).digests)

        def step(self, tokens: Any, state: Any) -> Any:
            logits, state = super().step(tokens, state)
            return logits, Counting(state.digests)

    find(Stepper(5), [[0]], num_beams=1, max_new_tokens=8)
    assert Counting.selected == []
    find(Stepper(5, scale=5.0), [[0]], num_beams=4, max_new_tokens=20)
    assert Counting.selected[0] == [0, 0, 0, 0]
    assert all(rows != list(range(4)) for rows in Counting.selected)


def test_ngrams_are_blocked_inside_the_beam() -> None:
    loop = np.array([[0.01, 0.98, 0.01], [0.01, 0.01, 0.98], [0.01, 0.98, 0.01]])
    (free,) = search(chain=loop, end_id=None, max_new_tokens=12)
    assert free.tokens == [1, 2] * 6
    (blocked,) = search(
        chain=loop, end_id=None, max_new_tokens=5, options=SamplingOptions(no_repeat_ngram_size=2)
    )
    pairs = list(itertools.pairwise(blocked.tokens))
    assert len(set(pairs)) == len(pairs)


def test_tokens_can_be_told_with_what_stood_beside_them() -> None:
    for f in search(num_beams=4, num_return_sequences=4, top_logprobs=2):
        assert [d.chosen.token for d in f.details] == f.tokens
        assert [d.chosen.logprob for d in f.details] == f.logprobs
        assert all(len(d.top) == 2 for d in f.details)
    sharp = SamplingOptions(temperature=0.5)
    for f in search(num_beams=2, beam_method="sample", options=sharp, top_logprobs=0):
        assert any(d.chosen.logprob != d.chosen.processed_logprob for d in f.details)


def test_the_same_seed_draws_the_same_beams() -> None:
    for method in ("sample", "stochastic"):
        one, two, other = (
            search(beam_method=method, num_return_sequences=4, seed=seed) for seed in (1, 1, 2)
        )
        assert one == two != other
    assert search(seed=1) == search(seed=2)


def test_prompts_must_begin_alike() -> None:
    with pytest.raises(ValueError, match="begin with the same start token"):
        find(ChainStepper(), [[END], [1]], num_beams=2, max_new_tokens=2)
