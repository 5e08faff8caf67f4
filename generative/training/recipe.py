"""The recipe of a run: a model and a way to train it, for a corpus, a budget and a machine.

It must not know how training is done.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from generative.model.config import ModelConfig
from generative.training.config import Budget, TrainingConfig
from generative.training.hardware import choose_precision, precision_name
from generative.training.presets import PRESETS
from generative.training.speed import (
    Machine,
    can_feed,
    most_able,
    recurrent_weights,
    tokens_per_second,
)
from generative.training.step import shards_for

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from generative.context.reader import Reader

PROBE_FRACTION = 0.03  # Measuring the speed takes at most this part of a budget in minutes.
MAX_PROBE_SECONDS = 4.0
# Validations, saving and the final scores take about this part of a budget in minutes.
OVERHEAD_FRACTION = 0.12


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A model, a way to train it, and why.

    Attributes:
        precision: the type of matrix products.
        shards: the number of parts that a process cuts its rows of a batch into, one a thread.
        reason: one line.
        tokens_per_second: the expected speed, where it was measured.
    """

    model: ModelConfig
    training: TrainingConfig
    precision: torch.dtype
    shards: int
    reason: str
    tokens_per_second: float | None = None


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """The facts about a corpus that a recipe depends on.

    Attributes:
        kind: a key of `PRESETS`.
        counts: (V,) how often each id occurs in the training part.
        documents: the number of documents in the training part.
        context: the reader of its context features; None where the model has none.
    """

    kind: str
    counts: np.ndarray
    documents: int
    context: Reader | None = None

    @property
    def tokens(self) -> int:
        """The length of the training stream, where a start token stands before each document."""
        return int(self.counts.sum()) + self.documents

    @property
    def known(self) -> torch.Tensor:
        """(K,) the ids that occur, ascending."""
        return torch.from_numpy(np.flatnonzero(self.counts))


def choose(
    corpus: Corpus,
    budget: Budget,
    machine: Machine,
    *,
    model_choices: dict[str, Any],
    training_choices: dict[str, Any],
    seconds_spent: float = 0.0,
) -> Recipe:
    """A recipe for this corpus, this budget and this machine.

    With a budget in steps or epochs nothing is measured: the same call gives the same recipe.

    Args:
        corpus: what is learnt from.
        budget: how long training may take.
        machine: where it will take place.
        model_choices, training_choices: the fields that the user set, which stand.
        seconds_spent: time before this call that counts against a budget in minutes.

    Raises:
        ValueError: a choice that is out of range, or a corpus too short to train on.
    """
    preset, tokens, processes = PRESETS[corpus.kind], corpus.tokens, machine.processes
    training = TrainingConfig(**{**preset.training_defaults(tokens), **training_choices})
    training = _fit_rows(training, tokens, processes.size, training_choices)
    rows = training.batch_size // processes.size
    shards = shards_for(rows, machine.workers.count) if processes.device.type == "cpu" else 1
    candidates = [
        ModelConfig(vocab_size=len(corpus.counts), **settings)
        for settings in preset.model_candidates(tokens, model_choices)
    ]

    def measure(config: ModelConfig, seconds: float) -> float:
        return tokens_per_second(
            config,
            training,
            corpus.known,
            corpus.context,
            machine=machine,
            precision=_precision(machine, config),
            shards=shards,
            seconds=seconds,
        )

    speed: float | None = None
    if budget.unit == "minutes":
        total = 60.0 * budget.amount
        seconds = max(0.0, (1.0 - OVERHEAD_FRACTION) * total - seconds_spent)
        probe_seconds = min(MAX_PROBE_SECONDS, PROBE_FRACTION * total)
        config, speed = most_able(candidates, measure, seconds, probe_seconds)
        read = seconds * speed
    else:
        read = _tokens_read(budget, training, tokens)
        config = _first_fed(candidates, read)
    epochs = read / tokens
    dropout = preset.regularisation_for(epochs * recurrent_weights(config) / tokens)
    config = replace(config, **{k: v for k, v in dropout.items() if k not in model_choices})
    if preset.scales_learning_rate and "learning_rate" not in training_choices:
        training = replace(training, learning_rate=_learning_rate(config))
    recipe = Recipe(
        model=config,
        training=training,
        precision=_precision(machine, config),
        shards=shards,
        tokens_per_second=speed,
        reason="",
    )
    return replace(recipe, reason=_reason(recipe, tokens, epochs))


def _tokens_read(budget: Budget, training: TrainingConfig, tokens: int) -> float:
    """The tokens that a budget in steps or epochs reads."""
    per_step = training.batch_size * training.sequence_length
    return budget.amount * (per_step if budget.unit == "steps" else tokens)


def _first_fed(candidates: Sequence[ModelConfig], tokens: float) -> ModelConfig:
    """The first candidate that so many tokens can feed, or else the last."""
    return next((config for config in candidates if can_feed(tokens, config)), candidates[-1])


def _reason(recipe: Recipe, tokens: int, epochs: float) -> str:
    """The recipe in one line."""
    model, training, shards = recipe.model, recipe.training, recipe.shards
    speed = f" at {recipe.tokens_per_second:,.0f} tokens/s" if recipe.tokens_per_second else ""
    return (
        f"{model.num_layers}x{model.hidden_size} {model.cell}, dropout {model.dropout}, "
        f"B={training.batch_size} T={training.sequence_length}: "
        f"{tokens:,} tokens to learn from, about {epochs:.1f} passes{speed} "
        f"({precision_name(recipe.precision)}, {shards} thread{'s' if shards > 1 else ''})"
    )


def _precision(machine: Machine, config: ModelConfig) -> torch.dtype:
    return choose_precision(machine.precision, machine.processes.device, config.hidden_size)


def _learning_rate(config: ModelConfig) -> float:
    """A peak learning rate that is higher for narrow models, and lower with a second layer."""
    rate: float = TrainingConfig.learning_rate * (512 / config.hidden_size) ** 0.5
    return round(rate if config.num_layers == 1 else 0.8 * rate, 5)


def _fit_rows(
    training: TrainingConfig, tokens: int, processes: int, chosen: Collection[str]
) -> TrainingConfig:
    """Fewer rows and shorter windows for a corpus that would not fill them, unless they were set.

    Raises:
        ValueError: not even one window fits, or the rows cannot be shared out evenly.
    """
    rows, length = training.batch_size, training.sequence_length
    while "batch_size" not in chosen and rows > 1 and tokens < 4 * rows * length:
        rows //= 2
    if "batch_size" not in chosen:
        rows = -(-rows // processes) * processes
    if rows % processes:
        raise ValueError(
            f"{rows} rows cannot be shared out among {processes} processes: "
            f"set --batch-size to a multiple of {processes}"
        )
    while "sequence_length" not in chosen and length > 8 and tokens < 2 * rows * length:
        length //= 2
    if tokens // rows < length:
        raise ValueError(
            f"the corpus has {tokens} tokens to learn from, too few for {rows} rows of "
            f"{length}: give more, or set a smaller --batch-size and --sequence-length"
        )
    return replace(training, batch_size=rows, sequence_length=length)
