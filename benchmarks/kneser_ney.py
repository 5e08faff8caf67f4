"""An n-gram model of ids alone: interpolated modified Kneser-Ney, as the peer of count models.

Source: Chen & Goodman, "An empirical study of smoothing techniques for language modeling" (1999).
The longest n-grams have their counts; shorter ones have the number of distinct ids that occur
before them. Of each number a discount is taken, one for 1, one for 2, one for 3 and more, which
follow from how many n-grams have the numbers 1 to 4. What the discounts leave of a context's
probability goes to the shorter context, and below the empty one to the uniform distribution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ids = NDArray[np.int64]

# The discounts where the formula has none, since no n-gram has one of the numbers 1 to 4. The ids
# alone, for example, may all occur after many others.
FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)
UNSEEN = -1  # the name of an n-gram that the text does not have


@dataclass(frozen=True)
class Level:
    """All distinct n-grams of one length. An n-gram's name is its place in `keys`.

    Attributes:
        keys: ascending; the name of the n-gram without its last id, times V, plus that id. (G,)
        discounted: of each n-gram its number less the discount, over the sum of its context. (G,)
        backoff: by the name of a context, which is one id shorter: the part of its probability that
            the shorter context shares out; 1 where nothing is known to follow. (C,)
    """

    keys: Ids
    discounted: NDArray[np.float64]
    backoff: NDArray[np.float64]


class KneserNey:
    """A model of a text's next id given those before it.

    Example:
        model = KneserNey(ids, vocab_size=65, order=5)
        model.token_nats(held_out).mean()
    """

    def __init__(self, ids: Ids, vocab_size: int, order: int = 5) -> None:
        """Count a text.

        Args:
            ids: of the text. (N,)
            vocab_size: V; ids of the vocabulary that the text lacks have a probability as well.
            order: the length of the longest n-grams, so contexts have one id less.
        """
        assert len(ids) >= order >= 1
        self.vocab_size = vocab_size
        grams, names = _n_grams(ids, vocab_size, order)
        self.levels = []
        contexts = np.zeros(1, np.int64)  # the keys one level below; at first the empty context
        for length, keys in enumerate(grams, start=1):
            if length == order:
                numbers = np.bincount(names[-1], minlength=len(keys))
            else:
                # Of each n-gram that is one longer, one occurrence tells what its last ids are.
                once = np.unique(names[length], return_index=True)[1]
                numbers = np.bincount(names[length - 1][once + 1], minlength=len(keys))
            self.levels.append(_level(keys, numbers, len(contexts), vocab_size))
            contexts = keys

    @property
    def order(self) -> int:
        """The length of the longest n-grams."""
        return len(self.levels)

    def probabilities(self, context: Ids) -> NDArray[np.float64]:
        """p of every id after a context of any length, (T,) -> (V,)"""
        stream = np.broadcast_to(context, (self.vocab_size, len(context)))
        rows = np.column_stack([stream, np.arange(self.vocab_size)])
        return self._p([rows[:, -1 - back] for back in range(min(self.order, rows.shape[1]))])

    def token_nats(self, ids: Ids) -> NDArray[np.float64]:
        """-ln p of each id given those before it; the first one has no context. (T,) -> (T,)"""
        begin = ids[: self.order - 1]
        first = [-np.log(self.probabilities(begin[:at])[begin[at]]) for at in range(len(begin))]
        count = len(ids) - len(begin)
        latest = [ids[len(begin) - back :][:count] for back in range(self.order)]
        return np.concatenate([np.array(first), -np.log(self._p(latest))])

    def _p(self, latest: list[Ids]) -> NDArray[np.float64]:
        """p of each last id of n-grams. latest: their last ids, those before them ..., (T,) each"""
        p = np.full(len(latest[0]), 1.0 / self.vocab_size)
        for level, length in zip(self.levels, range(1, len(latest) + 1), strict=False):
            context = np.zeros_like(latest[0])  # the name of the empty one
            for shorter, back in zip(self.levels, range(length - 1, 0, -1), strict=False):
                context = _find(shorter.keys, context, latest[back], self.vocab_size)
            known = context != UNSEEN
            p[known] *= level.backoff[context[known]]
            gram = _find(level.keys, context, latest[0], self.vocab_size)
            seen = gram != UNSEEN
            p[seen] += level.discounted[gram[seen]]
        return p


def discounts(numbers: Ids) -> tuple[float, float, float]:
    """What is taken from the numbers 1, 2, and 3 and more: Chen & Goodman's equation 17.

    numbers: of all n-grams of one length.
    """
    with_number = np.bincount(np.minimum(numbers, 5), minlength=6)
    n1, n2, n3, n4 = with_number[1:5].tolist()
    if not n1 or not n2 or not n3 or not n4:
        return FALLBACK_DISCOUNTS
    y = n1 / (n1 + 2 * n2)
    found = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    in_range = all(0 < discount < number for number, discount in enumerate(found, start=1))
    return found if in_range else FALLBACK_DISCOUNTS


def _n_grams(ids: Ids, vocab_size: int, order: int) -> tuple[list[Ids], list[Ids]]:
    """For each length from 1 the keys of the n-grams, and the names of those of each place."""
    all_keys, all_names = [], []
    names = np.zeros(len(ids), np.int64)
    for length in range(1, order + 1):
        joined = names[: len(ids) - length + 1] * vocab_size + ids[length - 1 :]
        keys, names = np.unique(joined, return_inverse=True)
        all_keys.append(keys)
        all_names.append(names)
    return all_keys, all_names


def _level(keys: Ids, numbers: Ids, contexts: int, vocab_size: int) -> Level:
    """The probabilities of n-grams with these numbers. contexts: C"""
    context = keys // vocab_size
    taken = np.array([0.0, *discounts(numbers)])[np.minimum(numbers, 3)]
    total = np.bincount(context, weights=numbers, minlength=contexts)
    left = np.bincount(context, weights=taken, minlength=contexts)
    is_known = total > 0
    divisors = np.where(is_known, total, 1.0)
    return Level(
        keys=keys,
        discounted=(numbers - taken) / divisors[context],
        backoff=np.where(is_known, left / divisors, 1.0),
    )


def _find(keys: Ids, prefix: Ids, following: Ids, vocab_size: int) -> Ids:
    """The names of n-grams by the names of their prefixes and their last ids. (T,), (T,) -> (T,)"""
    wanted = prefix * vocab_size + following
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where((prefix != UNSEEN) & (keys[at] == wanted), at, UNSEEN)
