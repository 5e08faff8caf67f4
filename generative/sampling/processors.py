"""What bends a distribution before a token is taken: pure functions of history and logits.

A processor maps (history, logits (B, V)) to new logits and forbids a token by -inf. Its order
is that of `_TABLE`: penalties, temperature, then what cuts the tail. A new one is one class and
one row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from generative.sampling.samplers import Categorical, Greedy, Logits, Sampler, log_softmax

if TYPE_CHECKING:
    from numpy.typing import NDArray

History = Sequence[Sequence[int]]  # the tokens of each row so far, prompt included


class LogitsProcessor(Protocol):
    """(history of B rows, logits (B, V)) -> logits (B, V); the arguments are not edited."""

    def __call__(self, history: History, logits: Logits) -> Logits:
        """See the class."""
        ...


def _require(met: bool, name: str, value: object, meaning: str) -> None:
    if not met:
        raise ValueError(f"{name} must be {meaning}, not {value}")


def _forbid(logits: Logits, forbidden: NDArray[np.bool_]) -> Logits:
    return np.where(forbidden, -np.inf, logits)


def _descending(scores: NDArray[np.floating]) -> NDArray[np.intp]:
    """Ids from the highest score to the lowest, equals by id. (B, V) -> (B, V)"""
    return np.argsort(-scores, axis=-1, kind="stable")


def _keep_first(order: NDArray[np.intp], counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """The tokens that are not among the first `counts` of an order. (B, V), (B,) -> (B, V)"""
    kept = np.arange(order.shape[-1]) < counts[:, None]
    forbidden = np.empty(order.shape, dtype=np.bool_)
    np.put_along_axis(forbidden, order, ~kept, axis=-1)
    return forbidden


@dataclass(frozen=True)
class RepetitionPenalty:
    """Tokens of the history lose weight: positive logits are divided, negative ones multiplied.

    Source: Keskar et al., "CTRL" (2019), in the form that Hugging Face made common.
    """

    penalty: float

    def __post_init__(self) -> None:
        """Refuse what is no factor."""
        _require(0 < self.penalty < np.inf, "repetition_penalty", self.penalty, "above 0")

    def __call__(self, history: History, logits: Logits) -> Logits:
        """See the class."""
        result = logits.astype(np.float64)
        for row, tokens in enumerate(history):
            seen = np.unique(np.asarray(tokens, dtype=np.int64))
            old = result[row, seen]
            result[row, seen] = np.where(old > 0, old / self.penalty, old * self.penalty)
        return result


@dataclass(frozen=True)
class NoRepeatNgram:
    """Forbids the token that would complete n tokens which the history already holds in a row.

    Where that would forbid every token the row is left as it is. Source: Paulus et al. (2018).
    """

    size: int

    def __post_init__(self) -> None:
        """Refuse what is no length."""
        _require(self.size >= 1, "no_repeat_ngram_size", self.size, "at least 1")

    def __call__(self, history: History, logits: Logits) -> Logits:
        """See the class."""
        result = logits.copy()
        prefix = self.size - 1
        for row, past in enumerate(history):
            tokens = np.asarray(past, dtype=np.int64)
            if len(tokens) < self.size:
                continue
            grams = np.lib.stride_tricks.sliding_window_view(tokens, self.size)
            same = (grams[:, :prefix] == tokens[len(tokens) - prefix :]).all(axis=1)
            banned = result[row].copy()
            banned[grams[same, -1]] = -np.inf
            if np.isfinite(banned).any():
                result[row] = banned
        return result


@dataclass(frozen=True)
class Temperature:
    """Divides the logits: below 1 sharpens, above 1 flattens."""

    temperature: float

    def __post_init__(self) -> None:
        """Refuse what would turn likely into unlikely."""
        _require(0 < self.temperature < np.inf, "temperature", self.temperature, "at least 0")

    def __call__(self, history: History, logits: Logits) -> Logits:  # noqa: ARG002
        """See the class. The maximum is moved to 0 first, so that nothing overflows."""
        top = logits.max(axis=-1, keepdims=True)
        with np.errstate(over="ignore"):  # a vanishing temperature leaves only the maximum
            return np.asarray((logits.astype(np.float64) - top) / self.temperature)


@dataclass(frozen=True)
class TopK:
    """Keeps the k likeliest tokens; among equals the lower id. Source: Fan et al. (2018)."""

    k: int

    def __post_init__(self) -> None:
        """Refuse what would keep nothing."""
        _require(self.k >= 1, "top_k", self.k, "at least 1 (0 switches it off)")

    def __call__(self, history: History, logits: Logits) -> Logits:  # noqa: ARG002
        """See the class."""
        if self.k >= logits.shape[-1]:
            return logits
        counts = np.full(len(logits), self.k)
        return _forbid(logits, _keep_first(_descending(logits), counts))


@dataclass(frozen=True)
class TopP:
    """Keeps the likeliest tokens whose probabilities first reach p together (the nucleus).

    Source: Holtzman et al., "The Curious Case of Neural Text Degeneration" (2020).
    """

    p: float

    def __post_init__(self) -> None:
        """Refuse what is no probability."""
        _require(0 < self.p <= 1, "top_p", self.p, "in (0, 1]")

    def __call__(self, history: History, logits: Logits) -> Logits:  # noqa: ARG002
        """See the class."""
        order = _descending(logits)
        probabilities = np.exp(log_softmax(np.take_along_axis(logits, order, axis=-1)))
        before = probabilities.cumsum(axis=-1) - probabilities  # mass of all likelier tokens
        counts = np.maximum(1, (before < self.p).sum(axis=-1))
        return _forbid(logits, _keep_first(order, counts))


@dataclass(frozen=True)
class MinP:
    """Keeps the tokens that are at least p times as likely as the likeliest.

    Source: Nguyen et al., "Turning Up the Heat: Min-p Sampling" (2024).
    """

    p: float

    def __post_init__(self) -> None:
        """Refuse what would drop the likeliest token."""
        _require(0 < self.p <= 1, "min_p", self.p, "in [0, 1]")

    def __call__(self, history: History, logits: Logits) -> Logits:  # noqa: ARG002
        """See the class."""
        top = logits.max(axis=-1, keepdims=True)
        return _forbid(logits, logits - top < np.log(self.p))


@dataclass(frozen=True)
class TypicalP:
    """Keeps the tokens whose surprise is nearest the expected one, until they reach p together.

    Source: Meister et al., "Locally Typical Sampling" (2022).
    """

    p: float

    def __post_init__(self) -> None:
        """Refuse what is no probability."""
        _require(0 < self.p <= 1, "typical_p", self.p, "in (0, 1]")

    def __call__(self, history: History, logits: Logits) -> Logits:  # noqa: ARG002
        """See the class."""
        log_p = log_softmax(logits)
        probabilities = np.exp(log_p)
        possible = np.isfinite(log_p)
        surprise = -np.where(possible, log_p, 0.0)
        entropy = (probabilities * surprise).sum(axis=-1, keepdims=True)
        oddness = np.where(possible, np.abs(surprise - entropy), np.inf)
        order = _descending(-oddness)
        ordered = np.take_along_axis(probabilities, order, axis=-1)
        before = ordered.cumsum(axis=-1) - ordered
        counts = np.maximum(1, (before < self.p).sum(axis=-1))
        return _forbid(logits, _keep_first(order, counts))


@dataclass(frozen=True, kw_only=True)
class SamplingOptions:
    """How to bend and draw. None and the value in brackets mean off.

    temperature [1], where 0 is greedy; top_k [0]; top_p [1]; min_p [0]; typical_p [1];
    repetition_penalty [1]; no_repeat_ngram_size [0].
    """

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    typical_p: float | None = None
    repetition_penalty: float | None = None
    no_repeat_ngram_size: int | None = None


# option, its neutral value, what it becomes; in the order of application
_TABLE: tuple[tuple[str, float, Callable[[Any], LogitsProcessor]], ...] = (
    ("repetition_penalty", 1, RepetitionPenalty),
    ("no_repeat_ngram_size", 0, NoRepeatNgram),
    ("temperature", 1, Temperature),
    ("top_k", 0, TopK),
    ("top_p", 1, TopP),
    ("min_p", 0, MinP),
    ("typical_p", 1, TypicalP),
)
PENALTIES = frozenset({"repetition_penalty", "no_repeat_ngram_size"})


def build(options: SamplingOptions) -> tuple[list[LogitsProcessor], Sampler]:
    """The processors that the options switch on, in order, and the sampler.

    Raises:
        ValueError: an option that is out of range.
    """
    greedy = options.temperature == 0
    processors = [
        make(value)
        for name, neutral, make in _TABLE
        if (value := getattr(options, name)) is not None
        and value != neutral
        and not (greedy and name == "temperature")
    ]
    return processors, Greedy() if greedy else Categorical()
