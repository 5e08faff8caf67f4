"""What sampling and beam search do with a model's logits alike: mask them, then process them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from generative.sampling.processors import LogitsProcessor, process_logits
from generative.sampling.samplers import Logits, are_distributions, log_softmax

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from generative.sampling.request import Constraint
    from generative.sampling.rows import Rows


class Step(NamedTuple):
    """The logits of B rows, as the model gave them and as they may be chosen from.

    Attributes:
        log_p: ln p under the model itself. (B, V)
        processed: logits after constraint and processors. (B, V)
        allowed_mass: the model's probability of all that the constraint allows. (B,)
        dead_ends: which rows have no token that is both allowed and possible; the constraint is
            not applied to them. (B,)
        rows: the rows with the processors' new memory.
    """

    log_p: NDArray[np.float64]
    processed: Logits
    allowed_mass: NDArray[np.float64]
    dead_ends: NDArray[np.bool_]
    rows: Rows


@dataclass(frozen=True)
class LogitsPipeline:
    """The constraint and the processors of a request, applied to one step's logits."""

    processors: Sequence[LogitsProcessor]
    constraint: Constraint[Any] | None = None

    def __call__(self, logits: Logits, rows: Rows, states: Sequence[Any]) -> Step:
        """Mask what each row's grammar forbids, apply fallback tokens, then run the processors.

        Args:
            logits: (B, V)
            rows: the B rows.
            states: the constraint's state of each row; unused without a constraint.

        Raises:
            ValueError: logits that are no distributions, before or after.
        """
        check_logits(logits)
        log_p = log_softmax(logits)
        masked = logits
        allowed_mass = np.ones(len(logits))
        dead_ends = np.zeros(len(logits), dtype=np.bool_)
        if self.constraint is not None:
            allowed = np.stack([self.constraint.allowed(state) for state in states])
            masked = np.where(allowed, logits, -np.inf)
            for token, fallback in getattr(self.constraint, "fallback_tokens", {}).items():
                moved = allowed[:, fallback] & ~allowed[:, token]
                both = np.logaddexp(logits[moved, token], logits[moved, fallback])
                masked[moved, fallback] = both
            dead_ends = ~np.isfinite(masked.max(axis=-1))
            if dead_ends.any():
                masked = np.where(dead_ends[:, None], logits, masked)
            allowed_mass = np.where(np.isfinite(masked), np.exp(log_p), 0.0).sum(axis=-1)
            if self.processors:
                rows = _with_progress(rows, self.constraint, states)
        processed, rows = process_logits(self.processors, rows, masked)
        return Step(log_p, processed, allowed_mass, dead_ends, rows)


def check_logits(logits: Logits) -> None:
    """Refuse logits that are no distribution. (B, V)

    Raises:
        ValueError: a row has NaN or +inf, or nothing but -inf.
    """
    if not are_distributions(logits):
        raise ValueError("the model's logits hold NaN or infinity, or make every token impossible")


def _with_progress(rows: Rows, constraint: Constraint[Any], states: Sequence[Any]) -> Rows:
    """The rows with the progress that the constraint measures, where it can tell for all."""
    progress = getattr(constraint, "progress", None)
    if progress is None:
        return rows
    measured = [progress(state) for state in states]
    if any(one is None for one in measured):
        return rows
    return replace(rows, measured=np.array(measured, dtype=np.float64)[:, None])
