"""The recurrent cells: each knows one layer's mathematics over time, not what is stacked on it.

A cell is a module with a class attribute `state_names` (one tensor (B, H) each) and
`forward(x (T,B,I), state, weight_drop) -> (out (T,B,H), state)`. A new cell is one class, one row
in `CELLS` and its number of gates in `config.GATES`. One step is `forward` with T = 1; there is no
second set of formulas.
"""

from __future__ import annotations

import math
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from generative.model.config import GATES

CellState = tuple[Tensor, ...]


class Cell(Protocol):
    """What the language model asks of a recurrent layer."""

    state_names: ClassVar[tuple[str, ...]]

    def __call__(self, x: Tensor, state: CellState, weight_drop: float) -> tuple[Tensor, CellState]:
        """x (T, B, I), state -> out (T, B, H), new state."""
        ...


def dropped(weight: Tensor, probability: float) -> Tensor:
    """A matrix with some numbers at 0 and the others scaled up (DropConnect; Wan et al. 2013).

    One random byte a number, so the probability is rounded to 256ths: on a CPU ten times as fast as
    `F.dropout`, which would take a sixth of a training step.
    """
    levels = min(255, round(256 * probability))
    if levels == 0:
        return weight
    words = torch.empty(-(-weight.numel() // 8), dtype=torch.int64, device=weight.device)
    noise = words.random_(torch.iinfo(torch.int64).min, None).view(torch.uint8)
    keep = (noise[: weight.numel()] >= levels).view_as(weight)
    return weight * (keep * (256 / (256 - levels)))


def _recurrent_parameters(module: nn.Module, gates: int, input_size: int, hidden_size: int) -> None:
    """Give `module` the weights of a gated layer, uniform within 1/sqrt(H) (PyTorch's own rule)."""
    bound = 1.0 / math.sqrt(hidden_size)
    rows = gates * hidden_size
    module.weight_input = nn.Parameter(torch.empty(rows, input_size).uniform_(-bound, bound))
    module.weight_hidden = nn.Parameter(torch.empty(rows, hidden_size).uniform_(-bound, bound))
    module.bias = nn.Parameter(torch.zeros(rows))


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
        self, x: Tensor, state: CellState, weight_drop: float = 0.0
    ) -> tuple[Tensor, CellState]:
        """x: (T, B, I); h, c: (B, H) -> (T, B, H), (h, c)."""
        weight_hidden = dropped(self.weight_hidden, weight_drop if self.training else 0.0)
        weights = [self.weight_input, weight_hidden, self.bias, torch.zeros_like(self.bias)]
        h, c = state
        out, h, c = torch.lstm(  # the fused kernel: no Python loop over time
            x,
            (h.unsqueeze(0), c.unsqueeze(0)),
            weights,
            True,  # has_biases
            1,  # num_layers
            0.0,  # dropout between layers: ours is locked and lives outside
            self.training,
            False,  # bidirectional
            False,  # batch_first
        )
        return out, (h.squeeze(0), c.squeeze(0))


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
        self, x: Tensor, state: CellState, weight_drop: float = 0.0
    ) -> tuple[Tensor, CellState]:
        """x: (T, B, I); h: (B, H) -> (T, B, H), (h,)."""
        weight_hidden = dropped(self.weight_hidden, weight_drop if self.training else 0.0)
        weights = [self.weight_input, weight_hidden, self.bias, torch.zeros_like(self.bias)]
        (h,) = state
        out, h = torch.gru(x, h.unsqueeze(0), weights, True, 1, 0.0, self.training, False, False)
        return out, (h.squeeze(0),)


CELLS: dict[str, type[LSTM] | type[GRU]] = {"lstm": LSTM, "gru": GRU}
