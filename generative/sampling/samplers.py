"""Samplers, which choose one token a row from processed logits, and functions of logits.

They must not know how the logits were made.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

Logits = NDArray[np.floating]


class Sampler(Protocol):
    """logits (B, V) and one generator a row -> tokens (B,)."""

    def __call__(
        self, logits: Logits, rngs: Sequence[np.random.Generator], /
    ) -> NDArray[np.int64]: ...


def row_generator(seed: int, index: int) -> np.random.Generator:
    """The generator of sequence `index`, which does not depend on the size of the batch."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index,)))


def log_softmax(logits: Logits) -> NDArray[np.float64]:
    """ln p of every token, in float64; -inf stays -inf. (B, V) -> (B, V)"""
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=-1, keepdims=True)
    wide -= np.log(np.exp(wide).sum(axis=-1, keepdims=True))
    return wide


def are_distributions(logits: Logits) -> bool:
    """Whether each row has a finite maximum: no NaN, no +inf, not only -inf. (B, V)"""
    return math.isfinite(logits.max(axis=-1).sum())  # a sum with NaN or infinity is not finite


class Greedy:
    """Takes the likeliest token, of equals the one with the lowest id. (B, V) -> (B,)"""

    def __call__(self, logits: Logits, _rngs: Sequence[np.random.Generator]) -> NDArray[np.int64]:
        return np.asarray(logits.argmax(axis=-1), dtype=np.int64)


class Categorical:
    """Draws a token by its probability, by inverting the cumulative distribution. (B, V) -> (B,)

    Each row uses one uniform number a token, so its draws are the same in any batch.
    """

    def __call__(self, logits: Logits, rngs: Sequence[np.random.Generator]) -> NDArray[np.int64]:
        weights = logits.astype(np.float64)
        weights -= weights.max(axis=-1, keepdims=True)
        cumulative = np.exp(weights, out=weights).cumsum(axis=-1)  # (B, V)
        tokens = np.empty(len(rngs), dtype=np.int64)
        for row, rng in enumerate(rngs):
            total = cumulative[row, -1]
            # The product of random() < 1 and the total may round up to the total, so it is kept
            # below. Searching on the right side skips tokens of probability 0.
            point = min(rng.random() * total, np.nextafter(total, 0.0))
            tokens[row] = cumulative[row].searchsorted(point, side="right")
        return tokens


def drawn_log_p(processed: Logits, sampler: Sampler) -> NDArray[np.float64]:
    """ln p with which the sampler takes each token. (B, V) -> (B, V)"""
    if not isinstance(sampler, Greedy):
        return log_softmax(processed)
    best = np.arange(processed.shape[-1]) == processed.argmax(axis=-1)[:, None]
    return np.where(best, 0.0, -np.inf)
