"""The shape of a model as plain numbers: knows what a checkpoint stores, needs no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from generative.recall import LONGEST


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Everything needed to build an untrained model, and nothing about how it is trained.

    Attributes:
        vocab_size: number of token ids, V.
        cell: a key of `cells.CELLS`.
        embedding_size: width of a token's vector; must equal `hidden_size` when `tied`.
        hidden_size: width of each layer, H.
        num_layers: recurrent layers, each reading the one below.
        tied: the output layer reuses the embedding matrix (Press & Wolf 2017).
        sum_layers: the output layer reads the sum of all layers' outputs, not the top one's,
            which gives every layer a short path to the loss (skip connections as in Graves 2013).
        embedding_dropout: probability that a token's whole vector is dropped for a window
            (Gal & Ghahramani 2016).
        dropout: locked dropout on what each layer reads: one mask a window (Gal & Ghahramani 2016).
        output_dropout: locked dropout on what the output layer reads.
        weight_drop: probability that a recurrent weight is dropped for a window
            (DropConnect; Merity et al. 2018).
        recall_length: where the last so many tokens stood before, what followed there is expected
            again, as far as held-out data trust it (`generative.recall`); 0 is the layers alone.
        labels: names that a document may have, of which each shifts every token's vector.
    """

    vocab_size: int
    cell: str = "lstm"
    embedding_size: int = 128
    hidden_size: int = 512
    num_layers: int = 1
    tied: bool = False
    sum_layers: bool = True
    embedding_dropout: float = 0.0
    dropout: float = 0.0
    output_dropout: float = 0.0
    weight_drop: float = 0.0
    recall_length: int = 0
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse shapes that cannot be built.

        Raises:
            ValueError: a size below 1, a probability outside [0, 1), a `recall_length` that is
                none, a tie of unequal widths, or one label twice.
        """
        for name in ("vocab_size", "embedding_size", "hidden_size", "num_layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("embedding_dropout", "dropout", "output_dropout", "weight_drop"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"{name} must be in [0, 1), not {getattr(self, name)}")
        if not 0 <= self.recall_length <= LONGEST:
            raise ValueError(f"recall_length must be from 0 to {LONGEST}, not {self.recall_length}")
        if self.tied and self.embedding_size != self.hidden_size:
            raise ValueError(
                "a tied output layer needs embedding_size == hidden_size, "
                f"not {self.embedding_size} and {self.hidden_size}"
            )
        if len(set(self.labels)) < len(self.labels):
            raise ValueError(f"labels must differ from each other: {', '.join(self.labels)}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelConfig:
        """The inverse of `to_dict`.

        Raises:
            ValueError: a key that this version does not know, or a missing one.
        """
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"unknown model settings: {', '.join(sorted(unknown))}")
        try:
            return cls(**{**values, "labels": tuple(values.get("labels", ()))})
        except TypeError as error:
            raise ValueError(f"incomplete model settings: {error}") from error
