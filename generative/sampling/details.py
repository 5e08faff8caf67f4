"""What can be told of a choice among tokens: knows log-probabilities, not how they came about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from generative.sampling.samplers import Greedy, log_softmax

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from generative.sampling.samplers import Logits, Sampler


@dataclass(frozen=True, slots=True)
class Alternative:
    """A token that might have come, and ln p of it before and after constraint and options."""

    token: int
    logprob: float
    processed_logprob: float


@dataclass(frozen=True, slots=True)
class Detail:
    """A token and what stood beside it.

    Attributes:
        chosen: the token that was taken.
        top: the likeliest ones under the model itself, best first; `chosen` may be among them.
    """

    chosen: Alternative
    top: tuple[Alternative, ...]


def describe_choice(
    log_p: NDArray[np.float64], processed: NDArray[np.float64], token: int, count: int
) -> Detail:
    """A choice among a row's tokens, and the `count` likeliest. ln p before, after: (V,), (V,)"""
    size = len(log_p)
    count = min(count, size)
    best = np.argpartition(-log_p, count - 1)[:count] if 0 < count < size else np.arange(count)
    ranked = best[np.lexsort((best, -log_p[best]))]  # equals by id
    chosen, *top = (
        Alternative(t, float(log_p[t]), float(processed[t])) for t in [token, *ranked.tolist()]
    )
    return Detail(chosen, tuple(top))


def log_p_drawn_from(bent: Logits, sampler: Sampler) -> NDArray[np.float64]:
    """ln p of each token in the draw; a greedy one leaves nothing to chance. (B, V) -> (B, V)"""
    if not isinstance(sampler, Greedy):
        return log_softmax(bent)
    best = np.arange(bent.shape[-1]) == bent.argmax(axis=-1)[:, None]
    return np.where(best, 0.0, -np.inf)
