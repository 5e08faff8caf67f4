"""The protocol by which sampling uses a model; it must know no model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray


class State(Protocol):
    """The state of B sequences; it is never edited, only replaced."""

    def select(self, rows: Sequence[int] | NDArray[np.int64]) -> Self:
        """The state of the given rows in that order; rows may repeat."""
        ...


S = TypeVar("S", bound=State)


class Stepper(Protocol[S]):
    """A model that reads one token a row and returns logits of the next one."""

    vocab_size: int

    def initial_state(self, batch_size: int) -> S:
        """The state of sequences that have not begun."""
        ...

    def step(self, tokens: NDArray[np.int64], state: S) -> tuple[NDArray[np.float32], S]:
        """tokens (B,) -> logits (B, V) for the token after each, new state."""
        ...

    def prefill(self, tokens: NDArray[np.int64], state: S) -> tuple[NDArray[np.float32], S]:
        """Read a whole prompt. tokens (T,), a state of one row -> logits (1, V) after the last."""
        ...
