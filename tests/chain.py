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


@dataclass(frozen=True)
class HistoryState:
    """A number that stands for all that each row has read; read-only. (B,)"""

    digests: NDArray[np.uint64]

    def __post_init__(self) -> None:
        self.digests.setflags(write=False)

    def select(self, rows: Sequence[int] | NDArray[np.int64]) -> HistoryState:
        return HistoryState(self.digests[np.asarray(rows)])


class HistoryStepper:
    """Logits that depend on every token read, so that a state in the wrong row shows."""

    def __init__(self, vocab_size: int, scale: float = 1.0) -> None:
        self.vocab_size = vocab_size
        self.steps: list[int] = []  # the rows of each call
        self._scale = scale

    def initial_state(self, batch_size: int) -> HistoryState:
        return HistoryState(np.full(batch_size, 17, dtype=np.uint64))

    def step(
        self, tokens: NDArray[np.int64], state: HistoryState
    ) -> tuple[NDArray[np.float32], HistoryState]:
        assert len(tokens) == len(state.digests)
        self.steps.append(len(tokens))
        digests = _mixed(state.digests * np.uint64(31) + tokens.astype(np.uint64))
        salts = np.arange(1, self.vocab_size + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        bits = _mixed(digests[:, None] + salts)  # (B, V)
        logits = (bits >> np.uint64(40)) / 2.0**24 * self._scale
        return logits.astype(np.float32), HistoryState(digests)

    def prefill(
        self, tokens: NDArray[np.int64], state: HistoryState
    ) -> tuple[NDArray[np.float32], HistoryState]:
        for token in tokens[:, None]:
            logits, state = self.step(token, state)
        return logits, state


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Numbers whose bits all depend on all bits given (splitmix64). (N,) -> (N,)"""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
