"""The engine's mathematics are the torch model's, to rounding, for every cell and shape."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import generative
from generative import checkpoint
from generative.engine import ENGINE_CELLS, NumpyStepper
from generative.model.cells import CELLS
from generative.model.stepper import TorchStepper
from tests.test_model import B, T, V, small, tokens


@pytest.mark.parametrize(
    ("cell", "sum_layers", "tied"),
    list(itertools.product(ENGINE_CELLS, [True, False], [True, False])),
)
def test_engine_equals_torch(cell: str, sum_layers: bool, tied: bool) -> None:
    model = small(cell=cell, sum_layers=sum_layers, tied=tied, num_layers=3)
    with_torch = TorchStepper(model)
    engine = NumpyStepper(model.config, {k: v.numpy() for k, v in model.state_dict().items()})
    theirs, ours = with_torch.initial_state(B), engine.initial_state(B)
    for row in tokens().numpy():
        expected, theirs = with_torch.step(row, theirs)
        logits, ours = engine.step(row, ours)
        np.testing.assert_allclose(logits, expected, atol=1e-5)
        assert logits.shape == (B, V)
    theirs, ours = theirs.select([2, 0]), ours.select([2, 0])
    for mine, other in zip(ours.layers[1], theirs.layers[1], strict=True):
        np.testing.assert_allclose(mine, other.numpy(), atol=1e-5)


def test_prefill_is_many_steps() -> None:
    model = small()
    engine = NumpyStepper(model.config, {k: v.numpy() for k, v in model.state_dict().items()})
    ids = tokens().numpy()[:, 0]
    logits, state = engine.prefill(ids, engine.initial_state(1))
    other = engine.initial_state(1)
    for t in range(T):
        stepped, other = engine.step(ids[t : t + 1], other)
    np.testing.assert_array_equal(logits, stepped)
    np.testing.assert_array_equal(state.layers[1][0], other.layers[1][0])


def test_every_cell_is_covered() -> None:
    assert set(ENGINE_CELLS) == set(CELLS)


@pytest.mark.parametrize("name", sorted(checkpoint.shipped_models()))
def test_engine_equals_torch_for_models_that_ship(name: str) -> None:
    found = checkpoint.load(name)
    with_torch = TorchStepper(found.build())
    engine = NumpyStepper(found.config, found.weights)
    theirs, ours = with_torch.initial_state(1), engine.initial_state(1)
    for token in [found.tokenizer.start_id, *range(50)]:
        expected, theirs = with_torch.step(np.array([token]), theirs)
        logits, ours = engine.step(np.array([token]), ours)
        np.testing.assert_allclose(logits, expected, atol=1e-4)


def test_sampling_imports_no_torch(trained: object) -> None:
    import subprocess
    import sys

    code = (
        "import sys, generative; "
        f"generative.load({str(trained)!r}).generate('a', max_new_tokens=5, seed=1); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert generative.__version__
