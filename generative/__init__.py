"""Text and music from small recurrent models.

Example:
    import generative

    model = generative.load("shakespeare")
    print(model.generate("ROMEO:", max_new_tokens=200, temperature=0.8, seed=1).text)

The public names are imported when they are first used, so that `import generative` loads neither
torch nor NumPy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from generative.api.load import load, mix
    from generative.api.music_model import MusicModel
    from generative.api.text_model import TextModel
    from generative.api.training import TrainingResult, train
    from generative.api.tune import Tune
    from generative.checkpoint import CheckpointError
    from generative.errors import CorpusError, FileError, OptionError
    from generative.music import formats, midi
    from generative.music.midi import MidiError
    from generative.music.piece import Piece
    from generative.scoring.likelihood import Likelihood

__version__ = "0.1.0"

# public name -> the module that defines it
_HOMES = {
    "CheckpointError": "generative.checkpoint",
    "CorpusError": "generative.errors",
    "FileError": "generative.errors",
    "Likelihood": "generative.scoring.likelihood",
    "MidiError": "generative.music.midi",
    "MusicModel": "generative.api.music_model",
    "OptionError": "generative.errors",
    "Piece": "generative.music.piece",
    "TextModel": "generative.api.text_model",
    "TrainingResult": "generative.api.training",
    "Tune": "generative.api.tune",
    "formats": "generative.music.formats",
    "load": "generative.api.load",
    "midi": "generative.music.midi",
    "mix": "generative.api.load",
    "train": "generative.api.training",
}
_MODULES = {"formats", "midi"}  # public names of modules

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
    "formats",
    "load",
    "midi",
    "mix",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'generative' has no attribute {name!r}")
    home = importlib.import_module(_HOMES[name])
    value = home if name in _MODULES else getattr(home, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
