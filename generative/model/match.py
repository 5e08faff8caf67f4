"""A match model over token ids: which token followed the last occurrence of the latest tokens.

It must not know networks, tensors or files.

A small recurrent state does not hold a tune of eight bars until the tune is repeated. The match
model looks the latest tokens up in the history. Where they occurred before, the token that followed
there is the expected token, and a bias is added to the network's logit of it. Biases are fitted on
held-out data, one for each bucket of how far the two passages have agreed. With 0 in every bucket
the network's distribution is unchanged.

Source: the match models of PAQ (Mahoney, "Adaptive Weighing of Context Models for Lossless Data
Compression", 2005), mixed in as a bias of one logit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

# These constants define what the biases of a stored model mean: changing one of them makes a new
# format of checkpoints.
HISTORY_TOKENS = 8192  # how far back a match is looked for
MAX_MATCH_LENGTH = 512  # longer matches are not told apart
LENGTH_BUCKETS = MAX_MATCH_LENGTH.bit_length()  # logarithmic, base 2
BOUNDARY = range(-2, 8)  # tokens after the point where a whole passage has been repeated once
NUM_BUCKETS = 3 * LENGTH_BUCKETS  # before the boundary, at it and after it
NO_MATCH = -1  # `predict` puts this value at positions without a match.
MAX_BIAS = 16.0
# The inverse of the variance of a bias before any data: a bucket that is rarely seen stays near 0.
PRIOR_PRECISION = 1.0


@dataclass(frozen=True, slots=True)
class MatchState:
    """The history of one sequence and the current match in it.

    Attributes:
        history: the last `HISTORY_TOKENS` tokens, each as the character with its number.
        pointer: the index in `history` of the expected token; None without a match.
        length: how many tokens before the pointer equal the latest ones, at most `HISTORY_TOKENS`.
    """

    history: str = ""
    pointer: int | None = None
    length: int = 0

    def update(self, token: int, min_length: int) -> MatchState:
        """The state after one more token.

        A match is followed for as long as it predicts right. Where there is none, the latest
        passage that agrees in `min_length` tokens is looked up.
        """
        character = chr(token)
        history = self.history + character
        pointer, length = None, 0
        if self.pointer is not None and self.history[self.pointer] == character:
            pointer, length = self.pointer + 1, min(self.length + 1, HISTORY_TOKENS)
        dropped = len(history) - HISTORY_TOKENS
        if dropped > 0:
            history = history[dropped:]
            if pointer is not None:
                pointer = pointer - dropped if pointer >= dropped else None
        if pointer is None:
            found = history.rfind(history[-min_length:], 0, -1)
            if found >= 0:
                pointer = found + min_length
                length = min_length + _common_suffix(history, found, len(history) - min_length)
        return MatchState(history, pointer, length)

    @property
    def expected(self) -> int | None:
        """The token that followed the earlier occurrence; None without a match."""
        return None if self.pointer is None else ord(self.history[self.pointer])

    @property
    def bucket(self) -> int | None:
        """The index of the bias for the expected token; None without a match.

        Before the boundary the bucket depends on the logarithm of the match length. At the
        boundary the whole passage has been repeated once, and a third occurrence would have to
        begin; after it the third occurrence has begun. Both have buckets of their own, by the
        logarithm of the distance between the occurrences.
        """
        if self.pointer is None:
            return None
        distance = len(self.history) - self.pointer
        after_boundary = self.length - distance
        if after_boundary < BOUNDARY.start:
            return min(self.length.bit_length(), LENGTH_BUCKETS) - 1
        region = 1 if after_boundary in BOUNDARY else 2
        return LENGTH_BUCKETS * region + min(distance.bit_length(), LENGTH_BUCKETS) - 1


def _common_suffix(history: str, first: int, second: int) -> int:
    """How many characters before two positions are equal; `first` is the earlier position."""
    low, high = 0, first
    while low < high:
        middle = (low + high + 1) // 2
        if history[first - middle : first] == history[second - middle : second]:
            low = middle
        else:
            high = middle - 1
    return low


def predict(ids: Iterable[int], min_length: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The expected token after each token, and its bucket. (T,) -> (T,), (T,)

    Both are `NO_MATCH` where nothing is expected.
    """
    state = MatchState()
    expected, buckets = [], []
    for token in ids:
        state = state.update(token, min_length)
        expected.append(NO_MATCH if state.expected is None else state.expected)
        buckets.append(NO_MATCH if state.bucket is None else state.bucket)
    return np.array(expected, dtype=np.int64), np.array(buckets, dtype=np.int64)


def fit_biases(
    logits: NDArray[np.float64], hits: NDArray[np.bool_], buckets: NDArray[np.int64]
) -> NDArray[np.float32]:
    """The most likely biases given where the expected token occurred. -> (NUM_BUCKETS,)

    Each bias is the one parameter of a logistic regression with an offset. Its best value is where
    the slope of the log-likelihood, which decreases everywhere, passes 0; bisection finds it.

    Args:
        logits: ln p / (1 - p) of the network's p for the expected token. (N,)
        hits: whether the expected token occurred. (N,)
        buckets: in 0 .. NUM_BUCKETS - 1. (N,)
    """
    low, high = np.full(NUM_BUCKETS, -MAX_BIAS), np.full(NUM_BUCKETS, MAX_BIAS)
    hit_counts = np.bincount(buckets, hits, NUM_BUCKETS)
    for _ in range(40):
        biases = (low + high) / 2
        p = 0.5 * (1.0 + np.tanh(0.5 * (logits + biases[buckets])))  # the logistic function
        slope = hit_counts - np.bincount(buckets, p, NUM_BUCKETS) - PRIOR_PRECISION * biases
        low, high = np.where(slope > 0, biases, low), np.where(slope > 0, high, biases)
    return np.asarray((low + high) / 2, dtype=np.float32)


def hit_nats(logits: NDArray[np.float64], hits: NDArray[np.bool_]) -> NDArray[np.float64]:
    """-ln p of whether the expected token occurred. (N,), (N,) -> (N,)"""
    return np.asarray(np.logaddexp(0.0, np.where(hits, -logits, logits)))
