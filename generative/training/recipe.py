"""The choices nobody made: picks a model and a way to train it from the corpus and the time given.

Knows measured facts about what works (benchmarks/LOG.md has the runs), not how training is done.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from generative.model.config import ModelConfig
from generative.model.language_model import LanguageModel
from generative.training.config import Budget, TrainingConfig
from generative.training.learner import Learner
from generative.training.optimizer import build_optimizer

if TYPE_CHECKING:
    from torch import Tensor

    from generative.training.processes import Processes

PROBE_STEPS = 8  # the fastest counts: others may disturb a step, nothing makes one faster


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A model, a way to train it, what the matrix products run in, and why, in one line."""

    model: ModelConfig
    training: TrainingConfig
    precision: torch.dtype
    reason: str


@dataclass(frozen=True, kw_only=True)
class Tier:
    """What pays under so much strain at most.

    The strain is (recurrent weights / tokens of the corpus) * passes over it: the more a model
    could remember and the more often it reads, the more it gains from forgetting parts of itself.
    """

    strain: float
    dropout: float
    output_dropout: float
    weight_drop: float


# Fitted to runs of 2 and 20 minutes on corpora of 0.15 to 1.2 MB.
TEXT_TIERS = (
    Tier(strain=5, dropout=0.05, output_dropout=0.1, weight_drop=0.0),
    Tier(strain=20, dropout=0.1, output_dropout=0.2, weight_drop=0.0),
    Tier(strain=45, dropout=0.2, output_dropout=0.3, weight_drop=0.2),
    Tier(strain=70, dropout=0.3, output_dropout=0.4, weight_drop=0.3),
    Tier(strain=float("inf"), dropout=0.4, output_dropout=0.4, weight_drop=0.4),
)
# From runs on the chorales (0.07 to 0.17 million tokens); the first row is a guess. Each piece is
# heard in eleven keys, so music bears more strain than text.
MUSIC_TIERS = (
    Tier(strain=50, dropout=0.2, output_dropout=0.1, weight_drop=0.0),
    Tier(strain=400, dropout=0.3, output_dropout=0.1, weight_drop=0.1),
    Tier(strain=float("inf"), dropout=0.4, output_dropout=0.2, weight_drop=0.2),
)
TIERS = {"text": TEXT_TIERS, "music": MUSIC_TIERS}
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
    model_config: ModelConfig,
    training: TrainingConfig,
    known: Tensor,
    device: torch.device,
    precision: torch.dtype,
    at_least: float = 0.0,
) -> float:
    """Forward, backward and update on random tokens; the global random state is left as it was.

    Half as fast as `at_least` at the second step is too slow to be worth more steps.
    """
    rows, length = training.batch_size, training.sequence_length
    with torch.random.fork_rng(devices=[]):
        model = LanguageModel(model_config).to(device)
        learner = Learner(model, training, known.to(device))
        optimizer = build_optimizer(model, training)
        places = torch.randint(len(known), (length + 1, rows), device=device)
        tokens = learner.known[places]
        state = model.initial_state(rows)
        fastest = float("inf")
        for step in range(PROBE_STEPS):
            if step >= 2 and rows * length / fastest < 0.5 * at_least:
                break
            began = time.monotonic()
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == torch.bfloat16):
                loss, _, _ = learner(tokens[:-1], tokens[1:], state, 0.0)
            loss.backward()
            optimizer.step()
            loss.item()  # waits for a GPU
            fastest = min(fastest, time.monotonic() - began)
    return rows * length / fastest


def choose(
    *,
    kind: str,
    counts: np.ndarray,
    documents: int,
    budget: Budget,
    processes: Processes,
    precision: torch.dtype | None,
    model_choices: dict[str, Any],
    training_choices: dict[str, Any],
) -> Recipe:
    """A recipe for this corpus, this budget and this machine.

    Args:
        kind: "text" or "music".
        counts: (V,) how often each id occurs in the part to learn from.
        documents: how many there are in it.
        processes: who will share the run.
        precision: None takes the faster, by measurement.
        model_choices, training_choices: what the user set; it is left as it is.

    Raises:
        ValueError: a choice that is out of range, or a corpus too short to train on.
    """
    tokens = int(counts.sum()) + documents
    training = TrainingConfig(**{**_training_defaults(kind, tokens), **training_choices})
    training = _fit_lanes(training, tokens, processes.size, set(training_choices))
    own = replace(training, batch_size=training.batch_size // processes.size)
    known = torch.from_numpy(np.flatnonzero(counts))
    fastest: torch.dtype | None = None
    for shape in _shapes(kind, tokens, model_choices):
        config = ModelConfig(vocab_size=len(counts), **shape)
        if fastest is None:
            fastest, rate = _fastest_precision(config, own, known, processes.device)
        else:
            rate = tokens_per_second(config, own, known, processes.device, fastest)
        rate *= processes.size
        read = _tokens_read(budget, rate, tokens, training)
        if read >= TOKENS_PER_WEIGHT * _recurrent_weights(config):
            break
    assert fastest is not None  # there is at least one shape
    epochs = read / tokens
    strain = epochs * _recurrent_weights(config) / tokens
    tier = asdict(next(t for t in TIERS[kind] if strain <= t.strain))
    del tier["strain"]
    config = replace(config, **{k: v for k, v in tier.items() if k not in model_choices})
    if kind == "text" and "learning_rate" not in training_choices:
        training = replace(training, learning_rate=_learning_rate(config))
    return Recipe(
        model=config,
        training=training,
        precision=precision or fastest,
        reason=(
            f"{config.num_layers}x{config.hidden_size} {config.cell}, dropout {config.dropout}, "
            f"{f'recall {config.recall_length}, ' if config.recall_length else ''}"
            f"B={training.batch_size} T={training.sequence_length}: "
            f"{tokens:,} tokens to learn from, about {epochs:.1f} passes at "
            f"{rate:,.0f} tokens/s ({_name(precision or fastest)})"
        ),
    )


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


def _fastest_precision(
    model: ModelConfig, training: TrainingConfig, known: Tensor, device: torch.device
) -> tuple[torch.dtype, float]:
    """Time real training steps in float32 and bfloat16.

    Returns:
        The faster precision, and tokens per second in it.
    """
    plain = half = 0.0
    for _ in range(2):  # what else is at work may come and go
        plain = max(plain, tokens_per_second(model, training, known, device, torch.float32))
        with suppress(RuntimeError):  # a processor may have no LSTM in bfloat16
            rate = tokens_per_second(model, training, known, device, torch.bfloat16, plain)
            half = max(half, rate)
    return (torch.bfloat16, half) if half > plain else (torch.float32, plain)


def _name(precision: torch.dtype) -> str:
    return str(precision).removeprefix("torch.")


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


def _fit_lanes(
    training: TrainingConfig, tokens: int, processes: int, chosen: set[str]
) -> TrainingConfig:
    """Fewer and shorter lanes for a corpus that would not fill them, unless the user set them.

    Raises:
        ValueError: not even one window fits, or the lanes cannot be shared out evenly.
    """
    rows, length = training.batch_size, training.sequence_length
    while "batch_size" not in chosen and rows > 1 and tokens < 4 * rows * length:
        rows //= 2
    if "batch_size" not in chosen:
        rows = -(-rows // processes) * processes
    if rows % processes:
        raise ValueError(
            f"{rows} lanes cannot be shared out among {processes} processes: "
            f"set --batch-size to a multiple of {processes}"
        )
    while "sequence_length" not in chosen and length > 8 and tokens < 2 * rows * length:
        length //= 2
    if tokens // rows < length:
        raise ValueError(
            f"the corpus has {tokens} tokens to learn from, too few for {rows} lanes of "
            f"{length}: give more, or set a smaller --batch-size and --sequence-length"
        )
    return replace(training, batch_size=rows, sequence_length=length)


def _tokens_read(
    budget: Budget, tokens_per_second: float, tokens: int, training: TrainingConfig
) -> float:
    """How many tokens training will read within the budget."""
    return {
        "minutes": budget.amount * 60.0 * tokens_per_second,
        "steps": budget.amount * training.batch_size * training.sequence_length,
        "epochs": budget.amount * tokens,
    }[budget.unit]
