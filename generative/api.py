"""Loading by name: picks the model class for what a checkpoint was trained on."""

from __future__ import annotations

import importlib
import os
from typing import Any

from generative import checkpoint
from generative.runtime import Runtime

DEFAULT_MODEL = {"text": "shakespeare", "music": "chorales"}
# kind -> (module, class); text needs no MIDI library
MODELS = {
    "text": ("generative.text_model", "TextModel"),
    "music": ("generative.music_model", "MusicModel"),
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
    compiled: bool = True,
) -> Any:
    """A trained model, ready to generate and score.

    Args:
        name: a model folder, or the name of a model that ships; None is `default_model()`.
        device: where torch runs it.
        precision: of the weights that are sampled from: "float32", or "int8", two to four times as
            fast where a model is larger than the caches. Scores are float32 always.
        compiled: False samples without the compiled loop: slower, but it begins half a second
            sooner.

    Returns:
        A `TextModel` or a `MusicModel`, by what it was trained on. (Typed as Any because only the
        folder knows which; where types matter, construct either class from a `Runtime`.)

    Raises:
        CheckpointError: no such model, or a damaged one.
        ValueError: a precision that is none.
    """
    found = checkpoint.load(default_model() if name is None else name)
    module, cls = MODELS[found.kind]
    made = getattr(importlib.import_module(module), cls)
    return made(Runtime(found, device, precision=precision, compiled=compiled))
