"""The names that options may take, read from the library's registries.

Importing this module imports neither NumPy nor torch, so that help texts can list the names.
"""

from __future__ import annotations

from generative.model.cell_specs import CELL_SPECS
from generative.music.formats import FORMATS
from generative.tokenizers import TOKENIZERS as TOKENIZER_CLASSES
from generative.training.config import INITS, SCHEDULES

AUTO = "auto"
CELLS = tuple(CELL_SPECS)
TOKENIZERS = (AUTO, *TOKENIZER_CLASSES)
# The modules that define the names of the next three import NumPy or torch. They are repeated here
# and held equal by tests/cli/test_options.py.
GRIDS = (AUTO, "score", "performance")
SAMPLING_PRECISIONS = ("float32", "int8")
TRAINING_PRECISIONS = (AUTO, "float32", "bfloat16")

__all__ = [
    "AUTO",
    "CELLS",
    "FORMATS",
    "GRIDS",
    "INITS",
    "SAMPLING_PRECISIONS",
    "SCHEDULES",
    "TOKENIZERS",
    "TRAINING_PRECISIONS",
]
