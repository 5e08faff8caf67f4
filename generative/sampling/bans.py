"""Processors of single tokens: knows lists of ids, and neither the past nor a distribution's shape.

All of them have a meaning where nothing is drawn too, so beam search ranks by them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from generative.sampling.penalties import require, require_whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from generative.sampling.rows import Rows
    from generative.sampling.samplers import Logits


@dataclass(frozen=True)
class LogitBias:
    """Adds a number to the logits of given tokens."""

    biases: tuple[tuple[int, float], ...]

    def __post_init__(self) -> None:
        """Refuse what would make or unmake a token for good."""
        for token, bias in self.biases:
            require(token >= 0, "logit_bias tokens", token, "ids")
            meaning = "finite (banned_tokens bars one)"
            require(bool(np.isfinite(bias)), "logit_bias", bias, meaning)

    def __call__(self, rows: Rows, logits: Logits) -> Logits:  # noqa: ARG002
        """See the class."""
        result = logits.astype(np.float64)
        tokens = np.array([token for token, _ in self.biases], dtype=np.int64)
        _check_ids("logit_bias", tokens, logits)
        result[:, tokens] += np.array([bias for _, bias in self.biases])  # tokens are distinct
        return result


@dataclass(frozen=True)
class AllowedTokens:
    """Bars every token but those listed."""

    tokens: tuple[int, ...]

    def __call__(self, rows: Rows, logits: Logits) -> Logits:  # noqa: ARG002
        """See the class.

        Raises:
            ValueError: none of them is possible.
        """
        listed = _listed("allowed_tokens", self.tokens, logits)
        return _with_something_left("allowed_tokens", np.where(listed, logits, -np.inf))


@dataclass(frozen=True)
class BannedTokens:
    """Bars the tokens listed."""

    tokens: tuple[int, ...]

    def __call__(self, rows: Rows, logits: Logits) -> Logits:  # noqa: ARG002
        """See the class.

        Raises:
            ValueError: nothing else is possible.
        """
        listed = _listed("banned_tokens", self.tokens, logits)
        return _with_something_left("banned_tokens", np.where(listed, -np.inf, logits))


@dataclass(frozen=True)
class MinNewTokens:
    """No end before so many tokens, unless nothing but the end may follow."""

    count: int
    end_id: int | None = None

    def __post_init__(self) -> None:
        """Refuse what is no number of tokens."""
        require_whole("min_new_tokens", self.count, " (0 is off)")

    def __call__(self, rows: Rows, logits: Logits) -> Logits:
        """See the class."""
        if self.end_id is None or rows.step >= self.count:
            return logits
        result = logits.copy()
        result[:, self.end_id] = -np.inf
        return np.where(np.isfinite(result).any(axis=-1, keepdims=True), result, logits)


def _check_ids(name: str, tokens: NDArray[np.int64], logits: Logits) -> None:
    size = logits.shape[-1]
    wrong = tokens[(tokens < 0) | (tokens >= size)]
    require(not wrong.size, name, wrong[:1].tolist(), f"of ids in 0..{size - 1}")


def _listed(name: str, tokens: tuple[int, ...], logits: Logits) -> NDArray[np.bool_]:
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
