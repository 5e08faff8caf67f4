"""How good a model is on data it does not learn from: reads token streams in rows side by side."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from generative.data.labels import Labels, excerpt
from generative.machine.threads import ALONE, Workers
from generative.model import recall
from generative.model.cell_specs import CELL_SPECS
from generative.scoring.loss import cross_entropy
from generative.training.batches import Ids, windows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from generative.data.store import TokenStore
    from generative.model.language_model import LanguageModel
    from generative.model.state import State

VALIDATION_ROWS = 32
GROUP_ROWS = 8  # of them are read together; threads share the groups
VALIDATION_WINDOW = 256
VALIDATION_TOKENS = 1 << 15  # read at most, always the same ones
FITTED_TOKENS = 1 << 18  # of recall, more than a temperature needs: long repeats are rare
TEMPERATURES = (0.9, 1.2)  # among which calibration looks
TEMPERATURES_TRIED = 16


def validation_loss(
    model: LanguageModel,
    stream: Ids,
    labels: Labels | None = None,
    *,
    workers: Workers = ALONE,
) -> float:
    """Mean nats per token of a stream read in rows side by side, state carried along each.

    A fast stand-in for the exact stream: only the rows' first tokens lack their context. Tokens
    that do not fill a row's last window are left out. `labels` are those of the stream's places.
    """

    @torch.no_grad()
    def read(rows: slice) -> tuple[float, int]:
        nats, tokens = 0.0, 0
        for logits, targets in _logits(model, stream, labels, rows):
            nats += cross_entropy(logits, targets, "sum").item()
            tokens += targets.numel()
        return nats, tokens

    nats, tokens = zip(*workers.map(read, _row_groups(stream)), strict=True)
    return float(sum(nats) / sum(tokens))


@torch.no_grad()
def calibrate(
    model: LanguageModel,
    stream: Ids,
    labels: Labels | None = None,
    *,
    workers: Workers = ALONE,
) -> float:
    """Scale the output layer so that the model is as sure of itself as it should be.

    The scale is 1 / T of the temperature T that fits held-out data best (Guo et al. 2017, "On
    Calibration of Modern Neural Networks"): one number, and no ranking changes. Where the matrix is
    the embedding's as well, the first layer's weights undo the scale for what the model reads.

    Returns:
        The temperature.
    """
    output = model.output

    @torch.no_grad()  # which holds in one thread only
    def losses(rows: slice) -> NDArray[np.float64]:
        totals = np.zeros(len(temperatures))
        for logits, targets in _logits(model, stream, labels, rows):
            totals += [cross_entropy(logits / t, targets, "sum").item() for t in temperatures]
        return totals

    temperatures = np.linspace(*TEMPERATURES, TEMPERATURES_TRIED).tolist()
    total = sum(workers.map(losses, _row_groups(stream)))
    best = temperatures[int(np.argmin(total))]
    output.weight.div_(best)
    output.bias.div_(best)
    if output.weight is model.embedding.weight:
        input_weight = CELL_SPECS[model.config.cell].input_weight
        model.layers[0].get_parameter(input_weight).mul_(best)
        if model.config.labels:
            model.labels.weight.div_(best)  # they are added to what the embedding says
    return float(best)


@torch.no_grad()
def fit_recall(
    model: LanguageModel,
    stream: Ids,
    start_id: int,
    labels: Labels | None = None,
    *,
    workers: Workers = ALONE,
) -> float:
    """Set how far the model trusts what it recalls, see `generative.model.recall`.

    Each document of the stream is read from an empty state to its end, and the end counts: where a
    repeat was expected and the piece ended, it did not come.

    Args:
        model: one whose config asks for recall; its boosts are set.
        stream: (N,) a start token before each document; `FITTED_TOKENS` of it are read, and where
            they stop an end is assumed.
        start_id: the start token, which is also the end.
        labels: of the stream's places, where the model has labels.

    Returns:
        Nats per token, ends counted, that the model gains on what it was fitted to.
    """
    ids = stream[:FITTED_TOKENS].astype(np.int64)
    if ids[-1] != start_id:
        ids = np.append(ids, start_id)
    begins = np.flatnonzero(ids == start_id)
    assert begins[0] == 0 < len(begins) - 1
    theirs = [None] * len(begins) if labels is None else labels.at(begins).tolist()
    documents = list(zip(pairwise(begins.tolist()), theirs, strict=False))
    parts = workers.map(
        lambda found: _expectations(model, ids[found[0][0] : found[0][1] + 1], found[1]), documents
    )
    logits, hits, buckets = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    boosts = recall.fit(logits, hits, buckets)
    model.recall_boosts.copy_(torch.from_numpy(boosts))
    gained = recall.nats(logits, hits) - recall.nats(logits + boosts[buckets], hits)
    return float(gained.sum()) / (len(ids) - 1)


def validation_stream(
    tokens: TokenStore, part: str, at_most: int = VALIDATION_TOKENS
) -> tuple[Ids, Labels | None]:
    """What validation reads of a part: its beginning, or as much of every label."""
    stream, labels = tokens.stream(part), validation_labels(tokens, part)
    if labels is None:
        return stream, None
    return excerpt(stream, tokens.start_id, labels, at_most)


def validation_labels(tokens: TokenStore, part: str) -> Labels | None:
    """The labels of a part's stream; None where the corpus has none."""
    if not tokens.labels:
        return None
    return Labels.of_documents(tokens.stream(part), tokens.start_id, tokens.parts[part].labels)


@torch.no_grad()
def _expectations(
    model: LanguageModel, ids: Ids, label: int | None
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64]]:
    """Where something was expected in a document: the model's ln p / (1 - p) of it, whether it
    came, and the bucket. ids: (T,), the start token first and the end last.
    """
    device = model.output.bias.device
    expected, buckets = recall.follow(ids[:-1].tolist(), model.config.recall_length)
    inputs = torch.from_numpy(ids[:-1]).to(device).unsqueeze(1)
    theirs = None if label is None else torch.full_like(inputs, label)
    state = model.initial_state(1)
    parts = []
    for begin in range(0, len(inputs), VALIDATION_WINDOW):
        window = slice(begin, begin + VALIDATION_WINDOW)
        logits, state = model(inputs[window], state, None if theirs is None else theirs[window])
        places = torch.from_numpy(expected[window]).to(device).clamp(min=0)
        logits = logits[:, 0].double()  # (T, V)
        log_p = logits.gather(1, places.unsqueeze(1))[:, 0] - logits.logsumexp(1)
        log_p = log_p.clamp(max=-1e-12)  # one that is certain would have an infinite logit
        parts.append((log_p - torch.log(-torch.expm1(log_p))).cpu().numpy())
    known = expected != recall.NOTHING
    return np.concatenate(parts)[known], (expected == ids[1:])[known], buckets[known]


def _row_groups(stream: Ids) -> list[slice]:
    """The rows that a stream is read in, a group for each task of a worker."""
    count = max(1, min(VALIDATION_ROWS, len(stream[:VALIDATION_TOKENS]) // (2 * VALIDATION_WINDOW)))
    return [slice(begin, begin + GROUP_ROWS) for begin in range(0, count, GROUP_ROWS)]


def _logits(
    model: LanguageModel, stream: Ids, labels: Labels | None, rows: slice
) -> Iterator[tuple[Tensor, Tensor]]:
    """(logits (T, B, V), targets (T, B)) of some rows of a stream, window by window."""
    stream = stream[:VALIDATION_TOKENS]
    count = max(1, min(VALIDATION_ROWS, len(stream) // (2 * VALIDATION_WINDOW)))
    length = max(1, min(VALIDATION_WINDOW, (len(stream) - 1) // count))
    device = model.output.bias.device
    state: State = model.initial_state(len(range(count)[rows]))
    for batch in windows(stream, count, length, labels=labels, rows=rows):
        theirs = None if batch.labels is None else torch.from_numpy(batch.labels).to(device)
        logits, state = model(torch.from_numpy(batch.inputs).to(device), state, theirs)
        yield logits, torch.from_numpy(batch.targets).to(device)
