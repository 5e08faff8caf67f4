"""The recurrent state of a batch of sequences, as an immutable value.

It must not know which cell the state belongs to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True)
class State:
    """The state of B sequences. It is immutable: every method returns a new state.

    Attributes:
        layers: one tuple a layer with the cell's tensors, each (B, H).
    """

    layers: tuple[tuple[Tensor, ...], ...]

    @property
    def batch_size(self) -> int:
        """The number of sequences, B."""
        return self.layers[0][0].shape[0]

    @classmethod
    def joined(cls, states: Sequence[State]) -> State:
        """The rows of several states, in that order."""
        layers = zip(*(state.layers for state in states), strict=True)
        return cls(tuple(tuple(map(torch.cat, zip(*tensors, strict=True))) for tensors in layers))

    def select(self, rows: Sequence[int] | NDArray[np.int64]) -> State:
        """The state of the given rows, in that order; rows may repeat. (B,) -> (len(rows),)"""
        index = torch.as_tensor(np.asarray(rows, dtype=np.int64), device=self.layers[0][0].device)
        return State(tuple(tuple(t.index_select(0, index) for t in layer) for layer in self.layers))

    def detach(self) -> State:
        """The same numbers without their autograd graph."""
        return State(tuple(tuple(t.detach() for t in layer) for layer in self.layers))

    def cleared(self, rows: Tensor) -> State:
        """The same state with some rows set to zero, as at a start. rows: (B,) bool."""
        keep = (~rows).unsqueeze(1)  # (B, 1)
        return State(tuple(tuple(t * keep for t in layer) for layer in self.layers))
