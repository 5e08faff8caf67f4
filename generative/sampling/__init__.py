"""From logits to tokens: knows NumPy arrays, never torch, a tokenizer or MIDI."""

from generative.sampling.beam import beam_search
from generative.sampling.details import Alternative, Detail
from generative.sampling.loop import Constraint, Draw, Sampled, Stop, collect, sample
from generative.sampling.processors import (
    PROCESSOR_NAMES,
    LogitsProcessor,
    SamplingOptions,
    begin,
    bend,
    build,
)
from generative.sampling.rows import Past, Rows
from generative.sampling.samplers import Categorical, Greedy, Sampler, row_generator
from generative.sampling.stepper import State, Stepper

__all__ = [
    "PROCESSOR_NAMES",
    "Alternative",
    "Categorical",
    "Constraint",
    "Detail",
    "Draw",
    "Greedy",
    "LogitsProcessor",
    "Past",
    "Rows",
    "Sampled",
    "Sampler",
    "SamplingOptions",
    "State",
    "Stepper",
    "Stop",
    "beam_search",
    "begin",
    "bend",
    "build",
    "collect",
    "row_generator",
    "sample",
]
