"""What is chosen for each kind of corpus where the user chooses nothing: one preset a kind.

The numbers come from measured runs; benchmarks/LOG.md has them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

SMALL_CORPUS_TOKENS = 20_000  # A wide model only memorises a corpus below this size.


class Shape(NamedTuple):
    """The size of a model's recurrent part."""

    num_layers: int
    hidden_size: int


@dataclass(frozen=True, kw_only=True)
class Regularisation:
    """The dropout that is best up to a capacity.

    The capacity is (recurrent weights / tokens of the corpus) * passes over the corpus. The more a
    model can memorise and the more often it reads the corpus, the more dropout it needs.
    """

    max_capacity: float
    dropout: float
    output_dropout: float
    weight_drop: float

    def settings(self) -> dict[str, Any]:
        """As fields of `ModelConfig`."""
        return {
            "dropout": self.dropout,
            "output_dropout": self.output_dropout,
            "weight_drop": self.weight_drop,
        }


@dataclass(frozen=True, kw_only=True)
class Preset:
    """The choices for one kind of corpus.

    Attributes:
        shapes: candidates, the most able first. The first one is taken that the budget can feed
            with enough tokens, since a smaller model learns more in the same time.
        small_corpus_shapes: the candidates for a corpus below `SMALL_CORPUS_TOKENS`.
        completing_shape: the only candidate where the user chooses a part of the shape.
        regularisation: in rising order of capacity; the last one is without a limit.
        model: fields of `ModelConfig`.
        training: fields of `TrainingConfig`.
        large_corpus_tokens: the size of a corpus from which `large_corpus_training` holds too.
        large_corpus_training: fields of `TrainingConfig` that replace those of `training`.
        scales_learning_rate: whether the learning rate depends on the shape.
    """

    shapes: tuple[Shape, ...]
    small_corpus_shapes: tuple[Shape, ...]
    completing_shape: Shape
    regularisation: tuple[Regularisation, ...]
    model: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    large_corpus_tokens: int = 0
    large_corpus_training: Mapping[str, Any] = field(default_factory=dict)
    scales_learning_rate: bool = False

    def model_candidates(self, tokens: int, chosen: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Fields of `ModelConfig` for each model to consider, the most able first.

        Args:
            tokens: of the corpus.
            chosen: what the user chose, which stands.
        """
        shapes = self.small_corpus_shapes if tokens < SMALL_CORPUS_TOKENS else self.shapes
        if set(Shape._fields) & set(chosen):
            shapes = (self.completing_shape,)
        candidates = [{**self.model, **shape._asdict(), **chosen} for shape in shapes]
        for candidate in candidates:
            if candidate.get("tied") and "tied" not in chosen:
                candidate["tied"] = candidate["embedding_size"] == candidate["hidden_size"]
        return candidates

    def training_defaults(self, tokens: int) -> dict[str, Any]:
        """Fields of `TrainingConfig` for a corpus of so many tokens."""
        if tokens >= self.large_corpus_tokens:
            return {**self.training, **self.large_corpus_training}
        return dict(self.training)

    def regularisation_for(self, capacity: float) -> dict[str, Any]:
        """Fields of `ModelConfig` for a capacity, see `Regularisation`."""
        return next(r.settings() for r in self.regularisation if capacity <= r.max_capacity)


# The regularisation is fitted to runs of 2 and 20 minutes on corpora of 0.15 to 1.2 MB.
TEXT = Preset(
    shapes=(
        Shape(2, 512),
        Shape(2, 384),
        Shape(1, 512),
        Shape(1, 448),
        Shape(1, 384),
        Shape(1, 320),
        Shape(1, 256),
    ),
    small_corpus_shapes=(Shape(1, 128),),
    completing_shape=Shape(1, 512),
    scales_learning_rate=True,
    regularisation=(
        Regularisation(max_capacity=5, dropout=0.05, output_dropout=0.1, weight_drop=0.0),
        Regularisation(max_capacity=20, dropout=0.1, output_dropout=0.2, weight_drop=0.0),
        Regularisation(max_capacity=45, dropout=0.2, output_dropout=0.3, weight_drop=0.2),
        Regularisation(max_capacity=70, dropout=0.3, output_dropout=0.4, weight_drop=0.3),
        Regularisation(max_capacity=float("inf"), dropout=0.4, output_dropout=0.4, weight_drop=0.4),
    ),
)
# The regularisation is fitted to runs on the chorales (0.07 to 0.17 million tokens); its first row
# is a guess. Each piece is read in eleven keys, so music needs less of it than text. Short windows,
# that is more steps, teach more in a given time below the size of a large corpus, long ones above.
MUSIC = Preset(
    shapes=(Shape(2, 256),),
    small_corpus_shapes=(Shape(2, 256),),
    completing_shape=Shape(2, 256),
    model={"embedding_size": 256, "tied": True},
    training={
        "batch_size": 8,
        "sequence_length": 64,
        "learning_rate": 3e-3,
        "average_decay": 0.998,
        "transpose": 5,
        "velocity_jitter": 2,
        "tempo_jitter": 6,
    },
    large_corpus_tokens=300_000,
    large_corpus_training={"sequence_length": 128},
    regularisation=(
        Regularisation(max_capacity=50, dropout=0.2, output_dropout=0.1, weight_drop=0.0),
        Regularisation(max_capacity=400, dropout=0.3, output_dropout=0.1, weight_drop=0.1),
        Regularisation(max_capacity=float("inf"), dropout=0.4, output_dropout=0.2, weight_drop=0.2),
    ),
)
PRESETS = {"text": TEXT, "music": MUSIC}  # by `tokenizers.kind_of`
