"""The mathematics of the engine are those of the torch model, to rounding, and who steps what."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import generative
from generative import checkpoint, engine
from generative.api.runtime import LONG_REQUEST, Runtime
from generative.engine import ENGINE_CELLS, NumpyStepper, kernels
from generative.engine.compiled_stepper import CompiledStepper
from generative.engine.counts import CountedStepper
from generative.engine.weights import Weights
from generative.model.cell_specs import CELL_SPECS
from generative.model.cells import CELLS
from generative.model.stepper import TorchStepper
from generative.sampling.plain import PlainChain
from tests.engine.steppers import stepper
from tests.model.test_model import B, T, V, small, tokens


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize(
    ("cell", "sum_layers", "tied"),
    list(itertools.product(ENGINE_CELLS, [True, False], [True, False])),
)
def test_engine_equals_torch(cell: str, sum_layers: bool, tied: bool, compiled: bool) -> None:
    width = 7  # fits no register
    model = small(
        cell=cell, sum_layers=sum_layers, tied=tied, num_layers=3, hidden_size=width,
        embedding_size=width,
    )  # fmt: skip
    with_torch = TorchStepper(model)
    arrays = {k: v.numpy() for k, v in model.state_dict().items()}
    ours_stepper = engine.build(model.config, arrays, compiled=compiled)
    theirs, ours = with_torch.initial_state(B), ours_stepper.initial_state(B)
    for row in tokens().numpy():
        expected, theirs = with_torch.step(row, theirs)
        logits, ours = ours_stepper.step(row, ours)
        np.testing.assert_allclose(logits, expected, atol=1e-5)
        assert logits.shape == (B, V)
    theirs, ours = theirs.select([2, 0]), ours.select([2, 0])
    for mine, other in zip(ours.layers[1], theirs.layers[1], strict=True):
        np.testing.assert_allclose(mine, other.numpy(), atol=1e-5)


@pytest.mark.parametrize("cell", ENGINE_CELLS)
def test_many_steps_are_one_forward(cell: str) -> None:
    model = small(cell=cell, hidden_size=130, embedding_size=20)
    arrays = {k: v.numpy() for k, v in model.state_dict().items()}
    ours = engine.build(model.config, arrays)
    with torch.no_grad():
        expected, _ = model(tokens(), model.initial_state(B))
    for b in range(B):
        logits, _ = ours.prefill(tokens().numpy()[:, b], ours.initial_state(1))
        np.testing.assert_allclose(logits[0], expected[-1, b].numpy(), atol=1e-4)


@pytest.mark.parametrize("precision", engine.PRECISIONS)
@pytest.mark.parametrize("compiled", [True, False])
def test_prefill_is_many_steps(precision: str, compiled: bool) -> None:
    one = stepper(precision, compiled)
    ids = tokens().numpy()[:, 0]
    logits, state = one.prefill(ids, one.initial_state(1))
    other = one.initial_state(1)
    for t in range(T):
        stepped, other = one.step(ids[t : t + 1], other)
    np.testing.assert_array_equal(logits, stepped)
    np.testing.assert_array_equal(state.layers[1][0], other.layers[1][0])


@pytest.mark.parametrize("token", [-1, V])
def test_a_token_out_of_range_is_refused(token: int) -> None:
    one = stepper()
    with pytest.raises(ValueError, match=f"tokens must be in 0..{V - 1}, not {token}"):
        one.step(np.array([token]), one.initial_state(1))


def test_every_cell_is_covered() -> None:
    assert set(ENGINE_CELLS) == set(CELLS)


def test_a_cell_without_a_compiled_step_is_stepped_in_numpy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(kernels.CELL_NUMBERS, "gru")
    assert isinstance(stepper.__wrapped__(cell="gru"), NumpyStepper)
    assert isinstance(stepper.__wrapped__(cell="lstm"), CompiledStepper)


@pytest.mark.parametrize("cell", ENGINE_CELLS)
def test_a_cells_arrays_are_found_by_the_names_that_it_gives(
    cell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small(cell=cell)
    arrays = {name: value.numpy() for name, value in model.state_dict().items()}
    spec = replace(CELL_SPECS[cell], input_weight="w", recurrent_weight="u", bias="b")
    names = {"weight_input": "w", "weight_hidden": "u", "bias": "b"}

    def renamed(name: str) -> str:
        first, layer, part = name.split(".") if name.startswith("layers.") else ("", "", "")
        return f"{first}.{layer}.{names[part]}" if layer else name

    expected = Weights.from_arrays(model.config, arrays)
    monkeypatch.setitem(CELL_SPECS, cell, spec)
    found = Weights.from_arrays(model.config, {renamed(name): a for name, a in arrays.items()})
    np.testing.assert_array_equal(found.table, expected.table)
    np.testing.assert_array_equal(found.hidden, expected.hidden)
    np.testing.assert_array_equal(found.biases, expected.biases)


@pytest.mark.parametrize("name", sorted(checkpoint.shipped_models()))
def test_engine_equals_torch_for_models_that_ship(name: str) -> None:
    found = checkpoint.load(name)
    with_torch = TorchStepper(found.build())
    ours = [
        engine.build(found.config, found.weights, compiled=c, context=found.context)
        for c in (True, False)
    ]
    theirs, states = with_torch.initial_state(1), [one.initial_state(1) for one in ours]
    for token in [found.tokenizer.start_id, *range(20)]:
        expected, theirs = with_torch.step(np.array([token]), theirs)
        for i, one in enumerate(ours):
            logits, states[i] = one.step(np.array([token]), states[i])
            np.testing.assert_allclose(logits, expected, atol=1e-4)


@pytest.mark.parametrize("precision", engine.PRECISIONS)
@pytest.mark.parametrize("cell", kernels.CELL_NUMBERS)
def test_a_row_of_a_batch_is_its_solo_run_bit_for_bit(cell: str, precision: str) -> None:
    one = stepper(precision, cell=cell, hidden_size=33)
    rows = np.arange(6)
    logits, state = one.step(rows, one.initial_state(6))
    logits, state = one.step(rows[::-1], state)
    for row in rows:
        alone, own = one.prefill(np.array([row, 5 - row]), one.initial_state(1))
        np.testing.assert_array_equal(alone[0], logits[row])
        np.testing.assert_array_equal(own.layers[0][0], state.select([row]).layers[0][0])


@pytest.mark.parametrize("cell", kernels.CELL_NUMBERS)
def test_no_state_is_edited(cell: str) -> None:
    one = stepper(cell=cell)
    logits, state = one.prefill(np.array([1, 2]), one.initial_state(1))
    before = [array.copy() for layer in state.layers for array in layer], logits.copy()
    one.step(np.array([3]), state)
    one.run(PlainChain(), logits, state, np.full((5, 1), 0.5), None)
    after = [array for layer in state.layers for array in layer], logits
    for old, new in zip([*before[0], before[1]], [*after[0], after[1]], strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_machine_without_the_compiler_samples_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "generative.engine.compiled_stepper", None)
    model = small()
    arrays = {k: v.numpy() for k, v in model.state_dict().items()}
    assert isinstance(engine.build(model.config, arrays), NumpyStepper)
    assert "without the compiled loop" in caplog.text


def network_of(stepper: Any) -> Any:
    """The stepper of the network alone, which is mixed with count models outside of it."""
    assert isinstance(stepper, CountedStepper)
    return stepper.network


def test_a_cell_that_the_engine_does_not_know_is_stepped_by_torch(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delitem(ENGINE_CELLS, "lstm")
    stepper = Runtime(checkpoint.load("shakespeare")).stepper_for(1)
    assert isinstance(network_of(stepper), TorchStepper)
    assert "no cell 'lstm'" in caplog.text


def test_numba_told_to_compile_nothing_leaves_sampling_to_numpy() -> None:
    code = "import generative; print(generative.load('shakespeare').generate('A', seed=1).seed)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"}, capture_output=True, check=True,
    )  # fmt: skip
    assert b"without the compiled loop: numba is told to compile nothing" in done.stderr


def test_compiled_is_what_loading_gives_unless_told_otherwise() -> None:
    found = checkpoint.load("shakespeare")
    assert isinstance(Runtime(found).stepper_for(1), CompiledStepper)
    assert isinstance(network_of(Runtime(found, compiled=False).stepper_for(10**6)), NumpyStepper)


def test_the_compiled_loop_is_loaded_for_long_requests_and_then_stays() -> None:
    runtime = Runtime(checkpoint.load("shakespeare"), compiled=None)
    assert isinstance(network_of(runtime.stepper_for(LONG_REQUEST - 1)), NumpyStepper)
    assert isinstance(runtime.stepper_for(LONG_REQUEST), CompiledStepper)
    assert isinstance(runtime.stepper_for(1), CompiledStepper)


def test_sampling_imports_no_torch() -> None:
    code = (
        "import sys, generative; "
        "generative.load('shakespeare').generate('a', max_new_tokens=5, seed=1); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert generative.__version__
