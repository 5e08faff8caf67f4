"""How one token is taken from its logits: knows rows and random generators, not how logits came."""

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

    def __call__(self, logits: Logits, rngs: Sequence[np.random.Generator]) -> NDArray[np.int64]:
        """See the class."""
        ...


def row_generator(seed: int, index: int) -> np.random.Generator:
    """The generator of sequence `index`: it does not depend on which others are drawn with it."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index,)))


def log_softmax(logits: Logits) -> NDArray[np.float64]:
    """ln p of every token, in float64; -inf stays -inf. (B, V) -> (B, V)"""
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=-1, keepdims=True)
    wide -= np.log(np.exp(wide).sum(axis=-1, keepdims=True))
    return wide


def are_distributions(logits: Logits) -> bool:
    """Whether each row has a finite maximum: no NaN, no +inf, not only -inf. (B, V)"""
    return math.isfinite(logits.max(axis=-1).sum())  # what is not finite stays so in a sum


class Greedy:
    """The likeliest token; among equals the one with the lowest id."""

    def __call__(
        self,
        logits: Logits,
        rngs: Sequence[np.random.Generator],  # noqa: ARG002 - nothing is left to chance
    ) -> NDArray[np.int64]:
        """(B, V) -> (B,)"""
        return np.asarray(logits.argmax(axis=-1), dtype=np.int64)


class Categorical:
    """A token drawn with its probability, by inverting the cumulative distribution.

    Each row uses one uniform number a token, so a row's draws are its own in any batch.
    """

    def __call__(self, logits: Logits, rngs: Sequence[np.random.Generator]) -> NDArray[np.int64]:
        """(B, V) -> (B,)"""
        weights = logits.astype(np.float64)
        weights -= weights.max(axis=-1, keepdims=True)
        cumulative = np.exp(weights, out=weights).cumsum(axis=-1)  # (B, V)
        tokens = np.empty(len(rngs), dtype=np.int64)
        for row, rng in enumerate(rngs):
            total = cumulative[row, -1]
            # random() < 1, but its product with the total may round up to it: stay below, and
            # "right" steps over tokens of probability zero.
            point = min(rng.random() * total, np.nextafter(total, 0.0))
            tokens[row] = cumulative[row].searchsorted(point, side="right")
        return tokens
