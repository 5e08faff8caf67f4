"""The recurrent cells: each knows one layer's mathematics over time, not what is stacked on it.

A cell is a module with a class attribute `state_names` (one tensor (B, H) each) and
`forward(x (T,B,I), state, drop_weights) -> (out (T,B,H), state)`. A new cell is one class, one row
in `CELLS` and its number of gates in `config.GATES`. One step is `forward` with T = 1.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, ClassVar, Protocol

import torch
from torch import Tensor, nn

from generative.model.config import GATES

if TYPE_CHECKING:
    from types import ModuleType

    from generative.model.compiled_lstm import Packed

CellState = tuple[Tensor, ...]
DropWeights = Callable[[Tensor], Tensor]


class Cell(Protocol):
    """What the language model asks of a recurrent layer."""

    state_names: ClassVar[tuple[str, ...]]

    def __call__(
        self, x: Tensor, state: CellState, drop_weights: DropWeights | None
    ) -> tuple[Tensor, CellState]:
        """x (T, B, I), state -> out (T, B, H), new state.

        drop_weights: what is done to the recurrent weights first; None leaves them whole.
        """
        ...


def _recurrent_parameters(module: nn.Module, gates: int, input_size: int, hidden_size: int) -> None:
    """Give `module` the weights of a gated layer, uniform within 1/sqrt(H) (PyTorch's own rule)."""
    bound = 1.0 / math.sqrt(hidden_size)
    rows = gates * hidden_size
    module.weight_input = nn.Parameter(torch.empty(rows, input_size).uniform_(-bound, bound))
    module.weight_hidden = nn.Parameter(torch.empty(rows, hidden_size).uniform_(-bound, bound))
    module.bias = nn.Parameter(torch.zeros(rows))


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
    """Whether the compiled loop can take them: float32 on a CPU."""
    return not torch.is_autocast_enabled("cpu") and all(
        tensor.dtype == torch.float32 and tensor.device.type == "cpu" and tensor.numel() > 0
        for tensor in tensors
    )


def pack(weight_hidden: Tensor) -> Packed | None:
    """What `lstm_scan` may be given for weight_hidden (4H, H), so that it is made only once.

    It is good until the weights change, for any rows and in any thread. None where the layer could
    not use it (another dtype or device, no compiler).
    """
    compiled = _compiled() if _is_plain(weight_hidden) else None
    return compiled.pack(weight_hidden) if compiled else None


# So many places (T * B) read by one thread repay packing the weights, where it was measured.
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
    """An LSTM over time: by the compiled loop if that is quicker, or else by `torch.lstm`.

    The loop uses one thread, and several Python threads can be in it at once. It is taken if
    `packed` is given, or if torch has one thread and there is enough to read; if it can be.

    Args:
        x: (T, B, I)
        state: h, c. (B, H) each
        weight_input, weight_hidden, bias: (4H, I), (4H, H), (4H,)
        packed: `pack(weight_hidden)`.
        training: whether `torch.lstm` is to keep what a gradient needs, where it is taken; in
            bfloat16 not every CPU can.

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
        0.0,  # dropout between layers: ours is locked and lives outside
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

    state_names: ClassVar[tuple[str, ...]] = ("h", "c")
    weight_input: Tensor  # (4H, I)
    weight_hidden: Tensor  # (4H, H)
    bias: Tensor  # (4H,)

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        _recurrent_parameters(self, GATES["lstm"], input_size, hidden_size)
        # A forget gate that starts open lets gradients through time at once (Gers et al. 2000).
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

    state_names: ClassVar[tuple[str, ...]] = ("h",)
    weight_input: Tensor  # (3H, I)
    weight_hidden: Tensor  # (3H, H)
    bias: Tensor  # (3H,)

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        _recurrent_parameters(self, GATES["gru"], input_size, hidden_size)

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


CELLS: dict[str, type[LSTM] | type[GRU]] = {"lstm": LSTM, "gru": GRU}
