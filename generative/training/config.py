"""The settings of a training run as plain numbers, with their ranges: budget and training config.

It must not know how training is done.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

UNITS = ("minutes", "steps", "epochs")
INITS = ("uniform", "xavier", "orthogonal")
MAX_NGRAM_ORDER = 31  # The alphabet limits it further.
MAX_STEP_TOKENS = 1 << 22  # More tokens a step would be a slip, or an attack by a folder.
# Each schedule gives the learning rate as a multiple of its peak, from the part of the budget that
# is spent. The cosine is that of Loshchilov & Hutter (2017); "trapezoid" stays at the peak for most
# of the time.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "cosine": lambda progress: 0.5 * (1.0 + math.cos(math.pi * progress)),
    "linear": lambda progress: 1.0 - progress,
    "trapezoid": lambda progress: min(1.0, (1.0 - progress) / 0.3),
    "constant": lambda _: 1.0,
}


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The length of training: an amount of minutes, optimizer steps or passes over the corpus.

    The learning-rate schedule spans exactly this length, in each of the units.
    """

    unit: str
    amount: float

    def __post_init__(self) -> None:
        """Refuse an amount or unit that is no length.

        Raises:
            ValueError: an unknown unit, or an amount that is not a positive number.
        """
        if self.unit not in UNITS:
            raise ValueError(f"unknown unit {self.unit!r}; known: {', '.join(UNITS)}")
        if not 0.0 < self.amount < math.inf:
            raise ValueError(f"{self.unit} must be a positive number, not {self.amount}")

    def progress(
        self, *, seconds: float, steps: int, epochs: float, reserved_seconds: float = 0.0
    ) -> float:
        """The part of the budget that is spent: 0 at the start, 1 at the end.

        reserved_seconds: the part of a budget in minutes that is kept for the work after training.
        """
        if self.unit == "minutes":
            left = 60.0 * self.amount - reserved_seconds
            return min(1.0, seconds / left) if left > 0 else 1.0
        return min(1.0, (steps if self.unit == "steps" else epochs) / self.amount)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How a model learns. Together with the model's shape and the data it determines the weights.

    Attributes:
        batch_size: rows that are read in parallel, B.
        sequence_length: tokens a window, T; gradients reach so far back.
        learning_rate: the peak, after warm-up.
        schedule: the decay of the learning rate, a key of `SCHEDULES`.
        warmup_steps: the number of steps over which the learning rate rises linearly.
        weight_decay: decoupled (Loshchilov & Hutter 2019), on matrices only.
        beta1, beta2: decays of AdamW's averages of gradient and squared gradient.
        gradient_clip: the largest norm of the gradient, which is scaled down to it (Pascanu et al.
            2013).
        average_decay: decay of the exponential moving average of the weights, which is validated
            and saved (Polyak & Juditsky 1992).
        clear_probability: how often a row's state is cleared before a window, so that the model
            also learns to begin with an empty state.
        activation_penalty, activation_change_penalty: weights of the mean square of the output
            layer's input, and of its change from token to token (AR and TAR; Merity et al. 2018).
        scheduled_sampling: the part of the inputs that is sampled from the model at the end of
            training, after a linear rise (Bengio et al. 2015); 0 is teacher forcing.
        label_dropout: how often a document's label is withheld, so that the model also learns to
            do without one (as in classifier-free guidance; Ho & Salimans 2022).
        init: the initialisation of recurrent weights, one of `INITS`, see
            `LanguageModel.initialise`.
        transpose, velocity_jitter, tempo_jitter: the largest offsets of a piece of music in each
            epoch, in semitones, levels of velocity and beats a minute; see `augment`.
        ngram_order: the longest context of the count models beside the network, in tokens, as far
            as the alphabet permits; 0 is the network alone.
        ngram_size: of the counts, in megabytes; None is the size of the network's weights, but at
            most 4.
        patience: stop after so many validations without a better one; None never stops early.
        seed: for everything that is drawn.
    """

    batch_size: int = 16
    sequence_length: int = 64
    learning_rate: float = 5e-3
    schedule: str = "cosine"
    warmup_steps: int = 100
    weight_decay: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.99
    gradient_clip: float = 1.0
    average_decay: float = 0.995
    clear_probability: float = 0.01
    activation_penalty: float = 0.0
    activation_change_penalty: float = 0.0
    scheduled_sampling: float = 0.0
    label_dropout: float = 0.1
    init: str = "uniform"
    transpose: int = 0
    velocity_jitter: int = 0
    tempo_jitter: int = 0
    ngram_order: int = 8
    ngram_size: float | None = None
    patience: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse values that cannot train.

        Raises:
            ValueError: naming the setting, its value and its range.
        """
        for name in ("batch_size", "sequence_length", "learning_rate", "gradient_clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be a positive number, not {getattr(self, name)}")
        if self.batch_size * self.sequence_length > MAX_STEP_TOKENS:
            raise ValueError(
                f"batch_size {self.batch_size} times sequence_length {self.sequence_length} must "
                f"be at most {MAX_STEP_TOKENS} tokens a step"
            )
        probabilities = ("clear_probability", "scheduled_sampling", "label_dropout")
        for name in ("beta1", "beta2", "average_decay", *probabilities):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"{name} must be in [0, 1), not {getattr(self, name)}")
        penalties = ("activation_penalty", "activation_change_penalty")
        variations = ("transpose", "velocity_jitter", "tempo_jitter")
        self._check_counts()
        for name in ("warmup_steps", "weight_decay", "seed", *variations, *penalties):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, but is {getattr(self, name)}")
        for name, known in (("schedule", SCHEDULES), ("init", INITS)):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} must be one of {', '.join(known)}, not {getattr(self, name)!r}"
                )
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"patience must be at least 1, not {self.patience}")

    def _check_counts(self) -> None:
        if not 0 <= self.ngram_order <= MAX_NGRAM_ORDER:
            raise ValueError(
                f"ngram_order must be from 0 to {MAX_NGRAM_ORDER}, not {self.ngram_order}"
            )
        if self.ngram_size is not None and not 0.0 < self.ngram_size < math.inf:
            raise ValueError(f"ngram_size must be a positive number, not {self.ngram_size}")

    def learning_rate_at(self, step: int, progress: float) -> float:
        """Linear warm-up, then the schedule.

        Args:
            step: steps taken before.
            progress: the part of the budget that is spent, 0..1.
        """
        warmup = min(1.0, (step + 1) / (self.warmup_steps + 1))
        return self.learning_rate * warmup * SCHEDULES[self.schedule](progress)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)
