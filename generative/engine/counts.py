"""A stepper that mixes another stepper's logits with count models.

It must not know networks or checkpoints. The compiled loop does the same by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from generative.ngram import history as histories
from generative.ngram.operations import INTERPRETED
from generative.ngram.records import History, Tables, make_scratch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from generative.sampling.stepper import Stepper


@dataclass(frozen=True)
class CountedState:
    """The state of B sequences: that of the network, and what the count models have read."""

    inner: Any
    history: History

    def select(self, rows: Sequence[int] | NDArray[np.int64]) -> CountedState:
        """The state of the given rows in that order; rows may repeat."""
        return CountedState(self.inner.select(rows), histories.select(self.history, rows))


class CountedStepper:
    """A `Stepper` of a network and count models."""

    def __init__(
        self, stepper: Stepper[Any], counts: Tables, history: History | None = None
    ) -> None:
        """Wrap a stepper.

        Args:
            stepper: of the network alone.
            counts: the count models.
            history: of one row, with which every sequence begins; None is an empty one.
        """
        self.vocab_size = stepper.vocab_size
        self.network = stepper
        self._counts = counts
        self._history = histories.start(counts, 1) if history is None else history

    def initial_state(self, batch_size: int) -> CountedState:
        """The state of sequences that have not begun."""
        history = histories.select(self._history, [0] * batch_size)
        return CountedState(self.network.initial_state(batch_size), history)

    def step(
        self, tokens: NDArray[np.int64], state: CountedState
    ) -> tuple[NDArray[np.float32], CountedState]:
        """tokens (B,) -> logits (B, V) for the token after each, new state."""
        logits, inner = self.network.step(tokens, state.inner)
        return self._mixed(logits, CountedState(inner, self._read(tokens[None], state)))

    def prefill(
        self, tokens: NDArray[np.int64], state: CountedState
    ) -> tuple[NDArray[np.float32], CountedState]:
        """Read a whole prompt. tokens (T,), a state of one row -> logits (1, V) after the last."""
        logits, inner = self.network.prefill(tokens, state.inner)
        return self._mixed(logits, CountedState(inner, self._read(tokens[:, None], state)))

    def _read(self, tokens: NDArray[np.int64], state: CountedState) -> History:
        """The history with tokens (T, B) more."""
        history = histories.copied(state.history, len(tokens))
        for step in tokens.tolist():
            for row, token in enumerate(step):
                INTERPRETED.append(self._counts, history, row, token)
        return history

    def _mixed(
        self, logits: NDArray[np.float32], state: CountedState
    ) -> tuple[NDArray[np.float32], CountedState]:
        """The logits of the mixture. (B, V) -> (B, V)"""
        logits = logits.copy()
        static, cache = np.empty((2, self.vocab_size), np.float32)
        scratch = make_scratch(self.vocab_size, self._counts.order)
        for row in range(len(logits)):
            INTERPRETED.mix(self._counts, state.history, row, scratch, static, cache, logits[row])
        return logits, state
