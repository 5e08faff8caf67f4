"""A stepper that reads and draws by the compiled loop: it packs arrays and computes nothing.

The loop mixes the network with count models where there are some.

All rows run through the loop together; each gives the same bits as alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from generative.context import records as contexts
from generative.context.records import NO_CONTEXT
from generative.engine import kernels
from generative.engine.numpy_stepper import CellState, zero_layers
from generative.engine.weights import Array, Weights, quantise_rows
from generative.ngram import history as histories
from generative.ngram.records import NO_COUNTS, History, Tables, make_scratch
from generative.sampling.plain import PlainChain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from generative.context.records import Memory

ALIGNMENT = 64  # bytes: one cache line and the widest register
NO_TOKEN = -1  # an end token that is never drawn
NEUTRAL = PlainChain()


@dataclass(frozen=True)
class CompiledState:
    """The state of B sequences. It is immutable.

    Attributes:
        layers: for each layer the cell's arrays, (B, H) each.
        memory: what context features depend on. (B, M)
        history: what the count models have read.
    """

    layers: tuple[CellState, ...]
    memory: Memory
    history: History

    def select(self, rows: Sequence[int] | NDArray[np.int64]) -> CompiledState:
        """The state of the given rows in that order; rows may repeat."""
        index = np.asarray(rows, dtype=np.int64)
        layers = tuple(tuple(array[index] for array in layer) for layer in self.layers)
        memory = contexts.select(self.memory, index)
        return CompiledState(layers, memory, histories.select(self.history, index))


class CompiledStepper:
    """A `Stepper` and `Runner` over the weights of a checkpoint.

    Example:
        stepper = CompiledStepper(Weights.from_arrays(config, arrays))
        logits, state = stepper.prefill(np.array([0, 65]), stepper.initial_state(1))   # (1, V)
        tokens, logprobs, logits, state = stepper.run(chain, logits, state, uniforms, end_id=0)
    """

    def __init__(
        self,
        weights: Weights,
        counts: Tables = NO_COUNTS,
        history: History | None = None,
        *,
        context: contexts.Tables = NO_CONTEXT,
    ) -> None:
        """Weights that were rounded are kept as int8.

        Args:
            weights: of the network.
            counts: the count models beside it.
            history: of one row, with which every sequence begins; None is an empty one.
            context: the tables of the network's context features.

        Raises:
            ValueError: the compiled loop has no step for the network's cell.
        """
        self.vocab_size = len(weights.output)
        self._weights = weights
        self._network = pack(weights)
        self._context = context
        self._counts = counts
        self._history = histories.start(counts, 1) if history is None else history

    def initial_state(self, batch_size: int) -> CompiledState:
        """The state of sequences that have not begun."""
        history = histories.select(self._history, [0] * batch_size)
        memory = contexts.start(self._context, batch_size)
        return CompiledState(zero_layers(self._weights, batch_size), memory, history)

    def step(self, tokens: NDArray[np.int64], state: CompiledState) -> tuple[Array, CompiledState]:
        """tokens (B,) -> logits (B, V) for the token after each, new state."""
        return self._read(tokens[None], state)

    def prefill(
        self, tokens: NDArray[np.int64], state: CompiledState
    ) -> tuple[Array, CompiledState]:
        """Read a whole prompt. tokens (T,), a state of one row -> logits (1, V) after the last."""
        return self._read(tokens[:, None], state)

    def _read(self, tokens: NDArray[np.int64], state: CompiledState) -> tuple[Array, CompiledState]:
        """tokens (T, B) -> logits (B, V) after the last, new state."""
        if tokens.min() < 0 or tokens.max() >= self.vocab_size:  # the loop does not check them
            raise ValueError(
                f"tokens must be in 0..{self.vocab_size - 1}, not {tokens.min()}..{tokens.max()}"
            )
        logits = np.empty((tokens.shape[1], self.vocab_size), dtype=np.float32)
        nothing = np.empty((0, tokens.shape[1]))
        _, _, logits, state = self._run(tokens, logits, state, NEUTRAL, nothing, NO_TOKEN)
        return logits, state

    def run(
        self,
        chain: PlainChain,
        logits: Array,
        state: CompiledState,
        uniforms: NDArray[np.float64],
        end_id: int | None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], Array, CompiledState]:
        """Draw a token a row for each row of `uniforms`, see `sampling.plain.Runner`."""
        end = NO_TOKEN if end_id is None else int(end_id)
        nothing = np.empty((0, len(logits)), dtype=np.int64)
        return self._run(nothing, logits, state, chain, uniforms, end)

    def _run(
        self,
        tokens: NDArray[np.int64],
        logits: Array,
        state: CompiledState,
        chain: PlainChain,
        uniforms: NDArray[np.float64],
        end_id: int,
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], Array, CompiledState]:
        h, *others = (np.stack(arrays) for arrays in zip(*state.layers, strict=True))  # (L, B, H)
        c = others[0] if others else h[:0]  # the loop needs an array of the type in any case
        assert tokens.shape[1] == uniforms.shape[1] == len(logits) == h.shape[1]
        logits = logits.copy()
        memory = state.memory.copy()
        history = histories.copied(state.history, len(tokens) + len(uniforms))
        scratch = make_scratch(self._counts.vocab_size, self._counts.order)
        drawn = np.empty(uniforms.shape, dtype=np.int64)
        logprobs = np.empty(uniforms.shape, dtype=np.float64)
        count = kernels.call(
            self._network, self._context, self._counts,
            np.ascontiguousarray(tokens, dtype=np.int64), h, c, memory, history, scratch, logits,
            chain, np.ascontiguousarray(uniforms), end_id, drawn, logprobs,
        )  # fmt: skip
        new = CompiledState(tuple(zip(h, *others, strict=True)), memory, history)
        return drawn[:count], logprobs[:count], logits, new


def pack(weights: Weights) -> kernels.Network:
    """The weights as the loop reads them: padded, aligned, whole numbers if they were rounded.

    Raises:
        ValueError: the loop has no step for their cell.
    """
    if weights.cell not in kernels.CELL_NUMBERS:
        known = ", ".join(kernels.CELL_NUMBERS)
        raise ValueError(f"the compiled loop steps the cells {known}, not {weights.cell!r}")
    is_int8 = weights.units is not None
    width = _up(weights.hidden_size, kernels.INT8_LANES if is_int8 else kernels.FLOAT_LANES)
    gates = _up(weights.table.shape[1], kernels.ROWS)
    vocab = _up(len(weights.output), kernels.ROWS)
    matrices = {
        "inputs": _matrices(weights.inputs, (gates, width), is_int8=is_int8),
        "hidden": _matrices(weights.hidden, (gates, width), is_int8=is_int8),
        "output": _matrices((weights.output,), (vocab, width), is_int8=is_int8),
    }
    arrays: dict[str, Any] = {
        name + part: m[i] for name, m in matrices.items() for i, part in enumerate(_PARTS)
    }
    return kernels.Network(
        cell=kernels.CELL_NUMBERS[weights.cell],
        table=_padded([weights.table], (len(weights.table), gates))[0],
        feature_table=_padded([weights.feature_table], (len(weights.feature_table), gates))[0],
        biases=_padded([bias[None] for bias in weights.biases], (1, gates))[:, 0],
        output_bias=_padded([weights.output_bias[None]], (1, vocab))[0, 0],
        sum_layers=weights.sum_layers,
        is_int8=is_int8,
        int8_units=np.float32(weights.units or 1),
        **arrays,
    )


_PARTS = ("", "_int8", "_scale")


def _matrices(
    parts: tuple[Array, ...], shape: tuple[int, int], *, is_int8: bool
) -> tuple[Array, NDArray[np.int8], Array]:
    """N matrices as float32 (N, R, P), or as int8 (N, R, P) and scales (N, R); else empty."""
    none = (len(parts), 0, 0)
    if not is_int8:
        no_scales = np.empty(none[:2], np.float32)
        return _padded(parts, shape), np.empty(none, np.int8), no_scales
    pairs = [quantise_rows(part) for part in parts]
    whole = _padded([values for values, _ in pairs], shape, np.int8)
    scales = _padded([scale[None] for _, scale in pairs], (1, shape[0]))[:, 0]
    return np.empty(none, np.float32), whole, scales


def _padded(
    parts: Sequence[NDArray[Any]], shape: tuple[int, int], dtype: type = np.float32
) -> NDArray[Any]:
    """Matrices one after another, each with zeros up to `shape`, on an aligned address."""
    full = (len(parts), *shape)
    size = math.prod(full) * np.dtype(dtype).itemsize
    memory = np.zeros(size + ALIGNMENT, dtype=np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    array: NDArray[Any] = memory[start : start + size].view(dtype).reshape(full)
    for target, part in zip(array, parts, strict=True):
        target[: part.shape[0], : part.shape[1]] = part
    return array


def _up(size: int, multiple: int) -> int:
    """The next multiple."""
    return -(-size // multiple) * multiple
