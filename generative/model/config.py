"""The shape of a model as plain numbers, and the arrays that such a model is stored as.

It must not need torch.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from generative.model.cell_specs import CELL_SPECS, layer_array

# These limits are far beyond what trains here, and safe to add up and to allocate.
MAX_VOCAB_SIZE = 0x110000  # Unicode's code points: more than any vocabulary of characters has
MAX_SIZES = {
    "vocab_size": MAX_VOCAB_SIZE,
    "embedding_size": 1 << 16,
    "hidden_size": 1 << 16,
    "num_layers": 64,
}
MAX_LABELS = 1 << 16
MAX_FEATURE_VALUES = 1 << 16
MAX_PARAMETERS = 1 << 30
# The type of a field -> the types that JSON may have for it.
_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "str": (str,),
    "tuple[str, ...]": (list, tuple),
    "tuple[int, ...]": (list, tuple),
}
# The field that has several values -> the type of each, and what these are in an error.
_ITEMS: dict[str, tuple[type, str]] = {
    "labels": (str, "names"),
    "features": (str, "names"),
    "feature_sizes": (int, "whole numbers"),
}
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Everything needed to build an untrained model, and nothing about how it is trained.

    Attributes:
        vocab_size: number of token ids, V.
        cell: a key of `CELL_SPECS`, and of `cells.CELLS`.
        embedding_size: width of a token's vector; must equal `hidden_size` when `tied`.
        hidden_size: width of each layer, H.
        num_layers: recurrent layers, each of which reads the output of the one below.
        tied: the output layer reuses the embedding matrix (Press & Wolf 2017).
        sum_layers: the output layer reads the sum of all layers' outputs, not the top one's,
            which gives every layer a short path to the loss (skip connections as in Graves 2013).
        embedding_dropout: probability that a token's whole vector is dropped for a window
            (Gal & Ghahramani 2016).
        dropout: locked dropout on each layer's input: one mask a window (Gal & Ghahramani 2016).
        output_dropout: locked dropout on the output layer's input.
        weight_drop: probability that a recurrent weight is dropped for a window
            (DropConnect; Merity et al. 2018).
        labels: the names of the conditioning labels, which users call styles. A label is stored and
            passed as a number: 0 for none, else one more than its index here. Each label has a
            vector that is added to every token's.
        features: the names of the context features (`generative.context`). Each value of each has a
            vector that is added to the token's.
        feature_sizes: the number of values of each.
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
    labels: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    feature_sizes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Refuse shapes that cannot be built.

        Raises:
            ValueError: an unknown cell, a size below 1 or beyond `MAX_SIZES`, a probability outside
                [0, 1), a tie of unequal widths, one label or feature twice, features without sizes,
                or too many labels, values of features or parameters.
        """
        if self.cell not in CELL_SPECS:
            known = ", ".join(sorted(CELL_SPECS))
            raise ValueError(f"unknown cell {self.cell!r:.30}; known: {known}")
        for name, largest in MAX_SIZES.items():
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)!r:.30}")
            if getattr(self, name) > largest:
                raise ValueError(
                    f"{name} must be at most {largest:,}, not {getattr(self, name)!r:.30}"
                )
        for name in ("embedding_dropout", "dropout", "output_dropout", "weight_drop"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"{name} must be in [0, 1), not {getattr(self, name)!r:.30}")
        if self.tied and self.embedding_size != self.hidden_size:
            raise ValueError(
                "a tied output layer needs embedding_size == hidden_size, "
                f"not {self.embedding_size} and {self.hidden_size}"
            )
        if len(set(self.labels)) < len(self.labels):
            raise ValueError(f"labels must differ from each other: {', '.join(self.labels):.100}")
        if len(self.labels) > MAX_LABELS:
            raise ValueError(
                f"at most {MAX_LABELS:,} labels are possible, not {len(self.labels):,}"
            )
        self._check_features()
        parameters = sum(math.prod(shape) for shape in self.shapes().values())
        if parameters > MAX_PARAMETERS:
            raise ValueError(
                f"the model would have {parameters:,} parameters; at most {MAX_PARAMETERS:,} are "
                "possible"
            )

    def _check_features(self) -> None:
        """Raise what `__post_init__` raises of features."""
        names, sizes = self.features, self.feature_sizes
        if len(set(names)) < len(names):
            raise ValueError(f"features must differ from each other: {', '.join(names):.100}")
        if len(sizes) != len(names):
            raise ValueError(f"there are {len(names)} features, but {len(sizes)} feature_sizes")
        if sizes and (min(sizes) < 1 or sum(sizes) > MAX_FEATURE_VALUES):
            raise ValueError(
                f"feature_sizes must be at least 1, and {MAX_FEATURE_VALUES:,} at most in all"
            )

    def shapes(self) -> Shapes:
        """The shape of every array that such a model is stored as, by the torch model's names.

        Example:
            ModelConfig(vocab_size=9, embedding_size=2, hidden_size=3).shapes()["output.weight"]
            # (9, 3)
        """
        size, spec = self.hidden_size, CELL_SPECS[self.cell]
        shapes: Shapes = {"embedding.weight": (self.vocab_size, self.embedding_size)}
        for layer in range(self.num_layers):
            read = size if layer else self.embedding_size
            arrays = spec.shapes(read, size)
            shapes |= {layer_array(layer, name): shape for name, shape in arrays.items()}
        shapes["output.weight"] = (self.vocab_size, size)
        shapes["output.bias"] = (self.vocab_size,)
        if self.labels:
            shapes["labels.weight"] = (1 + len(self.labels), self.embedding_size)
        if self.features:
            shapes["features.weight"] = (sum(self.feature_sizes), self.embedding_size)
        return shapes

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON.

        A model without features does not mention them: so earlier versions read it as well, and
        continue its training.
        """
        values = asdict(self)
        if not self.features:
            del values["features"], values["feature_sizes"]
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelConfig:
        """The inverse of `to_dict`.

        Raises:
            ValueError: a key that this version does not know, or a missing one, or a value of the
                wrong type or out of range.
        """
        types = {field.name: str(field.type) for field in fields(cls)}
        unknown = set(values) - set(types)
        if unknown:
            raise ValueError(f"unknown model settings: {', '.join(sorted(unknown)):.100}")
        for name, value in values.items():
            known = isinstance(value, _JSON_TYPES[types[name]])
            if not known or isinstance(value, bool) != (types[name] == "bool"):
                raise ValueError(f"{name} must be of type {types[name]}, not {value!r:.30}")
        for name, (kind, what) in _ITEMS.items():
            if not all(type(value) is kind for value in values.get(name, ())):
                raise ValueError(f"{name} must be {what}")
        lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        try:
            return cls(**{**values, **lists})
        except TypeError as error:
            raise ValueError(f"incomplete model settings: {error}") from error
