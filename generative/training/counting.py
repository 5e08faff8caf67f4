"""The count models of a corpus: counted before training, mixed with the network after it.

It must not know how weights are trained.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch

from generative.machine.threads import ALONE, Workers
from generative.ngram.counting import Stream, count, largest_order
from generative.ngram.model import CACHED, STATIC, CountModel
from generative.ngram.scorer import FITTING
from generative.ngram.symbols import NO_AXIS, symbols_of
from generative.ngram.trie import MAX_ALPHABET, build
from generative.scoring.loss import CHUNK_TOKENS, window_nats
from generative.training.augment import Augmentable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from generative.data.labels import Labels
    from generative.data.store import TokenStore
    from generative.model.language_model import LanguageModel
    from generative.ngram.scorer import Scorer
    from generative.tokenizers import Tokenizer
    from generative.training.batches import Ids
    from generative.training.recipe import Recipe

MEGABYTE = 1_000_000
MAX_MEGABYTES = 4.0  # of counts, where the user chooses no size
# The weights of the mixture are fitted on at most so many tokens of held-out data. Fewer are read
# several times, until so many steps are made.
FIT_TOKENS, FIT_STEPS, MAX_PASSES = 1 << 17, 1 << 16, 4
FITTED = (STATIC, CACHED)  # the protocols that have weights of their own


def _passes(tokens: int) -> int:
    """How often held-out data of so many tokens is read."""
    return max(1, min(MAX_PASSES, FIT_STEPS // max(1, tokens)))


def fitted_tokens(held_out: int) -> int:
    """How many tokens are read to fit the weights of one protocol on so much held-out data."""
    read = min(held_out, FIT_TOKENS)
    return read * _passes(read)


def count_corpus(
    tokens: TokenStore, tokenizer: Tokenizer, recipe: Recipe, *, workers: Workers = ALONE
) -> CountModel | None:
    """The counts of the training part, with weights that are not fitted; None for order 0.

    Args:
        tokens: of the corpus.
        tokenizer: of the corpus. What it may transpose is counted by steps, so in every key.
        recipe: has the order and the size.
        workers: the threads that share the work.
    """
    config, vocab_size = recipe.training, recipe.model.vocab_size
    axis = NO_AXIS
    if isinstance(tokenizer, Augmentable) and config.transpose:
        axis = tokenizer.augmentation_axes.get("pitch", NO_AXIS)
    stream: Stream = tokens.file("train")
    alphabet_size = int(np.count_nonzero(tokens.counts("train", vocab_size))) + 1
    if axis:
        symbols = symbols_of(stream[:], tokens.start_id, axis, vocab_size)
        stream, alphabet_size = symbols, len(np.unique(symbols))
    order = min(config.ngram_order, largest_order(alphabet_size))
    if order < 1 or alphabet_size >= MAX_ALPHABET:
        return None
    counts = count(stream, tokens.start_id, order, map=workers.map)
    size = config.ngram_size
    if size is None:
        weights = 4 * sum(math.prod(shape) for shape in recipe.model.shapes().values())
        size = min(MAX_MEGABYTES, weights / MEGABYTE)
    trie = build(counts, round(size * MEGABYTE))
    return CountModel.untrained(trie, vocab_size, axis)


@dataclass(frozen=True)
class FittedCounts:
    """Count models whose weights were fitted on held-out data.

    Attributes:
        model: the count models.
        gains: protocol -> the nats per token that the network gains by them on that data, each
            token scored before the weights learn from it.
    """

    model: CountModel
    gains: dict[str, float]


@torch.no_grad()
def fit_counts(
    model: LanguageModel,
    counts: CountModel,
    stream: Ids,
    start_id: int,
    labels: Labels | None = None,
    *,
    workers: Workers = ALONE,
) -> FittedCounts:
    """Fit the weights of the mixture, once without and once with a cache.

    The weights learn from token to token, and their mean over the later half is taken (Polyak &
    Juditsky 1992).

    Args:
        model: the network.
        counts: their weights are not looked at.
        stream: (N,) ids with a start token before each document. The first `FIT_TOKENS` are read.
        start_id: the start token.
        labels: of the stream's positions, where the model has labels.
        workers: the threads that share the work.
    """
    ids = stream[:FIT_TOKENS].astype(np.int64)
    begins = np.append(np.flatnonzero(ids == start_id), len(ids))
    document_labels = [None] * len(begins) if labels is None else labels.at(begins[:-1]).tolist()
    documents = list(zip(pairwise(begins.tolist()), document_labels, strict=False))
    counts = CountModel.untrained(counts.trie, counts.vocab_size, counts.axis)

    @torch.no_grad()  # The caller's `no_grad` does not reach the workers' threads.
    def fit(protocol: str) -> tuple[NDArray[np.float64], float]:
        """The weights, and what the network gains in the first pass."""
        scorer = counts.scorer(protocol, FITTING)
        gained, visited = 0.0, []
        for number in range(_passes(len(ids))):
            for (begin, end), label in documents:
                scorer.restart()
                document = torch.from_numpy(ids[begin : end + 1])
                for alone, mixed in _windows(model, document, label, scorer):
                    gained += float(alone.sum() - mixed.sum()) if number == 0 else 0.0
                    visited.append((len(mixed), scorer.tables.weights.copy()))
        later = visited[len(visited) // 2 :]
        lengths, weights = zip(*later, strict=True)
        return np.average(weights, axis=0, weights=lengths), gained / max(1, len(ids) - 1)

    (static, static_gain), (cached, cached_gain) = workers.map(fit, FITTED)
    return FittedCounts(counts.fitted(static, cached), {STATIC: static_gain, CACHED: cached_gain})


def _windows(
    model: LanguageModel, document: torch.Tensor, label: int | None, scorer: Scorer
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """-ln p of each token but the first, under the network and under the mixture. -> (T,), (T,)"""
    device = model.output.bias.device
    inputs, targets = document[:-1].to(device), document[1:].to(device)
    labels = None if label is None else torch.full_like(inputs, label)
    state = model.initial_state(1)
    for begin in range(0, len(inputs), CHUNK_TOKENS):
        window = slice(begin, begin + CHUNK_TOKENS)
        window_labels = None if labels is None else labels[window].unsqueeze(1)
        logits, state = model(inputs[window].unsqueeze(1), state, window_labels)
        arguments = logits[:, 0], inputs[window], targets[window]
        yield window_nats(*arguments, None), window_nats(*arguments, scorer)
