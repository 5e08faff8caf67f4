"""Count models beside a network: storage, adaptation, and one answer on every path."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from generative.engine.counts import CountedStepper
from generative.engine.numpy_stepper import NumpyStepper
from generative.engine.weights import Weights
from generative.model.config import ModelConfig
from generative.model.language_model import LanguageModel
from generative.ngram import history as histories
from generative.ngram.model import CACHED, PROTOCOLS, STATIC, CountModel
from generative.ngram.operations import INTERPRETED
from generative.ngram.symbols import symbols_of
from generative.sampling.samplers import log_softmax
from generative.scoring.dynamic import dynamic_token_nats
from generative.scoring.loss import token_nats
from tests.ngram.models import START, count_model

if TYPE_CHECKING:
    from numpy.typing import NDArray

VOCAB = 9
AXIS = range(5, 9)
CONFIG = ModelConfig(vocab_size=VOCAB, embedding_size=6, hidden_size=8, num_layers=2)


def some_ids(seed: int, size: int) -> list[int]:
    """Ids with repeated passages, so that the cache has something to find."""
    rng = np.random.default_rng(seed)
    passage = rng.integers(1, VOCAB, size=20).tolist()
    ids: list[int] = []
    while len(ids) < size:
        ids += passage if rng.random() < 0.5 else rng.integers(1, VOCAB, size=7).tolist()
    return ids[:size]


@pytest.fixture(scope="module")
def counts() -> CountModel:
    """Counts of a few documents, in steps on an axis, with random weights."""
    return count_model([some_ids(seed, 60) for seed in range(3)], VOCAB, order=4, axis=AXIS)


@pytest.fixture(scope="module")
def network() -> LanguageModel:
    """A network whose logits differ clearly."""
    torch.manual_seed(0)
    model = LanguageModel(CONFIG).eval()
    with torch.no_grad():
        model.output.weight.mul_(8)
    return model


def weights_of(network: LanguageModel) -> Weights:
    """The network's weights as the engine takes them."""
    arrays = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    return Weights.from_arrays(CONFIG, arrays)


def steppers(network: LanguageModel, counts: CountModel, protocol: str) -> list[Any]:
    """The steppers of network and counts, interpreted and, where possible, compiled."""
    arguments = counts.tables(protocol), counts.start(protocol)
    made: list[Any] = [CountedStepper(NumpyStepper(weights_of(network)), *arguments)]
    try:
        from generative.engine.compiled_stepper import CompiledStepper
    except ImportError:
        return made
    return [*made, CompiledStepper(weights_of(network), *arguments)]


def stepped_nats(stepper: Any, ids: list[int]) -> NDArray[np.float64]:
    """-ln p of each id by steps, one at a time. -> (T,)"""
    logits, state = stepper.prefill(np.array([START]), stepper.initial_state(1))
    nats = []
    for token in ids:
        nats.append(-log_softmax(logits)[0, token])
        logits, state = stepper.step(np.array([token]), state)
    return np.array(nats)


@pytest.mark.parametrize("protocol", [STATIC, CACHED])
def test_steps_add_up_to_the_score(
    network: LanguageModel, counts: CountModel, protocol: str
) -> None:
    ids = some_ids(7, 150)
    scored = token_nats(network, ids, START, counts=counts, protocol=protocol)
    for stepper in steppers(network, counts, protocol):
        assert stepped_nats(stepper, ids) == pytest.approx(scored, abs=1e-4)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_engine_and_torch_give_the_same_scores(
    network: LanguageModel, counts: CountModel, protocol: str
) -> None:
    ids = some_ids(8, 150)
    engine = NumpyStepper(weights_of(network))
    state, logits = engine.initial_state(1), []
    for token in [START, *ids[:-1]]:
        one, state = engine.step(np.array([token]), state)
        logits.append(one[0])
    inputs, targets = np.array([START, *ids[:-1]]), np.array(ids)
    expected = counts.scorer(protocol)(np.stack(logits), inputs, targets)
    scored = token_nats(network, ids, START, counts=counts, protocol=protocol)
    assert scored == pytest.approx(expected, abs=1e-4)


def test_protocols_differ_and_static_is_without_memory(
    network: LanguageModel, counts: CountModel
) -> None:
    ids = some_ids(9, 200)
    by_protocol = [
        token_nats(network, ids, START, counts=counts, protocol=protocol) for protocol in PROTOCOLS
    ]
    alone = token_nats(network, ids, START)
    for one, other in zip([alone, *by_protocol], by_protocol, strict=False):
        assert not np.allclose(one, other, atol=1e-3)


def test_each_block_begins_anew(network: LanguageModel, counts: CountModel) -> None:
    ids = some_ids(3, 100)
    for protocol in PROTOCOLS:
        blocks = token_nats(network, ids, START, 32, counts=counts, protocol=protocol)
        parts = [
            token_nats(
                network, ids[at : at + 32], ids[at - 1] if at else START, counts=counts,
                protocol=protocol,
            )
            for at in range(0, 100, 32)
        ]  # fmt: skip
        assert blocks == pytest.approx(np.concatenate(parts), abs=1e-4)


def test_dynamic_evaluation_scores_the_mixture(counts: CountModel) -> None:
    ids = some_ids(4, 200)
    torch.manual_seed(1)
    alone = LanguageModel(CONFIG).eval()
    mixed = LanguageModel(CONFIG).eval()
    mixed.load_state_dict(alone.state_dict())
    static = token_nats(mixed, ids, START, counts=counts)
    before = dynamic_token_nats(alone, ids, START)
    nats = dynamic_token_nats(mixed, ids, START, scorer=counts.scorer(STATIC))
    assert nats[:64] == pytest.approx(static[:64], abs=1e-4)  # nothing is learnt before
    assert nats[64:] != pytest.approx(static[64:], abs=1e-3)
    assert nats != pytest.approx(before, abs=1e-3)
    for one, other in zip(alone.parameters(), mixed.parameters(), strict=True):
        assert torch.equal(one, other)  # Counts do not change what the network learns.


def test_a_state_is_never_edited(network: LanguageModel, counts: CountModel) -> None:
    ids = some_ids(5, 300)
    for stepper in steppers(network, counts, CACHED):
        _, state = stepper.prefill(np.array([START, *ids]), stepper.initial_state(1))
        first, after = stepper.step(np.array([ids[0]]), state)
        stepper.step(np.array([ids[1]]), after)
        again, _ = stepper.step(np.array([ids[0]]), state)
        assert np.array_equal(first, again)
        two, _ = stepper.step(np.array([ids[0], ids[1]]), state.select([0, 0]))
        assert two[0] == pytest.approx(first[0], abs=1e-5)
        assert not np.allclose(two[0], two[1])


def test_rows_of_a_batch_are_as_alone(network: LanguageModel, counts: CountModel) -> None:
    documents = np.array([some_ids(seed, 40) for seed in range(3)])
    for stepper in steppers(network, counts, CACHED):
        together = stepper.initial_state(3)
        logits = np.empty(0)
        for tokens in documents.T:
            logits, together = stepper.step(tokens, together)
        for row, document in enumerate(documents):
            alone, _ = stepper.prefill(document, stepper.initial_state(1))
            assert logits[row] == pytest.approx(alone[0], abs=1e-4)


def test_stored_and_read_it_predicts_the_same(network: LanguageModel, counts: CountModel) -> None:
    ids = some_ids(6, 80)
    read = CountModel.from_arrays(counts.to_arrays(), VOCAB)
    assert read.axis == counts.axis
    for protocol in PROTOCOLS:
        one, other = (
            token_nats(network, ids, START, counts=model, protocol=protocol)
            for model in (counts, read)
        )
        assert np.array_equal(one, other)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("static", np.zeros((2, 3), np.float32), "another shape"),
        ("cached", None, "cached.* is missing"),
        ("axis", np.array([5, 12], np.int32), "within the 9 ids"),
        ("axis", np.array([5], np.int32), "two ids"),
        ("trie.labels", np.ones(3, np.uint8), "number of nodes"),
        ("trie.next_levels", None, "arrays"),
    ],
)
def test_arrays_that_are_no_count_model_are_refused(
    counts: CountModel, name: str, value: NDArray[Any] | None, message: str
) -> None:
    arrays = counts.to_arrays()
    if value is None:
        del arrays[name]
    else:
        arrays[name] = value
    with pytest.raises(ValueError, match=message):
        CountModel.from_arrays(arrays, VOCAB)


@pytest.mark.parametrize("weight", [np.nan, np.inf, 100.0])
def test_weights_out_of_range_are_refused(counts: CountModel, weight: float) -> None:
    broken = counts.cached_weights.copy()
    broken[1, 1] = weight
    arrays = {**counts.to_arrays(), "cached": broken}
    with pytest.raises(ValueError, match="weight of the mixture"):
        CountModel.from_arrays(arrays, VOCAB)


def test_symbols_beyond_the_vocabulary_are_refused() -> None:
    counts = count_model([[1, 2]], VOCAB)
    with pytest.raises(ValueError, match="below 2, not 2"):
        CountModel.from_arrays(counts.to_arrays(), 2)


def test_an_adapted_model_knows_what_it_has_read(
    network: LanguageModel, counts: CountModel
) -> None:
    ids = some_ids(11, 60)
    adapted = counts.adapted([START, *ids])
    for protocol in PROTOCOLS:
        before, after = (
            token_nats(network, ids, START, counts=model, protocol=protocol)
            for model in (counts, adapted)
        )
        assert after.sum() < before.sum()
    # A static score adds nothing: a part costs the same however often its kind was read before.
    adapted_again = token_nats(network, ids, START, counts=adapted)
    assert np.array_equal(adapted_again, token_nats(network, ids, START, counts=adapted))
    assert not counts.learnt


@given(
    document=st.lists(st.integers(1, 8), max_size=20),
    shift=st.integers(-2, 2),
)
@settings(deadline=None)
def test_symbols_do_not_depend_on_the_key(document: list[int], shift: int) -> None:
    vocab_size, axis = 40, range(10, 40)
    notes = [token + 20 if token > 4 else token for token in document]
    moved = [token + shift if token >= 20 else token for token in notes]
    one, other = (
        symbols_of(np.array([START, *ids, START]), START, axis, vocab_size).tolist()
        for ids in (notes, moved)
    )
    first = next((at for at, token in enumerate(notes, start=1) if token >= 20), None)
    if first is not None:
        assert other[first] - one[first] == shift  # a step from the middle of the axis
        one[first] = other[first] = 0
    assert one == other


@given(document=st.lists(st.integers(1, VOCAB - 1), max_size=20))
@settings(deadline=None)
def test_symbols_read_one_by_one_are_those_of_the_stream(document: list[int]) -> None:
    model = count_model([document], VOCAB, order=4, axis=AXIS)
    tables = model.tables(STATIC)
    history = histories.start(tables, 1)
    for token in (START, *document):
        INTERPRETED.append(tables, history, 0, token)
    expected = symbols_of(np.array([START, *document]), START, AXIS, VOCAB)[::-1][: model.order]
    symbols = tables.trie.symbols[expected]
    assert history.recent[0, : len(expected)].tolist() == symbols.tolist()


def test_threads_may_share_a_stepper(network: LanguageModel, counts: CountModel) -> None:
    documents = [[START, *some_ids(seed, 1500)] for seed in range(8)]
    for stepper in steppers(network, counts, CACHED)[-1:]:

        def read(ids: list[int], one: Any = stepper) -> list[list[float]]:
            state, found = one.initial_state(1), []
            for at in range(0, len(ids), 100):
                logits, state = one.prefill(np.array(ids[at : at + 100]), state)
                found.append(logits[0].tolist())
            return found

        alone = [read(ids) for ids in documents]
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(read, documents)) == alone


def test_symbols_are_those_of_a_worked_example() -> None:
    stream = np.array([START, 5, 7, 3, 6, START, 4])
    # The middle of 4..8 is 6, and a step of 0 is symbol 10 + 4.
    expected = [START, 14 - 1, 14 + 2, 3, 14 - 1, START, 14 - 2]
    assert symbols_of(stream, START, range(4, 9), 10).tolist() == expected
