"""The table of processors: knows which there are, in which order and under which options.

A processor maps (rows, logits (B, V)) to new logits and bars a token by -inf. One that learns as
it goes takes its memory in and hands a new one out. A new one is one class and one row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from generative.sampling.bans import AllowedTokens, BannedTokens, LogitBias, MinNewTokens
from generative.sampling.penalties import (
    Dry,
    FrequencyPenalty,
    NoRepeatNgram,
    PresencePenalty,
    RepetitionPenalty,
    require,
)
from generative.sampling.rows import NOTHING, Need, Past, RowArrays, Rows
from generative.sampling.samplers import (
    Categorical,
    Greedy,
    Logits,
    Sampler,
    are_distributions,
)
from generative.sampling.temperature import Temperature, TemperatureSchedule
from generative.sampling.truncation import (
    EpsilonCutoff,
    EtaCutoff,
    MinP,
    Mirostat,
    TopK,
    TopNSigma,
    TopP,
    TypicalP,
    Xtc,
)

if TYPE_CHECKING:
    from collections.abc import Callable


class Stateless(Protocol):
    """(what is known of B rows, logits (B, V)) -> logits (B, V); the arguments are not edited."""

    def __call__(self, rows: Rows, logits: Logits) -> Logits:
        """See the class."""
        ...


class Stateful(Protocol):
    """A processor that remembers: memory in, new memory out. Its arrays have B rows."""

    def adapt(
        self, rows: Rows, logits: Logits, memory: RowArrays | None
    ) -> tuple[Logits, RowArrays]:
        """See the class; the memory is None at first."""
        ...


LogitsProcessor: TypeAlias = Stateless | Stateful


@dataclass(frozen=True, kw_only=True)
class SamplingOptions:
    """How to bend and draw. None and the value in brackets mean off.

    Weights: repetition_penalty [1]; presence_penalty [0]; frequency_penalty [0];
    no_repeat_ngram_size [0]; dry_multiplier [0], with dry_base, dry_allowed_length,
    dry_penalty_last_n and dry_sequence_breakers (ids); logit_bias, id -> what is added.
    Bars: allowed_tokens, banned_tokens, ids; min_new_tokens [0], no end before.
    Shape: temperature [1], where 0 is greedy and a list a schedule; top_k [0]; top_p [1];
    min_p [0]; typical_p [1]; epsilon_cutoff [0]; eta_cutoff [0]; top_n_sigma [0];
    xtc_probability [0], with xtc_threshold; mirostat_tau [0], with mirostat_eta.
    samplers: names of `_TABLE`; these run last and in this order.
    """

    temperature: float | Sequence[float] | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    typical_p: float | None = None
    epsilon_cutoff: float | None = None
    eta_cutoff: float | None = None
    top_n_sigma: float | None = None
    xtc_probability: float | None = None
    xtc_threshold: float | None = None
    mirostat_tau: float | None = None
    mirostat_eta: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    no_repeat_ngram_size: int | None = None
    dry_multiplier: float | None = None
    dry_base: float | None = None
    dry_allowed_length: int | None = None
    dry_penalty_last_n: int | None = None
    dry_sequence_breakers: Sequence[int] | None = None
    logit_bias: Mapping[int, float] | None = None
    allowed_tokens: Sequence[int] | None = None
    banned_tokens: Sequence[int] | None = None
    min_new_tokens: int | None = None
    samplers: Sequence[str] | None = None


@dataclass(frozen=True)
class _Row:
    """One processor.

    Attributes:
        name: what `samplers` calls it.
        make: from the value of the option that switches it on.
        neutral: the value that leaves it off.
        option: that option, where it has another name.
        also: further options -> the argument of `make`; None leaves its default.
        ranks: whether beam search ranks by it, which draws nothing.
    """

    name: str
    make: Callable[..., LogitsProcessor]
    neutral: Any
    option: str = ""
    also: Mapping[str, str] | None = None
    ranks: bool = True

    def build(self, options: SamplingOptions) -> LogitsProcessor | None:
        value = getattr(options, self.option or self.name)
        if value is None or value == self.neutral:
            return None
        more = {argument: getattr(options, name) for name, argument in (self.also or {}).items()}
        return self.make(value, **{k: v for k, v in more.items() if v is not None})


def _bias(biases: Mapping[int, float]) -> LogitBias:
    return LogitBias(tuple(biases.items()))


def _allowed(tokens: Sequence[int]) -> AllowedTokens:
    return AllowedTokens(tuple(tokens))


def _banned(tokens: Sequence[int]) -> BannedTokens:
    return BannedTokens(tuple(tokens))


def _temperature(value: float | Sequence[float]) -> LogitsProcessor:
    require(not isinstance(value, str), "temperature", repr(value), "a number or a list of them")
    return TemperatureSchedule(tuple(value)) if isinstance(value, Sequence) else Temperature(value)


_DRY = {
    "dry_base": "base",
    "dry_allowed_length": "allowed_length",
    "dry_penalty_last_n": "last_n",
    "dry_sequence_breakers": "breakers",
}

# in the order of application
_TABLE = (
    _Row("repetition_penalty", RepetitionPenalty, 1),
    _Row("presence_penalty", PresencePenalty, 0),
    _Row("frequency_penalty", FrequencyPenalty, 0),
    _Row("dry", Dry, 0, "dry_multiplier", _DRY),
    _Row("logit_bias", _bias, {}),
    _Row("allowed_tokens", _allowed, None),
    _Row("banned_tokens", _banned, ()),
    _Row("min_new_tokens", MinNewTokens, 0),
    _Row("no_repeat_ngram_size", NoRepeatNgram, 0),  # last of these: it sees what is left
    _Row("temperature", _temperature, 1, ranks=False),
    _Row("top_n_sigma", TopNSigma, 0, ranks=False),  # first: cuts would shrink its deviation
    _Row("top_k", TopK, 0, ranks=False),
    _Row("top_p", TopP, 1, ranks=False),
    _Row("min_p", MinP, 0, ranks=False),
    _Row("typical_p", TypicalP, 1, ranks=False),
    _Row("epsilon_cutoff", EpsilonCutoff, 0, ranks=False),
    _Row("eta_cutoff", EtaCutoff, 0, ranks=False),
    _Row("xtc", Xtc, 0, "xtc_probability", {"xtc_threshold": "threshold"}, ranks=False),
    _Row("mirostat", Mirostat, 0, "mirostat_tau", {"mirostat_eta": "eta"}, ranks=False),
)
PROCESSOR_NAMES = tuple(row.name for row in _TABLE)


def build(
    options: SamplingOptions, *, end_id: int | None = None, ranking: bool = False
) -> tuple[list[LogitsProcessor], Sampler]:
    """The processors that the options switch on, in order, and the sampler.

    Args:
        end_id: the token that ends a row, for `min_new_tokens`.
        ranking: only those that have a meaning where nothing is drawn.

    Raises:
        ValueError: an option that is out of range.
    """
    greedy = options.temperature == 0
    if greedy:  # then nothing is drawn either
        options, ranking = replace(options, temperature=None), True
    built: list[LogitsProcessor] = []
    for row in _ordered(options.samplers or ()):
        processor = row.build(options) if row.ranks or not ranking else None
        if isinstance(processor, MinNewTokens):
            processor = replace(processor, end_id=end_id)
        if processor is not None:
            built.append(processor)
    return built, Greedy() if greedy else Categorical()


def _ordered(names: Sequence[str]) -> list[_Row]:
    """The table with the rows named moved behind all others."""
    require(not isinstance(names, str), "samplers", repr(names), "a list of names")
    unknown = [name for name in names if name not in PROCESSOR_NAMES]
    known = f"names among {', '.join(PROCESSOR_NAMES)}"
    require(not unknown, "samplers", ", ".join(map(repr, unknown[:1])), known)
    require(len(set(names)) == len(names), "samplers", ", ".join(names), "names, each only once")
    rows = {row.name: row for row in _TABLE}
    return [row for row in _TABLE if row.name not in names] + [rows[name] for name in names]


def begin(
    processors: Sequence[LogitsProcessor],
    prompt: Sequence[int],
    vocab_size: int,
    rngs: Sequence[np.random.Generator],
    steps: int,
) -> Rows:
    """Rows that all begin with one prompt, one for each generator.

    Args:
        prompt: the start token, which is nothing said, and the rest.
        steps: how many tokens a row may take at most.
    """
    need = NOTHING
    for processor in processors:
        need = need.join(getattr(processor, "need", NOTHING))
    past = Past.of(prompt[1:], vocab_size, need)
    return Rows(
        past=(past,) * len(rngs),
        rngs=tuple(rngs),
        steps=steps,
        memory=(None,) * len(processors),
    )


def bend(processors: Sequence[LogitsProcessor], rows: Rows, logits: Logits) -> tuple[Logits, Rows]:
    """All processors one after the other. -> logits (B, V), the rows with what was remembered

    Raises:
        ValueError: no distribution is left: penalties or biases so large that they overflow.
    """
    if not processors:
        return logits, rows
    memory = rows.memory
    with np.errstate(over="ignore", invalid="ignore"):
        for index, processor in enumerate(processors):
            if hasattr(processor, "adapt"):  # isinstance with a protocol takes longer than a cut
                logits, new = processor.adapt(rows, logits, memory[index])
                memory = (*memory[:index], new, *memory[index + 1 :])
            else:
                logits = processor(rows, logits)
    if not are_distributions(logits):
        raise ValueError("penalties or biases this large leave no distribution to draw from")
    return logits, rows if memory is rows.memory else replace(rows, memory=memory)


__all__ = [
    "PROCESSOR_NAMES",
    "AllowedTokens",
    "BannedTokens",
    "Dry",
    "EpsilonCutoff",
    "EtaCutoff",
    "FrequencyPenalty",
    "LogitBias",
    "LogitsProcessor",
    "MinNewTokens",
    "MinP",
    "Mirostat",
    "Need",
    "NoRepeatNgram",
    "PresencePenalty",
    "RepetitionPenalty",
    "SamplingOptions",
    "Stateful",
    "Stateless",
    "Temperature",
    "TemperatureSchedule",
    "TopK",
    "TopNSigma",
    "TopP",
    "TypicalP",
    "Xtc",
    "begin",
    "bend",
    "build",
]
