"""int8 is near float32, and the same in NumPy and in the compiled loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import generative
from generative import checkpoint, engine
from generative.engine import ENGINE_CELLS, NumpyStepper
from generative.engine.weights import Weights, quantise_rows, round_rows
from tests.conftest import data
from tests.model.test_model import small, tokens

if TYPE_CHECKING:
    from numpy.typing import NDArray

LN_2 = np.log(2)


def test_quantising_is_within_half_a_step_and_stable() -> None:
    matrix = np.random.default_rng(0).normal(size=(9, 40)).astype(np.float32)
    matrix[4] = 0
    whole, scales = quantise_rows(matrix)
    assert np.abs(whole).max(axis=1).tolist() == [127] * 4 + [0] + [127] * 4
    assert (np.abs(round_rows(matrix) - matrix) <= scales[:, None] * 0.5001).all()
    np.testing.assert_array_equal(quantise_rows(round_rows(matrix))[0], whole)


@pytest.mark.parametrize("cell", ENGINE_CELLS)
def test_int8_is_near_and_the_same_without_compiling(cell: str) -> None:
    model = small(cell=cell, hidden_size=70, embedding_size=20)
    arrays = {k: v.numpy() for k, v in model.state_dict().items()}
    exact, whole = (engine.build(model.config, arrays, precision=p) for p in engine.PRECISIONS)
    plain = NumpyStepper(Weights.from_arrays(model.config, arrays).rounded())
    ids, state = tokens().numpy()[:, 0], exact.initial_state(1)
    expected = exact.prefill(ids, state)[0]
    np.testing.assert_allclose(whole.prefill(ids, state)[0], expected, atol=0.01)
    np.testing.assert_allclose(
        whole.prefill(ids, state)[0], plain.prefill(ids, state)[0], atol=1e-3
    )


def nats(one: Any, ids: NDArray[np.int64], start_id: int) -> float:
    """-ln p of B texts that are read side by side. (T, B)"""
    state, total = one.initial_state(ids.shape[1]), 0.0
    last = np.full(ids.shape[1], start_id)
    for row in ids:
        logits, state = one.step(last, state)
        wide = logits.astype(np.float64)
        chosen = wide[np.arange(len(row)), row]
        total += float((np.logaddexp.reduce(wide, axis=1) - chosen).sum())
        last = row
    return total


def test_int8_costs_next_to_nothing_on_held_out_text() -> None:
    text = data("text/tinyshakespeare/input.txt").read_text(encoding="utf-8")[-20_000:]
    found = checkpoint.load("shakespeare")
    tokenizer: Any = found.tokenizer
    ids = np.array(tokenizer.encode(text)).reshape(40, -1).T
    exact, whole = (
        nats(engine.build(found.config, found.weights, precision=p), ids, tokenizer.start_id)
        for p in engine.PRECISIONS
    )
    assert abs(whole - exact) / len(text) / LN_2 < 0.005


def test_int8_by_load() -> None:
    whole = generative.load("shakespeare", precision="int8")
    assert isinstance(whole, generative.TextModel)
    made = whole.generate("ROMEO:", max_new_tokens=40, seed=1, num_return_sequences=3)
    assert made.text == whole.generate("ROMEO:", max_new_tokens=40, seed=1).text
    assert made.text == "".join(whole.stream("ROMEO:", max_new_tokens=40, seed=1))
    with pytest.raises(ValueError, match="precision must be one of float32, int8, not 'int4'"):
        generative.load("shakespeare", precision="int4")
