"""Hypotheses of a beam: their tokens, scores and ends. It must not know how they branch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from generative.sampling.results import Sampled

if TYPE_CHECKING:
    import numpy as np

    from generative.sampling.request import Request
    from generative.sampling.results import Detail
    from generative.sampling.rows import Rows


class Node(NamedTuple):
    """The last token of a hypothesis; its parents are the tokens before, which branches share.

    It is a tuple, like `Choice`, since a frozen dataclass takes four times as long to make.

    Attributes:
        logprob: ln p of the token under the model itself.
        total: the sum of processed log-probabilities, which ranks.
        perturbed: the same with Gumbel noise, for stochastic beam search.
        mass: the model's probability of all that the constraint allowed at this token.
        grammar: the constraint's state.
        group: the group of diverse beam search that the hypothesis belongs to.
        stop_state: the state of `request.Stop`.
    """

    parent: Node | None = None
    token: int = -1
    logprob: float = 0.0
    length: int = 0
    total: float = 0.0
    perturbed: float = 0.0
    mass: float = 1.0
    grammar: Any = None
    group: int = 0
    detail: Detail | None = None
    stop_state: Any = None

    def sampled(self, reason: str, score: float) -> Sampled:
        """The whole sequence, without its end token."""
        nodes: list[Node] = []
        node = self
        while node.parent is not None:
            nodes.append(node)
            node = node.parent
        nodes = nodes[::-1][: len(nodes) - (reason == "end")]
        return Sampled(
            tokens=[n.token for n in nodes],
            logprobs=[n.logprob for n in nodes],
            finish_reason=reason,
            score=score,
            least_allowed_mass=min((n.mass for n in nodes), default=1.0),
            details=[n.detail for n in nodes if n.detail is not None],
        )


@dataclass(frozen=True, kw_only=True)
class BeamOptions:
    """The options of beam search; `table.OPTIONS` describes each. The defaults sample."""

    num_beams: int = 1
    beam_method: str = "search"
    length_penalty: float = 0.0
    num_beam_groups: int = 1
    diversity_penalty: float = 0.0

    @property
    def group_size(self) -> int:
        """The number of hypotheses of each group."""
        return self.num_beams // self.num_beam_groups

    def score(self, node: Node) -> float:
        """The number that ranks sequences of different lengths."""
        return float(node.total / node.length**self.length_penalty)


@dataclass(frozen=True, slots=True)
class Finished:
    """A finished sequence and the number that ranks it."""

    rank: float
    reason: str
    node: Node


class Choice(NamedTuple):
    """A continuation to follow: the row of the hypothesis, the next token and the new totals."""

    parent: int
    token: int
    total: float
    perturbed: float = 0.0


@dataclass
class Beam:
    """One prompt's search. Each of `live` has one row of the batch, and one of `rows`."""

    options: BeamOptions
    request: Request
    rng: np.random.Generator
    rows: Rows
    live: list[Node]
    done: list[Finished] = field(default_factory=list)

    def result(self) -> list[Sampled]:
        """The best sequences, best first; one that several groups found is returned once."""
        best: dict[tuple[int, ...], Sampled] = {}
        for found in sorted(self.done, key=lambda found: -found.rank):
            sampled = found.node.sampled(found.reason, found.rank)
            ended = -1 if found.reason == "end" else -2
            best.setdefault((*sampled.tokens, ended), sampled)
        return list(best.values())[: self.request.num_return_sequences]

    def keep_the_best(self) -> None:
        """Drop finished sequences that can no longer be returned."""
        best: list[Finished] = []
        for group in range(self.options.num_beam_groups):
            found = [finished for finished in self.done if finished.node.group == group]
            best += sorted(found, key=lambda finished: -finished.rank)[
                : self.request.num_return_sequences
            ]
        self.done = best

    def settled(self) -> bool:
        """Whether no living hypothesis can still be among the best of its group.

        Totals only fall, so the best score that a hypothesis can still have is its present total
        over its next length or over the longest one, whichever is better.
        """
        options = self.options
        for group in {node.group for node in self.live}:
            ranks = [finished.rank for finished in self.done if finished.node.group == group]
            if len(ranks) < self.request.num_return_sequences:
                return False
            members = [node for node in self.live if node.group == group]
            total = max(node.total for node in members)
            lengths = (members[0].length + 1, self.request.max_new_tokens)
            if min(ranks) < max(total / length**options.length_penalty for length in lengths):
                return False
        return True
