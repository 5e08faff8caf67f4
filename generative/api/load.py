"""Loading models by name, one or several as a mixture."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from generative import checkpoint
from generative.api.mixture import Mixture
from generative.api.runtime import Runtime
from generative.api.styles import normalised, parse_weight

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from generative.api.music_model import MusicModel
    from generative.api.runtime import RuntimeLike
    from generative.api.text_model import TextModel

AnyModel: TypeAlias = "TextModel | MusicModel"
ModelOrName = TypeVar("ModelOrName", bound="str | os.PathLike[str] | AnyModel")

DEFAULT_MODEL = {"text": "shakespeare", "music": "chorales"}  # kind -> a shipped model's name
ENVIRONMENT_VARIABLE = "GENERATIVE_MODEL"


def default_model(kind: str = "text") -> str:
    """The model to use where none is named: GENERATIVE_MODEL, else a shipped one of the kind."""
    return os.environ.get(ENVIRONMENT_VARIABLE) or DEFAULT_MODEL[kind]


def suggested_temperature(name: str | os.PathLike[str]) -> float | None:
    """The temperature that a model's card suggests for sampling; None where it suggests none.

    Raises:
        CheckpointError: no such model, or a damaged description.
    """
    details = checkpoint.read_config(checkpoint.find(name))[1]
    temperature: float | None = details.get("sampling", {}).get("temperature")
    return temperature


def load(
    name: str | os.PathLike[str] | None = None,
    device: str = "cpu",
    *,
    precision: str = "float32",
    compiled: bool | None = True,
) -> AnyModel:
    """Load a trained model, ready to generate and score.

    Args:
        name: a model folder, or the name of a shipped model; None is `default_model()`.
        device: where torch runs the model.
        precision: of the weights that are sampled from: "float32", or "int8", which is two to four
            times as fast where a model is larger than the caches. Scores are always computed in
            float32.
        compiled: False samples without the compiled loop, which is slower but starts half a second
            sooner. None decides by the size of each request.

    Returns:
        A `TextModel` or a `MusicModel`, depending on what the model was trained on. Code that is
        type-checked narrows it by `isinstance`.

    Raises:
        CheckpointError: there is no such model, or it is damaged.
        ValueError: there is no such precision.
    """
    found = checkpoint.load(default_model() if name is None else name)
    return _model(Runtime(found, device, precision=precision, compiled=compiled))


def mix(
    models: Mapping[ModelOrName, float],
    device: str = "cpu",
    *,
    precision: str = "float32",
    compiled: bool | None = True,
) -> AnyModel:
    """Mix the distributions of several models: p(token) = sum of weight_i * p_i(token).

    Example:
        model = generative.mix({"chorales": 0.6, "folk": 0.4})
        bach = generative.load("tunes").in_style("bach")
        model = generative.mix({bach: 0.5, generative.load("folk"): 0.5})

    Args:
        models: a weight for each name, as `load` takes it, or loaded model. Weights need not sum
            to 1, and all models must have the same tokenizer.
        device, precision, compiled: as for `load`; they apply to the models given by name.

    Returns:
        A `TextModel` or a `MusicModel`.

    Raises:
        CheckpointError: there is no such model, or it is damaged.
        ValueError: a weight that is no positive number, or tokenizers that differ.
    """
    weights = normalised(list(models.values()))
    loaded: list[AnyModel] = [
        load(model, device, precision=precision, compiled=compiled)
        if isinstance(model, str | os.PathLike)
        else model
        for model in models
    ]
    if len(loaded) == 1:
        return loaded[0]
    return _model(Mixture([model.runtime for model in loaded], weights))


def mixture_weights(name: str, others: Sequence[str]) -> dict[str, float]:
    """The weights of a model and of those that are mixed into it.

    Args:
        name: the model that gets what the others leave of 1.
        others: "MODEL:WEIGHT" each.

    Raises:
        ValueError: another form, a model named twice, or weights that leave nothing.
    """
    weights = [parse_weight(other, "--mix") for other in others]
    rest = 1.0 - sum(weight for _, weight in weights)
    if rest <= 0.0:
        raise ValueError(f"the shares of --mix must leave some to {name}: together below 1")
    together = dict([(name, rest), *weights])
    if len(together) <= len(weights):
        raise ValueError(f"--mix names a model twice: {', '.join(together)}")
    return together


def _model(runtime: RuntimeLike) -> AnyModel:
    """The model that `runtime` runs; only its own kind is imported, so text needs no MIDI."""
    if runtime.checkpoint.kind == "music":
        from generative.api.music_model import MusicModel

        return MusicModel(runtime)
    from generative.api.text_model import TextModel

    return TextModel(runtime)
