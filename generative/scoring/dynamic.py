"""A model that learns from what it reads: knows weights and ids, no media and no files.

Source: Krause et al., "Dynamic Evaluation of Neural Sequence Models" (2018): after each segment one
gradient step, each weight's scaled by the root mean square (RMS) of its gradient, and a pull back
to the trained weights that is stronger where that is large. Training gathers these statistics from
its own text; for a model without them they are a running mean over the segments read so far.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from generative.machine.threads import ALONE, Workers
from generative.scoring.loss import cross_entropy, recalled

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from generative.data.labels import Labels
    from generative.model.language_model import LanguageModel

SEGMENT_TOKENS = 64
LEARNING_RATE = 1.6e-3
DECAY = 0.005  # of the way back to the trained weights, each segment, where the RMS is the mean one
MOST_DECAY = 0.5
MEMORY = 0.999  # of the running mean of squared gradients
# Added to each weight's RMS, as a part of the mean one, so that rarely used weights stay put.
DAMPING = 1.0
STATISTICS_SEGMENTS = 200


def dynamic_token_nats(
    model: LanguageModel,
    ids: Sequence[int],
    start_id: int,
    statistics: Mapping[str, NDArray[np.floating]] | None = None,
) -> NDArray[np.float64]:
    """-ln p of each token, the weights following the text one segment behind. -> (T,)

    Every token is scored before the model learns from it. The state runs on through the document.

    Args:
        model: it is changed, and afterwards it has learnt from all of `ids`.
        ids: one document, T tokens.
        start_id: the token that stands before the first.
        statistics: what `gradient_statistics` gave for this model; None gathers while reading.
    """
    scales: Scales = RunningScales(model)
    if statistics is not None:
        scales = StoredScales(model, statistics)
    weights: list[Tensor] = list(model.parameters())
    trained = [w.detach().clone() for w in weights]
    parts = [np.zeros(0)]
    stream = torch.tensor([start_id, *ids], dtype=torch.int64, device=weights[0].device)
    for nats, gradients in _gradients(model, weights, stream):
        parts.append(nats)
        with torch.no_grad():
            steps, pulls = scales.next(gradients)
            torch._foreach_addcdiv_(weights, gradients, steps, -LEARNING_RATE)
            ways = torch._foreach_sub(trained, weights)
            torch._foreach_addcmul_(weights, ways, pulls)
    return np.concatenate(parts)


def gradient_statistics(
    model: LanguageModel,
    stream: NDArray[np.integer],
    labels: Labels | None = None,
    *,
    workers: Workers = ALONE,
) -> dict[str, NDArray[np.float32]]:
    """The root mean square of each weight's gradient over segments of a text. name -> as the weight

    Args:
        model: it is left as it is.
        stream: (N,) ids of the training text; segments from all over it are read.
        labels: of its places, where the model has labels.
        workers: share the segments.
    """
    weights: list[Tensor] = list(model.parameters())
    count = max(1, min(STATISTICS_SEGMENTS, (len(stream) - 1) // SEGMENT_TOKENS))
    run = max(1, count // 10)  # segments that follow each other, so that the state is a usual one
    begins = np.linspace(0, max(0, len(stream) - 1 - run * SEGMENT_TOKENS), max(1, count // run))

    def read(begin: int) -> tuple[list[Tensor], int]:
        """The squares of the gradients, added up, of the segments that begin there."""
        part = stream[begin : begin + run * SEGMENT_TOKENS + 1].astype(np.int64)
        ids = torch.from_numpy(part).to(weights[0].device)
        theirs = None
        if labels is not None:
            theirs = torch.from_numpy(labels.at(begin + np.arange(len(part)))).to(ids.device)
        squares, segments = [torch.zeros_like(w) for w in weights], 0
        for _, gradients in _gradients(model, weights, ids, theirs):
            torch._foreach_addcmul_(squares, gradients, gradients)
            segments += 1
        return squares, segments

    (squares, segments), *others = workers.map(read, begins.astype(int).tolist())
    for more, count_more in others:
        torch._foreach_add_(squares, more)
        segments += count_more
    names = [name for name, _ in model.named_parameters()]
    return {
        name: np.asarray((s / max(1, segments)).sqrt().cpu().numpy(), dtype=np.float32)
        for name, s in zip(names, squares, strict=True)
    }


def _gradients(
    model: LanguageModel, weights: list[Tensor], stream: Tensor, labels: Tensor | None = None
) -> Iterator[tuple[NDArray[np.float64], tuple[Tensor, ...]]]:
    """(nats of each token, gradient of their mean) segment by segment. stream, labels: (N,)"""
    state = model.initial_state(1)
    boosts = recalled(model, stream[:-1].unsqueeze(1))
    for begin in range(0, len(stream) - 1, SEGMENT_TOKENS):
        segment = stream[begin : begin + SEGMENT_TOKENS + 1].unsqueeze(1)  # (T + 1, 1)
        theirs = None if labels is None else labels[begin : begin + len(segment) - 1].unsqueeze(1)
        logits, state = model(segment[:-1], state, theirs)
        logits = boosts.added(logits, begin)
        state = state.detach()
        nats = cross_entropy(logits, segment[1:], "none")
        gradients = torch.autograd.grad(nats.mean(), weights)
        yield nats.detach()[:, 0].double().cpu().numpy(), gradients


class StoredScales:
    """How far each weight moves and how strongly it is pulled back, from stored statistics."""

    def __init__(
        self, model: LanguageModel, statistics: Mapping[str, NDArray[np.floating]]
    ) -> None:
        names = [name for name, _ in model.named_parameters()]
        device = model.output.bias.device
        rms = [torch.from_numpy(statistics[n].astype(np.float32)).to(device) for n in names]
        self._scales = _damped(rms), _pulls(rms)

    def next(self, gradients: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor]]:  # noqa: ARG002
        """What the step is divided by, and the part of the way back, for each weight."""
        return self._scales


class RunningScales:
    """The same from the gradients that have come so far."""

    def __init__(self, model: LanguageModel) -> None:
        self._squares = [torch.zeros_like(w) for w in model.parameters()]
        self._steps = 0

    def next(self, gradients: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor]]:
        """See `StoredScales`; the present gradients count."""
        self._steps += 1
        torch._foreach_mul_(self._squares, MEMORY)
        torch._foreach_addcmul_(self._squares, gradients, gradients, 1.0 - MEMORY)
        corrected = torch._foreach_div(self._squares, 1.0 - MEMORY**self._steps)
        rms = list(torch._foreach_sqrt(corrected))
        return _damped(rms), _pulls(rms)


Scales = StoredScales | RunningScales


def _damped(rms: list[Tensor]) -> list[Tensor]:
    mean = sum(float(r.sum()) for r in rms) / sum(r.numel() for r in rms)
    return list(torch._foreach_add(rms, DAMPING * mean + torch.finfo(torch.float32).tiny))


def _pulls(rms: list[Tensor]) -> list[Tensor]:
    """DECAY in the mean of each tensor, in proportion to its damped RMS."""
    damped = _damped(rms)
    return [(DECAY * d / d.mean()).clamp(max=MOST_DECAY) for d in damped]
