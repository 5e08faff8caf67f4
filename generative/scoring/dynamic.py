"""Dynamic evaluation: scoring while the weights learn from what has been read.

It must not know media or files.

Source: Krause et al., "Dynamic Evaluation of Neural Sequence Models" (2018). Each segment is
followed by one gradient step, which is divided by the root mean square (RMS) of each weight's
gradient. A decay towards the trained weights is stronger where that RMS is large. Training gathers
the RMS from its own text; for a model without it, it is a running mean over the segments read so
far.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from generative.machine.threads import ALONE, Workers
from generative.scoring.loss import cross_entropy, window_nats

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from generative.context.records import Memory
    from generative.data.labels import Labels
    from generative.model.language_model import LanguageModel
    from generative.ngram.scorer import Scorer

SEGMENT_TOKENS = 64
LEARNING_RATE = 1.6e-3
# A weight of mean RMS moves by this part of the way back to its trained value, each segment.
DECAY = 0.005
MAX_DECAY = 0.5
SQUARES_DECAY = 0.999  # The running mean of squared gradients keeps this part of itself.
# This multiple of the mean RMS is added to each weight's, so that rarely used weights stay put.
DAMPING = 1.0
STATISTICS_SEGMENTS = 200


def dynamic_token_nats(
    model: LanguageModel,
    ids: Sequence[int],
    start_id: int,
    statistics: Mapping[str, NDArray[np.floating]] | None = None,
    *,
    scorer: Scorer | None = None,
) -> NDArray[np.float64]:
    """-ln p of each token, where the weights have learnt from all segments before its own. -> (T,)

    Every token is scored before the model learns from it. The state runs on through the document.
    The gradients are those of the network alone; count models do not change them.

    Args:
        model: its weights are changed, and afterwards have learnt from all of `ids`.
        ids: one document, T tokens.
        start_id: the token that stands before the first.
        statistics: the result of `gradient_statistics` for this model; None gathers it while
            reading.
        scorer: mixes the network with count models; None is the network alone.
    """
    scales: Scales = RunningScales(model)
    if statistics is not None:
        scales = StoredScales(model, statistics)
    weights: list[Tensor] = list(model.parameters())
    trained = [w.detach().clone() for w in weights]
    parts = [np.zeros(0)]
    stream = torch.tensor([start_id, *ids], dtype=torch.int64, device=weights[0].device)
    for nats, gradients in _gradients(model, weights, stream, scorer=scorer):
        parts.append(nats)
        with torch.no_grad():
            divisors, decays = scales.next(gradients)
            torch._foreach_addcdiv_(weights, gradients, divisors, -LEARNING_RATE)
            differences = torch._foreach_sub(trained, weights)
            torch._foreach_addcmul_(weights, differences, decays)
    return np.concatenate(parts)


def gradient_statistics(
    model: LanguageModel,
    stream: NDArray[np.integer],
    labels: Labels | None = None,
    *,
    workers: Workers = ALONE,
) -> dict[str, NDArray[np.float32]]:
    """The root mean square of each weight's gradient over segments of a text.

    Args:
        model: it is not changed.
        stream: (N,) ids of the training text; evenly spaced segments of it are read.
        labels: of its positions, where the model has labels.
        workers: the threads that share the segments.

    Returns:
        By the weight's name, an array of the weight's shape.
    """
    weights: list[Tensor] = list(model.parameters())
    count = max(1, min(STATISTICS_SEGMENTS, (len(stream) - 1) // SEGMENT_TOKENS))
    consecutive = max(1, count // 10)  # segments of one run, so that most states are not empty
    run_tokens = consecutive * SEGMENT_TOKENS
    begins = np.linspace(0, max(0, len(stream) - 1 - run_tokens), max(1, count // consecutive))

    def read(begin: int) -> tuple[list[Tensor], int]:
        """The sum of squared gradients over the run of segments at `begin`, and their number."""
        part = stream[begin : begin + run_tokens + 1].astype(np.int64)
        ids = torch.from_numpy(part).to(weights[0].device)
        part_labels = None
        if labels is not None:
            part_labels = torch.from_numpy(labels.at(begin + np.arange(len(part)))).to(ids.device)
        squares, segments = [torch.zeros_like(w) for w in weights], 0
        memory = None if model.context is None else model.context.memory_at(stream, [begin])
        for _, gradients in _gradients(model, weights, ids, part_labels, memory=memory):
            torch._foreach_addcmul_(squares, gradients, gradients)
            segments += 1
        return squares, segments

    (squares, segments), *others = workers.map(read, begins.astype(int).tolist())
    for other_squares, other_segments in others:
        torch._foreach_add_(squares, other_squares)
        segments += other_segments
    names = [name for name, _ in model.named_parameters()]
    return {
        name: np.asarray((s / max(1, segments)).sqrt().cpu().numpy(), dtype=np.float32)
        for name, s in zip(names, squares, strict=True)
    }


def _gradients(
    model: LanguageModel,
    weights: list[Tensor],
    stream: Tensor,
    labels: Tensor | None = None,
    scorer: Scorer | None = None,
    memory: Memory | None = None,
) -> Iterator[tuple[NDArray[np.float64], tuple[Tensor, ...]]]:
    """The nats of each token and the gradient of the network's loss, one pair a segment.

    stream, labels: (N,); memory: of context features before the stream; None begins a document.
    """
    state = model.initial_state(1).with_memory(memory)
    for begin in range(0, len(stream) - 1, SEGMENT_TOKENS):
        segment = stream[begin : begin + SEGMENT_TOKENS + 1].unsqueeze(1)  # (T + 1, 1)
        segment_labels = None
        if labels is not None:
            segment_labels = labels[begin : begin + len(segment) - 1].unsqueeze(1)
        logits, state = model(segment[:-1], state, segment_labels)
        state = state.detach()
        loss = cross_entropy(logits, segment[1:])
        gradients = torch.autograd.grad(loss, weights)
        inputs, targets = segment[:-1, 0], segment[1:, 0]
        yield window_nats(logits.detach()[:, 0], inputs, targets, scorer), gradients


class StoredScales:
    """Divisors of the gradients and decays towards the trained weights, by stored RMS."""

    def __init__(
        self, model: LanguageModel, statistics: Mapping[str, NDArray[np.floating]]
    ) -> None:
        names = [name for name, _ in model.named_parameters()]
        device = model.output.bias.device
        rms = [torch.from_numpy(statistics[n].astype(np.float32)).to(device) for n in names]
        self._scales = _damped(rms), _decays(rms)

    def next(self, _: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor]]:
        """The divisors and the decays, as each weight's shape; the same after every segment."""
        return self._scales


class RunningScales:
    """Divisors and decays as in `StoredScales`, by a running RMS of the gradients so far."""

    def __init__(self, model: LanguageModel) -> None:
        self._squares = [torch.zeros_like(w) for w in model.parameters()]
        self._steps = 0

    def next(self, gradients: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor]]:
        """The divisors and the decays after one more segment's gradients."""
        self._steps += 1
        torch._foreach_mul_(self._squares, SQUARES_DECAY)
        torch._foreach_addcmul_(self._squares, gradients, gradients, 1.0 - SQUARES_DECAY)
        corrected = torch._foreach_div(self._squares, 1.0 - SQUARES_DECAY**self._steps)
        rms = list(torch._foreach_sqrt(corrected))
        return _damped(rms), _decays(rms)


Scales = StoredScales | RunningScales


def _damped(rms: list[Tensor]) -> list[Tensor]:
    """Each RMS plus `DAMPING` times the mean of all."""
    mean = sum(float(r.sum()) for r in rms) / sum(r.numel() for r in rms)
    return list(torch._foreach_add(rms, DAMPING * mean + torch.finfo(torch.float32).tiny))


def _decays(rms: list[Tensor]) -> list[Tensor]:
    """Decays in proportion to the damped RMS, with the mean `DECAY` over each tensor."""
    damped = _damped(rms)
    return [(DECAY * d / d.mean()).clamp(max=MAX_DECAY) for d in damped]
