"""The recurrent cells: each is one layer's mathematics over time.

A cell is a module with `forward(x (T,B,I), state, drop_weights) -> (out (T,B,H), state)` and the
parameters that its row in `cell_specs.CELL_SPECS` names. A new cell is one class, one row in
`CELLS` and one there. One step is `forward` with T = 1. A cell must not know what is stacked on it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from generative.model.cell_specs import CELL_SPECS

if TYPE_CHECKING:
    from types import ModuleType

    from generative.model.compiled_lstm import Packed

CellState = tuple[Tensor, ...]
DropWeights = Callable[[Tensor], Tensor]


class Cell(Protocol):
    """A recurrent layer, as the language model uses it."""

    def __call__(
        self, x: Tensor, state: CellState, drop_weights: DropWeights | None
    ) -> tuple[Tensor, CellState]:
        """x (T, B, I), state -> out (T, B, H), new state.

        drop_weights: what is done to the recurrent weights first; None leaves them whole.
        """
        ...


def _add_parameters(module: nn.Module, cell: str, input_size: int, hidden_size: int) -> None:
    """Give `module` the parameters of a cell: vectors 0, matrices uniform within 1/sqrt(H).

    That is PyTorch's own rule.
    """
    bound = 1.0 / math.sqrt(hidden_size)
    for name, shape in CELL_SPECS[cell].shapes(input_size, hidden_size).items():
        array = torch.empty(shape).uniform_(-bound, bound) if len(shape) > 1 else torch.zeros(shape)
        module.register_parameter(name, nn.Parameter(array))


@cache
def _compiled() -> ModuleType | None:
    """The compiled LSTM, or None where nothing can be compiled."""
    try:
        from generative.machine import compiling

        if not compiling.is_possible():
            return None
        from generative.model import compiled_lstm
    except ImportError as error:  # numba is often late for a new Python or NumPy
        logging.getLogger(__name__).warning("an LSTM without the compiled loop: %s", error)
        return None
    return compiled_lstm


def _is_plain(*tensors: Tensor) -> bool:
    """Whether the compiled loop can read the tensors: float32 on a CPU."""
    return not torch.is_autocast_enabled("cpu") and all(
        tensor.dtype == torch.float32 and tensor.device.type == "cpu" and tensor.numel() > 0
        for tensor in tensors
    )


def pack(weight_hidden: Tensor) -> Packed | None:
    """weight_hidden (4H, H) packed for `lstm_scan`, so that it need not be packed at each call.

    The result is valid until the weights change, for any rows and in any thread. It is None where
    the layer could not use it (another dtype or device, no compiler).
    """
    compiled = _compiled() if _is_plain(weight_hidden) else None
    return compiled.pack(weight_hidden) if compiled else None


# Packing the weights pays from this number of places (T * B) read by one thread on, as measured.
_WORTH_PACKING = 128


def lstm_scan(
    x: Tensor,
    state: CellState,
    weight_input: Tensor,
    weight_hidden: Tensor,
    bias: Tensor,
    packed: Packed | None = None,
    *,
    training: bool = True,
) -> tuple[Tensor, CellState]:
    """An LSTM over time: by the compiled loop if that is faster, or else by `torch.lstm`.

    The loop uses one thread, and several Python threads can run it at once. Where it is available
    it is used if `packed` is given, or if torch has one thread and there is enough to read.

    Args:
        x: (T, B, I)
        state: h, c. (B, H) each
        weight_input, weight_hidden, bias: (4H, I), (4H, H), (4H,)
        packed: `pack(weight_hidden)`.
        training: whether `torch.lstm`, where it is used, keeps what a gradient needs; in bfloat16
            not every CPU can.

    Returns:
        out (T, B, H), the new state. The gradient can be asked for once.
    """
    h, c = state
    weights = (weight_input, weight_hidden, bias)
    if _is_plain(x, h, c, *weights):
        is_long = x.shape[0] * x.shape[1] >= _WORTH_PACKING and torch.get_num_threads() == 1
        packed = packed or (pack(weight_hidden) if is_long else None)
        compiled = _compiled() if packed else None
        if compiled:
            out, h, c = compiled.lstm_scan(x, h, c, *weights, packed)
            return out, (h, c)
    out, h, c = torch.lstm(  # the fused kernel: no Python loop over time
        x,
        (h.unsqueeze(0), c.unsqueeze(0)),
        [*weights, torch.zeros_like(bias)],
        True,  # has_biases
        1,  # num_layers
        0.0,  # dropout between layers, which the language model has
        training,
        False,  # bidirectional
        False,  # batch_first
    )
    return out, (h.squeeze(0), c.squeeze(0))


class LSTM(nn.Module):
    """Long short-term memory (Hochreiter & Schmidhuber 1997; forget gate, Gers et al. 2000).

    Gates in the order input, forget, cell, output, as in `torch.nn.LSTM`:
    i, f, o = sigmoid(.), g = tanh(.), c' = f * c + i * g, h' = o * tanh(c').
    """

    weight_input: Tensor  # (4H, I)
    weight_hidden: Tensor  # (4H, H)
    bias: Tensor  # (4H,)

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        _add_parameters(self, "lstm", input_size, hidden_size)
        # An open forget gate passes gradients far back from the start (Gers et al. 2000).
        with torch.no_grad():
            self.bias[hidden_size : 2 * hidden_size].fill_(1.0)

    def forward(
        self, x: Tensor, state: CellState, drop_weights: DropWeights | None = None
    ) -> tuple[Tensor, CellState]:
        """x: (T, B, I); h, c: (B, H) -> (T, B, H), (h, c)."""
        weight = self.weight_hidden if drop_weights is None else drop_weights(self.weight_hidden)
        weights = (self.weight_input, weight, self.bias)
        return lstm_scan(x, state, *weights, training=torch.is_grad_enabled())


class GRU(nn.Module):
    """Gated recurrent unit (Cho et al. 2014), in the variant of cuDNN and `torch.nn.GRU`.

    r, z = sigmoid(.), n = tanh(W x + b + r * (U h)), h' = (1 - z) * n + z * h.
    """

    weight_input: Tensor  # (3H, I)
    weight_hidden: Tensor  # (3H, H)
    bias: Tensor  # (3H,)

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        _add_parameters(self, "gru", input_size, hidden_size)

    def forward(
        self, x: Tensor, state: CellState, drop_weights: DropWeights | None = None
    ) -> tuple[Tensor, CellState]:
        """x: (T, B, I); h: (B, H) -> (T, B, H), (h,)."""
        weight = self.weight_hidden if drop_weights is None else drop_weights(self.weight_hidden)
        weights = [self.weight_input, weight, self.bias, torch.zeros_like(self.bias)]
        (h,) = state
        train = torch.is_grad_enabled()
        out, h = torch.gru(x, h.unsqueeze(0), weights, True, 1, 0.0, train, False, False)
        return out, (h.squeeze(0),)


CELLS: dict[str, Callable[[int, int], nn.Module]] = {"lstm": LSTM, "gru": GRU}
