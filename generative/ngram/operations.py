"""What count models do at each token: read it, predict the next one, and mix the predictions.

It must not know networks, files or what tokens stand for.

The functions are written once and run in two ways: interpreted, and compiled as a part of loops
that numba compiles (`generative.ngram.compiled`). `make` builds them for either. Arguments are
plain arrays and records of arrays; scratch arrays are passed in.

**Static counts.** A trie of contexts holds the counts of the training corpus. The longest context
that it holds gives a distribution by interpolated absolute discounting (Ney, Essen & Kneser 1994).
On an augmentation axis, such as the pitches of music, the trie holds steps from the last id of the
axis instead of ids. So what was counted in one key holds in all of them.

**The cache.** Positions of the document that agree in their last tokens form chains, one for each
of `CHAIN_LENGTHS`, the latest first, as in the match finder of deflate (RFC 1951, section 4). What
followed at the latest of them is counted by the length of the agreement (Kuhn & De Mori 1990; Grave
et al. 2017).

**The mixture** is log-linear (Klakow 1998): ln p = w0 * logits of the network + w1 * ln p of the
static counts + w2 * ln p of the cache, less a constant. Each weight is a sum of four terms, by the
order of the longest context, by the number of its continuations, by the longest agreement, and by
how far back that is and whether it repeats a passage at once. Tokens that counts cannot know, since
they never occurred in the corpus, keep the probability that the network gives them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from generative.ngram.records import (
    CHAIN_CANDIDATES,
    CHAIN_LENGTHS,
    DISCOUNT,
    DISTANCES,
    END,
    HEADS,
    LEAST_LOGIT,
    LEAST_P,
    LEAST_TOTAL,
    LEVELS,
    LONG_MATCH,
    MATCH_DISCOUNTS,
    MATCH_LENGTHS,
    MAX_HISTORY,
    MAX_STEPS,
    MAX_TYPES,
    NUM_MODELS,
)

if TYPE_CHECKING:
    from collections.abc import Callable


class Operations(NamedTuple):
    """The functions that `make` builds.

    Attributes:
        append: (tables, history, row, token) reads one token of a row.
        predict: (tables, history, row, scratch, static, cache) fills the two (V,) float32 arrays
            with ln p of the static counts, and with ln p of the cache less that of tokens it does
            not hold. Returns the four rows of the weights that apply.
        mix: (tables, history, row, scratch, static, cache, logits) replaces the network's logits,
            (V,), by ln p of the mixture; `static` and `cache` are scratch. (V,)
        score: (tables, history, scratch, squares, rate, logits, inputs, targets, nats) reads T
            inputs in row 0 of the history and fills nats (T,) with -ln p of the targets under the
            mixture, where logits (T, V) are the network's. With a rate above 0 the weights learn
            after each token: a step of AdaGrad (Duchi et al. 2011) on its nats, with `squares`
            (F, NUM_MODELS), which must be above 0, as the sums of squared gradients.
    """

    append: Callable[..., Any]
    predict: Callable[..., Any]
    mix: Callable[..., Any]
    score: Callable[..., Any]


def make(  # noqa: C901, PLR0915 - the functions are in it to be built twice
    inner: Callable[[Callable[..., Any]], Callable[..., Any]],
    log: Callable[..., Any],
    exp: Callable[..., Any],
) -> Operations:
    """Build the functions.

    Args:
        inner: a decorator, which may compile.
        log: (values, out) writes the natural logarithms of float32 values above 0. (V,), (V,)
        exp: (values, out) writes e to float32 values that are not above 0. (V,), (V,)
    """

    @inner
    def chain_of(tokens: Any, last: Any, length: Any) -> Any:
        """The chain of a position by its last tokens, so many of them."""
        mixed = 0
        for back in range(length):
            mixed = (mixed * 1000003 + int(tokens[last - back]) + 1) & 0x3FFFFFFF
        return (mixed ^ (mixed >> 15)) & (HEADS - 1)

    @inner
    def enter(history: Any, row: Any, position: Any) -> None:
        """Put a position, whose continuation is known, into its chains."""
        for number, length in enumerate(CHAIN_LENGTHS):
            if position >= length - 1:
                chain = chain_of(history.tokens[row], position, length)
                history.links[row, number, position] = history.heads[row, number, chain]
                history.heads[row, number, chain] = position

    @inner
    def forget(history: Any, row: Any) -> None:
        """Drop the older half of a full row from the cache."""
        kept = MAX_HISTORY // 2
        for position in range(kept):
            history.tokens[row, position] = history.tokens[row, position + MAX_HISTORY - kept]
        history.heads[row] = END
        for position in range(kept - 1):
            enter(history, row, position)
        history.length[row] = kept

    @inner
    def append(tables: Any, history: Any, row: Any, token: Any) -> None:
        if tables.reads_cache:
            if history.length[row] == MAX_HISTORY:
                forget(history, row)
            length = int(history.length[row])
            history.tokens[row, length] = token
            history.length[row] = length + 1
            if tables.fills_cache:
                enter(history, row, length - 1)
        symbol = token
        if tables.axis_first <= token <= tables.axis_last:
            span = tables.axis_last - tables.axis_first
            symbol = tables.vocab_size + span + token - history.reference[row]
            history.reference[row] = token
        for back in range(tables.order - 1, 0, -1):
            history.recent[row, back] = history.recent[row, back - 1]
        if tables.order > 0:
            history.recent[row, 0] = tables.trie.symbols[symbol]

    @inner
    def find(labels: Any, low: Any, high: Any, symbol: Any) -> Any:
        """The context in low..high whose label is the symbol; -1 if there is none."""
        end = high
        while low < high:
            middle = (low + high) // 2
            if labels[middle] < symbol:
                low = middle + 1
            else:
                high = middle
        if low < end and labels[low] == symbol:
            return low
        return -1

    @inner
    def predict_static(tables: Any, recent: Any, reference: Any, path: Any, p: Any) -> Any:
        """Fill p (V,) with a positive measure of every token. -> the order and the context."""
        order, node = 0, 0
        path[0] = 0
        while order < tables.order:
            low, high = int(tables.trie.child_begin[node]), int(tables.trie.child_begin[node + 1])
            node = find(tables.trie.labels, low, high, recent[order])
            if node < 0:
                break
            order += 1
            path[order] = node
        p[:] = 0
        size = tables.vocab_size
        span = tables.axis_last - tables.axis_first
        scale = np.float32(1)
        for at in range(order, -1, -1):
            node = int(path[at])
            low, high = int(tables.trie.next_begin[node]), int(tables.trie.next_begin[node + 1])
            total = np.float32(0)
            for entry in range(low, high):
                total += LEVELS[tables.trie.next_levels[entry]]
            scale /= total
            for entry in range(low, high):
                token = int(tables.trie.ids[tables.trie.next_symbols[entry]])
                if token >= size:  # a step from the reference
                    token += reference - size - span
                    if token < tables.axis_first or token > tables.axis_last:
                        continue
                # No count is below 1, so each loses the whole discount.
                p[token] += scale * (LEVELS[tables.trie.next_levels[entry]] - np.float32(DISCOUNT))
            scale *= np.float32(DISCOUNT * (high - low))
        p += scale / np.float32(size) + np.float32(LEAST_P)
        return order, int(path[order])

    @inner
    def agreement(tokens: Any, one: Any, other: Any, length: Any, most: Any) -> Any:
        """How many tokens up to two positions are equal, of which `length` are known to be."""
        while length < most and length <= one and tokens[one - length] == tokens[other - length]:
            length += 1
        return length

    @inner
    def candidates(history: Any, row: Any, ids: Any, lengths: Any, distances: Any) -> Any:
        """What followed where the document agreed with its end; returns the number of places."""
        tokens = history.tokens[row]
        last = int(history.length[row]) - 1
        count = 0
        longest, below = MATCH_LENGTHS[-1], MATCH_LENGTHS[-1] + 1
        for number, least in enumerate(CHAIN_LENGTHS):
            position = END
            if last >= least - 1:
                position = int(history.heads[row, number, chain_of(tokens, last, least)])
            most, steps = count + CHAIN_CANDIDATES, 0
            while position >= 0 and count < most and steps < MAX_STEPS:
                length = agreement(tokens, position, last, 0, LONG_MATCH)
                if length == LONG_MATCH and longest > LONG_MATCH:
                    length = agreement(tokens, position, last, LONG_MATCH, longest)
                    longest = LONG_MATCH
                if least <= length < below:  # The chains before have the longer ones.
                    ids[count] = tokens[position + 1]
                    lengths[count] = length
                    distances[count] = last - position
                    count += 1
                position = int(history.links[row, number, position])
                steps += 1
            below = least
        return count

    @inner
    def distance_class(lengths: Any, distances: Any, count: Any) -> Any:
        """The class of the longest agreement's distance; of equally long ones the latest counts.

        0 without candidates, else 1 + how many of `DISTANCES` it is back. An agreement that is as
        long as its distance is a passage that has been repeated at once; such have as many classes
        of their own.
        """
        if count == 0:
            return 0
        best = 0
        for place in range(1, count):
            longer = lengths[place] > lengths[best]
            if longer or (lengths[place] == lengths[best] and distances[place] < distances[best]):
                best = place
        reached = 1
        for least in DISTANCES:
            reached += 1 if distances[best] >= least else 0
        if lengths[best] >= distances[best]:
            reached += 1 + len(DISTANCES)
        return reached

    @inner
    def predict_cache(history: Any, row: Any, scratch: Any, out: Any) -> Any:
        """Fill out (V,) with ln p less that of tokens it does not hold.

        p interpolates, by absolute discounting, the distributions of what followed at the
        candidates that agree in so many tokens at least, for each number in `MATCH_LENGTHS`. The
        agreement is the number of these numbers that some candidate reaches. It returns the
        agreement and the class of its distance.
        """
        ids, lengths, counts, p = scratch.ids, scratch.lengths, scratch.counts, scratch.cache_p
        out[:] = 0
        count = candidates(history, row, ids, lengths, scratch.distances)
        base = np.float32(1) / np.float32(out.shape[0])
        for place in range(count):
            p[ids[place]] = base
        unseen = base
        reached = 0
        for number, least in enumerate(MATCH_LENGTHS):
            discount, total, types = np.float32(MATCH_DISCOUNTS[number]), 0, 0
            for place in range(count):
                if lengths[place] >= least:
                    types += 1 if counts[ids[place]] == 0 else 0
                    counts[ids[place]] += 1
                    total += 1
            if total == 0:
                break
            reached += 1
            backoff = discount * np.float32(types) / np.float32(total)
            unseen *= backoff
            for place in range(count):
                token = ids[place]
                if counts[token] >= 0:
                    p[token] *= backoff
                    if counts[token] > 0:
                        p[token] += (counts[token] - discount) / np.float32(total)
                    counts[token] = -1  # done
            for place in range(count):
                counts[ids[place]] = 0
        for place in range(count):
            token = ids[place]
            out[token] = math.log(p[token] / unseen)
        return reached, distance_class(lengths, scratch.distances, count)

    @inner
    def predict(tables: Any, history: Any, row: Any, scratch: Any, static: Any, cache: Any) -> Any:
        recent, reference = history.recent[row], history.reference[row]
        order, node = predict_static(tables, recent, reference, scratch.path, scratch.static_p)
        log(scratch.static_p, static)
        reached, distance = 0, 0
        if tables.reads_cache:
            reached, distance = predict_cache(history, row, scratch, cache)
        else:
            cache[:] = 0
        types = min(int(tables.trie.next_begin[node + 1] - tables.trie.next_begin[node]), MAX_TYPES)
        first = tables.order + 1 + MAX_TYPES  # of the rows by agreement
        by_distance = first + 1 + len(MATCH_LENGTHS) + distance
        return order, tables.order + types, first + reached, by_distance

    @inner
    def blend(tables: Any, rows: Any, scratch: Any, static: Any, cache: Any, logits: Any) -> None:
        """Replace the network's logits by ln p of the mixture, and `static_p` by p among the known.

        rows: of the weights that apply, whose sum is taken.
        """
        weights, known, p = tables.weights, tables.known, scratch.static_p
        network, counted, cached = np.float32(0), np.float32(0), np.float32(0)
        for row in rows:
            network += weights[row, 0]
            counted += weights[row, 1]
            cached += weights[row, 2]
        mixed = scratch.cache_p
        logits -= np.max(logits)
        exp(logits, p)
        total = np.sum(p)
        known_total = max(np.sum(p * known), np.float32(LEAST_TOTAL))
        mixed[:] = network * logits + counted * static + cached * cache
        mixed[:] = np.where(known > 0, mixed, np.float32(LEAST_LOGIT))
        mixed -= np.max(mixed)
        exp(mixed, p)
        p *= known
        mixed_total = np.sum(p)
        p /= mixed_total
        unknown_shift = -math.log(total)
        known_shift = math.log(known_total) - math.log(total) - math.log(mixed_total)
        logits[:] = np.where(known > 0, mixed + known_shift, logits + unknown_shift)

    @inner
    def mix(
        tables: Any, history: Any, row: Any, scratch: Any, static: Any, cache: Any, logits: Any
    ) -> None:
        rows = predict(tables, history, row, scratch, static, cache)
        blend(tables, rows, scratch, static, cache, logits)

    @inner
    def learn(
        weights: Any, squares: Any, rate: Any, rows: Any, values: Any, p: Any, target: Any
    ) -> None:
        """One step of the weights that applied. values (NUM_MODELS, V), p (V,) of the mixture"""
        for model in range(NUM_MODELS):
            slope = values[model, target] - np.sum(p * values[model])
            if slope != 0:
                for row in rows:
                    squares[row, model] += slope * slope
                    weights[row, model] += rate * slope / math.sqrt(squares[row, model])

    @inner
    def score(  # noqa: PLR0913, PLR0917 - compiled functions take arrays one by one
        tables: Any, history: Any, scratch: Any, squares: Any, rate: Any, logits: Any, inputs: Any,
        targets: Any, nats: Any,
    ) -> None:  # fmt: skip
        values = np.zeros((NUM_MODELS, tables.vocab_size), np.float32)
        log_p = np.zeros(tables.vocab_size, np.float32)
        for at in range(inputs.shape[0]):
            append(tables, history, 0, inputs[at])
            values[0] = logits[at]
            log_p[:] = logits[at]
            rows = predict(tables, history, 0, scratch, values[1], values[2])
            blend(tables, rows, scratch, values[1], values[2], log_p)
            nats[at] = -log_p[targets[at]]
            if rate > 0 and tables.known[targets[at]] > 0:
                learn(tables.weights, squares, rate, rows, values, scratch.static_p, targets[at])

    return Operations(append=append, predict=predict, mix=mix, score=score)


def _identity(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


INTERPRETED = make(_identity, np.log, np.exp)
