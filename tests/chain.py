"""A model without weights: a Markov chain as a stepper, whose every probability is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

END = 0
CHAIN = np.array(  # p(next | last); token 0 starts and ends
    [
        [0.0, 0.5, 0.3, 0.2],
        [0.1, 0.3, 0.35, 0.25],
        [0.2, 0.4, 0.1, 0.3],
        [0.05, 0.15, 0.2, 0.6],
    ]
)


@dataclass(frozen=True)
class ChainState:
    """How many tokens each row has read; read-only, so that no one can edit it. (B,)"""

    lengths: NDArray[np.int64]

    def __post_init__(self) -> None:
        self.lengths.setflags(write=False)

    def select(self, rows: Sequence[int] | NDArray[np.int64]) -> ChainState:
        return ChainState(self.lengths[np.asarray(rows)])


class ChainStepper:
    """`chain[last]` is the distribution of the next token."""

    def __init__(self, chain: NDArray[Any] = CHAIN) -> None:
        self.vocab_size = len(chain)
        with np.errstate(divide="ignore"):
            self._logits = np.log(chain).astype(np.float32)

    def initial_state(self, batch_size: int) -> ChainState:
        return ChainState(np.zeros(batch_size, dtype=np.int64))

    def step(
        self, tokens: NDArray[np.int64], state: ChainState
    ) -> tuple[NDArray[np.float32], ChainState]:
        assert len(tokens) == len(state.lengths)
        return self._logits[tokens], ChainState(state.lengths + 1)

    def prefill(
        self, tokens: NDArray[np.int64], state: ChainState
    ) -> tuple[NDArray[np.float32], ChainState]:
        return self._logits[tokens[-1:]], ChainState(state.lengths + len(tokens))
