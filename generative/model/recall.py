"""What came next when the last tokens were last heard: knows ids and how far to trust, no model.

A small recurrent state does not hold a tune of eight bars until it is repeated. Recall looks the
last tokens up in what was read before; where they occur, what followed there is expected again,
and the model's logit of it is raised by a number that was fitted on held-out data, one for each
bucket of how long the two passages have agreed. 0 in every bucket is the model alone.

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

# A model's boosts mean what they mean under these: to change one is a new format of models.
WINDOW = 8192  # tokens back
LONGEST = 512  # tokens that two passages agree in; more are no better
STEPS = LONGEST.bit_length()
SEAM = range(-2, 8)  # tokens from where a passage has come again whole
BUCKETS = 3 * STEPS  # within a passage, at its seam, beyond it
NOTHING = -1  # is expected
MOST_BOOST = 16.0
PRIOR = 1.0  # of a boost, as the inverse of its variance: what was hardly ever seen stays near 0


@dataclass(frozen=True, slots=True)
class Memory:
    """What was read, and which earlier place in it the present one repeats.

    Attributes:
        said: the last `WINDOW` tokens, each as the character of its number.
        place: in `said`, of the token that is expected next; None without one.
        agreed: how many tokens before that place are the last ones, too; at most `WINDOW`.
    """

    said: str = ""
    place: int | None = None
    agreed: int = 0

    def read(self, token: int, length: int) -> Memory:
        """With one token more; only passages that agree in `length` tokens are found."""
        character = chr(token)
        said = self.said + character
        place, agreed = None, 0
        if self.place is not None and self.said[self.place] == character:
            place, agreed = self.place + 1, min(self.agreed + 1, WINDOW)
        forgotten = len(said) - WINDOW
        if forgotten > 0:
            said = said[forgotten:]
            if place is not None:
                place = place - forgotten if place >= forgotten else None
        if place is None:
            found = said.rfind(said[-length:], 0, -1)
            if found >= 0:
                place = found + length
                agreed = length + _agreement(said, found, len(said) - length)
        return Memory(said, place, agreed)

    @property
    def expected(self) -> int:
        """The token that came next there, or `NOTHING`."""
        return NOTHING if self.place is None else ord(self.said[self.place])

    @property
    def bucket(self) -> int:
        """How far to trust it, or `NOTHING`.

        Within a passage that comes again it is the logarithm of the agreement. Where the whole of
        it has come again, at the seam, a third time in a row would have to begin: that is another
        matter, and so is a third time that has begun. There it is the logarithm of the distance.
        """
        if self.place is None:
            return NOTHING
        distance = len(self.said) - self.place
        beyond = self.agreed - distance
        if beyond < SEAM.start:
            return min(self.agreed.bit_length(), STEPS) - 1
        return STEPS * (1 if beyond in SEAM else 2) + min(distance.bit_length(), STEPS) - 1


def _agreement(said: str, one: int, other: int) -> int:
    """How many characters before two places are the same, `one` being the earlier."""
    low, high = 0, one
    while low < high:
        middle = (low + high + 1) // 2
        if said[one - middle : one] == said[other - middle : other]:
            low = middle
        else:
            high = middle - 1
    return low


def follow(ids: Iterable[int], length: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """What is expected after each token, and the bucket of it. (T,) -> (T,), (T,)

    Where nothing is expected both are `NOTHING`.
    """
    memory = Memory()
    expected, buckets = [], []
    for token in ids:
        memory = memory.read(token, length)
        expected.append(memory.expected)
        buckets.append(memory.bucket)
    return np.array(expected, dtype=np.int64), np.array(buckets, dtype=np.int64)


def fit(
    logits: NDArray[np.float64], hits: NDArray[np.bool_], buckets: NDArray[np.int64]
) -> NDArray[np.float32]:
    """The boosts under which what came was most likely. -> (BUCKETS,)

    Each is the one parameter of a logistic regression with an offset, so the best one is where the
    slope of its log-likelihood, which only falls, passes 0.

    Args:
        logits: ln p / (1 - p) of the model's p for what was expected. (N,)
        hits: whether it came. (N,)
        buckets: in 0 .. BUCKETS - 1. (N,)
    """
    low, high = np.full(BUCKETS, -MOST_BOOST), np.full(BUCKETS, MOST_BOOST)
    came = np.bincount(buckets, hits, BUCKETS)
    for _ in range(40):
        boosts = (low + high) / 2
        likely = 0.5 * (1.0 + np.tanh(0.5 * (logits + boosts[buckets])))  # the logistic function
        rises = came - np.bincount(buckets, likely, BUCKETS) - PRIOR * boosts > 0
        low, high = np.where(rises, boosts, low), np.where(rises, high, boosts)
    return np.asarray((low + high) / 2, dtype=np.float32)


def nats(logits: NDArray[np.float64], hits: NDArray[np.bool_]) -> NDArray[np.float64]:
    """-ln p of whether what was expected came. (N,), (N,) -> (N,)"""
    return np.asarray(np.logaddexp(0.0, np.where(hits, -logits, logits)))
