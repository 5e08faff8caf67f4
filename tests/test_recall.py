"""What was heard before is expected again, and the sampler and the score trust it alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from generative import dynamic, recall, scoring
from generative.engine import build
from generative.model.config import ModelConfig
from generative.model.language_model import LanguageModel
from generative.recall import NOTHING, Memory
from generative.sampling import RecallStepper
from generative.training import validation

LENGTH = 3
V = 6
ids_of = st.lists(st.integers(0, 3), max_size=60)


def model_with(boosts: Any) -> LanguageModel:
    torch.manual_seed(0)
    model = LanguageModel(
        ModelConfig(vocab_size=V, embedding_size=8, hidden_size=8, recall=LENGTH)
    ).eval()
    model.recall_boosts.copy_(torch.as_tensor(boosts))
    return model


def stepper_of(model: LanguageModel) -> RecallStepper:
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    layers = build(model.config, weights, compiled=False)
    return RecallStepper(layers, LENGTH, weights["recall_boosts"])


def expected_by_search(ids: list[int]) -> list[tuple[int, int]]:
    """(token, agreement) after each, by looking at every earlier place.

    A place once found is kept for as long as it is right.
    """
    out = []
    place = None
    for n in range(1, len(ids) + 1):
        place = place + 1 if place is not None and ids[place] == ids[n - 1] else None
        if place is None:
            places = [
                q
                for q in range(LENGTH, n)
                if n >= LENGTH and ids[q - LENGTH : q] == ids[n - LENGTH : n]
            ]
            place = max(places, default=None)
        if place is None:
            out.append((NOTHING, NOTHING))
            continue
        agreed = 0
        while agreed < place and ids[place - 1 - agreed] == ids[n - 1 - agreed]:
            agreed += 1
        out.append((ids[place], agreed))
    return out


@given(ids_of)
def test_what_is_expected_is_what_a_search_of_all_places_finds(ids: list[int]) -> None:
    memory = Memory()
    for token, (expected, agreed) in zip(ids, expected_by_search(ids), strict=True):
        memory = memory.read(token, LENGTH)
        assert memory.expected == expected
        if expected != NOTHING:
            assert memory.agreed == agreed


def test_a_repeated_passage_is_expected_to_its_end_and_a_third_time_is_another_matter() -> None:
    passage = [0, 1, 2, 3, 4, 5]
    expected, buckets = recall.follow(passage * 3, LENGTH)
    assert expected[: 6 + LENGTH - 1].tolist() == [NOTHING] * (6 + LENGTH - 1)
    assert expected[6 + LENGTH - 1 : -1].tolist() == (passage * 3)[6 + LENGTH :]
    second, third = buckets[6 + LENGTH - 1 : 11], buckets[11:]
    assert (second < recall.STEPS).all()  # less than the passage has come again
    assert (third >= recall.STEPS).all()  # a whole cycle has: once more would be the third time


def test_the_window_forgets_and_bounds_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall, "WINDOW", 20)
    memory = Memory()
    rng = np.random.default_rng(0)
    for token in [1, 2, 3, 4, *rng.integers(5, 200, 30).tolist(), 1, 2, 3]:
        memory = memory.read(token, LENGTH)
        assert len(memory.said) <= 20
    assert memory.expected == NOTHING
    for token in [7, 8, 9, 10] * 20:  # a cycle goes on for ever in a bounded memory
        memory = memory.read(token, LENGTH)
    assert memory.expected == 7


@given(ids_of, st.lists(st.floats(-3, 3), min_size=recall.BUCKETS, max_size=recall.BUCKETS))
def test_a_step_says_what_the_score_says(ids: list[int], boosts: list[float]) -> None:
    model = model_with(boosts)
    stepper = stepper_of(model)
    start = V - 1
    nats = scoring.token_nats(model, ids, start)
    state = stepper.initial_state(1)
    for before, token, its_nats in zip([start, *ids], ids, nats, strict=False):
        logits, state = stepper.step(np.array([before]), state)
        log_p = torch.from_numpy(logits[0]).double().log_softmax(0)
        assert -float(log_p[token]) == pytest.approx(its_nats, abs=1e-4)
    whole, after = stepper.prefill(np.array([start, *ids]), stepper.initial_state(1))
    assert whole.shape == (1, V)
    assert after.memories[0].said == "".join(map(chr, [start, *ids]))


def test_rows_are_chosen_with_their_memories_and_states_are_never_edited() -> None:
    stepper = stepper_of(model_with(np.full(recall.BUCKETS, 4.0)))
    _, one = stepper.prefill(np.array([0, 1, 2, 3, 0, 1]), stepper.initial_state(1))
    two = one.select([0, 0])
    first, new = stepper.step(np.array([2, 3]), two)
    assert [m.expected for m in new.memories] == [3, NOTHING]
    again, _ = stepper.step(np.array([2, 3]), two)
    np.testing.assert_array_equal(first, again)


def test_no_boost_is_the_layers_alone() -> None:
    model = model_with(np.zeros(recall.BUCKETS))
    plain = LanguageModel(ModelConfig(vocab_size=V, embedding_size=8, hidden_size=8)).eval()
    weights = {k: v for k, v in model.state_dict().items() if k != "recall_boosts"}
    plain.load_state_dict(weights)
    ids = [0, 1, 2, 3] * 20
    for reset_every in (None, 7):
        np.testing.assert_array_equal(
            scoring.token_nats(model, ids, 5, reset_every),
            scoring.token_nats(plain, ids, 5, reset_every),
        )


def test_blocks_recall_nothing_of_the_block_before() -> None:
    model = model_with(np.full(recall.BUCKETS, 3.0))
    ids = [0, 1, 2, 3, 0, 1, 2, 3] * 2
    blocks = scoring.token_nats(model, ids, 5, 8)
    first = scoring.token_nats(model, ids[:8], 5)
    second = scoring.token_nats(model, ids[8:], ids[7])
    np.testing.assert_allclose(blocks, [*first, *second], rtol=1e-5)


def test_dynamic_evaluation_recalls_as_well() -> None:
    ids = [0, 1, 2, 3] * 40
    boosted, plain = (
        dynamic.dynamic_token_nats(model_with(np.full(recall.BUCKETS, boost)), ids, 5)
        for boost in (3.0, 0.0)
    )
    assert boosted[10:64].mean() < plain[10:64].mean() - 0.5


def test_a_fitted_boost_makes_an_expectation_as_likely_as_it_was_right() -> None:
    rng = np.random.default_rng(0)
    buckets = np.repeat([2, 7], 20_000)
    logits = rng.normal(-1.0, 0.5, 40_000)
    truth = np.where(buckets == 2, 1.5, -0.7)
    hits = rng.random(40_000) < 1 / (1 + np.exp(-(logits + truth)))
    boosts = recall.fit(logits, hits, buckets)
    assert boosts[[2, 7]] == pytest.approx([1.5, -0.7], abs=0.06)
    assert np.delete(boosts, [2, 7]) == pytest.approx(0.0, abs=1e-6)  # never seen
    better = recall.nats(logits + boosts[buckets], hits).sum()
    for other in (boosts + 0.1, boosts - 0.1):
        assert better < recall.nats(logits + other[buckets], hits).sum()


def test_fitting_on_documents_gains_what_scoring_then_shows() -> None:
    rng = np.random.default_rng(1)
    tunes = [np.tile(rng.integers(0, V - 1, 12), 3) for _ in range(8)]
    start = V - 1
    stream = np.concatenate([np.concatenate([[start], tune]) for tune in tunes] + [[start]])
    model = model_with(np.ones(recall.BUCKETS))
    gained = validation.fit_recall(model, stream, start)

    def mean_nats() -> float:
        return float(np.mean([scoring.token_nats(model, t.tolist(), start) for t in tunes]))

    fitted = mean_nats()
    model.recall_boosts.zero_()
    assert gained > 0.2
    assert mean_nats() - fitted == pytest.approx(gained, abs=1e-4)


def test_a_negative_length_is_refused() -> None:
    with pytest.raises(ValueError, match="recall must not be negative"):
        ModelConfig(vocab_size=V, recall=-1)
