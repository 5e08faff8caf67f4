"""The one door between sampling and any model: knows its shape, and no model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray


class State(Protocol):
    """What a model remembers of B sequences; never edited, only replaced."""

    def select(self, rows: Sequence[int] | NDArray[np.int64]) -> Self:
        """The memory of the given rows in that order; rows may repeat."""
        ...


S = TypeVar("S", bound=State)


class Stepper(Protocol[S]):
    """A model that reads one token a row and says what may come next."""

    vocab_size: int

    def initial_state(self, batch_size: int) -> S:
        """The memory of sequences that have not begun."""
        ...

    def step(self, tokens: NDArray[np.int64], state: S) -> tuple[NDArray[np.float32], S]:
        """tokens (B,) -> logits (B, V) for the token after each, new state."""
        ...

    def prefill(self, tokens: NDArray[np.int64], state: S) -> tuple[NDArray[np.float32], S]:
        """A whole prompt. tokens (T,), a state of one row -> logits (1, V) after the last."""
        ...
