"""Dynamic evaluation learns from the past alone, and leaves the model as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from generative.dynamic import SEGMENT_TOKENS, dynamic_token_nats
from generative.scoring import token_nats
from tests.test_model import V, small

if TYPE_CHECKING:
    from generative.text_model import TextModel


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
