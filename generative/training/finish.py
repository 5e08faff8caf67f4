"""The work that follows training: fitted numbers, gradient statistics, and an estimate of its time.

It must not know terminals or how weights are trained.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from generative import checkpoint
from generative.ngram.model import CACHED, STATIC
from generative.scoring.dynamic import SEGMENT_TOKENS, STATISTICS_SEGMENTS, gradient_statistics
from generative.scoring.loss import CHUNK_TOKENS, token_nats
from generative.training.counting import FIT_TOKENS, FITTED, fit_counts, fitted_tokens
from generative.training.fitting import TEMPERATURES_TRIED, calibrate
from generative.training.validation import (
    GROUP_ROWS,
    VALIDATION_TOKENS,
    part_labels,
    validation_stream,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from generative.data.store import TokenStore
    from generative.machine.threads import Workers
    from generative.model.language_model import LanguageModel
    from generative.ngram.model import CountModel

SCORED_TOKENS = 250_000  # The score after training reads about so much held-out data at most.
CLOSING_SECONDS = 0.6  # the time to draw the curve, to load and write files, and to leave
TEMPERATURE_NOTE = "temperature"  # The weights file has this note once the weights are calibrated.


@dataclass(frozen=True, kw_only=True)
class Finish:
    """The work after training on one model.

    Attributes:
        tokens: of the corpus.
        workers: the threads that share the work.
        fits: whether a temperature, and the weights of the count models, are fitted on held-out
            data.
        counts: the count models, whose weights are not looked at; None where there are none.
    """

    tokens: TokenStore
    workers: Workers
    fits: bool
    counts: CountModel | None = None

    def run(self, folder: Path, model: LanguageModel, say: Callable[[str], None]) -> None:
        """Fit the best weights in a folder, and add the gradients' statistics.

        Fitted weights carry a note and are not fitted again. So a run that was killed here, or is
        continued and finds no better weights, comes to the same weights as an undisturbed one.

        model: it takes on the best weights.
        """
        best, notes = checkpoint.load_weights(folder, model.config)
        model.load_state_dict({name: torch.from_numpy(array) for name, array in best.items()})
        fits = self.fits and self._held_out_tokens > 0
        is_new = TEMPERATURE_NOTE not in notes
        temperature = self.fit(model, say) if fits and is_new else None
        if fits and self.counts is not None and (is_new or not self.counts.is_fitted):
            self.fit_counts(folder, model, self.counts, say)
        if temperature is not None:
            weights = {name: tensor.cpu().numpy() for name, tensor in model.state_dict().items()}
            checkpoint.save_weights(folder, weights, {TEMPERATURE_NOTE: str(temperature)})
        checkpoint.save_statistics(folder, self.statistics(model))

    def fit(self, model: LanguageModel, say: Callable[[str], None]) -> float:
        """Fit a temperature into the weights.

        Returns:
            The temperature.
        """
        stream, labels = validation_stream(self.tokens, "held_out")
        temperature = calibrate(model, stream, labels, workers=self.workers)
        say(f"temperature fitted on held-out data: {temperature:.2f}")
        return temperature

    def fit_counts(
        self, folder: Path, model: LanguageModel, counts: CountModel, say: Callable[[str], None]
    ) -> None:
        """Fit how count models are mixed with the network, and leave them in the folder."""
        stream, labels = validation_stream(self.tokens, "held_out", FIT_TOKENS)
        start_id = self.tokens.start_id
        fitted = fit_counts(model, counts, stream, start_id, labels, workers=self.workers)
        checkpoint.save_counts(folder, fitted.model)
        static, cached = (fitted.gains[protocol] for protocol in (STATIC, CACHED))
        say(
            f"counts mixed in by held-out data: {static:.3f} nats per token less there, with a "
            f"cache of the document {cached:.3f} (each token scored before it is learnt from)"
        )

    def statistics(self, model: LanguageModel) -> dict[str, np.ndarray]:
        """The root mean square of each weight's gradient over the training data."""
        labels = part_labels(self.tokens, "train")
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
        token_nats(model, ids[:1].tolist(), start, counts=self.counts)  # loads compiled code
        began = time.monotonic()
        token_nats(model, ids.tolist(), start, counts=self.counts)
        mixed = (time.monotonic() - began) / len(ids)
        # The threads may have fewer cores than there are of them, so all of them are timed.
        piece = ids[: 2 * threads * SEGMENT_TOKENS + 1]
        began = time.monotonic()
        gradient_statistics(model, piece, part_labels(self.tokens, "train"), workers=self.workers)
        segment = (time.monotonic() - began) / max(1, (len(piece) - 1) // SEGMENT_TOKENS)
        held_out = self._held_out_tokens
        segments = min(STATISTICS_SEGMENTS, self.tokens.parts["train"].tokens / SEGMENT_TOKENS)
        total = segments * segment + mixed * min(held_out, SCORED_TOKENS)
        if self.fits and held_out:
            calibrated = min(held_out, VALIDATION_TOKENS)
            total += read * calibrated / threads
            total += _loss_seconds(model.config.vocab_size) * calibrated / threads
            if self.counts is not None:
                total += mixed * fitted_tokens(held_out) * len(FITTED) / min(threads, len(FITTED))
        return total + CLOSING_SECONDS

    @property
    def _held_out_tokens(self) -> int:
        return self.tokens.parts["held_out"].tokens


def _loss_seconds(vocab_size: int) -> float:
    """Seconds a token that the losses at all temperatures of calibration take."""
    targets = torch.zeros(16 * GROUP_ROWS, dtype=torch.int64)
    logits = torch.zeros(len(targets), vocab_size)
    began = time.monotonic()
    for _ in range(TEMPERATURES_TRIED):
        torch.nn.functional.cross_entropy(logits, targets).item()
    return (time.monotonic() - began) / len(targets)
