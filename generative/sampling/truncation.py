"""Processors that forbid tokens by the shape of the distribution.

They remove its tail or, with XTC, its head; the other tokens keep their logits. They must not
depend on the history.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from generative.sampling.checks import require, require_whole
from generative.sampling.samplers import log_softmax

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from generative.sampling.rows import RowArrays, Rows
    from generative.sampling.samplers import Logits


def _forbid(logits: Logits, forbidden: NDArray[np.bool_]) -> Logits:
    return np.where(forbidden, -np.inf, logits)


def _descending(scores: NDArray[np.floating]) -> NDArray[np.intp]:
    """Ids from the highest score to the lowest, equals by id. (B, V) -> (B, V)"""
    return np.argsort(-scores, axis=-1, kind="stable")


def _are_first(order: NDArray[np.intp], counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which tokens are among the first `counts` of an order. (B, V), (B,) -> (B, V)"""
    first = np.empty(order.shape, dtype=np.bool_)
    np.put_along_axis(first, order, np.arange(order.shape[-1]) < counts[:, None], axis=-1)
    return first


def _until_mass(
    order: NDArray[np.intp], weights: NDArray[np.float64], p: float
) -> NDArray[np.bool_]:
    """The shortest beginning of an order, of at least one token, that has a part p of all weight.

    The weights may have any sum, so that sums of equal ones stay exact. (B, V) each
    """
    ordered = np.take_along_axis(weights, order, axis=-1)
    reached = ordered.cumsum(axis=-1)
    before = np.concatenate([np.zeros_like(reached[:, :1]), reached[:, :-1]], axis=-1)
    total = weights.sum(axis=-1, keepdims=True)
    return _are_first(order, np.maximum(1, (before < p * total).sum(axis=-1)))


def _weights(logits: Logits) -> NDArray[np.float64]:
    """Each token's probability divided by the likeliest token's. (B, V) -> (B, V)"""
    wide = logits.astype(np.float64)
    weights: NDArray[np.float64] = np.exp(wide - wide.max(axis=-1, keepdims=True))
    return weights


def _below(logits: Logits, scores: NDArray[np.float64], bounds: Logits) -> Logits:
    """Forbid scores below a bound, but never the likeliest token.

    logits, scores: (B, V); bounds: (B, 1) -> (B, V)
    """
    top = logits == logits.max(axis=-1, keepdims=True)
    return _forbid(logits, (scores < bounds) & ~top)


@dataclass(frozen=True)
class TopK:
    """Keeps the k likeliest tokens, of equals those with lower ids. Source: Fan et al. (2018)."""

    k: int

    def __post_init__(self) -> None:
        require_whole("top_k", self.k, " (0 is off)")

    def __call__(self, _rows: Rows, logits: Logits) -> Logits:
        if self.k >= logits.shape[-1]:
            return logits
        counts = np.full(len(logits), self.k)
        return _forbid(logits, ~_are_first(_descending(logits), counts))


@dataclass(frozen=True)
class TopP:
    """Keeps the likeliest tokens whose probabilities first reach p together (the nucleus).

    Source: Holtzman et al., "The Curious Case of Neural Text Degeneration" (2020).
    """

    p: float

    def __post_init__(self) -> None:
        require(0 < self.p <= 1, "top_p", self.p, "in (0, 1]")

    def __call__(self, _rows: Rows, logits: Logits) -> Logits:
        return _forbid(logits, ~_until_mass(_descending(logits), _weights(logits), self.p))


@dataclass(frozen=True)
class MinP:
    """Keeps the tokens that are at least p times as likely as the likeliest.

    Source: Nguyen et al., "Turning Up the Heat: Min-p Sampling" (2024).
    """

    p: float

    def __post_init__(self) -> None:
        require(0 < self.p <= 1, "min_p", self.p, "in [0, 1]")

    @property
    def log_p(self) -> np.floating:
        """The bound on the logarithm of a token's probability over the likeliest one's."""
        bound: np.floating = np.log(self.p)
        return bound

    def __call__(self, _rows: Rows, logits: Logits) -> Logits:
        top = logits.max(axis=-1, keepdims=True)
        return _forbid(logits, logits - top < self.log_p)


def _surprise(log_p: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Which tokens are possible, and -ln p of those; 0 for the others."""
    possible = np.isfinite(log_p)
    return possible, -np.where(possible, log_p, 0.0)


@dataclass(frozen=True)
class TypicalP:
    """Keeps the tokens whose surprise is nearest to the entropy, until they reach p together.

    Source: Meister et al., "Locally Typical Sampling" (2022).
    """

    p: float

    def __post_init__(self) -> None:
        require(0 < self.p <= 1, "typical_p", self.p, "in (0, 1]")

    def __call__(self, _rows: Rows, logits: Logits) -> Logits:
        log_p = log_softmax(logits)
        probabilities = np.exp(log_p)
        possible, surprise = _surprise(log_p)
        entropy = (probabilities * surprise).sum(axis=-1, keepdims=True)
        oddness = np.where(possible, np.abs(surprise - entropy), np.inf)
        return _forbid(logits, ~_until_mass(_descending(-oddness), _weights(logits), self.p))


@dataclass(frozen=True)
class EpsilonCutoff:
    """Keeps the tokens of probability epsilon or more, the likeliest always.

    Source: Hewitt et al., "Truncation Sampling as Language Model Desmoothing" (2022).
    """

    epsilon: float

    def __post_init__(self) -> None:
        require(0 < self.epsilon < 1, "epsilon_cutoff", self.epsilon, "in [0, 1)")

    def __call__(self, _rows: Rows, logits: Logits) -> Logits:
        return _below(logits, log_softmax(logits), np.full((1, 1), np.log(self.epsilon)))


@dataclass(frozen=True)
class EtaCutoff:
    """Keeps the tokens of probability min(epsilon, sqrt(epsilon) * exp(-entropy)) or more.

    The bound is lower for a flat distribution than for a sharp one. Source: Hewitt et al. (2022).
    """

    epsilon: float

    def __post_init__(self) -> None:
        require(0 < self.epsilon < 1, "eta_cutoff", self.epsilon, "in [0, 1)")

    def __call__(self, _rows: Rows, logits: Logits) -> Logits:
        log_p = log_softmax(logits)
        _, surprise = _surprise(log_p)
        entropy = (np.exp(log_p) * surprise).sum(axis=-1, keepdims=True)
        log_epsilon = np.log(self.epsilon)
        return _below(logits, log_p, np.minimum(log_epsilon, log_epsilon / 2 - entropy))


@dataclass(frozen=True)
class TopNSigma:
    """Keeps the tokens whose logit is within n standard deviations of the highest.

    The deviation is that of the logits not yet forbidden; a temperature does not change the choice.
    Source: Tang et al., "Top-n-sigma: Not All Logits Are You Need" (2024).
    """

    n: float

    def __post_init__(self) -> None:
        require(0 < self.n < np.inf, "top_n_sigma", self.n, "finite and above 0")

    def __call__(self, _rows: Rows, logits: Logits) -> Logits:
        wide = logits.astype(np.float64)
        wide = wide - wide.max(axis=-1, keepdims=True)
        sigma = np.std(wide, axis=-1, keepdims=True, where=np.isfinite(wide))
        return _forbid(logits, wide < -self.n * sigma)


@dataclass(frozen=True)
class Xtc:
    """Forbids, with a given probability, all tokens above the threshold but the least likely one.

    "Exclude top choices": where several tokens are likely enough, the likeliest are left out for
    variety. End tokens and line breaks are not exempt. It draws one random number for each row and
    token. Source: p-e-w, text-generation-webui (2024).
    """

    probability: float
    threshold: float = 0.1

    def __post_init__(self) -> None:
        require(0 < self.probability <= 1, "xtc_probability", self.probability, "in [0, 1]")
        require(0 < self.threshold <= 1, "xtc_threshold", self.threshold, "in (0, 1]")

    def __call__(self, rows: Rows, logits: Logits) -> Logits:
        applies = np.array([rng.random() < self.probability for rng in rows.rngs])
        order = _descending(logits)
        ordered = log_softmax(np.take_along_axis(logits, order, axis=-1))
        likely = (ordered >= np.log(self.threshold)).sum(axis=-1)
        cut = np.where(applies, np.maximum(likely - 1, 0), 0)  # a number of tokens from the top
        return _forbid(logits, _are_first(order, cut))


@dataclass(frozen=True)
class Mirostat:
    """Holds a text's surprise near tau bits a token: forbids tokens more surprising than mu.

    mu begins at 2 tau and moves after each token by -eta * (surprise - tau). As in the paper, the
    surprise is that under the distribution before the cut; other implementations use the one after
    it. Each row has its own mu.

    Source: Basu et al., "Mirostat: A Neural Text Decoding Algorithm that Directly Controls
    Perplexity" (2021), algorithm 2.
    """

    tau: float
    eta: float = 0.1

    def __post_init__(self) -> None:
        require(0 < self.tau < np.inf, "mirostat_tau", self.tau, "finite and above 0")
        require(0 <= self.eta < np.inf, "mirostat_eta", self.eta, "finite and at least 0")

    def adapt(
        self, rows: Rows, logits: Logits, memory: RowArrays | None
    ) -> tuple[Logits, RowArrays]:
        """Adapt mu to the token that was taken last, then forbid tokens above it.

        memory: mu (B,) and the surprises in bits (B, V) at the last token; None at first.
        """
        surprise = -log_softmax(logits) / np.log(2.0)  # (B, V)
        if memory is None or rows.last is None:
            mu = np.full(len(logits), 2.0 * self.tau)
        else:
            mu, last_surprise = memory
            observed = last_surprise[np.arange(len(mu)), rows.last]
            mu = mu - self.eta * (observed - self.tau)
        return _below(logits, -surprise, -mu[:, None]), (mu, surprise)
