"""The choices nobody made: picks a model and a way to train it from the corpus and the time given.

Knows measured facts about what works (benchmarks/LOG.md has the runs), not how training is done.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from generative.errors import OptionError
from generative.model.config import ModelConfig
from generative.model.language_model import LanguageModel
from generative.training.batches import Batch
from generative.training.config import Budget, TrainingConfig
from generative.training.processes import Processes
from generative.training.step import TrainingStep, shards_for

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from generative.machine.threads import Workers

PROBE_SHARE = 0.03  # of a budget in minutes that measuring the machine's speed may take
PROBE_SECONDS = 4.0  # and at most so long
# Of a budget in minutes, what validations, saving and the final scores take, by experience.
OVERHEAD_SHARE = 0.12
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
HALF_PRECISION_SIZE = 192  # narrower layers gain nothing by bfloat16


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A model, a way to train it, and why.

    Attributes:
        precision: what the matrix products run in.
        shards: how many parts a process cuts its rows of a batch into, for as many threads.
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
class Preset:
    """The regularisation that pays up to a capacity.

    The capacity is (recurrent weights / tokens of the corpus) * passes over it: the more a model
    could remember and the more often it reads, the more dropout it needs.
    """

    capacity: float
    dropout: float
    output_dropout: float
    weight_drop: float


# Fitted to runs of 2 and 20 minutes on corpora of 0.15 to 1.2 MB.
TEXT_PRESETS = (
    Preset(capacity=5, dropout=0.05, output_dropout=0.1, weight_drop=0.0),
    Preset(capacity=20, dropout=0.1, output_dropout=0.2, weight_drop=0.0),
    Preset(capacity=45, dropout=0.2, output_dropout=0.3, weight_drop=0.2),
    Preset(capacity=70, dropout=0.3, output_dropout=0.4, weight_drop=0.3),
    Preset(capacity=float("inf"), dropout=0.4, output_dropout=0.4, weight_drop=0.4),
)
# From runs on the chorales (0.07 to 0.17 million tokens); the first row is a guess. Each piece is
# heard in eleven keys, so music needs less of it than text.
MUSIC_PRESETS = (
    Preset(capacity=50, dropout=0.2, output_dropout=0.1, weight_drop=0.0),
    Preset(capacity=400, dropout=0.3, output_dropout=0.1, weight_drop=0.1),
    Preset(capacity=float("inf"), dropout=0.4, output_dropout=0.2, weight_drop=0.2),
)
PRESETS = {"text": TEXT_PRESETS, "music": MUSIC_PRESETS}
# (layers, width) of text models, the most able first. The first is taken that the budget can feed
# with so many tokens a recurrent weight: a smaller model learns more in the same time.
TEXT_SHAPES = ((2, 512), (2, 384), (1, 512), (1, 448), (1, 384), (1, 320), (1, 256))
TOKENS_PER_WEIGHT = 8.0
RECALL_LENGTH = 12  # two or three notes; text gains less, and is drawn faster without
SMALL_CORPUS_TOKENS = 20_000  # below it a wide model only memorises
SMALL_HIDDEN_SIZE = 128
# Below it short windows, that is more steps, teach music more in a given time, above it long ones.
SMALL_MUSIC_TOKENS = 300_000


def tokens_per_second(
    model: ModelConfig,
    training: TrainingConfig,
    known: Tensor,
    *,
    precision: torch.dtype,
    workers: Workers,
    processes: Processes,
    shards: int,
    seconds: float,
) -> float:
    """How fast training steps are on random tokens, as this process makes them now.

    Args:
        model, training: the model and how it learns, `training.batch_size` rows of this process.
        known: (K,) ids that occur.
        precision, workers, shards: as in `TrainingStep`.
        processes: for the device.
        seconds: how long to measure, at least one step after the first, which does not count.
    """
    rows, length = training.batch_size, training.sequence_length
    rng = np.random.default_rng(0)
    ids = known.numpy()[rng.integers(len(known), size=(length + 1, rows))]
    batch = Batch(inputs=ids[:-1], targets=ids[1:], fresh=False)
    with torch.random.fork_rng(devices=[]):
        step = TrainingStep(
            model=LanguageModel(model).to(processes.device),
            average=LanguageModel(model).to(processes.device),
            config=training,
            known=known.to(processes.device),
            precision=precision,
            workers=workers,
            processes=Processes(device=processes.device),
            shards=shards,
        )
    begun = time.monotonic()
    steps = 0
    while steps < 2 or time.monotonic() - begun < seconds:
        step(batch, learning_rate=0.0, progress=0.0, step=steps)
        steps += 1
        if steps == 1:  # the first one also takes memory and compiles
            begun = time.monotonic()
    return (steps - 1) * rows * length / (time.monotonic() - begun)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where a run will take place.

    Attributes:
        processes: who shares it.
        workers: the threads of this process.
        precision: what the user asked for; None leaves it to the processor and the model.
    """

    processes: Processes
    workers: Workers
    precision: torch.dtype | None


def choose(
    *,
    kind: str,
    counts: np.ndarray,
    documents: int,
    budget: Budget,
    machine: Machine,
    model_choices: dict[str, Any],
    training_choices: dict[str, Any],
    seconds_spent: float = 0.0,
) -> Recipe:
    """A recipe for this corpus, this budget and this machine.

    With a budget in steps or epochs nothing is measured: the same call gives the same recipe.

    Args:
        kind: "text" or "music".
        counts: (V,) how often each id occurs in the part to learn from.
        documents: how many there are in it.
        budget: how long training may take.
        machine: where.
        model_choices, training_choices: what the user set; it is left as it is.
        seconds_spent: of a budget in minutes, before this call.

    Raises:
        ValueError: a choice that is out of range, or a corpus too short to train on.
    """
    tokens = int(counts.sum()) + documents
    processes = machine.processes
    training = TrainingConfig(**{**_training_defaults(kind, tokens), **training_choices})
    training = _fit_rows(training, tokens, processes.size, set(training_choices))
    own = training.batch_size // processes.size
    shards = shards_for(own, machine.workers.count) if processes.device.type == "cpu" else 1
    candidates = [
        ModelConfig(vocab_size=len(counts), **shape)
        for shape in _shapes(kind, tokens, model_choices)
    ]
    known = torch.from_numpy(np.flatnonzero(counts))

    def measure(config: ModelConfig, seconds: float) -> float:
        return processes.size * tokens_per_second(
            config,
            replace(training, batch_size=own),
            known,
            precision=_precision(machine, config),
            workers=machine.workers,
            processes=processes,
            shards=shards,
            seconds=seconds,
        )

    rate: float | None = None
    if budget.unit == "minutes":
        total = 60.0 * budget.amount
        left = max(0.0, (1.0 - OVERHEAD_SHARE) * total - seconds_spent)
        config, rate = _most_able(
            candidates, measure, left, min(PROBE_SECONDS, PROBE_SHARE * total)
        )
        read = left * rate
    else:
        per_step = training.batch_size * training.sequence_length
        read = budget.amount * (per_step if budget.unit == "steps" else tokens)
        config = next((c for c in candidates if _can_feed(read, c)), candidates[-1])
    epochs = read / tokens
    load = epochs * _recurrent_weights(config) / tokens
    preset = asdict(next(p for p in PRESETS[kind] if load <= p.capacity))
    del preset["capacity"]
    config = replace(config, **{k: v for k, v in preset.items() if k not in model_choices})
    if kind == "text" and "learning_rate" not in training_choices:
        training = replace(training, learning_rate=_learning_rate(config))
    speed = f" at {rate:,.0f} tokens/s" if rate else ""
    precision = _precision(machine, config)
    return Recipe(
        model=config,
        training=training,
        precision=precision,
        shards=shards,
        tokens_per_second=rate,
        reason=(
            f"{config.num_layers}x{config.hidden_size} {config.cell}, dropout {config.dropout}, "
            f"{f'recall {config.recall_length}, ' if config.recall_length else ''}"
            f"B={training.batch_size} T={training.sequence_length}: "
            f"{tokens:,} tokens to learn from, about {epochs:.1f} passes{speed} "
            f"({precision_name(precision)}, "
            f"{shards} thread{'s' if shards > 1 else ''})"
        ),
    )


def _most_able(
    candidates: Sequence[ModelConfig],
    measure: Callable[[ModelConfig, float], float],
    seconds: float,
    probe_seconds: float,
) -> tuple[ModelConfig, float]:
    """The first model that can be fed in the time, and its speed.

    The time of a step grows with the model's weights: the smallest is measured, the one that this
    suggests is measured too, and from there on each model's own speed decides.

    Args:
        candidates: the most able first.
        measure: (model, seconds to measure) -> tokens a second.
        seconds: that training will have.
        probe_seconds: for all measurements together.
    """
    ended = time.monotonic() + probe_seconds
    last = len(candidates) - 1
    known = {last: measure(candidates[last], probe_seconds / 3)}

    def estimated(at: int) -> float:
        nearest = min(known, key=lambda k: abs(k - at))
        return known[nearest] * _step_cost(candidates[nearest]) / _step_cost(candidates[at])

    while True:
        place = next(
            (i for i, c in enumerate(candidates) if _can_feed(seconds * estimated(i), c)), last
        )
        left = ended - time.monotonic()
        if place in known or left <= 0:
            return candidates[place], estimated(place)
        known[place] = measure(candidates[place], left / 2)


def _can_feed(tokens: float, config: ModelConfig) -> bool:
    """Whether so many tokens are enough for a model of that size."""
    return tokens >= TOKENS_PER_WEIGHT * _recurrent_weights(config)


def _step_cost(config: ModelConfig) -> float:
    """What the time of a step is roughly in proportion to: the weights, and some for the rest."""
    return _recurrent_weights(config) + 100_000.0


def precision_name(precision: torch.dtype) -> str:
    """A key of `PRECISIONS`."""
    return str(precision).removeprefix("torch.")


def _precision(machine: Machine, config: ModelConfig) -> torch.dtype:
    """What the products of a model run in: as asked, or bfloat16 where the processor has it.

    No timing decides, so that the same command gives the same model.

    Raises:
        OptionError: bfloat16 was asked for, and this processor cannot train a layer in it.
    """
    on_cpu = machine.processes.device.type == "cpu"
    if machine.precision is not None:
        is_cpu_half = on_cpu and machine.precision == torch.bfloat16
        if is_cpu_half and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            raise OptionError("this processor has no bfloat16: use --precision float32")
        return machine.precision
    if on_cpu:
        has_it = bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    else:
        has_it = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return torch.bfloat16 if has_it and config.hidden_size >= HALF_PRECISION_SIZE else torch.float32


def _shapes(kind: str, tokens: int, chosen: dict[str, Any]) -> list[dict[str, Any]]:
    """Settings of the models to consider, the most able first, all as the user chose."""
    if kind == "music":
        tied = {"hidden_size": 256, "embedding_size": 256, "num_layers": 2, "tied": True}
        tied["recall_length"] = RECALL_LENGTH
        shapes = [{**tied, **chosen}]
    else:
        sizes = ((1, SMALL_HIDDEN_SIZE),) if tokens < SMALL_CORPUS_TOKENS else TEXT_SHAPES
        shapes = [{"num_layers": layers, "hidden_size": width, **chosen} for layers, width in sizes]
        if {"num_layers", "hidden_size"} & set(chosen):  # then the rest is not weighed either
            shapes = [{"num_layers": 1, "hidden_size": 512, **chosen}]
    for shape in shapes:
        if shape.get("tied") and "tied" not in chosen:
            shape["tied"] = shape["embedding_size"] == shape["hidden_size"]
    return shapes


def _learning_rate(config: ModelConfig) -> float:
    """The narrower, the higher; with a second layer lower."""
    rate: float = TrainingConfig.learning_rate * (512 / config.hidden_size) ** 0.5
    return round(rate if config.num_layers == 1 else 0.8 * rate, 5)


def _recurrent_weights(config: ModelConfig) -> int:
    """How many numbers the layers have."""
    with torch.device("meta"):
        return sum(p.numel() for p in LanguageModel(config).layers.parameters())


def _training_defaults(kind: str, tokens: int) -> dict[str, Any]:
    if kind == "music":
        return {
            "batch_size": 8,
            "sequence_length": 64 if tokens < SMALL_MUSIC_TOKENS else 128,
            "learning_rate": 3e-3,
            "average_decay": 0.998,
            "transpose": 5,
            "velocity_jitter": 2,
            "tempo_jitter": 6,
        }
    return {}


def _fit_rows(
    training: TrainingConfig, tokens: int, processes: int, chosen: set[str]
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
