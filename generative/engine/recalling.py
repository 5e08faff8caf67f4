"""A stepper that remembers every token it read: knows another stepper and boosts, no model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from generative.model.recall import NOTHING, Memory

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from generative.sampling.stepper import Stepper


@dataclass(frozen=True)
class RecallState:
    """What the model remembers of B sequences, and what they said."""

    inner: Any
    memories: tuple[Memory, ...]

    def select(self, rows: Sequence[int] | NDArray[np.int64]) -> RecallState:
        """The memory of the given rows in that order; rows may repeat."""
        return RecallState(self.inner.select(rows), tuple(self.memories[row] for row in rows))


class RecallStepper:
    """A `Stepper` that raises the logit of the expected token, see `generative.model.recall`."""

    def __init__(
        self, stepper: Stepper[Any], length: int, boosts: NDArray[np.floating[Any]]
    ) -> None:
        """`length`: tokens in which passages must agree. `boosts`: (recall.BUCKETS,)"""
        self.vocab_size = stepper.vocab_size
        self._stepper = stepper
        self._length = length
        self._boosts = boosts

    def initial_state(self, batch_size: int) -> RecallState:
        """The memory of sequences that have not begun."""
        return RecallState(self._stepper.initial_state(batch_size), (Memory(),) * batch_size)

    def step(
        self, tokens: NDArray[np.int64], state: RecallState
    ) -> tuple[NDArray[np.float32], RecallState]:
        """tokens (B,) -> logits (B, V) for the token after each, new state."""
        logits, inner = self._stepper.step(tokens, state.inner)
        memories = tuple(
            memory.read(token, self._length)
            for memory, token in zip(state.memories, tokens.tolist(), strict=True)
        )
        return self._boosted(logits, memories), RecallState(inner, memories)

    def prefill(
        self, tokens: NDArray[np.int64], state: RecallState
    ) -> tuple[NDArray[np.float32], RecallState]:
        """A whole prompt. tokens (T,), a state of one row -> logits (1, V) after the last."""
        logits, inner = self._stepper.prefill(tokens, state.inner)
        (memory,) = state.memories
        for token in tokens.tolist():
            memory = memory.read(token, self._length)
        return self._boosted(logits, (memory,)), RecallState(inner, (memory,))

    def _boosted(
        self, logits: NDArray[np.float32], memories: tuple[Memory, ...]
    ) -> NDArray[np.float32]:
        logits = logits.copy()
        for row, memory in enumerate(memories):
            if memory.expected != NOTHING:
                logits[row, memory.expected] += self._boosts[memory.bucket]
        return logits
