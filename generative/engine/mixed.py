"""Several models as one stepper. It must not know models, only steppers of one vocabulary.

The mixture's distribution is the same weighted sum of theirs at every token, however well each of
them predicted the tokens before: p(token) = sum over i of weight_i * p_i(token).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from generative.sampling.samplers import log_softmax

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from generative.sampling.stepper import Stepper


def log_mixture(log_p: Sequence[NDArray[Any]], weights: Sequence[float]) -> NDArray[np.float64]:
    """ln of the sum of weight * p, from ln p of each, all in one shape."""
    weighted = [
        np.asarray(one, np.float64) + np.log(w) for one, w in zip(log_p, weights, strict=True)
    ]
    mixed: NDArray[np.float64] = np.logaddexp.reduce(weighted, axis=0)
    return mixed


@dataclass(frozen=True)
class MixedState:
    """The states of each of the models for the same B sequences."""

    states: tuple[Any, ...]

    def select(self, rows: Sequence[int] | NDArray[np.int64]) -> MixedState:
        """The state of the given rows in that order; rows may repeat."""
        return MixedState(tuple(state.select(rows) for state in self.states))


class MixedStepper:
    """A `Stepper` whose logits are the mixture's log-probabilities."""

    def __init__(self, steppers: Sequence[Stepper[Any]], weights: Sequence[float]) -> None:
        """`weights` are positive and their sum is 1."""
        assert len({stepper.vocab_size for stepper in steppers}) == 1
        self.vocab_size = steppers[0].vocab_size
        self._steppers = tuple(steppers)
        self._weights = tuple(weights)

    def initial_state(self, batch_size: int) -> MixedState:
        """The state of sequences that have not begun."""
        return MixedState(tuple(s.initial_state(batch_size) for s in self._steppers))

    def step(
        self, tokens: NDArray[np.int64], state: MixedState
    ) -> tuple[NDArray[np.float32], MixedState]:
        """tokens (B,) -> logits (B, V) for the token after each, new state."""
        pairs = zip(self._steppers, state.states, strict=True)
        return self._mixed([stepper.step(tokens, own) for stepper, own in pairs])

    def prefill(
        self, tokens: NDArray[np.int64], state: MixedState
    ) -> tuple[NDArray[np.float32], MixedState]:
        """Read a whole prompt. tokens (T,), a state of one row -> logits (1, V) after the last."""
        pairs = zip(self._steppers, state.states, strict=True)
        return self._mixed([stepper.prefill(tokens, own) for stepper, own in pairs])

    def _mixed(
        self, results: Sequence[tuple[NDArray[np.float32], Any]]
    ) -> tuple[NDArray[np.float32], MixedState]:
        log_p = log_mixture([log_softmax(logits) for logits, _ in results], self._weights)
        return log_p.astype(np.float32), MixedState(tuple(state for _, state in results))
