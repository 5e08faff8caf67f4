"""Processors that penalise or forbid repetition of what a row's history holds.

They must not depend on the distribution's shape. All of them also have a meaning where nothing is
drawn, so beam search ranks by them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from generative.sampling.checks import require, require_whole
from generative.sampling.rows import HistoryNeed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from generative.sampling.rows import Rows
    from generative.sampling.samplers import Logits

MAX_DRY_PENALTY = 1e6  # larger than any difference of logits, and finite
MAX_DRY_MATCH = 50  # longest repetition that is counted, in tokens, as in text-generation-webui


def _counts(rows: Rows) -> NDArray[np.int32]:
    """How often each token occurs in each row's history. (B, V)"""
    return np.stack([history.counts for history in rows.histories])


@dataclass(frozen=True)
class RepetitionPenalty:
    """Divides positive logits of tokens in the history by the penalty, multiplies negative ones.

    Source: Keskar et al., "CTRL" (2019), in the form that Hugging Face made common.
    """

    penalty: float
    need = HistoryNeed(counts=True)

    def __post_init__(self) -> None:
        require(0 < self.penalty < np.inf, "repetition_penalty", self.penalty, "finite and above 0")

    def __call__(self, rows: Rows, logits: Logits) -> Logits:
        wide = logits.astype(np.float64)
        penalised = np.where(wide > 0, wide / self.penalty, wide * self.penalty)
        return np.where(_counts(rows) > 0, penalised, wide)


@dataclass(frozen=True)
class PresencePenalty:
    """Subtracts the penalty once from each token in the history; a negative one favours them.

    Source: the OpenAI API. The prompt counts too, unlike in vLLM.
    """

    penalty: float
    need = HistoryNeed(counts=True)

    def __post_init__(self) -> None:
        require(bool(np.isfinite(self.penalty)), "presence_penalty", self.penalty, "finite")

    def __call__(self, rows: Rows, logits: Logits) -> Logits:
        return np.asarray(logits - self.penalty * (_counts(rows) > 0))


@dataclass(frozen=True)
class FrequencyPenalty:
    """Subtracts the penalty for each occurrence in the history; a negative one favours repetition.

    Source: the OpenAI API. The prompt counts too, unlike in vLLM.
    """

    penalty: float
    need = HistoryNeed(counts=True)

    def __post_init__(self) -> None:
        require(bool(np.isfinite(self.penalty)), "frequency_penalty", self.penalty, "finite")

    def __call__(self, rows: Rows, logits: Logits) -> Logits:
        return np.asarray(logits - self.penalty * _counts(rows))


@dataclass(frozen=True)
class NoRepeatNgram:
    """Forbids the token that would complete n tokens which the history already holds in a row.

    Where that would forbid every token the row is left as it is. It is the one processor that needs
    the whole history, so a stream with it grows. Source: Paulus et al. (2018).
    """

    size: int
    need = HistoryNeed(window=None)

    def __post_init__(self) -> None:
        require_whole("no_repeat_ngram_size", self.size, " (0 is off)")

    def __call__(self, rows: Rows, logits: Logits) -> Logits:
        result = logits.copy()
        prefix = self.size - 1
        for row, history in enumerate(rows.histories):
            tokens = history.tokens
            if len(tokens) < self.size:
                continue
            grams = np.lib.stride_tricks.sliding_window_view(tokens, self.size)
            same = (grams[:, :prefix] == tokens[len(tokens) - prefix :]).all(axis=1)
            remaining = result[row].copy()
            remaining[grams[same, -1]] = -np.inf
            if np.isfinite(remaining).any():
                result[row] = remaining
        return result


@dataclass(frozen=True)
class Dry:
    """Penalises tokens that lengthen a repetition, by multiplier * base ** (n - allowed_length).

    n counts how many of the last tokens, 50 at most, the history also holds right before the
    candidate; below `allowed_length` nothing is subtracted. No repetition is counted across a
    breaker. Lengths are in tokens: a tokenizer of characters needs a longer `allowed_length` than
    the 2 that suit words.

    Source: p-e-w, "DRY: A modern repetition penalty" (text-generation-webui, 2024).
    """

    multiplier: float
    base: float = 1.75
    allowed_length: int = 2
    last_n: int = 1024
    breakers: Sequence[int] = ()

    def __post_init__(self) -> None:
        require(
            0 < self.multiplier < np.inf, "dry_multiplier", self.multiplier, "finite and at least 0"
        )
        require(1 <= self.base < np.inf, "dry_base", self.base, "finite and at least 1")
        require_whole("dry_allowed_length", self.allowed_length)
        require_whole("dry_penalty_last_n", self.last_n)

    @property
    def need(self) -> HistoryNeed:
        """The window of the history that is searched."""
        return HistoryNeed(window=self.last_n)

    def __call__(self, rows: Rows, logits: Logits) -> Logits:
        result = logits.astype(np.float64)
        for row, history in enumerate(rows.histories):
            followers, lengths = self._repetitions(history.tokens[-self.last_n :])
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
        """Tokens that followed an earlier copy of the last tokens, and the length of each copy."""
        size = len(tokens)
        breaks = np.flatnonzero(np.isin(tokens, np.asarray(self.breakers, dtype=np.int32)))
        longest = size - 1 - int(breaks[-1]) if breaks.size else size - 1
        longest = min(longest, MAX_DRY_MATCH)
        places = np.arange(1, size)  # the first token has no token before it
        lengths = np.zeros(size, dtype=np.int64)
        for length in range(1, longest + 1):
            places = places[places >= length]
            places = places[tokens[places - length] == tokens[size - length]]
            if not places.size:
                break
            lengths[places] = length
        found = np.flatnonzero(lengths)
        return tokens[found], lengths[found]
