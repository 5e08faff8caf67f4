"""Processors against repeats: knows what rows have said, and no distribution's shape.

All of them have a meaning where nothing is drawn too, so beam search ranks by them.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING

import numpy as np

from generative.errors import OptionError
from generative.sampling.rows import Need

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from generative.sampling.rows import Rows
    from generative.sampling.samplers import Logits

MAX_DRY_PENALTY = 1e6  # more than any difference of logits, and never an infinity
MAX_DRY_MATCH = 50  # tokens of a repetition that count; as in text-generation-webui


def require(met: bool, name: str, value: object, meaning: str) -> None:
    """Refuse an option's value.

    Raises:
        OptionError: unless `met`; says the range and the value seen.
    """
    if not met:
        raise OptionError(f"{name} must be {meaning}, not {value}")


def require_whole(name: str, value: object, note: str = "") -> None:
    """Refuse what is no whole number of 1 or more.

    Raises:
        OptionError: see `require`.
    """
    met = isinstance(value, Integral) and int(value) >= 1
    require(met, name, value, f"a whole number, at least 1{note}")


def _counts(rows: Rows) -> NDArray[np.int32]:
    """How often each row has said each token. (B, V)"""
    return np.stack([past.counts for past in rows.past])


@dataclass(frozen=True)
class RepetitionPenalty:
    """Tokens of the past lose weight: positive logits are divided, negative ones multiplied.

    Source: Keskar et al., "CTRL" (2019), in the form that Hugging Face made common.
    """

    penalty: float
    need = Need(counts=True)

    def __post_init__(self) -> None:
        """Refuse what is no factor."""
        require(0 < self.penalty < np.inf, "repetition_penalty", self.penalty, "finite and above 0")

    def __call__(self, rows: Rows, logits: Logits) -> Logits:
        """See the class."""
        wide = logits.astype(np.float64)
        bent = np.where(wide > 0, wide / self.penalty, wide * self.penalty)
        return np.where(_counts(rows) > 0, bent, wide)


@dataclass(frozen=True)
class PresencePenalty:
    """A token that was there loses so much, however often; a negative penalty favours it.

    Source: the OpenAI API. The prompt counts too, which it does not in vLLM.
    """

    penalty: float
    need = Need(counts=True)

    def __post_init__(self) -> None:
        """Refuse what is no number."""
        require(bool(np.isfinite(self.penalty)), "presence_penalty", self.penalty, "finite")

    def __call__(self, rows: Rows, logits: Logits) -> Logits:
        """See the class."""
        return np.asarray(logits - self.penalty * (_counts(rows) > 0))


@dataclass(frozen=True)
class FrequencyPenalty:
    """A token loses so much for each time it was there; a negative penalty favours it.

    Source: the OpenAI API. The prompt counts too, which it does not in vLLM.
    """

    penalty: float
    need = Need(counts=True)

    def __post_init__(self) -> None:
        """Refuse what is no number."""
        require(bool(np.isfinite(self.penalty)), "frequency_penalty", self.penalty, "finite")

    def __call__(self, rows: Rows, logits: Logits) -> Logits:
        """See the class."""
        return np.asarray(logits - self.penalty * _counts(rows))


@dataclass(frozen=True)
class NoRepeatNgram:
    """Bars the token that would complete n tokens which the past already holds in a row.

    Where that would bar every token the row is left as it is. It is the one processor that needs
    the whole past, so a stream with it grows. Source: Paulus et al. (2018).
    """

    size: int
    need = Need(window=None)

    def __post_init__(self) -> None:
        """Refuse what is no length."""
        require_whole("no_repeat_ngram_size", self.size, " (0 is off)")

    def __call__(self, rows: Rows, logits: Logits) -> Logits:
        """See the class."""
        result = logits.copy()
        prefix = self.size - 1
        for row, past in enumerate(rows.past):
            tokens = past.tokens
            if len(tokens) < self.size:
                continue
            grams = np.lib.stride_tricks.sliding_window_view(tokens, self.size)
            same = (grams[:, :prefix] == tokens[len(tokens) - prefix :]).all(axis=1)
            barred = result[row].copy()
            barred[grams[same, -1]] = -np.inf
            if np.isfinite(barred).any():
                result[row] = barred
        return result


@dataclass(frozen=True)
class Dry:
    """What would lengthen a repetition of n tokens loses multiplier * base ** (n - allowed_length).

    n counts how many of the last tokens, 50 at most, the past also holds right before the
    candidate; below `allowed_length` nothing happens. No repetition is counted across a breaker.
    Lengths are in tokens: with characters allow more of them than the 2 that suit words.

    Source: p-e-w, "DRY: A modern repetition penalty" (text-generation-webui, 2024).
    """

    multiplier: float
    base: float = 1.75
    allowed_length: int = 2
    last_n: int = 1024
    breakers: Sequence[int] = ()

    def __post_init__(self) -> None:
        """Refuse what would reward repetition."""
        require(
            0 < self.multiplier < np.inf, "dry_multiplier", self.multiplier, "finite and at least 0"
        )
        require(1 <= self.base < np.inf, "dry_base", self.base, "finite and at least 1")
        require_whole("dry_allowed_length", self.allowed_length)
        require_whole("dry_penalty_last_n", self.last_n)

    @property
    def need(self) -> Need:
        """The window that is searched."""
        return Need(window=self.last_n)

    def __call__(self, rows: Rows, logits: Logits) -> Logits:
        """See the class."""
        result = logits.astype(np.float64)
        for row, past in enumerate(rows.past):
            followers, lengths = self._repetitions(past.tokens[-self.last_n :])
            longest = np.zeros(logits.shape[-1], dtype=np.int64)
            np.maximum.at(longest, followers, lengths)
            with np.errstate(over="ignore"):
                grown = self.multiplier * self.base ** (longest - float(self.allowed_length))
            penalties = np.minimum(grown, MAX_DRY_PENALTY)
            result[row] -= np.where(longest >= self.allowed_length, penalties, 0.0)
        return result

    def _repetitions(
        self, tokens: NDArray[np.int32]
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Tokens that once followed the present ending, and how much of it stood before each."""
        size = len(tokens)
        breaks = np.flatnonzero(np.isin(tokens, np.asarray(self.breakers, dtype=np.int32)))
        longest = size - 1 - int(breaks[-1]) if breaks.size else size - 1
        longest = min(longest, MAX_DRY_MATCH)
        places = np.arange(1, size)  # of the tokens that have one before them
        lengths = np.zeros(size, dtype=np.int64)
        for length in range(1, longest + 1):
            places = places[places >= length]
            places = places[tokens[places - length] == tokens[size - length]]
            if not places.size:
                break
            lengths[places] = length
        found = np.flatnonzero(lengths)
        return tokens[found], lengths[found]
