"""The recurrent state of a batch of sequences, as an immutable value.

It must not know which cell the state belongs to.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from generative.context import records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from generative.context.records import Memory


@dataclass(frozen=True)
class State:
    """The state of B sequences. It is immutable: every method returns a new state.

    Attributes:
        layers: one tuple a layer with the cell's tensors, each (B, H).
        memory: what context features depend on, (B, M); None for a model without them.
    """

    layers: tuple[tuple[Tensor, ...], ...]
    memory: Memory | None = None

    @property
    def batch_size(self) -> int:
        """The number of sequences, B."""
        return self.layers[0][0].shape[0]

    @classmethod
    def joined(cls, states: Sequence[State]) -> State:
        """The rows of several states, in that order."""
        layers = zip(*(state.layers for state in states), strict=True)
        memories = [state.memory for state in states if state.memory is not None]
        return cls(
            tuple(tuple(map(torch.cat, zip(*tensors, strict=True))) for tensors in layers),
            np.concatenate(memories) if memories else None,
        )

    def select(self, rows: Sequence[int] | NDArray[np.int64]) -> State:
        """The state of the given rows, in that order; rows may repeat. (B,) -> (len(rows),)"""
        index = torch.as_tensor(np.asarray(rows, dtype=np.int64), device=self.layers[0][0].device)
        return State(
            tuple(tuple(t.index_select(0, index) for t in layer) for layer in self.layers),
            None if self.memory is None else records.select(self.memory, rows),
        )

    def with_memory(self, memory: Memory | None) -> State:
        """The same state with another memory; None leaves it as it is. memory: (B, M)"""
        return self if memory is None else replace(self, memory=memory)

    def detach(self) -> State:
        """The same numbers without their autograd graph."""
        return replace(
            self, layers=tuple(tuple(t.detach() for t in layer) for layer in self.layers)
        )

    def cleared(self, rows: Tensor) -> State:
        """The same state with some rows set to zero, as at a start. rows: (B,) bool.

        The memory stays, since what it says of the tokens remains true.
        """
        keep = (~rows).unsqueeze(1)  # (B, 1)
        return replace(self, layers=tuple(tuple(t * keep for t in layer) for layer in self.layers))
