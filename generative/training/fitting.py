"""Numbers fitted on held-out data after training: a temperature, and the match model's biases.

It must not know how weights are trained.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch

from generative.machine.threads import ALONE, Workers
from generative.model import match
from generative.model.cell_specs import CELL_SPECS
from generative.scoring.loss import cross_entropy
from generative.training.validation import VALIDATION_WINDOW, row_groups, window_logits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from generative.data.labels import Labels
    from generative.model.language_model import LanguageModel
    from generative.training.batches import Ids

TEMPERATURE_RANGE = (0.9, 1.2)
TEMPERATURES_TRIED = 16
# The match model's biases are fitted on at most so many tokens, since long repeats are rare.
MATCH_TOKENS = 1 << 18


@torch.no_grad()
def calibrate(
    model: LanguageModel,
    stream: Ids,
    labels: Labels | None = None,
    *,
    workers: Workers = ALONE,
) -> float:
    """Scale the output layer by 1 / T for the temperature T that fits held-out data best.

    One number is fitted, and the order of the tokens does not change (Guo et al. 2017, "On
    Calibration of Modern Neural Networks"). Where the output matrix is the embedding matrix as
    well, the first layer's input weights undo the scale for what the model reads.

    Returns:
        The temperature.
    """
    temperatures = np.linspace(*TEMPERATURE_RANGE, TEMPERATURES_TRIED).tolist()

    @torch.no_grad()  # The caller's `no_grad` does not reach the workers' threads.
    def losses(rows: slice) -> NDArray[np.float64]:
        totals = np.zeros(len(temperatures))
        for logits, targets in window_logits(model, stream, labels, rows):
            totals += [cross_entropy(logits / t, targets, "sum").item() for t in temperatures]
        return totals

    total = sum(workers.map(losses, row_groups(stream)))
    best = temperatures[int(np.argmin(total))]
    output = model.output
    output.weight.div_(best)
    output.bias.div_(best)
    if output.weight is model.embedding.weight:
        input_weight = CELL_SPECS[model.config.cell].input_weight
        model.layers[0].get_parameter(input_weight).mul_(best)
        if model.config.labels:
            model.labels.weight.div_(best)  # Labels' vectors are added to the scaled embedding.
    return float(best)


@torch.no_grad()
def fit_match_biases(
    model: LanguageModel,
    stream: Ids,
    start_id: int,
    labels: Labels | None = None,
    *,
    workers: Workers = ALONE,
) -> float:
    """Fit the biases of a model's match model, see `generative.model.match`.

    Each document of the stream is read from an empty state to its end. The end counts as a token:
    where a repeat was expected and the document ended, the expected token did not occur.

    Args:
        model: one with a `match_length`; its `match_biases` are set.
        stream: (N,) ids with a start token before each document. The first `MATCH_TOKENS` are
            read, and an end is assumed after the last of them.
        start_id: the start token, which also stands for the end.
        labels: of the stream's positions, where the model has labels.
        workers: the threads that share the documents.

    Returns:
        The nats per token, ends counted, that the model gains on the data it was fitted to.
    """
    ids = stream[:MATCH_TOKENS].astype(np.int64)
    if ids[-1] != start_id:
        ids = np.append(ids, start_id)
    begins = np.flatnonzero(ids == start_id)
    assert begins[0] == 0 < len(begins) - 1
    document_labels = [None] * len(begins) if labels is None else labels.at(begins).tolist()
    documents = list(zip(pairwise(begins.tolist()), document_labels, strict=False))

    def read(
        document: tuple[tuple[int, int], int | None],
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64]]:
        (begin, end), label = document
        return _match_outcomes(model, ids[begin : end + 1], label)

    parts = workers.map(read, documents)
    logits, hits, buckets = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    biases = match.fit_biases(logits, hits, buckets)
    model.match_biases.copy_(torch.from_numpy(biases))
    gained = match.hit_nats(logits, hits) - match.hit_nats(logits + biases[buckets], hits)
    return float(gained.sum()) / (len(ids) - 1)


@torch.no_grad()
def _match_outcomes(
    model: LanguageModel, ids: Ids, label: int | None
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64]]:
    """The expectations in one document and what became of them.

    Args:
        model: gives the probability of each expected token.
        ids: (T,), the start token first and the end last.
        label: of the document; None without labels.

    Returns:
        For each position with a match: ln p / (1 - p) of the expected token, whether it occurred,
        and the bucket.
    """
    device = model.output.bias.device
    expected, buckets = match.predict(ids[:-1].tolist(), model.config.match_length)
    inputs = torch.from_numpy(ids[:-1]).to(device).unsqueeze(1)
    labels = None if label is None else torch.full_like(inputs, label)
    state = model.initial_state(1)
    parts = []
    for begin in range(0, len(inputs), VALIDATION_WINDOW):
        window = slice(begin, begin + VALIDATION_WINDOW)
        logits, state = model(inputs[window], state, None if labels is None else labels[window])
        targets = torch.from_numpy(expected[window]).to(device).clamp(min=0)
        logits = logits[:, 0].double()  # (T, V)
        log_p = logits.gather(1, targets.unsqueeze(1))[:, 0] - logits.logsumexp(1)
        log_p = log_p.clamp(max=-1e-12)  # A probability of 1 would have an infinite logit.
        parts.append((log_p - torch.log(-torch.expm1(log_p))).cpu().numpy())
    has_match = expected != match.NO_MATCH
    hits = expected == ids[1:]
    return np.concatenate(parts)[has_match], hits[has_match], buckets[has_match]
