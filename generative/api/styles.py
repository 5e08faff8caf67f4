"""Styles, which are weighted sums of a model's labels, and how one is folded into the weights.

A model with labels adds a vector to what its first layer reads. One style throughout is therefore a
constant, which that layer's bias takes in: a model in a style is a model without labels, and to
step it, score under it or let it learn has no further cost. A blend is the weighted sum of its
labels' vectors. This module must not know text or music.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from generative.errors import OptionError
from generative.model.cell_specs import CELL_SPECS, layer_array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from generative.checkpoint import Checkpoint

Style: TypeAlias = str | Mapping[str, float]


def style_weights(style: Style, names: Sequence[str]) -> dict[str, float]:
    """The weight of each name in a style; their sum is 1.

    Args:
        style: a name, "bach:0.6,folk:0.4", or a table name -> weight.
        names: the model's styles.

    Raises:
        OptionError: an unknown name, or a weight that is not a positive number.
    """
    given = style if isinstance(style, Mapping) else _parsed(style, names)
    if not names:
        raise OptionError("has no styles; train a model with --styles")
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise OptionError(f"no style {name!r}: {hint}there are: {', '.join(names)}")
    return dict(zip(given, normalised(list(given.values())), strict=True))


def normalised(weights: Sequence[float]) -> list[float]:
    """The weights divided by their sum.

    Raises:
        OptionError: no weight at all, or one that is not a positive number.
    """
    if not weights:
        raise OptionError("a blend needs at least one name")
    for weight in weights:
        if not 0.0 < weight < math.inf:
            raise OptionError(f"a weight must be a positive number, not {weight:g}")
    total = sum(weights)
    return [weight / total for weight in weights]


def parse_weight(text: str, what: str) -> tuple[str, float]:
    """The name and the weight of NAME:WEIGHT. `what` names the option in the error.

    Raises:
        OptionError: the text has another form.
    """
    name, colon, number = text.rpartition(":")
    try:
        if colon and name:
            return name.strip(), float(number)
    except ValueError:
        pass
    raise OptionError(f"{what} {text.strip()!r} must be NAME:WEIGHT, as bach:0.6") from None


def _parsed(style: str, names: Sequence[str]) -> dict[str, float]:
    """The weights of a style that is given as text. A single name may contain ":" and ","."""
    if style in names or not {":", ","} & set(style):
        return {style: 1.0}
    parts = [parse_weight(part, "style") for part in style.split(",")]
    given = dict(parts)
    if len(given) < len(parts):
        raise OptionError(f"a style is named twice in {style!r}")
    return given


def in_style(checkpoint: Checkpoint, parts: Mapping[str, float]) -> Checkpoint:
    """The model in one style throughout, which has no labels.

    The first layer reads its input only through its input weight and its bias (see `CellSpec`), so
    the bias can take in a vector that is added to every input.

    parts: the weight of each label; without any it is the model without a style.
    """
    config = checkpoint.config
    weights = {k: v for k, v in checkpoint.weights.items() if k != "labels.weight"}
    spec = CELL_SPECS[config.cell]
    bias, input_weight = layer_array(0, spec.bias), layer_array(0, spec.input_weight)
    for name, part in parts.items():
        row = 1 + config.labels.index(name)
        vector = np.float32(part) * checkpoint.weights["labels.weight"][row]  # (E,)
        weights[bias] = weights[bias] + weights[input_weight] @ vector  # (G,)
    return replace(checkpoint, weights=weights, config=replace(config, labels=()))
