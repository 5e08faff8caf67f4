"""The match model: what it expects, and that fitting, samples and scores agree on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import generative
from generative.api.text_model import TextModel
from generative.data.labels import Labels
from generative.engine import build
from generative.engine.matching import MatchStepper
from generative.model import match
from generative.model.config import ModelConfig
from generative.model.language_model import LanguageModel
from generative.model.match import NO_MATCH, NUM_BUCKETS, MatchState
from generative.scoring import dynamic
from generative.scoring import loss as scoring
from generative.training import fitting

LENGTH = 3
V = 6
ids_of = st.lists(st.integers(0, 3), max_size=60)


def model_with(biases: Any) -> LanguageModel:
    torch.manual_seed(0)
    model = LanguageModel(
        ModelConfig(vocab_size=V, embedding_size=8, hidden_size=8, match_length=LENGTH)
    ).eval()
    model.match_biases.copy_(torch.as_tensor(biases))
    return model


def stepper_of(model: LanguageModel) -> MatchStepper:
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    layers = build(model.config, weights, compiled=False)
    return MatchStepper(layers, LENGTH, weights["match_biases"])


def expected_by_search(ids: list[int], window: int = 10**6) -> list[tuple[int | None, int | None]]:
    """(token, agreement) after each, by looking at every earlier place.

    A place once found is kept for as long as it is right.
    """
    out: list[tuple[int | None, int | None]] = []
    place = None
    for n in range(1, len(ids) + 1):
        place = place + 1 if place is not None and ids[place] == ids[n - 1] else None
        if place is not None and place < n - window:
            place = None
        if place is None:
            places = [
                q
                for q in range(max(0, n - window) + LENGTH, n)
                if n >= LENGTH and ids[q - LENGTH : q] == ids[n - LENGTH : n]
            ]
            place = max(places, default=None)
        if place is None:
            out.append((None, None))
            continue
        agreed = 0
        while agreed < place and ids[place - 1 - agreed] == ids[n - 1 - agreed]:
            agreed += 1
        out.append((ids[place], agreed))
    return out


@given(ids_of)
def test_what_is_expected_is_what_a_search_of_all_places_finds(ids: list[int]) -> None:
    state = MatchState()
    for token, (expected, agreed) in zip(ids, expected_by_search(ids), strict=True):
        state = state.update(token, LENGTH)
        assert state.expected == expected
        assert (state.bucket is None) == (expected is None)
        if expected is not None:
            assert state.length == agreed


def test_a_repeated_passage_is_expected_and_its_boundary_has_buckets_of_its_own() -> None:
    passage = list(range(40))
    expected, buckets = match.predict(passage * 4, LENGTH)
    begin = 40 + LENGTH - 1
    assert (expected[:begin] == NO_MATCH).all()
    assert expected[begin:-1].tolist() == (passage * 4)[begin + 1 :]
    regions = buckets // match.LENGTH_BUCKETS
    boundary = match.BOUNDARY
    assert (regions[begin : 79 + boundary.start] == 0).all()  # token 79 is the second end
    assert (regions[79 + boundary.start : 79 + boundary.stop] == 1).all()
    assert (regions[79 + boundary.stop :] == 2).all()


@given(ids_of)
def test_what_left_the_window_is_not_found(ids: list[int]) -> None:
    window = 12
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(match, "HISTORY_TOKENS", window)
        expected, _ = match.predict(ids, LENGTH)
    for place, (token, _) in zip(expected.tolist(), expected_by_search(ids, window), strict=True):
        assert place == (NO_MATCH if token is None else token)


def test_cycles_of_any_length_are_told_from_repeats() -> None:
    passage = list(range(700))  # longer than `MAX_MATCH_LENGTH`
    _, buckets = match.predict(passage * 3, LENGTH)
    assert set(buckets[1410:].tolist()) == {NUM_BUCKETS - 1}
    assert set(buckets[1300:1390].tolist()) == {match.LENGTH_BUCKETS - 1}


def test_the_history_is_bounded_and_drops_what_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(match, "HISTORY_TOKENS", 20)
    state = MatchState()
    rng = np.random.default_rng(0)
    for token in [1, 2, 3, 4, *rng.integers(5, 200, 30).tolist(), 1, 2, 3]:
        state = state.update(token, LENGTH)
        assert len(state.history) <= 20
    assert state.expected is None
    for token in [7, 8, 9, 10] * 20:  # a cycle is matched for ever in a bounded history
        state = state.update(token, LENGTH)
    assert state.expected == 7


@given(ids_of, st.lists(st.floats(-3, 3), min_size=NUM_BUCKETS, max_size=NUM_BUCKETS))
def test_a_step_gives_the_likelihood_that_the_score_gives(
    ids: list[int], biases: list[float]
) -> None:
    model = model_with(biases)
    stepper = stepper_of(model)
    start = V - 1
    nats = scoring.token_nats(model, ids, start)
    state = stepper.initial_state(1)
    for before, token, its_nats in zip([start, *ids], ids, nats, strict=False):
        logits, state = stepper.step(np.array([before]), state)
        log_p = torch.from_numpy(logits[0]).double().log_softmax(0)
        assert -float(log_p[token]) == pytest.approx(its_nats, abs=1e-4)


def test_a_prompt_read_at_once_is_one_read_step_by_step() -> None:
    stepper = stepper_of(model_with(np.linspace(1, 5, NUM_BUCKETS)))
    ids = np.array([0, 1, 2, 3, 0, 1, 2])
    at_once, after = stepper.prefill(ids, stepper.initial_state(1))
    state = stepper.initial_state(1)
    for token in ids:
        by_steps, state = stepper.step(np.array([token]), state)
    np.testing.assert_allclose(at_once, by_steps, atol=1e-5)
    assert after.matches == state.matches
    assert at_once.argmax() == 3  # 0 1 2 was followed by it


def test_rows_are_chosen_with_their_histories_and_states_are_never_edited() -> None:
    stepper = stepper_of(model_with(np.full(NUM_BUCKETS, 4.0)))
    _, one = stepper.prefill(np.array([0, 1, 2, 3, 0, 1]), stepper.initial_state(1))
    two = one.select([0, 0])
    first, new = stepper.step(np.array([2, 3]), two)
    assert [m.expected for m in new.matches] == [3, None]
    again, _ = stepper.step(np.array([2, 3]), two)
    np.testing.assert_array_equal(first, again)


def test_biases_of_zero_leave_the_layers_alone() -> None:
    model = model_with(np.zeros(NUM_BUCKETS))
    plain = LanguageModel(ModelConfig(vocab_size=V, embedding_size=8, hidden_size=8)).eval()
    weights = {k: v for k, v in model.state_dict().items() if k != "match_biases"}
    plain.load_state_dict(weights)
    ids = [0, 1, 2, 3] * 20
    for reset_every in (None, 7):
        np.testing.assert_array_equal(
            scoring.token_nats(model, ids, 5, reset_every),
            scoring.token_nats(plain, ids, 5, reset_every),
        )


def test_blocks_match_nothing_of_the_block_before() -> None:
    model = model_with(np.full(NUM_BUCKETS, 3.0))
    ids = [0, 1, 2, 3, 0, 1, 2, 3] * 2
    blocks = scoring.token_nats(model, ids, 5, 8)
    first = scoring.token_nats(model, ids[:8], 5)
    second = scoring.token_nats(model, ids[8:], ids[7])
    np.testing.assert_allclose(blocks, [*first, *second], rtol=1e-5)


def test_long_sequences_match_beyond_what_is_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_with(np.linspace(0.5, 3, NUM_BUCKETS))
    ids = np.random.default_rng(0).integers(0, 3, 60).tolist() * 20
    nats = scoring.token_nats(model, ids, 5)
    monkeypatch.setattr(scoring, "CHUNK_TOKENS", len(ids))
    np.testing.assert_allclose(nats, scoring.token_nats(model, ids, 5), atol=1e-4)
    monkeypatch.setattr(dynamic, "LEARNING_RATE", 0.0)  # it learns nothing: the same score
    np.testing.assert_allclose(nats, dynamic.dynamic_token_nats(model, ids, 5), atol=1e-4)


def test_a_fitted_bias_makes_an_expectation_as_likely_as_it_was_right() -> None:
    rng = np.random.default_rng(0)
    buckets = np.repeat([2, 7], 20_000)
    logits = rng.normal(-1.0, 0.5, 40_000)
    truth = np.where(buckets == 2, 1.5, -0.7)
    hits = rng.random(40_000) < 1 / (1 + np.exp(-(logits + truth)))
    biases = match.fit_biases(logits, hits, buckets)
    assert biases[[2, 7]] == pytest.approx([1.5, -0.7], abs=0.06)
    assert np.delete(biases, [2, 7]) == pytest.approx(0.0, abs=1e-6)  # never seen
    better = match.hit_nats(logits + biases[buckets], hits).sum()
    for other in (biases + 0.1, biases - 0.1):
        assert better < match.hit_nats(logits + other[buckets], hits).sum()


def test_an_end_is_an_expectation_that_did_not_come() -> None:
    start = V - 1
    tune = [0, 1, 2, 3, 4] * 3
    stream = np.array([start, *tune] * 40 + [start])
    model = model_with(np.zeros(NUM_BUCKETS))
    fitting.fit_match_biases(model, stream, start)
    _, buckets = match.predict([start, *tune], LENGTH)
    cycle = buckets[-1]
    assert cycle >= match.LENGTH_BUCKETS
    stepper = stepper_of(model)
    trust = []
    state = stepper.initial_state(1)
    for token, bucket in zip([start, *tune], buckets, strict=True):
        logits, state = stepper.step(np.array([token]), state)
        if bucket == cycle:
            expected = state.matches[0].expected
            assert expected is not None
            trust.append(float(torch.from_numpy(logits[0]).softmax(0)[expected]))
    came = 1 - 1 / len(trust)  # all but the last, at which the tune is over
    assert np.mean(trust) == pytest.approx(came, abs=0.02)


def test_fitting_on_documents_gains_what_scoring_then_shows() -> None:
    rng = np.random.default_rng(1)
    tunes = [np.tile(rng.integers(0, V - 1, 12), 3) for _ in range(8)]
    start = V - 1
    stream = np.concatenate([np.concatenate([[start], tune]) for tune in tunes] + [[start]])
    model = model_with(np.ones(NUM_BUCKETS))
    gained = fitting.fit_match_biases(model, stream, start)

    def mean_nats() -> float:
        ended = [[*tune.tolist(), start] for tune in tunes]
        return float(np.mean([scoring.token_nats(model, ids, start) for ids in ended]))

    fitted = mean_nats()
    model.match_biases.zero_()
    assert gained > 0.2
    assert mean_nats() - fitted == pytest.approx(gained, abs=1e-4)


def test_the_fit_reads_each_document_in_its_style() -> None:
    start = V - 1
    tunes = [[0, 1, 2, 3] * 3, [3, 2, 1, 0] * 3]
    stream = np.array([start, *tunes[0], start, *tunes[1], start])
    config = ModelConfig(
        vocab_size=V, embedding_size=8, hidden_size=8, match_length=LENGTH, labels=("one", "two")
    )
    torch.manual_seed(0)
    model = LanguageModel(config)
    torch.nn.init.normal_(model.labels.weight, std=3.0)
    fitted = []
    for labels in ([1, 2], [2, 1]):
        fitting.fit_match_biases(model, stream, start, Labels.of_documents(stream, start, labels))
        fitted.append(model.match_biases.clone())
    assert not torch.equal(*fitted)


@pytest.mark.parametrize("length", [-1, 513])
def test_a_length_out_of_range_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match=f"match_length must be from 0 to 512, not {length}"):
        ModelConfig(vocab_size=V, match_length=length)


@pytest.fixture(scope="module")
def refrain_model(tmp_path_factory: pytest.TempPathFactory) -> TextModel:
    """A model that learnt from twenty texts, each a passage of its own twice."""
    corpus = tmp_path_factory.mktemp("refrains")
    rng = np.random.default_rng(0)
    for number in range(20):
        passage = "".join(rng.choice(list("abcdefgh "), 60))
        (corpus / f"{number:02d}.txt").write_text(passage * 2)
    folder = tmp_path_factory.mktemp("models") / "refrain_model"
    generative.train(corpus, folder, steps=40, hidden=16, batch_size=2, match_length=4)
    loaded = generative.load(folder)
    assert isinstance(loaded, TextModel)
    return loaded


def test_training_fits_what_sampling_and_scores_then_trust(refrain_model: TextModel) -> None:
    prompt = "abcdefg hab"
    ids = refrain_model.tokenizer.encode(prompt)
    rows = refrain_model.generate(prompt, max_new_tokens=60, seed=3, num_return_sequences=3)
    beams = refrain_model.generate(prompt, max_new_tokens=60, num_beams=4)
    for sequence in (*rows.sequences, *beams.sequences):
        nats = refrain_model.token_nats([*ids, *sequence.tokens])[len(ids) :]
        assert sequence.nats == pytest.approx(nats.sum(), abs=1e-2)


def test_adapted_models_and_mixtures_have_the_match_model_too(refrain_model: TextModel) -> None:
    passage = "hgfedcba abcabc"
    repeated = refrain_model.tokenizer.encode(passage * 2)
    for model in (
        refrain_model,
        refrain_model.adapt("abc abc"),
        generative.mix({refrain_model: 1.0}),
    ):
        nats = model.token_nats(repeated)
        assert nats[len(passage) + 6 :].mean() < 0.5 * nats[: len(passage)].mean()


def test_with_nothing_held_out_the_layers_stand_alone(tmp_path: Path) -> None:
    tune = Path(__file__).parents[2] / "corpora" / "tunes" / "slow_tide.mid"
    generative.train(tune, tmp_path / "m", steps=2, hidden=16, embedding_size=16)
    model = generative.load(tmp_path / "m")
    assert model.checkpoint.config.match_length > 0
    assert model.checkpoint.match_biases is None
    assert not isinstance(model.runtime.stepper_for(100), MatchStepper)
