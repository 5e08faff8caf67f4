"""A stepper that adds the match model's bias to another stepper's logits.

It must not know networks or checkpoints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from generative.model.match import MatchState

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from generative.sampling.stepper import Stepper


@dataclass(frozen=True)
class MatchStepperState:
    """The state of B sequences: that of the inner stepper, and a match state for each row."""

    inner: Any
    matches: tuple[MatchState, ...]

    def select(self, rows: Sequence[int] | NDArray[np.int64]) -> MatchStepperState:
        """The state of the given rows in that order; rows may repeat."""
        return MatchStepperState(self.inner.select(rows), tuple(self.matches[row] for row in rows))


class MatchStepper:
    """A `Stepper` that biases the logit of the expected token, see `generative.model.match`."""

    def __init__(
        self, stepper: Stepper[Any], match_length: int, biases: NDArray[np.floating[Any]]
    ) -> None:
        """Wrap a stepper.

        Args:
            stepper: of the network alone.
            match_length: tokens in which two passages must agree.
            biases: (match.NUM_BUCKETS,)
        """
        self.vocab_size = stepper.vocab_size
        self._stepper = stepper
        self._match_length = match_length
        self._biases = biases

    def initial_state(self, batch_size: int) -> MatchStepperState:
        """The state of `batch_size` sequences that have not begun."""
        return MatchStepperState(
            self._stepper.initial_state(batch_size), (MatchState(),) * batch_size
        )

    def step(
        self, tokens: NDArray[np.int64], state: MatchStepperState
    ) -> tuple[NDArray[np.float32], MatchStepperState]:
        """tokens (B,) -> logits (B, V) for the token after each, new state."""
        logits, inner = self._stepper.step(tokens, state.inner)
        matches = tuple(
            match.update(token, self._match_length)
            for match, token in zip(state.matches, tokens.tolist(), strict=True)
        )
        return self._biased(logits, matches), MatchStepperState(inner, matches)

    def prefill(
        self, tokens: NDArray[np.int64], state: MatchStepperState
    ) -> tuple[NDArray[np.float32], MatchStepperState]:
        """A whole prompt. tokens (T,), a state of one row -> logits (1, V) after the last."""
        logits, inner = self._stepper.prefill(tokens, state.inner)
        (match,) = state.matches
        for token in tokens.tolist():
            match = match.update(token, self._match_length)
        return self._biased(logits, (match,)), MatchStepperState(inner, (match,))

    def _biased(
        self, logits: NDArray[np.float32], matches: tuple[MatchState, ...]
    ) -> NDArray[np.float32]:
        """(B, V) -> (B, V)"""
        logits = logits.copy()
        for row, match in enumerate(matches):
            if match.expected is not None and match.bucket is not None:
                logits[row, match.expected] += self._biases[match.bucket]
        return logits
