"""The options of sampling as one object, and the processors and the sampler that they make.

`table` describes each of them.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from generative.sampling.bans import MinNewTokens
from generative.sampling.checks import require
from generative.sampling.samplers import Categorical, Greedy, Sampler
from generative.sampling.table import BEAMS, OPTIONS, RESULTS, Option

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from generative.sampling.processors import LogitsProcessor


class SamplingKeywords(TypedDict, total=False):
    """The options of sampling for the type checker; a test holds them equal to the table."""

    temperature: float | Sequence[float] | None
    top_k: int | None
    top_p: float | None
    min_p: float | None
    typical_p: float | None
    epsilon_cutoff: float | None
    eta_cutoff: float | None
    top_n_sigma: float | None
    xtc_probability: float | None
    xtc_threshold: float | None
    mirostat_tau: float | None
    mirostat_eta: float | None
    repetition_penalty: float | None
    presence_penalty: float | None
    frequency_penalty: float | None
    no_repeat_ngram_size: int | None
    dry_multiplier: float | None
    dry_base: float | None
    dry_allowed_length: int | None
    dry_penalty_last_n: int | None
    dry_sequence_breakers: Sequence[int] | None
    logit_bias: Mapping[int, float] | None
    allowed_tokens: Sequence[int] | None
    banned_tokens: Sequence[int] | None
    min_new_tokens: int | None
    samplers: Sequence[str] | None


@dataclass(frozen=True, init=False)
class SamplingOptions:
    """How to process logits and draw: values of the table's rows, except for beams and results.

    Example:
        SamplingOptions(temperature=0.8, top_p=0.95).get("top_p")   # 0.95
    """

    values: Mapping[str, Any]

    def __init__(self, **values: Unpack[SamplingKeywords]) -> None:
        unknown = set(values) - {
            option.name for option in OPTIONS if option.group not in {BEAMS, RESULTS}
        }
        if unknown:
            raise TypeError(f"unknown options: {', '.join(sorted(unknown))}")
        object.__setattr__(self, "values", values)

    def get(self, name: str) -> Any:
        """The value of an option; None where it is off."""
        return self.values.get(name)


_PROCESSORS = {option.processor or option.name: option for option in OPTIONS if option.make}
PROCESSOR_NAMES = tuple(_PROCESSORS)


def build(
    options: SamplingOptions, *, end_id: int | None = None, ranking: bool = False
) -> tuple[list[LogitsProcessor], Sampler]:
    """The processors that the options switch on, in order, and the sampler.

    Args:
        options: how to choose tokens.
        end_id: the token that ends a row, for `min_new_tokens`.
        ranking: leave out the processors that have no meaning where nothing is drawn.

    Raises:
        ValueError: an option that is out of range.
    """
    greedy = options.get("temperature") == 0
    built: list[LogitsProcessor] = []
    for option in _ordered(options.get("samplers") or ()):
        if option.ranks_beams or not (ranking or greedy):
            processor = _processor(option, options)
            if isinstance(processor, MinNewTokens):
                processor = replace(processor, end_id=end_id)
            if processor is not None:
                built.append(processor)
    return built, Greedy() if greedy else Categorical()


def _processor(option: Option, options: SamplingOptions) -> LogitsProcessor | None:
    """The processor of an option; None if the option is off."""
    value = options.get(option.name)
    if value is None or value == option.neutral:
        return None
    refined = {
        other.argument: options.get(other.name)
        for other in OPTIONS
        if other.refines == option.name and options.get(other.name) is not None
    }
    module, name = option.make.split(".")
    make = getattr(importlib.import_module(f"generative.sampling.{module}"), name)
    processor: LogitsProcessor = make(value, **refined)
    return processor


def _ordered(names: Sequence[str]) -> list[Option]:
    """The options that make processors, those named in `samplers` moved behind all others."""
    require(not isinstance(names, str), "samplers", repr(names), "a list of names")
    unknown = [name for name in names if name not in _PROCESSORS]
    known = f"names among {', '.join(PROCESSOR_NAMES)}"
    require(not unknown, "samplers", ", ".join(map(repr, unknown[:1])), known)
    require(len(set(names)) == len(names), "samplers", ", ".join(names), "names, each only once")
    others = [option for name, option in _PROCESSORS.items() if name not in names]
    return others + [_PROCESSORS[name] for name in names]
