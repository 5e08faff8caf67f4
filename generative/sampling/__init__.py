"""From logits to tokens, in NumPy; it must not know torch, tokenizers or music.

The names below are loaded when first used, since the table of options needs no NumPy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from generative.sampling.beam import beam_search
    from generative.sampling.hypotheses import BeamOptions
    from generative.sampling.loop import sample
    from generative.sampling.options import (
        PROCESSOR_NAMES,
        SamplingKeywords,
        SamplingOptions,
        build,
    )
    from generative.sampling.processors import LogitsProcessor, process_logits, start_rows
    from generative.sampling.request import Constraint, Request, Stop
    from generative.sampling.results import Alternative, Detail, Draw, Sampled, collect
    from generative.sampling.rows import History, Rows
    from generative.sampling.samplers import Categorical, Greedy, Sampler, row_generator
    from generative.sampling.stepper import State, Stepper
    from generative.sampling.table import GROUPS, OPTIONS, RESULTS, Option

_HOMES = {
    "Alternative": "results",
    "BeamOptions": "hypotheses",
    "Categorical": "samplers",
    "Constraint": "request",
    "Detail": "results",
    "Draw": "results",
    "GROUPS": "table",
    "Greedy": "samplers",
    "History": "rows",
    "LogitsProcessor": "processors",
    "OPTIONS": "table",
    "Option": "table",
    "PROCESSOR_NAMES": "options",
    "RESULTS": "table",
    "Request": "request",
    "Rows": "rows",
    "Sampled": "results",
    "Sampler": "samplers",
    "SamplingKeywords": "options",
    "SamplingOptions": "options",
    "State": "stepper",
    "Stepper": "stepper",
    "Stop": "request",
    "beam_search": "beam",
    "build": "options",
    "collect": "results",
    "process_logits": "processors",
    "row_generator": "samplers",
    "sample": "loop",
    "start_rows": "processors",
}

__all__ = [
    "BEAMS",
    "GROUPS",
    "OPTIONS",
    "PROCESSOR_NAMES",
    "RESULTS",
    "Alternative",
    "BeamOptions",
    "Categorical",
    "Constraint",
    "Detail",
    "Draw",
    "Greedy",
    "History",
    "LogitsProcessor",
    "Option",
    "Request",
    "Rows",
    "Sampled",
    "Sampler",
    "SamplingKeywords",
    "SamplingOptions",
    "State",
    "Stepper",
    "Stop",
    "beam_search",
    "build",
    "collect",
    "process_logits",
    "row_generator",
    "sample",
    "start_rows",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'generative.sampling' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"generative.sampling.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
