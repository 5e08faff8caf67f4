"""Labels of places: every token keeps its document's, however documents are cut and shuffled."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from generative.data import labels as labels_module
from generative.data.labels import NO_LABEL, Labels, excerpt
from generative.model.cells import CELLS
from generative.scoring.loss import cross_entropy
from generative.training.batches import StreamBatches, windows
from generative.training.config import TrainingConfig
from generative.training.learner import Learner
from tests.model.test_model import B, T, V, small, tokens

START = 0
NAMES = ("bach", "folk")
documents = st.lists(st.tuples(st.integers(1, 30), st.integers(0, 3)), min_size=1, max_size=8)


def stream_of(shape: list[tuple[int, int]]) -> tuple[Any, Labels]:
    """Documents of so many tokens, each token 100 times its label and a bit."""
    parts = [[START, *(100 * label + 1 + i for i in range(n))] for n, label in shape]
    stream = np.array([*itertools.chain(*parts), START])
    return stream, Labels.of_documents(stream, START, [label for _, label in shape])


def given_labels(inputs: Any) -> Any:
    """What the labels must be, by the tokens themselves."""
    return inputs // 100


def test_a_document_has_its_label_from_its_start_token_on() -> None:
    stream, labels = stream_of([(2, 1), (3, 0), (1, 2)])
    assert labels.begins.tolist() == [0, 3, 7]
    assert labels.at(np.arange(len(stream) - 1)).tolist() == [1, 1, 1, 0, 0, 0, 0, 2, 2]


def test_a_stream_is_searched_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels_module, "CHUNK_TOKENS", 2)
    assert stream_of([(2, 1), (3, 0), (1, 2)])[1].begins.tolist() == [0, 3, 7]


@given(shape=documents, shuffle=st.booleans(), seed=st.integers(0, 9), batch_size=st.integers(1, 3))
def test_every_input_has_the_label_of_its_document(
    shape: list[tuple[int, int]], shuffle: bool, seed: int, batch_size: int
) -> None:
    stream, labels = stream_of(shape)
    lanes = StreamBatches(
        stream=stream,
        start_id=START,
        batch_size=batch_size,
        sequence_length=3,
        seed=seed,
        shuffle=shuffle,
        labels=labels,
    )
    for batch in lanes.epoch(0):
        assert batch.labels is not None
        inside = batch.inputs != START
        np.testing.assert_array_equal(batch.labels[inside], given_labels(batch.inputs)[inside])


def test_without_labels_the_batches_are_as_they_were() -> None:
    stream, labels = stream_of([(40, 1), (50, 2), (60, 0)])
    for shuffle in (False, True):
        plain, labelled = (
            StreamBatches(
                stream=stream, start_id=START, batch_size=2, sequence_length=4, seed=5,
                shuffle=shuffle, labels=which, label_dropout=0.5,
            )
            for which in (None, labels)
        )  # fmt: skip
        for one, other in zip(plain.epoch(2), labelled.epoch(2), strict=True):
            np.testing.assert_array_equal(one.inputs, other.inputs)
            assert one.labels is None


def test_labels_are_withheld_for_whole_documents_or_stretches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(labels_module, "SPAN_TOKENS", 10)
    shape = [(4, 1)] * 2000 + [(39, 2)] * 500  # with its start token 5, and 4 stretches of 10
    stream, labels = stream_of(shape)
    rest = labels.withheld(0.25, np.random.default_rng(0)).at(np.arange(len(stream) - 1))
    by_document, by_stretch = rest[:10_000].reshape(-1, 5), rest[10_000:].reshape(-1, 10)
    for stretches, label in ((by_document, 1), (by_stretch, 2)):
        assert set(stretches.ravel().tolist()) == {NO_LABEL, label}
        assert (stretches == stretches[:, :1]).all()
        assert (stretches[:, 0] == NO_LABEL).mean() == pytest.approx(0.25, abs=0.03)
    nothing = labels.withheld(0.0, np.random.default_rng(0))
    np.testing.assert_array_equal(
        nothing.at(np.arange(len(stream))), labels.at(np.arange(len(stream)))
    )


def test_an_excerpt_has_as_much_of_every_label() -> None:
    stream, labels = stream_of([(99, 1), (99, 1), (49, 2), (9, 0), (49, 2)])
    part, theirs = excerpt(stream, START, labels, 120)
    assert [np.count_nonzero(theirs.at(np.arange(len(part) - 1)) == n) for n in (1, 2, 0)] == [
        40, 40, 10,
    ]  # fmt: skip
    inside = part != START
    np.testing.assert_array_equal(
        theirs.at(np.arange(len(part)))[inside], given_labels(part)[inside]
    )
    assert part[-1] == START


def labelled(**changes: object) -> Any:
    """A small model with labels that say something."""
    model = small(labels=NAMES, **changes)
    with torch.no_grad():
        model.labels.weight[1:].normal_()
    return model


every_cell = pytest.mark.parametrize(
    ("cell", "tied"), list(itertools.product(CELLS, [True, False]))
)


@every_cell
def test_steps_equal_forward_with_labels(cell: str, tied: bool) -> None:
    model, x = labelled(cell=cell, tied=tied), tokens()
    which = torch.arange(T * B).reshape(T, B) % 3
    whole, end = model(x, model.initial_state(B), which)
    state = model.initial_state(B)
    for t in range(T):
        logits, state = model.step(x[t], state, which[t])
        torch.testing.assert_close(logits, whole[t])
    torch.testing.assert_close(state.layers, end.layers)
    assert not torch.allclose(whole, model(x, model.initial_state(B))[0])


def test_no_label_is_the_model_without() -> None:
    model, x = labelled(), tokens()
    with_none, _ = model(x, model.initial_state(B), torch.zeros_like(x))
    torch.testing.assert_close(with_none, model(x, model.initial_state(B))[0])


def test_labels_change_no_weight_of_a_new_model() -> None:
    plain, new = small().state_dict(), small(labels=NAMES).state_dict()
    assert set(new) - set(plain) == {"labels.weight"}
    assert all(torch.equal(plain[name], new[name]) for name in plain)


def test_gradients_of_labels_are_the_losses_slopes() -> None:
    model, x = labelled().double(), tokens()
    which = torch.arange(T * B).reshape(T, B) % 2  # none and the first: never the second

    def loss() -> torch.Tensor:
        logits, _ = model(x, model.initial_state(B), which)
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), x.flatten())

    loss().backward()
    gradient = model.labels.weight.grad
    assert gradient[0].abs().sum() == gradient[2].abs().sum() == 0
    for feature in range(3):
        slopes = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                model.labels.weight[1, feature] += step
                slopes.append(loss().item() / (2 * step))
                model.labels.weight[1, feature] -= step
        assert gradient[1, feature].item() == pytest.approx(sum(slopes), rel=1e-4)


def test_the_learner_sees_labels() -> None:
    model, x = labelled(), tokens()
    which = torch.arange(T * B).reshape(T, B) % 3
    learner = Learner(model, TrainingConfig(), torch.arange(V))
    loss, nats, _ = learner(x[:-1], x[1:], model.initial_state(B), 0.0, which[:-1])
    logits, _ = model(x[:-1], model.initial_state(B), which[:-1])
    assert loss.item() == nats.item() == pytest.approx(cross_entropy(logits, x[1:]).item())


def test_windows_without_labels_have_none() -> None:
    assert all(batch.labels is None for batch in windows(np.arange(30), 2, 3))
