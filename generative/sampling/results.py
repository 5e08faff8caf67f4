"""What sampling and beam search return: a drawn token, a finished sequence, details of a choice.

It must not know how tokens are chosen.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Alternative:
    """A token that might have come, and ln p of it before and after constraint and options."""

    token: int
    logprob: float
    processed_logprob: float


@dataclass(frozen=True, slots=True)
class Detail:
    """The token that was taken and its alternatives.

    Attributes:
        chosen: the token that was taken.
        top: the likeliest ones under the model itself, best first; `chosen` may be among them.
    """

    chosen: Alternative
    top: tuple[Alternative, ...]


def describe_choice(
    log_p: NDArray[np.float64], processed: NDArray[np.float64], token: int, count: int
) -> Detail:
    """The choice of `token` from one row, with the `count` likeliest tokens beside it.

    log_p, processed: ln p before and after constraint and options. (V,), (V,)
    """
    size = len(log_p)
    count = min(count, size)
    best = np.argpartition(-log_p, count - 1)[:count] if 0 < count < size else np.arange(count)
    ranked = best[np.lexsort((best, -log_p[best]))]  # equals by id
    chosen, *top = (
        Alternative(t, float(log_p[t]), float(processed[t])) for t in [token, *ranked.tolist()]
    )
    return Detail(chosen, tuple(top))


@dataclass(slots=True)
class Draw:
    """One token of one row. It is not frozen, since that would treble the cost of making one.

    Attributes:
        row: the index of the sequence.
        token: what was drawn; the end token when `finish_reason` is "end".
        logprob: ln p of it under the model itself, before constraint and options.
        finish_reason: None while the row goes on; "length", "end" or "stop".
        allowed_mass: the model's probability of all that the constraint allowed here; it is near 0
            where the constraint forced the model.
        detail: processed log-probability and alternatives, where they were requested.
    """

    row: int
    token: int
    logprob: float
    finish_reason: str | None
    allowed_mass: float = 1.0
    detail: Detail | None = None


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """A finished sequence.

    Attributes:
        tokens: without prompt and end token.
        logprobs: the model's own ln p of each.
        finish_reason: "length", "end" or "stop".
        score: what ranks it among beams; for a sample the sum of `logprobs`.
        least_allowed_mass: the smallest probability that the constraint left the model at a step.
        details: one a token, where they were requested.
    """

    tokens: list[int]
    logprobs: list[float]
    finish_reason: str
    score: float
    least_allowed_mass: float = 1.0
    details: list[Detail] = field(default_factory=list)

    @property
    def nats(self) -> float:
        """-ln p of all tokens together."""
        return -float(sum(self.logprobs))


def collect(steps: Iterable[list[Draw]], num_sequences: int) -> list[Sampled]:
    """The finished sequences, by row."""
    rows: list[list[Draw]] = [[] for _ in range(num_sequences)]
    for draws in steps:
        for draw in draws:
            rows[draw.row].append(draw)
    return [_sequence(draws) for draws in rows]


def _sequence(draws: list[Draw]) -> Sampled:
    """The sequence that a row's draws make."""
    reason = (draws[-1].finish_reason if draws else None) or "length"
    kept = draws[:-1] if reason == "end" else draws
    logprobs = [draw.logprob for draw in kept]
    return Sampled(
        tokens=[draw.token for draw in kept],
        logprobs=logprobs,
        finish_reason=reason,
        score=float(sum(logprobs)),
        least_allowed_mass=min([1.0, *(draw.allowed_mass for draw in draws)]),
        details=[draw.detail for draw in kept if draw.detail is not None],
    )
