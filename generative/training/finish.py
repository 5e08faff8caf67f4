"""What follows training: numbers fitted on held-out data, statistics, and how long all of it takes.

Knows models and token streams, no terminal and no budget.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from generative.scoring.dynamic import SEGMENT_TOKENS, STATISTICS_SEGMENTS, gradient_statistics
from generative.scoring.loss import CHUNK_TOKENS, token_nats
from generative.training.validation import (
    FITTED_TOKENS,
    GROUP_ROWS,
    TEMPERATURES_TRIED,
    VALIDATION_TOKENS,
    calibrate,
    fit_recall,
    validation_labels,
    validation_stream,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from generative.data.store import TokenStore
    from generative.machine.threads import Workers
    from generative.model.language_model import LanguageModel

SCORED_TOKENS = 250_000  # the score after training reads at most about this much held-out data
CLOSING_SECONDS = 0.5  # loading, writing and leaving


@dataclass(frozen=True, kw_only=True)
class Finish:
    """The work after training on one model.

    Attributes:
        tokens: of the corpus.
        workers: share it.
        fits: whether held-out data choose a temperature, and boosts where the model has recall.
    """

    tokens: TokenStore
    workers: Workers
    fits: bool

    def fit(self, model: LanguageModel, say: Callable[[str], None]) -> float:
        """Fit a temperature, and boosts, into the weights. Returns the temperature."""
        stream, labels = validation_stream(self.tokens, "held_out")
        temperature = calibrate(model, stream, labels, workers=self.workers)
        say(f"temperature fitted on held-out data: {temperature:.2f}")
        if model.config.recall_length:
            stream, labels = validation_stream(self.tokens, "held_out", FITTED_TOKENS)
            gained = fit_recall(model, stream, self.tokens.start_id, labels, workers=self.workers)
            say(f"recall fitted on held-out data: {gained:.3f} nats per token less there")
        return temperature

    def statistics(self, model: LanguageModel) -> dict[str, np.ndarray]:
        """The root mean square of each weight's gradient over the training data."""
        labels = validation_labels(self.tokens, "train")
        stream = self.tokens.stream("train")
        return gradient_statistics(model, stream, labels, workers=self.workers)

    def seconds(self, model: LanguageModel) -> float:
        """How long all of it, and the score of the held-out data, will take at the present speed.

        A short piece of each kind of work is timed, about a fifth of a second together.
        """
        start, threads = self.tokens.start_id, self.workers.count
        ids = self.tokens.stream("train")[: max(2, CHUNK_TOKENS // 2)].astype(np.int64)
        began = time.monotonic()
        token_nats(model, ids.tolist(), start)
        read = (time.monotonic() - began) / len(ids)  # seconds a token of one sequence
        began = time.monotonic()
        gradient_statistics(model, ids[: 2 * SEGMENT_TOKENS])
        segment = (time.monotonic() - began) / 2
        held_out = self.tokens.parts["held_out"].tokens
        total = min(STATISTICS_SEGMENTS, self.tokens.parts["train"].tokens / SEGMENT_TOKENS)
        total *= segment / threads
        total += read * min(held_out, SCORED_TOKENS)
        if self.fits and held_out:
            total += read * min(held_out, VALIDATION_TOKENS) / threads
            if model.config.recall_length:
                total += 1.3 * read * min(held_out, FITTED_TOKENS) / threads
            total += (
                _loss_seconds(model.config.vocab_size) * min(held_out, VALIDATION_TOKENS) / threads
            )
        return total + CLOSING_SECONDS


def _loss_seconds(vocab_size: int) -> float:
    """Seconds a token that the losses at all temperatures of calibration take."""
    targets = torch.zeros(16 * GROUP_ROWS, dtype=torch.int64)
    logits = torch.zeros(len(targets), vocab_size)
    began = time.monotonic()
    for _ in range(TEMPERATURES_TRIED):
        torch.nn.functional.cross_entropy(logits, targets).item()
    return (time.monotonic() - began) / len(targets)
