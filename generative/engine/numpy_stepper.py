"""A model's weights stepped in NumPy: the mathematics of `model/`, one token a row, no torch.

All rows of a batch share one matrix product, at which BLAS is fastest. For one row alone a dozen
calls into NumPy cost more than reading its weights; `compiled_stepper` avoids them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from generative.context import records
from generative.context.operations import INTERPRETED
from generative.context.records import NO_CONTEXT
from generative.model.cell_specs import CELL_SPECS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from generative.context.records import Memory, Tables
    from generative.engine.weights import Weights

Array = NDArray[np.float32]
CellState = tuple[Array, ...]


@dataclass(frozen=True)
class NumpyState:
    """The state of B sequences. It is immutable.

    Attributes:
        layers: for each layer the cell's arrays, (B, H) each.
        memory: what context features depend on. (B, M)
    """

    layers: tuple[CellState, ...]
    memory: Memory

    def select(self, rows: Sequence[int] | NDArray[np.int64]) -> NumpyState:
        """The state of the given rows in that order; rows may repeat."""
        index = np.asarray(rows, dtype=np.int64)
        layers = tuple(tuple(a[index] for a in layer) for layer in self.layers)
        return NumpyState(layers, records.select(self.memory, index))


def _sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)) by way of tanh, which cannot overflow."""
    y: Array = np.float32(0.5) * (np.tanh(np.float32(0.5) * x) + np.float32(1.0))
    return y


def _lstm(from_input: Array, from_state: Array, state: CellState) -> CellState:
    """The step of `model.cells.LSTM`. (B, 4H), (B, 4H), (h, c) -> new (h, c), each (B, H)"""
    _, c = state
    gates = from_input + from_state
    size = c.shape[1]
    i, f, o = (_sigmoid(gates[:, k * size : (k + 1) * size]) for k in (0, 1, 3))
    c = f * c + i * np.tanh(gates[:, 2 * size : 3 * size])
    return o * np.tanh(c), c


def _gru(from_input: Array, from_state: Array, state: CellState) -> CellState:
    """The step of `model.cells.GRU`. (B, 3H), (B, 3H), (h,) -> new (h,), (B, H)"""
    (h,) = state
    size = h.shape[1]
    r, z = (
        _sigmoid(from_input[:, s] + from_state[:, s])
        for s in (slice(0, size), slice(size, 2 * size))
    )
    n = np.tanh(from_input[:, 2 * size :] + r * from_state[:, 2 * size :])
    return ((np.float32(1.0) - z) * n + z * h,)


# cell -> its step, from input_weight @ x + bias, recurrent_weight @ h and the state to the new
# state. A cell without a row is stepped by torch.
ENGINE_CELLS: dict[str, Callable[[Array, Array, CellState], CellState]] = {
    "lstm": _lstm,
    "gru": _gru,
}


def zero_layers(weights: Weights, batch_size: int) -> tuple[CellState, ...]:
    """The layers' arrays of sequences that have not begun: all zeros."""
    zeros = np.zeros((batch_size, weights.hidden_size), dtype=np.float32)
    return ((zeros,) * len(CELL_SPECS[weights.cell].state),) * len(weights.hidden)


class NumpyStepper:
    """A `Stepper` over the weights of a checkpoint.

    Example:
        stepper = NumpyStepper(Weights.from_arrays(config, arrays))
        logits, state = stepper.step(np.array([65]), stepper.initial_state(1))   # (1, V)
    """

    def __init__(self, weights: Weights, context: Tables = NO_CONTEXT) -> None:
        """Wrap the weights of a cell in `ENGINE_CELLS`.

        context: the tables of the network's context features.
        """
        self.vocab_size = len(weights.output)
        self._cell_step = ENGINE_CELLS[weights.cell]
        self._weights = weights
        self._context = context

    def initial_state(self, batch_size: int) -> NumpyState:
        """The state of sequences that have not begun."""
        layers = zero_layers(self._weights, batch_size)
        return NumpyState(layers, records.start(self._context, batch_size))

    def step(self, tokens: NDArray[np.int64], state: NumpyState) -> tuple[Array, NumpyState]:
        """tokens (B,) -> logits (B, V) for the token after each, new state."""
        features, state = self._advance(tokens, state)
        weights = self._weights
        bound = len(weights.hidden) if weights.sum_layers else 1
        features = weights.rounded_input(features, bound)
        return features @ weights.output.T + weights.output_bias, state

    def prefill(self, tokens: NDArray[np.int64], state: NumpyState) -> tuple[Array, NumpyState]:
        """Read a whole prompt. tokens (T,), a state of one row -> logits (1, V) after the last."""
        for token in tokens[:-1, None]:
            _, state = self._advance(token, state)
        return self.step(tokens[-1:], state)

    def _advance(self, tokens: NDArray[np.int64], state: NumpyState) -> tuple[Array, NumpyState]:
        """All layers, without the output layer. (B,) -> (B, H), new state"""
        weights = self._weights
        from_input, memory = weights.table[tokens], state.memory
        if self._context.is_on:
            memory = memory.copy()
            rows = np.empty((1, len(tokens), len(self._context.sizes)), np.int64)
            INTERPRETED.read_all(self._context, memory, tokens[None], rows)
            from_input = from_input + weights.feature_table[rows[0]].sum(axis=1)
        total: Array | None = None
        new: list[CellState] = []
        for i, old in enumerate(state.layers):
            if i > 0:
                below = weights.rounded_input(new[-1][0])
                from_input = below @ weights.inputs[i - 1].T + weights.biases[i - 1]
            from_state = weights.rounded_input(old[0]) @ weights.hidden[i].T
            new.append(self._cell_step(from_input, from_state, old))
            out = new[-1][0]
            total = out if total is None or not weights.sum_layers else total + out
        assert total is not None  # num_layers >= 1
        return total, NumpyState(tuple(new), memory)
