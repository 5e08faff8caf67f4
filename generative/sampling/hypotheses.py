"""Hypotheses of a beam: knows tokens, scores and what is finished, not how they branch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from generative.sampling.loop import Sampled

if TYPE_CHECKING:
    import numpy as np

    from generative.sampling.details import Detail
    from generative.sampling.rows import Rows


class Node(NamedTuple):
    """The last token of a hypothesis and, by its parents, all before; branches share their stem.

    A tuple, like a choice, since a frozen dataclass takes four times as long to make.

    Attributes:
        logprob: ln p of the token under the model itself.
        total: the sum of processed log-probabilities, which ranks.
        perturbed: the same with Gumbel noise, for stochastic beam search.
        mass: what the constraint left of the model's probability at this token.
        grammar: where the constraint stands.
        group: of diverse search.
        said: what `loop.Stop` remembers.
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
    said: Any = None

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
class Plan:
    """What a search was asked for; the same for every prompt."""

    num_beams: int
    count: int
    steps: int
    length_penalty: float
    groups: int
    diversity_penalty: float
    end_id: int | None

    @property
    def group_size(self) -> int:
        """Hypotheses of each group."""
        return self.num_beams // self.groups

    def score(self, node: Node) -> float:
        """What ranks sequences of different lengths."""
        return float(node.total / node.length**self.length_penalty)


@dataclass(frozen=True, slots=True)
class Finished:
    """A sequence that goes on no more."""

    rank: float
    reason: str
    node: Node


class Choice(NamedTuple):
    """A continuation to follow: of which hypothesis, with which token, and what it then scores."""

    parent: int
    token: int
    total: float
    perturbed: float = 0.0


@dataclass
class Beam:
    """One prompt's search. `live` and `rows` go together, one row of the batch each."""

    plan: Plan
    rng: np.random.Generator
    rows: Rows
    live: list[Node]
    done: list[Finished] = field(default_factory=list)

    def result(self) -> list[Sampled]:
        """The best sequences, best first; what several groups found counts once."""
        best: dict[tuple[int, ...], Sampled] = {}
        for found in sorted(self.done, key=lambda found: -found.rank):
            sampled = found.node.sampled(found.reason, found.rank)
            ended = -1 if found.reason == "end" else -2
            best.setdefault((*sampled.tokens, ended), sampled)
        return list(best.values())[: self.plan.count]

    def keep_the_best(self) -> None:
        """Forget finished sequences that can no longer be asked for."""
        best: list[Finished] = []
        for group in range(self.plan.groups):
            found = [finished for finished in self.done if finished.node.group == group]
            best += sorted(found, key=lambda finished: -finished.rank)[: self.plan.count]
        self.done = best

    def settled(self) -> bool:
        """Whether no living hypothesis can still be among the best of its group.

        Totals only fall, so the best score left is today's total over the kinder of both lengths.
        """
        plan = self.plan
        for group in {node.group for node in self.live}:
            ranks = [finished.rank for finished in self.done if finished.node.group == group]
            if len(ranks) < plan.count:
                return False
            members = [node for node in self.live if node.group == group]
            total = max(node.total for node in members)
            lengths = (members[0].length + 1, plan.steps)
            if min(ranks) < max(total / length**plan.length_penalty for length in lengths):
                return False
        return True
