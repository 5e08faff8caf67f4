"""From logits to tokens, in NumPy; it must not know torch, tokenizers or music."""

from generative.sampling.beam import beam_search
from generative.sampling.hypotheses import BeamOptions
from generative.sampling.loop import sample
from generative.sampling.options import PROCESSOR_NAMES, SamplingKeywords, SamplingOptions, build
from generative.sampling.processors import LogitsProcessor, process_logits, start_rows
from generative.sampling.request import Constraint, Request, Stop
from generative.sampling.results import Alternative, Detail, Draw, Sampled, collect
from generative.sampling.rows import History, Rows
from generative.sampling.samplers import Categorical, Greedy, Sampler, row_generator
from generative.sampling.stepper import State, Stepper
from generative.sampling.table import BEAMS, GROUPS, OPTIONS, RESULTS, Option

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
