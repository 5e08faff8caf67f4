"""A model's weights stepped in NumPy: the mathematics of `model/`, one token a row, no torch.

For one sequence a step is matrix-vector products, and BLAS reads the weights as fast as memory
gives them. The first layer's input product is a table with one row a token, computed once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from generative.model.config import ModelConfig

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


def _lstm(from_input: Array, weight_hidden: Array, state: CellState) -> CellState:
    """See `model.cells.LSTM`. (B, 4H), (H, 4H), (h, c) -> new (h, c), each (B, H)"""
    h, c = state
    gates = from_input + h @ weight_hidden
    size = h.shape[1]
    i, f, o = (_sigmoid(gates[:, k * size : (k + 1) * size]) for k in (0, 1, 3))
    c = f * c + i * np.tanh(gates[:, 2 * size : 3 * size])
    return o * np.tanh(c), c


def _gru(from_input: Array, weight_hidden: Array, state: CellState) -> CellState:
    """See `model.cells.GRU`. (B, 3H), (H, 3H), (h,) -> new (h,), (B, H)"""
    (h,) = state
    from_state = h @ weight_hidden
    size = h.shape[1]
    r, z = (
        _sigmoid(from_input[:, s] + from_state[:, s])
        for s in (slice(0, size), slice(size, 2 * size))
    )
    n = np.tanh(from_input[:, 2 * size :] + r * from_state[:, 2 * size :])
    return ((np.float32(1.0) - z) * n + z * h,)


@dataclass(frozen=True)
class EngineCell:
    """A cell's step and how many arrays it remembers."""

    step: Callable[[Array, Array, CellState], CellState]
    state_arrays: int


# cell -> how it steps here; a cell without a row is stepped by torch
ENGINE_CELLS = {"lstm": EngineCell(_lstm, 2), "gru": EngineCell(_gru, 1)}


class NumpyStepper:
    """A `Stepper` over the weights of a checkpoint.

    Example:
        stepper = NumpyStepper(checkpoint.config, checkpoint.weights)
        logits, state = stepper.step(np.array([65]), stepper.initial_state(1))   # (1, V)
    """

    def __init__(self, config: ModelConfig, weights: Mapping[str, Array]) -> None:
        """`weights` by the torch model's parameter names, float32."""
        self.vocab_size = config.vocab_size
        self._config = config
        self._cell = ENGINE_CELLS[config.cell]
        layers = [
            {k: weights[f"layers.{i}.{k}"] for k in ("weight_input", "weight_hidden", "bias")}
            for i in range(config.num_layers)
        ]
        # (I, G) and (H, G) with G the gates of all units, laid out to be read along the rows
        self._hidden = [np.ascontiguousarray(layer["weight_hidden"].T) for layer in layers]
        self._input = [np.ascontiguousarray(layer["weight_input"].T) for layer in layers[1:]]
        self._bias = [layer["bias"] for layer in layers]
        embedding = weights["embedding.weight"]
        self._table = embedding @ layers[0]["weight_input"].T + self._bias[0]  # (V, G)
        self._output = np.ascontiguousarray(weights["output.weight"].T)  # (H, V)
        self._output_bias = weights["output.bias"]

    def initial_state(self, batch_size: int) -> NumpyState:
        """The memory of sequences that have not begun."""
        zeros = np.zeros((batch_size, self._config.hidden_size), dtype=np.float32)
        return NumpyState(((zeros,) * self._cell.state_arrays,) * self._config.num_layers)

    def step(self, tokens: NDArray[np.int64], state: NumpyState) -> tuple[Array, NumpyState]:
        """tokens (B,) -> logits (B, V) for the token after each, new state."""
        features, state = self._advance(tokens, state)
        return features @ self._output + self._output_bias, state

    def prefill(self, tokens: NDArray[np.int64], state: NumpyState) -> tuple[Array, NumpyState]:
        """A whole prompt. tokens (T,), a state of one row -> logits (1, V) after the last."""
        for token in tokens[:-1, None]:
            _, state = self._advance(token, state)
        return self.step(tokens[-1:], state)

    def _advance(self, tokens: NDArray[np.int64], state: NumpyState) -> tuple[Array, NumpyState]:
        """All layers, without the output layer. (B,) -> (B, H), new state"""
        from_input = self._table[tokens]
        total: Array | None = None
        new: list[CellState] = []
        for i, old in enumerate(state.layers):
            if i > 0:
                from_input = new[-1][0] @ self._input[i - 1] + self._bias[i]
            new.append(self._cell.step(from_input, self._hidden[i], old))
            out = new[-1][0]
            total = out if total is None or not self._config.sum_layers else total + out
        assert total is not None  # num_layers >= 1
        return total, NumpyState(tuple(new))
