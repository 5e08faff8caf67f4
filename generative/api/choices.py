"""The names that options may take and the sampling options, from the library's registries.

Importing this module imports neither NumPy nor torch, so that help texts can list the names.
"""

from __future__ import annotations

from generative.model.cell_specs import CELL_SPECS
from generative.music.formats import FORMATS
from generative.sampling.table import BEAMS, GROUPS, RESULTS
from generative.sampling.table import OPTIONS as SAMPLING_OPTIONS
from generative.sampling.table import Option as SamplingOption
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
    "BEAMS",
    "CELLS",
    "FORMATS",
    "GRIDS",
    "GROUPS",
    "INITS",
    "RESULTS",
    "SAMPLING_OPTIONS",
    "SAMPLING_PRECISIONS",
    "SCHEDULES",
    "TOKENIZERS",
    "TRAINING_PRECISIONS",
    "SamplingOption",
]
