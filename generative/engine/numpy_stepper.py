"""A model's weights stepped in NumPy: the mathematics of `model/`, one token a row, no torch.

All rows of a batch go through one matrix product, which is what BLAS is fastest at. One row alone
costs a dozen calls into NumPy beside reading its weights; `compiled` spares them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from generative.engine.weights import Weights

Array = NDArray[np.float32]
CellState = tuple[Array, ...]


@dataclass(frozen=True)
class NumpyState:
    """The memory of B sequences: for each layer the cell's arrays, (B, H) each. Immutable."""

    layers: tuple[CellState, ...]

    def select(self, rows: Sequence[int] | NDArray[np.int64]) -> NumpyState:
        """The memory of the given rows in that order; rows may repeat."""
        index = np.asarray(rows, dtype=np.int64)
        return NumpyState(tuple(tuple(a[index] for a in layer) for layer in self.layers))


def _sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)) by way of tanh, which cannot overflow."""
    y: Array = np.float32(0.5) * (np.tanh(np.float32(0.5) * x) + np.float32(1.0))
    return y


def _lstm(from_input: Array, from_state: Array, state: CellState) -> CellState:
    """See `model.cells.LSTM`. (B, 4H), (B, 4H), (h, c) -> new (h, c), each (B, H)"""
    _, c = state
    gates = from_input + from_state
    size = c.shape[1]
    i, f, o = (_sigmoid(gates[:, k * size : (k + 1) * size]) for k in (0, 1, 3))
    c = f * c + i * np.tanh(gates[:, 2 * size : 3 * size])
    return o * np.tanh(c), c


def _gru(from_input: Array, from_state: Array, state: CellState) -> CellState:
    """See `model.cells.GRU`. (B, 3H), (B, 3H), (h,) -> new (h,), (B, H)"""
    (h,) = state
    size = h.shape[1]
    r, z = (
        _sigmoid(from_input[:, s] + from_state[:, s])
        for s in (slice(0, size), slice(size, 2 * size))
    )
    n = np.tanh(from_input[:, 2 * size :] + r * from_state[:, 2 * size :])
    return ((np.float32(1.0) - z) * n + z * h,)


@dataclass(frozen=True)
class EngineCell:
    """A cell's step, from what its matrices gave, and how many arrays it remembers."""

    step: Callable[[Array, Array, CellState], CellState]
    state_arrays: int


# cell -> how it steps here; a cell without a row is stepped by torch
ENGINE_CELLS = {"lstm": EngineCell(_lstm, 2), "gru": EngineCell(_gru, 1)}


class NumpyStepper:
    """A `Stepper` over the weights of a checkpoint.

    Example:
        stepper = NumpyStepper("lstm", Weights.from_arrays(...))
        logits, state = stepper.step(np.array([65]), stepper.initial_state(1))   # (1, V)
    """

    def __init__(self, cell: str, weights: Weights) -> None:
        """`cell` is a key of `ENGINE_CELLS`."""
        self.vocab_size = len(weights.output)
        self._cell = ENGINE_CELLS[cell]
        self._weights = weights

    def initial_state(self, batch_size: int) -> NumpyState:
        """The memory of sequences that have not begun."""
        zeros = np.zeros((batch_size, self._weights.hidden_size), dtype=np.float32)
        return NumpyState(((zeros,) * self._cell.state_arrays,) * len(self._weights.hidden))

    def step(self, tokens: NDArray[np.int64], state: NumpyState) -> tuple[Array, NumpyState]:
        """tokens (B,) -> logits (B, V) for the token after each, new state."""
        features, state = self._advance(tokens, state)
        weights = self._weights
        seen = weights.seen(features, len(weights.hidden) if weights.sum_layers else 1)
        return seen @ weights.output.T + weights.output_bias, state

    def prefill(self, tokens: NDArray[np.int64], state: NumpyState) -> tuple[Array, NumpyState]:
        """A whole prompt. tokens (T,), a state of one row -> logits (1, V) after the last."""
        for token in tokens[:-1, None]:
            _, state = self._advance(token, state)
        return self.step(tokens[-1:], state)

    def _advance(self, tokens: NDArray[np.int64], state: NumpyState) -> tuple[Array, NumpyState]:
        """All layers, without the output layer. (B,) -> (B, H), new state"""
        weights = self._weights
        from_input = weights.table[tokens]
        total: Array | None = None
        new: list[CellState] = []
        for i, old in enumerate(state.layers):
            if i > 0:
                below = weights.seen(new[-1][0])
                from_input = below @ weights.inputs[i - 1].T + weights.biases[i - 1]
            from_state = weights.seen(old[0]) @ weights.hidden[i].T
            new.append(self._cell.step(from_input, from_state, old))
            out = new[-1][0]
            total = out if total is None or not weights.sum_layers else total + out
        assert total is not None  # num_layers >= 1
        return total, NumpyState(tuple(new))
