"""The measured speed of training steps, and the most able model that a time can feed with tokens.

It must not know kinds of corpora.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from generative.model.cell_specs import CELL_SPECS
from generative.model.language_model import LanguageModel
from generative.training.batches import Batch
from generative.training.processes import Processes
from generative.training.step import TrainingStep

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from generative.context.reader import Reader
    from generative.machine.threads import Workers
    from generative.model.config import ModelConfig
    from generative.training.config import TrainingConfig

TOKENS_PER_WEIGHT = 8.0  # A model needs so many tokens a recurrent weight to be worth its size.


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The hardware that a run will have.

    Attributes:
        processes: the processes that share the run.
        workers: the threads of this process.
        precision: the type that the user asked for; None leaves it to the processor and the model.
    """

    processes: Processes
    workers: Workers
    precision: torch.dtype | None


def tokens_per_second(
    model: ModelConfig,
    training: TrainingConfig,
    known: Tensor,
    context: Reader | None,
    *,
    machine: Machine,
    precision: torch.dtype,
    shards: int,
    seconds: float,
) -> float:
    """The speed of all processes together in training steps on random tokens.

    Args:
        model: the model to be measured.
        training: how it learns.
        known: (K,) ids that occur.
        context: the reader of the model's context features; None without any.
        machine: the device, the processes and the threads.
        precision, shards: as in `TrainingStep`.
        seconds: how long to measure; at least one step after the first, which does not count.
    """
    device, size = machine.processes.device, machine.processes.size
    training = replace(training, batch_size=training.batch_size // size)
    rows, length = training.batch_size, training.sequence_length
    rng = np.random.default_rng(0)
    ids = known.numpy()[rng.integers(len(known), size=(length + 1, rows))]
    batch = Batch(inputs=ids[:-1], targets=ids[1:], fresh=False)
    with torch.random.fork_rng(devices=[]):
        step = TrainingStep(
            model=LanguageModel(model, context).to(device),
            average=LanguageModel(model, context).to(device),
            config=training,
            known=known.to(device),
            precision=precision,
            workers=machine.workers,
            processes=Processes(device=device),
            shards=shards,
        )
    begun = time.monotonic()
    steps = 0
    while steps < 2 or time.monotonic() - begun < seconds:
        step(batch, learning_rate=0.0, progress=0.0, step=steps)
        steps += 1
        if steps == 1:  # The first step also allocates memory and compiles.
            begun = time.monotonic()
    return size * (steps - 1) * rows * length / (time.monotonic() - begun)


def most_able(
    candidates: Sequence[ModelConfig],
    measure: Callable[[ModelConfig, float], float],
    seconds: float,
    probe_seconds: float,
) -> tuple[ModelConfig, float]:
    """The first model that can be fed in the time, and its speed in tokens a second.

    The time of a step grows with the model's weights. The smallest model is measured, then the one
    that this suggests, and from there on each model's own speed decides.

    Args:
        candidates: the most able first.
        measure: (model, seconds to measure) -> tokens a second.
        seconds: that training will have.
        probe_seconds: for all measurements together.
    """
    ended = time.monotonic() + probe_seconds
    last = len(candidates) - 1
    speeds = {last: measure(candidates[last], probe_seconds / 3)}

    def estimated(at: int) -> float:
        nearest = min(speeds, key=lambda measured: abs(measured - at))
        return speeds[nearest] * step_cost(candidates[nearest]) / step_cost(candidates[at])

    while True:
        place = next(
            (i for i, c in enumerate(candidates) if can_feed(seconds * estimated(i), c)), last
        )
        left = ended - time.monotonic()
        if place in speeds or left <= 0:
            return candidates[place], estimated(place)
        speeds[place] = measure(candidates[place], left / 2)


def can_feed(tokens: float, config: ModelConfig) -> bool:
    """Whether so many tokens are enough for a model of that size."""
    return tokens >= TOKENS_PER_WEIGHT * recurrent_weights(config)


def step_cost(config: ModelConfig) -> float:
    """A number that the time of a step is roughly proportional to: the weights and a constant."""
    return recurrent_weights(config) + 100_000.0


def recurrent_weights(config: ModelConfig) -> int:
    """How many numbers the recurrent layers have."""
    spec, size = CELL_SPECS[config.cell], config.hidden_size
    return sum(
        math.prod(shape)
        for layer in range(config.num_layers)
        for shape in spec.shapes(size if layer else config.embedding_size, size).values()
    )
