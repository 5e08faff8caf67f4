"""Loading by name, one model or a mixture: picks the class for what a model was trained on."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from generative import checkpoint
from generative.api.mixture import Mixture
from generative.api.runtime import Runtime
from generative.api.styles import normalised, parse_weight

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from generative.api.runtime import Running

DEFAULT_MODEL = {"text": "shakespeare", "music": "chorales"}
# kind -> (module, class); text needs no MIDI library
MODELS = {
    "text": ("generative.api.text_model", "TextModel"),
    "music": ("generative.api.music_model", "MusicModel"),
}
ENVIRONMENT_VARIABLE = "GENERATIVE_MODEL"


def default_model(kind: str = "text") -> str:
    """The model to use where none is named: GENERATIVE_MODEL, else one that ships."""
    return os.environ.get(ENVIRONMENT_VARIABLE) or DEFAULT_MODEL[kind]


def load(
    name: str | os.PathLike[str] | None = None,
    device: str = "cpu",
    *,
    precision: str = "float32",
    compiled: bool | None = True,
) -> Any:
    """A trained model, ready to generate and score.

    Args:
        name: a model folder, or the name of a model that ships; None is `default_model()`.
        device: where torch runs it.
        precision: of the weights that are sampled from: "float32", or "int8", two to four times as
            fast where a model is larger than the caches. Scores are float32 always.
        compiled: False samples without the compiled loop: slower, but it begins half a second
            sooner. None decides by what each request asks for.

    Returns:
        A `TextModel` or a `MusicModel`, by what it was trained on. (Typed as Any because only the
        folder knows which; where types matter, construct either class from a `Runtime`.)

    Raises:
        CheckpointError: no such model, or a damaged one.
        ValueError: a precision that is none.
    """
    found = checkpoint.load(default_model() if name is None else name)
    return _model(Runtime(found, device, precision=precision, compiled=compiled))


def mix(
    models: Mapping[Any, float],
    device: str = "cpu",
    *,
    precision: str = "float32",
    compiled: bool | None = True,
) -> Any:
    """A model whose belief is that of several, in shares: p(token) = sum of share * p_i(token).

    Example:
        model = generative.mix({"chorales": 0.6, "folk": 0.4})
        bach = generative.load("tunes").in_style("bach")
        model = generative.mix({bach: 0.5, generative.load("folk"): 0.5})

    Args:
        models: names, as `load` takes them, or loaded models, and their weights; they must have the
            same tokenizer.
        device, precision, compiled: see `load`; for those that are named.

    Returns:
        A `TextModel` or a `MusicModel`.

    Raises:
        CheckpointError: no such model, or a damaged one.
        ValueError: a weight that is no positive number, or tokenizers that differ.
    """
    shares = normalised(list(models.values()))
    loaded = [
        load(model, device, precision=precision, compiled=compiled)
        if isinstance(model, str | os.PathLike)
        else model
        for model in models
    ]
    if len(loaded) == 1:
        return loaded[0]
    return _model(Mixture([model.runtime for model in loaded], shares))


def shares_of_models(name: str, others: Sequence[str]) -> dict[str, float]:
    """The weights of a model and of those mixed in, MODEL:SHARE each; the model has the rest.

    Raises:
        ValueError: no such pair, a model twice, or shares that leave nothing.
    """
    shares = [parse_weight(other, "--mix") for other in others]
    rest = 1.0 - sum(share for _, share in shares)
    if rest <= 0.0:
        raise ValueError(f"the shares of --mix must leave some to {name}: together below 1")
    together = dict([(name, rest), *shares])
    if len(together) <= len(shares):
        raise ValueError(f"--mix names a model twice: {', '.join(together)}")
    return together


def _model(runtime: Running) -> Any:
    module, cls = MODELS[runtime.checkpoint.kind]
    return getattr(importlib.import_module(module), cls)(runtime)
