"""Processors that favour, allow or forbid single tokens by their ids.

They must not depend on the history or on the distribution's shape. All of them also have a meaning
where nothing is drawn, so beam search ranks by them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from generative.sampling.checks import require, require_whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from generative.sampling.rows import Rows
    from generative.sampling.samplers import Logits


@dataclass(frozen=True)
class LogitBias:
    """Adds a number to the logits of given tokens: id -> bias."""

    biases: Mapping[int, float]

    def __post_init__(self) -> None:
        for token, bias in self.biases.items():
            require(token >= 0, "logit_bias tokens", token, "ids")
            meaning = "finite (banned_tokens forbids one)"
            require(bool(np.isfinite(bias)), "logit_bias", bias, meaning)

    def __call__(self, _rows: Rows, logits: Logits) -> Logits:
        result = logits.astype(np.float64)
        tokens = np.array(list(self.biases), dtype=np.int64)
        _check_ids("logit_bias", tokens, logits)
        result[:, tokens] += np.array(list(self.biases.values()))
        return result


@dataclass(frozen=True)
class AllowedTokens:
    """Forbids every token but those listed."""

    tokens: Sequence[int]

    def __call__(self, _rows: Rows, logits: Logits) -> Logits:
        """Forbid the others.

        Raises:
            ValueError: none of the tokens listed is possible.
        """
        listed = _listed("allowed_tokens", self.tokens, logits)
        return _with_something_left("allowed_tokens", np.where(listed, logits, -np.inf))


@dataclass(frozen=True)
class BannedTokens:
    """Forbids the tokens listed."""

    tokens: Sequence[int]

    def __call__(self, _rows: Rows, logits: Logits) -> Logits:
        """Forbid those listed.

        Raises:
            ValueError: no other token is possible.
        """
        listed = _listed("banned_tokens", self.tokens, logits)
        return _with_something_left("banned_tokens", np.where(listed, -np.inf, logits))


@dataclass(frozen=True)
class MinNewTokens:
    """Forbids the end token before `count` new tokens, unless only the end token may follow."""

    count: int
    end_id: int | None = None

    def __post_init__(self) -> None:
        require_whole("min_new_tokens", self.count, " (0 is off)")

    def __call__(self, rows: Rows, logits: Logits) -> Logits:
        if self.end_id is None or rows.step >= self.count:
            return logits
        result = logits.copy()
        result[:, self.end_id] = -np.inf
        return np.where(np.isfinite(result).any(axis=-1, keepdims=True), result, logits)


def _check_ids(name: str, tokens: NDArray[np.int64], logits: Logits) -> None:
    size = logits.shape[-1]
    wrong = tokens[(tokens < 0) | (tokens >= size)]
    require(not wrong.size, name, wrong[:1].tolist(), f"of ids in 0..{size - 1}")


def _listed(name: str, tokens: Sequence[int], logits: Logits) -> NDArray[np.bool_]:
    """Which tokens are on a list. (V,)"""
    ids = np.asarray(tokens, dtype=np.int64)
    _check_ids(name, ids, logits)
    listed = np.zeros(logits.shape[-1], dtype=np.bool_)
    listed[ids] = True
    return listed


def _with_something_left(name: str, logits: Logits) -> Logits:
    if not np.isfinite(logits).any(axis=-1).all():
        raise ValueError(f"{name} leaves no token that is possible here")
    return logits
