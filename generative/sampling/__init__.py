"""From logits to tokens: knows NumPy arrays, never torch, a tokenizer or MIDI."""

from generative.sampling.beam import beam_search
from generative.sampling.loop import Constraint, Draw, Sampled, collect, sample
from generative.sampling.processors import LogitsProcessor, SamplingOptions, build
from generative.sampling.samplers import Categorical, Greedy, Sampler, row_generator
from generative.sampling.stepper import State, Stepper

__all__ = [
    "Categorical",
    "Constraint",
    "Draw",
    "Greedy",
    "LogitsProcessor",
    "Sampled",
    "Sampler",
    "SamplingOptions",
    "State",
    "Stepper",
    "beam_search",
    "build",
    "collect",
    "row_generator",
    "sample",
]
