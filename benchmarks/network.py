"""The network of a model without its counts, which benchmarks compare it with."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from generative.api.runtime import Runtime

if TYPE_CHECKING:
    from generative.api.music_model import MusicModel
    from generative.api.text_model import TextModel

Model = TypeVar("Model", bound="TextModel | MusicModel")


def network_alone(model: Model) -> Model:
    """The same model without counts."""
    return type(model)(Runtime(replace(model.checkpoint, counts=None)))
