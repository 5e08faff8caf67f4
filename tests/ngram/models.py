"""Small count models for tests, and slow references for what they compute."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from generative.ngram.counting import count
from generative.ngram.model import CountModel
from generative.ngram.records import (
    CHAIN_CANDIDATES,
    CHAIN_LENGTHS,
    DISCOUNT,
    DISTANCES,
    LEAST_P,
    LEVELS,
    LONG_MATCH,
    MATCH_DISCOUNTS,
    MATCH_LENGTHS,
)
from generative.ngram.symbols import NO_AXIS, symbols_of
from generative.ngram.trie import build, levels_of

if TYPE_CHECKING:
    from collections.abc import Sequence

START = 0


def count_model(
    documents: Sequence[Sequence[int]],
    vocab_size: int,
    order: int = 3,
    axis: range = NO_AXIS,
    seed: int | None = 0,
) -> CountModel:
    """Counts of documents without start tokens; without a seed the network has all the weight."""
    stream = [START]
    for document in documents:
        stream += [*document, START]
    symbols = symbols_of(np.array(stream), START, axis, vocab_size)
    counts = count(symbols, START, order)
    model = CountModel.untrained(build(counts, 1 << 20), vocab_size, axis)
    if seed is None:
        weights = np.zeros_like(model.static_weights)
        weights[: model.order + 1] = 1, 0, 0
        return model.fitted(weights, weights)
    rng = np.random.default_rng(seed)
    shape = model.static_weights.shape
    return model.fitted(0.3 + 0.1 * rng.random(shape), 0.3 + 0.1 * rng.random(shape))


def static_reference(
    documents: Sequence[Sequence[int]], context: Sequence[int], vocab_size: int, order: int
) -> tuple[dict[int, float], int, int]:
    """p by interpolated absolute discounting from dictionaries, the order and the types."""
    p = dict.fromkeys(range(vocab_size), 1 / vocab_size)
    reached, types = 0, 0
    for length in range(min(order, len(context)) + 1):
        suffix = tuple(context[len(context) - length :])
        following: dict[int, float] = {}
        for document in documents:
            tokens = (START, *document, START)
            for at in range(max(1, length), len(tokens)):
                if tokens[at - length : at] == suffix:
                    following[tokens[at]] = following.get(tokens[at], 0) + 1
        if not following:
            break
        stored = LEVELS[levels_of(np.array(list(following.values())))]  # Large counts are rounded.
        following = dict(zip(following, stored.tolist(), strict=True))
        total = sum(following.values())
        backoff = sum(min(n, DISCOUNT) for n in following.values()) / total
        p = {
            token: max(following.get(token, 0) - DISCOUNT, 0) / total + backoff * p[token]
            for token in p
        }
        reached, types = length, len(following)
    return {token: value + LEAST_P for token, value in p.items()}, reached, types


def cache_reference(tokens: Sequence[int], vocab_size: int) -> tuple[list[float], int, int]:
    """ln p less that of an unseen token, the agreement and the class of its distance.

    It looks at every position.
    """
    last = len(tokens) - 1
    found: list[tuple[int, int, int]] = []
    for position in range(last - 1, MATCH_LENGTHS[0] - 2, -1):
        length = 0
        while (
            length < MATCH_LENGTHS[-1]
            and length <= position
            and tokens[position - length] == tokens[last - length]
        ):
            length += 1
        if any(agreed >= LONG_MATCH for _, agreed, _ in found):
            length = min(length, LONG_MATCH)
        if length >= MATCH_LENGTHS[0]:
            found.append((tokens[position + 1], length, last - position))
    longest_first = sorted(CHAIN_LENGTHS, reverse=True)
    chains = [
        [one for one in found if least <= one[1] < below][:CHAIN_CANDIDATES]
        for least, below in zip(longest_first, [math.inf, *longest_first], strict=False)
    ]
    found = [candidate for chain in chains for candidate in chain]
    p = [1 / vocab_size] * vocab_size
    unseen, reached = 1 / vocab_size, 0
    for least, discount in zip(MATCH_LENGTHS, MATCH_DISCOUNTS, strict=True):
        following: dict[int, int] = {}
        for token, length, _ in found:
            if length >= least:
                following[token] = following.get(token, 0) + 1
        if not following:
            break
        reached += 1
        total = sum(following.values())
        backoff = discount * len(following) / total
        unseen *= backoff
        p = [
            max(following.get(token, 0) - discount, 0) / total + backoff * old
            for token, old in enumerate(p)
        ]
    distance = 0
    if found:
        longest = max(length for _, length, _ in found)
        back = min(distance for _, length, distance in found if length == longest)
        distance = 1 + sum(back >= least for least in DISTANCES)
        distance += (1 + len(DISTANCES)) * (longest >= back)
    return [math.log(value / unseen) for value in p], reached, distance
