"""Dynamic evaluation learns from the past alone, and leaves the model as it was."""

from __future__ import annotations

import numpy as np
import torch

import generative
from generative.api.text_model import TextModel
from generative.data.corpus import read_text
from generative.scoring.dynamic import SEGMENT_TOKENS, dynamic_token_nats, gradient_statistics
from generative.scoring.loss import cross_entropy, token_nats
from tests.conftest import data
from tests.model.test_model import V, small


def test_the_first_segment_is_static_and_the_rest_is_learnt() -> None:
    ids = [1, 2, 3, 4, 5] * 80
    static = token_nats(small(), ids, 0)
    dynamic = dynamic_token_nats(small(), ids, 0)
    assert dynamic.shape == static.shape
    np.testing.assert_allclose(dynamic[:SEGMENT_TOKENS], static[:SEGMENT_TOKENS], rtol=1e-5)
    assert dynamic[-SEGMENT_TOKENS:].mean() < static[-SEGMENT_TOKENS:].mean() - 0.01


def test_no_token_is_learnt_from_before_it_is_scored() -> None:
    ids = np.random.default_rng(0).integers(V, size=3 * SEGMENT_TOKENS).tolist()
    other = ids[: 2 * SEGMENT_TOKENS] + [7] * SEGMENT_TOKENS
    one, two = (dynamic_token_nats(small(), x, 0)[: 2 * SEGMENT_TOKENS] for x in (ids, other))
    np.testing.assert_array_equal(one, two)


def test_nothing_to_score() -> None:
    assert dynamic_token_nats(small(), [], 0).shape == (0,)


def test_the_loaded_model_stays_as_it_was(model: TextModel) -> None:
    before = model.score("12 bottles stand").nats
    model.dynamic_token_nats(model.tokenizer.encode("something else " * 20))
    assert model.score("12 bottles stand").nats == before
    assert torch.is_grad_enabled()


def test_statistics_are_the_rms_of_the_gradients() -> None:
    stream = np.array([0, *([1, 2, 3, 4, 5] * 13)])[: SEGMENT_TOKENS + 1]  # one segment
    network = small()
    found = gradient_statistics(network, stream)
    tokens = torch.from_numpy(stream).unsqueeze(1)
    logits, _ = network(tokens[:-1], network.initial_state(1))
    cross_entropy(logits, tokens[1:]).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None
        np.testing.assert_allclose(found[name], parameter.grad.abs().numpy(), atol=1e-7)


def test_stored_statistics_serve_as_well_as_those_gathered_while_reading() -> None:
    ids = [1, 2, 3, 4, 5] * 80
    static = token_nats(small(), ids, 0)
    stored = dynamic_token_nats(small(), ids, 0, gradient_statistics(small(), np.array([0, *ids])))
    assert stored[-SEGMENT_TOKENS:].mean() < static[-SEGMENT_TOKENS:].mean() - 0.01


def test_reading_another_author_makes_a_model_expect_more_of_them() -> None:
    alice = read_text(data("text/books/alice29.txt"))
    model = generative.load("shakespeare")
    assert isinstance(model, TextModel)
    adapted = model.adapt(alice[:4000])
    rest = alice[4000:8000]
    before, after = (m.score(rest).nats / len(rest) for m in (model, adapted))
    assert after < before - 0.05
    assert model.score(rest).nats / len(rest) == before
