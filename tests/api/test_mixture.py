"""Mixed models: every probability is the weighted mean of theirs, computed by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import generative
from generative.api import load as api
from generative.api.runtime import Runtime
from generative.api.text_model import TextModel
from generative.checkpoint import Checkpoint
from generative.engine.mixed import MixedStepper, log_mixture
from generative.sampling import (
    BeamOptions,
    Request,
    beam_search,
    sample,
)
from generative.tokenizers.byte import ByteTokenizer
from generative.tokenizers.char import CharTokenizer
from tests.chain import CHAIN, END, ChainStepper, HistoryStepper
from tests.model.test_model import small

OTHER = np.roll(CHAIN, 1, axis=1)
SHARES = (0.75, 0.25)
MIXED = 0.75 * CHAIN + 0.25 * OTHER


def chains() -> MixedStepper:
    return MixedStepper([ChainStepper(CHAIN), ChainStepper(OTHER)], SHARES)


def text_model(seed: int, tokenizer: Any = None, **changes: Any) -> TextModel:
    """A model of bytes that nothing has taught."""
    tokenizer = tokenizer or ByteTokenizer()
    model = small(
        vocab_size=tokenizer.vocab_size, hidden_size=8 + seed, embedding_size=8 + seed, **changes
    )
    arrays = {name: (2 + seed) * value.numpy() for name, value in model.state_dict().items()}
    checkpoint = Checkpoint(
        name=f"m{seed}", path=Path(), config=model.config, tokenizer=tokenizer, weights=arrays
    )
    return TextModel(Runtime(checkpoint, compiled=False))


def mix(models: dict[TextModel, float]) -> TextModel:
    mixed = generative.mix(models)
    assert isinstance(mixed, TextModel)
    return mixed


def test_the_mean_of_two_distributions() -> None:
    mixed = log_mixture([np.log([0.5, 0.5]), np.log([0.1, 0.9])], [0.25, 0.75])
    np.testing.assert_allclose(np.exp(mixed), [0.2, 0.8])
    impossible = log_mixture([np.array([-np.inf, 0.0]), np.array([-np.inf, 0.0])], [0.5, 0.5])
    assert impossible.tolist() == [-np.inf, 0.0]


def test_every_step_is_the_mean_of_the_chains() -> None:
    stepper = chains()
    logits, state = stepper.prefill(np.array([END, 2]), stepper.initial_state(1))
    np.testing.assert_allclose(np.exp(logits), MIXED[[2]], rtol=1e-6)
    logits, state = stepper.step(np.array([1, 3, 2]), state.select([0, 0, 0]))
    np.testing.assert_allclose(np.exp(logits), MIXED[[1, 3, 2]], rtol=1e-6)


def test_samples_have_the_mixtures_frequencies() -> None:
    draws = sample(chains(), [END], Request(max_new_tokens=1, seed=1, num_return_sequences=4000))
    (first,) = draws
    counts = np.bincount([draw.token for draw in first], minlength=4)
    np.testing.assert_allclose(counts / 4000, MIXED[END], atol=0.03)
    for draw in first[:20]:
        assert np.exp(draw.logprob) == pytest.approx(MIXED[END, draw.token], rel=1e-5)


def test_beams_find_the_mixtures_likeliest() -> None:
    (best,), *_ = (
        beam_search(
            chains(),
            [[END]],
            BeamOptions(num_beams=16),
            Request(max_new_tokens=2),
        ),
    )
    scores = np.log(MIXED[END][:, None] * MIXED)
    assert best[0].score == pytest.approx(scores.max(), rel=1e-5)
    assert best[0].tokens == list(np.unravel_index(scores.argmax(), scores.shape))


def test_states_stay_with_their_rows() -> None:
    whole = MixedStepper([HistoryStepper(5), HistoryStepper(5, scale=3.0)], SHARES)
    _, state = whole.prefill(np.array([1, 2]), whole.initial_state(1))
    _, state = whole.step(np.array([3, 4]), state.select([0, 0]))
    logits, _ = whole.step(np.array([0]), state.select([1]))
    expected, _ = whole.prefill(np.array([1, 2, 4, 0]), whole.initial_state(1))
    np.testing.assert_array_equal(logits, expected)


def test_scores_are_the_mixtures() -> None:
    one, two = text_model(0), text_model(1)
    mixed = mix({one: 3, two: 1})
    ids = mixed.tokenizer.encode("To be, or not to be")
    p = [np.exp(-model.token_nats(ids)) for model in (one, two)]
    expected = -np.log(0.75 * p[0] + 0.25 * p[1])
    np.testing.assert_allclose(mixed.token_nats(ids), expected)
    assert mixed.score("To be, or not to be").nats == pytest.approx(expected.sum())
    blocks = mixed.token_nats(ids, 4)
    p = [np.exp(-model.token_nats(ids, 4)) for model in (one, two)]
    np.testing.assert_allclose(blocks, -np.log(0.75 * p[0] + 0.25 * p[1]))


def test_what_is_drawn_is_scored_alike() -> None:
    mixed = mix({text_model(0): 0.5, text_model(1): 0.5})
    made = mixed.generate(max_new_tokens=30, seed=2, banned_tokens=[10], top_k=200)
    (sequence,) = made.sequences
    assert sequence.nats == pytest.approx(mixed.token_nats(sequence.tokens).sum(), rel=1e-5)
    assert 10 not in sequence.tokens
    pattern = mixed.generate(pattern="[ab]{5}", seed=1).text
    assert set(pattern) <= set("ab")
    assert len(pattern) == 5


def test_a_mixture_with_itself_is_the_model() -> None:
    one = text_model(0)
    ids = one.tokenizer.encode("abc")
    same = mix({one: 0.3, text_model(0): 0.7})
    np.testing.assert_allclose(same.token_nats(ids), one.token_nats(ids))
    assert mix({one: 2.0}) is one


def test_reading_teaches_each_model() -> None:
    one, two = text_model(0), text_model(1)
    mixed = mix({one: 0.5, two: 0.5})
    ids = mixed.tokenizer.encode("so it goes, " * 30)
    p = [np.exp(-model.dynamic_token_nats(ids)) for model in (one, two)]
    np.testing.assert_allclose(mixed.dynamic_token_nats(ids), -np.log(0.5 * p[0] + 0.5 * p[1]))
    text = "so it goes, " * 30
    assert mixed.adapt(text).score(text).nats < mixed.score(text).nats


def test_styles_of_a_mixture_are_those_that_all_have() -> None:
    one = text_model(0, labels=("bach", "folk"))
    two = text_model(1, labels=("folk", "jazz"))
    mixed = mix({one: 0.5, two: 0.5})
    assert mixed.styles == ("folk",)
    assert mixed.in_style("folk").checkpoint.name == "m0:0.5,m1:0.5"
    with pytest.raises(ValueError, match="no style 'bach': there are: folk, jazz"):
        mixed.in_style("bach")


def test_what_cannot_be_mixed() -> None:
    one = text_model(0)
    char = text_model(1, CharTokenizer.train(["abcabc"]))
    with pytest.raises(
        ValueError, match=r"m0 and m1 cannot be mixed: their tokenizers differ \(byte"
    ):
        generative.mix({one: 1, char: 1})
    with pytest.raises(ValueError, match="a weight must be a positive number, not 0"):
        generative.mix({one: 0, text_model(1): 1})
    with pytest.raises(ValueError, match="needs at least one"):
        generative.mix({})


def test_shares_on_the_command_line() -> None:
    assert api.mixture_weights("a", ["c:/b:0.4"]) == pytest.approx({"a": 0.6, "c:/b": 0.4})
    assert api.mixture_weights("a", []) == {"a": 1.0}
    for others, message in (
        (["b"], r"--mix 'b' must be NAME:WEIGHT"),
        (["b:0.5", "c:0.5"], "must leave some to a"),
        (["a:0.5"], "names a model twice"),
        (["b:0.1", "b:0.2"], "names a model twice"),
    ):
        with pytest.raises(ValueError, match=message):
            api.mixture_weights("a", others)


def test_a_part_may_be_in_a_style() -> None:
    model = text_model(0, labels=("bach", "folk"))
    model.checkpoint.weights["labels.weight"][1:] = np.random.default_rng(0).normal(size=(2, 8))
    bach, folk = model.in_style("bach"), model.in_style("folk")
    ids = model.tokenizer.encode("a fugue")
    p = [np.exp(-m.token_nats(ids)) for m in (bach, folk)]
    mixed = mix({bach: 0.2, folk: 0.8})
    np.testing.assert_allclose(mixed.token_nats(ids), -np.log(0.2 * p[0] + 0.8 * p[1]))
