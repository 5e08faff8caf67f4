"""One set of mathematics: forward over time, step by step, PyTorch's own layers, and state."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from generative.model.cells import CELLS, LSTM
from generative.model.config import ModelConfig
from generative.model.language_model import LanguageModel, locked_dropout
from generative.model.noise import Noise
from generative.model.state import State
from generative.model.stepper import TorchStepper
from generative.scoring.loss import cross_entropy, token_nats

if TYPE_CHECKING:
    from collections.abc import Callable

V, B, T = 11, 3, 7


def small(**changes: object) -> LanguageModel:
    torch.manual_seed(1)
    values = {"vocab_size": V, "embedding_size": 8, "hidden_size": 8, "num_layers": 2, **changes}
    return LanguageModel(ModelConfig.from_dict(values)).eval()


def tokens() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(V, size=(T, B)))


every_shape = pytest.mark.parametrize(
    ("cell", "sum_layers", "tied"),
    list(itertools.product(CELLS, [True, False], [True, False])),
)


@every_shape
def test_steps_equal_forward(cell: str, sum_layers: bool, tied: bool) -> None:
    model, x = small(cell=cell, sum_layers=sum_layers, tied=tied), tokens()
    whole, end = model(x, model.initial_state(B))
    state = model.initial_state(B)
    for t in range(T):
        logits, state = model.step(x[t], state)
        torch.testing.assert_close(logits, whole[t])
    torch.testing.assert_close(state.layers, end.layers)


def test_lstm_is_pytorchs_lstm() -> None:
    ours = LSTM(5, 4)
    reference = torch.nn.LSTM(5, 4)
    with torch.no_grad():
        for name, parameter in (
            ("weight_ih_l0", ours.weight_input),
            ("weight_hh_l0", ours.weight_hidden),
            ("bias_ih_l0", ours.bias),
            ("bias_hh_l0", torch.zeros(16)),
        ):
            getattr(reference, name).copy_(parameter)
    x, zeros = torch.randn(T, B, 5), torch.zeros(B, 4)
    expected, (h, c) = reference(x)
    out, state = ours(x, (zeros, zeros))
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(state, (h[0], c[0]))
    assert ours.bias[4:8].tolist() == [1.0] * 4  # the forget gate starts open
    assert ours.bias[[0, 8, 12]].tolist() == [0.0] * 3


def test_a_state_is_never_edited() -> None:
    model = small()
    _, state = model(tokens(), model.initial_state(B))
    before = [t.clone() for layer in state.layers for t in layer]
    model.step(torch.tensor([1, 2, 3]), state)
    picked = state.select([2, 0, 0])
    cleared = state.cleared(torch.tensor([True, False, False]))
    torch.testing.assert_close([t for layer in state.layers for t in layer], before)
    torch.testing.assert_close(picked.layers[0][0], state.layers[0][0][[2, 0, 0]])
    assert not cleared.layers[1][1][0].any()
    torch.testing.assert_close(cleared.layers[1][1][1:], state.layers[1][1][1:])


def test_rows_do_not_mix() -> None:
    model, x = small(), tokens()
    together, _ = model(x, model.initial_state(B))
    for row in range(B):
        alone, _ = model(x[:, row : row + 1], model.initial_state(1))
        torch.testing.assert_close(together[:, row : row + 1], alone)


def test_dropout_is_off_in_evaluation_and_locked_in_training() -> None:
    quiet = small()
    noisy = small(dropout=0.5, output_dropout=0.5, embedding_dropout=0.3, weight_drop=0.4)
    noisy.load_state_dict(quiet.state_dict())
    x, state = tokens(), quiet.initial_state(B)
    torch.testing.assert_close(noisy(x, state)[0], quiet(x, state)[0])
    outputs, _ = noisy.outputs(x, state, None, Noise.seeded(1))
    assert not torch.allclose(outputs, quiet.outputs(x, state)[0])
    silent = locked_dropout(torch.ones(T, B, 8), 0.5, Noise.seeded(1)) == 0
    assert silent.any()
    assert (silent == silent[:1]).all()  # one mask for all of the window


def test_a_tied_matrix_is_one() -> None:
    model = small(tied=True)
    assert model.output.weight is model.embedding.weight
    assert small().num_parameters - model.num_parameters == V * 8


def test_unigram_bias_makes_an_untrained_model_predict_frequencies() -> None:
    model = small()
    torch.nn.init.zeros_(model.output.weight)
    counts = list(range(V))
    model.set_unigram_bias(counts)
    logits, _ = model(tokens(), model.initial_state(B))
    expected = (np.array(counts) + 0.5) / (sum(counts) + 0.5 * V)
    np.testing.assert_allclose(logits.softmax(-1)[0, 0].detach().numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": 0}, "hidden_size must be at least 1, not 0"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), not 1.0"),
        ({"tied": True, "hidden_size": 9}, "not 8 and 9"),
        ({"cell": "mystery"}, r"unknown cell 'mystery'; known: .*lstm"),
        ({"colour": "red"}, "unknown model settings: colour"),
    ],
)
def test_impossible_models_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**changes)


def test_cross_entropy_of_a_uniform_model_is_log_v() -> None:
    logits = torch.zeros(T, B, V)
    assert cross_entropy(logits, tokens()).item() == pytest.approx(np.log(V))
    assert cross_entropy(logits, tokens(), "sum").item() == pytest.approx(T * B * np.log(V))
    assert cross_entropy(logits, tokens(), "none").shape == (T, B)


def test_token_nats_equal_the_sum_of_steps() -> None:
    model = small()
    ids = [3, 1, 4, 1, 5, 9, 2, 6]
    stepper = TorchStepper(model)
    state, context, expected = stepper.initial_state(1), 0, []
    for token in ids:
        logits, state = stepper.step(np.array([context]), state)
        expected.append(-torch.from_numpy(logits[0]).log_softmax(0)[token].item())
        context = token
    np.testing.assert_allclose(token_nats(model, ids, 0), expected, rtol=1e-5)


@pytest.mark.parametrize("length", [0, 1, 4, 5, 8, 11])
def test_reset_every_clears_the_state_but_keeps_the_last_token(length: int) -> None:
    model = small()
    ids = np.random.default_rng(2).integers(V, size=length).tolist()
    contexts = [0, *ids]
    blocks = [range(i, min(i + 4, length)) for i in range(0, length, 4)]
    expected = [token_nats(model, [ids[i] for i in block], contexts[block[0]]) for block in blocks]
    cold = token_nats(model, ids, 0, reset_every=4)
    np.testing.assert_allclose(cold, np.concatenate([np.zeros(0), *expected]), rtol=1e-5)


def test_prefill_is_many_steps() -> None:
    stepper = TorchStepper(small())
    ids = np.array([1, 2, 3, 4])
    logits, state = stepper.prefill(ids, stepper.initial_state(1))
    other = stepper.initial_state(1)
    for token in ids:
        stepped, other = stepper.step(np.array([token]), other)
    np.testing.assert_allclose(logits, stepped, atol=1e-5)
    torch.testing.assert_close(state.layers, other.layers)


def test_dropped_weights_are_zero_or_scaled_up() -> None:
    noise = Noise.seeded(0)
    weight = torch.ones(400, 101, requires_grad=True)
    assert noise.drop_weights(weight, 0.0) is weight
    out = noise.drop_weights(weight, 0.25)
    assert sorted(out.unique().tolist()) == [0.0, pytest.approx(4 / 3)]
    assert (out == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    out.sum().backward()
    torch.testing.assert_close(weight.grad, out.detach())


def test_dropped_token_types_lose_their_whole_vector() -> None:
    noise = Noise.seeded(0)
    out = noise.drop_vectors(torch.ones(400, 3), 0.25)
    assert sorted(out.unique().tolist()) == [0.0, pytest.approx(4 / 3)]
    assert (out == out[:, :1]).all()
    assert noise.drop_vectors(out, 0.0) is out


def test_noise_does_not_depend_on_how_many_parts_share_it() -> None:
    draws: list[Callable[[Noise, int], torch.Tensor]] = [
        lambda n, rows: n.keep_rows((2, rows, 5), 0.5),
        lambda n, rows: n.uniform_rows((2, rows)),
        lambda n, rows: n.exponential_rows((1, rows, 4)),
    ]
    for draw in draws:
        parts = [draw(Noise.seeded(4, "cpu", number, 3), 2) for number in range(3)]
        torch.testing.assert_close(torch.cat(parts, dim=1), draw(Noise.seeded(4), 6))


def test_states_are_joined_row_by_row() -> None:
    model = small()
    _, state = model(tokens(), model.initial_state(B))
    parts = [state.select([0]), state.select(range(1, B))]
    torch.testing.assert_close(State.joined(parts).layers, state.layers)
