"""How a beam branches: the methods of beam search.

A method maps (beam, processed log-probabilities (B, V)) to the continuations to follow. A new one
is one function and one row in `METHODS`. It must not know models, grammars or batches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from generative.sampling.hypotheses import Beam, BeamOptions, Choice, Node

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


def _highest(scores: NDArray[np.float64], count: int) -> list[int]:
    """The indices of the `count` highest finite scores, best first, equals by index. (N,)"""
    if count < 1:
        return []
    if count < scores.size:  # all candidates, equals of the last one included
        bound = np.partition(scores, scores.size - count)[scores.size - count]
        places = np.flatnonzero(scores >= bound)
    else:
        places = np.arange(scores.size)
    places = places[np.argsort(-scores[places], kind="stable")][:count]
    highest: list[int] = places[np.isfinite(scores[places])].tolist()
    return highest


def _totals(beam: Beam, log_p: NDArray[np.float64]) -> NDArray[np.float64]:
    """The log-probability of every continuation of every hypothesis. (B, V)"""
    return np.asarray(np.array([node.total for node in beam.live])[:, None] + log_p)


def by_rank(beam: Beam, log_p: NDArray[np.float64]) -> list[Choice]:
    """Each group's best continuations; an end token counts only among the best `group_size`.

    Groups choose one after the other, and a token loses `diversity_penalty` for each hypothesis of
    an earlier group that took it. Source: Vijayakumar et al., "Diverse Beam
    Search" (2016), with Hamming diversity.
    """
    options, size = beam.options, log_p.shape[1]
    groups = np.array([node.group for node in beam.live])
    totals = _totals(beam, log_p)
    taken = np.zeros(size)  # how often earlier groups took each token now
    chosen: list[Choice] = []
    for group in range(options.num_beam_groups):
        members = np.flatnonzero(groups == group).tolist()
        scores = totals
        if options.num_beam_groups > 1:
            scores = totals[members] - options.diversity_penalty * taken
        scores = scores.ravel()
        going_on: list[int] = []
        # Each hypothesis ends in one way only, so twice the width holds enough that go on.
        for place, at in enumerate(_highest(scores, min(2 * options.group_size, scores.size))):
            row, token = divmod(at, size)
            parent = members[row]
            if token != beam.request.end_id:
                going_on.append(token)
            elif place >= options.group_size:
                continue
            chosen.append(Choice(parent, token, float(totals[parent, token])))
            if len(going_on) == options.group_size:
                break
        if options.num_beam_groups > 1:
            np.add.at(taken, np.array(going_on, dtype=np.int64), 1.0)
    return chosen


def by_chance(beam: Beam, log_p: NDArray[np.float64]) -> list[Choice]:
    """Continuations drawn without replacement, by the probability of the whole hypothesis.

    A finished sequence keeps its place in the beam, so that a beam of one is ordinary sampling.
    """
    totals = _totals(beam, log_p).ravel()
    noisy = totals + beam.rng.gumbel(size=totals.shape)  # Gumbel-top-k draws in turn
    best = _highest(noisy, beam.options.num_beams - len(beam.done))
    size = log_p.shape[1]
    return [Choice(at // size, at % size, float(totals[at])) for at in best]


def without_replacement(beam: Beam, log_p: NDArray[np.float64]) -> list[Choice]:
    """Gumbel-top-k over whole sequences: those left at the end are drawn without replacement.

    Every sequence has a perturbed log-probability, its own plus Gumbel noise, and a hypothesis has
    the greatest one of the sequences it leads to. So the noise of its continuations is conditioned
    on their greatest being that one. Finished sequences compete by theirs.

    Source: Kool et al., "Stochastic Beams and Where to Find Them" (2019), appendix B.3 for the
    stable form.
    """
    size = log_p.shape[1]
    totals = _totals(beam, log_p)
    noisy = totals + beam.rng.gumbel(size=totals.shape)
    if beam.live[0].length:  # the noise of the prompt itself is not conditioned
        noisy = _conditioned(noisy, np.array([node.perturbed for node in beam.live])[:, None])
    everything = np.concatenate([[finished.rank for finished in beam.done], noisy.ravel()])
    kept = _highest(everything, beam.options.num_beams)
    ended = len(beam.done)
    beam.done = [beam.done[place] for place in kept if place < ended]
    places = [place - ended for place in kept if place >= ended]
    return [
        Choice(at // size, at % size, float(totals.flat[at]), float(noisy.flat[at]))
        for at in places
    ]


def _conditioned(noisy: NDArray[np.float64], greatest: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gumbel variables moved so that each row's greatest is as given. (B, V), (B, 1) -> (B, V)"""
    top = noisy.max(axis=-1, keepdims=True)
    possible = np.isfinite(noisy)
    others = possible & (noisy < top)
    below = np.where(others, noisy, top - 1.0)  # a number that is not used
    below = np.where(possible.any(axis=-1, keepdims=True), below, 0.0)
    top = np.where(np.isfinite(top), top, 1.0)
    gap = greatest - below + np.log1p(-np.exp(below - top))
    moved = greatest - np.maximum(0.0, gap) - np.log1p(np.exp(-np.abs(gap)))
    return np.where(others, moved, np.where(possible, greatest, -np.inf))


@dataclass(frozen=True)
class Method:
    """A method of branching.

    Attributes:
        choose: the continuations to follow.
        draws: whether it draws at random; then all processors apply, and the probability of what
            is left is renormalised.
        rank: the number that orders finished sequences.
        stops_early: whether a beam may end while it has live hypotheses.
    """

    choose: Callable[[Beam, NDArray[np.float64]], list[Choice]]
    draws: bool
    rank: Callable[[BeamOptions, Node], float]
    stops_early: bool = False


METHODS = {
    "search": Method(by_rank, draws=False, rank=BeamOptions.score, stops_early=True),
    "sample": Method(by_chance, draws=True, rank=BeamOptions.score),
    "stochastic": Method(without_replacement, draws=True, rank=lambda _, node: node.perturbed),
}
