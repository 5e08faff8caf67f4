"""Text and music from small recurrent models.

Example:
    import generative

    model = generative.load("shakespeare")
    print(model.generate("ROMEO:", max_new_tokens=200, temperature=0.8, seed=1).text)

The names below are loaded when first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from generative.api import load, mix
    from generative.checkpoint import CheckpointError
    from generative.errors import CorpusError, FileError, OptionError
    from generative.likelihood import Likelihood
    from generative.midi import MidiError
    from generative.music_model import MusicModel, Tune
    from generative.piece import Piece
    from generative.text_model import TextModel
    from generative.train import TrainingResult, train

__version__ = "0.1.0"

_HOMES = {
    "CheckpointError": "generative.checkpoint",
    "CorpusError": "generative.errors",
    "FileError": "generative.errors",
    "Likelihood": "generative.likelihood",
    "MidiError": "generative.midi",
    "MusicModel": "generative.music_model",
    "OptionError": "generative.errors",
    "Piece": "generative.piece",
    "TextModel": "generative.text_model",
    "TrainingResult": "generative.train",
    "Tune": "generative.music_model",
    "load": "generative.api",
    "mix": "generative.api",
    "train": "generative.train",
}

__all__ = [
    "CheckpointError",
    "CorpusError",
    "FileError",
    "Likelihood",
    "MidiError",
    "MusicModel",
    "OptionError",
    "Piece",
    "TextModel",
    "TrainingResult",
    "Tune",
    "load",
    "mix",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'generative' has no attribute {name!r}")
    home = importlib.import_module(_HOMES[name])
    value = home if name == "train" else getattr(home, name)  # the module is the function
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
