"""Beam search over a stepper: knows batches, grammars and processors, not how a beam branches.

All hypotheses of all prompts step as one batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from generative.errors import OptionError
from generative.sampling.branching import METHODS, Method
from generative.sampling.details import describe_choice
from generative.sampling.hypotheses import Beam, Choice, Finished, Node, Plan
from generative.sampling.loop import (
    Constraint,
    G,
    Sampled,
    Stop,
    check_logits,
    check_prompt,
    measured,
)
from generative.sampling.penalties import require
from generative.sampling.processors import LogitsProcessor, SamplingOptions, begin, bend, build
from generative.sampling.samplers import Greedy, Logits, log_softmax, row_generator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from generative.sampling.stepper import Stepper

MAX_LENGTH_PENALTY = 10


def beam_search(
    stepper: Stepper[Any],
    prompts: Sequence[Sequence[int]],
    *,
    num_beams: int,
    max_new_tokens: int,
    num_return_sequences: int = 1,
    length_penalty: float = 0.0,
    method: str = "search",
    num_beam_groups: int = 1,
    diversity_penalty: float = 0.0,
    seed: int = 0,
    end_id: int | None = None,
    constraint: Constraint[G] | None = None,
    constraint_state: G | None = None,
    stop: Stop | None = None,
    options: SamplingOptions | None = None,
    top_logprobs: int | None = None,
) -> list[list[Sampled]]:
    """For each prompt the best sequences that a beam of `num_beams` hypotheses finds, best first.

    A sequence's score is the sum of its log-probabilities / length ** length_penalty, where length
    counts its tokens without the prompt, the end token included. With `length_penalty` 0 and one
    group, "search" is canonical beam search: a hypothesis ends where its end is among the best
    continuations, the others go on, and it stops early only when none of them can still win.
    Width 1 is greedy search. Groups take their turn at each token; in each a token loses
    `diversity_penalty` for every earlier group's hypothesis that took it, in the choice, not in
    the score.

    "sample" fills the beam with continuations drawn without replacement by their probability;
    "stochastic" draws whole sequences without replacement (its score is the log-probability
    with Gumbel noise, by which they were drawn). In both a finished sequence keeps its place in
    the beam, and with width 1 both are ordinary sampling.

    A score counts what the model itself gives: what constraints, bans and blocked n-grams took away
    is not shared out among the rest, and penalties move belief only among what is left.

    Fewer sequences come back where there are no more, or where groups found the same ones.

    Args:
        prompts: of T >= 1 ids each, the start token first.
        method: a row of `METHODS`.
        num_beam_groups: a divisor of `num_beams`.
        seed: of what is drawn; prompt i draws from the generator of (seed, i).
        options: "search" ranks by those that have a meaning where nothing is drawn; the others
            draw from what all of them make.
        constraint, constraint_state: a grammar; what it forbids has probability 0.
        stop: asked after each token whether it ends the hypothesis.
        top_logprobs: tell each token's processed log-probability, and so many alternatives.

    Raises:
        ValueError: a number out of range, or a dead end.
    """
    plan = Plan(
        num_beams=num_beams,
        count=num_return_sequences,
        steps=max_new_tokens,
        length_penalty=length_penalty,
        groups=num_beam_groups,
        diversity_penalty=diversity_penalty,
        end_id=end_id,
    )
    check(plan, method)
    for prompt in prompts:
        check_prompt(prompt)
    if max_new_tokens < 1:
        return [[Node().sampled("length", 0.0)] for _ in prompts]
    first = constraint.start() if constraint and constraint_state is None else constraint_state
    way = METHODS[method]
    processors, sampler = build(options or SamplingOptions(), end_id=end_id, ranking=not way.draws)
    if way.draws and isinstance(sampler, Greedy):
        raise OptionError(f"temperature 0 draws nothing: beam_method {method!r} needs more")
    beams = []
    for index, prompt in enumerate(prompts):
        rng = row_generator(seed, index)
        rows = begin(processors, prompt, stepper.vocab_size, [rng], max_new_tokens)
        roots = [Node(grammar=first, group=group) for group in range(num_beam_groups)]
        beams.append(Beam(plan, rng, rows.select([0] * num_beam_groups), roots))
    _run(stepper, prompts, beams, _Wheel(way, processors, constraint, stop, top_logprobs))
    if not all(beam.done for beam in beams):
        raise ValueError("the constraint allows no sequence here")
    return [beam.result() for beam in beams]


def check(plan: Plan, method: str) -> None:
    """Refuse numbers that do not fit together.

    Raises:
        OptionError: naming the option, its range and the value seen.
    """
    if method not in METHODS:
        raise OptionError(f"beam_method must be one of {', '.join(METHODS)}, not {method!r}")
    if plan.num_beams < 1:
        raise OptionError(f"num_beams must be at least 1, not {plan.num_beams}")
    if not 1 <= plan.count <= plan.num_beams:
        raise OptionError(
            f"num_return_sequences must be in 1..num_beams ({plan.num_beams}), not {plan.count}"
        )
    if plan.groups < 1 or plan.num_beams % plan.groups:
        raise OptionError(
            f"num_beam_groups must divide num_beams ({plan.num_beams}), not {plan.groups}"
        )
    if plan.groups > 1 and method != "search":
        raise OptionError(f"num_beam_groups must be 1 where beam_method is {method!r}")
    penalty = plan.diversity_penalty
    require(0 <= penalty < np.inf, "diversity_penalty", penalty, "finite and at least 0")
    limit = MAX_LENGTH_PENALTY
    penalty = plan.length_penalty
    require(-limit <= penalty <= limit, "length_penalty", penalty, f"in -{limit}..{limit}")


@dataclass(frozen=True)
class _Wheel:
    """One token more for one beam: constraint, processors, choice."""

    method: Method
    processors: list[LogitsProcessor]
    constraint: Constraint[Any] | None
    stop: Stop | None
    top_logprobs: int | None

    def turn(self, beam: Beam, logits: Logits) -> list[int]:
        """logits: (B, V), a row each of `beam.live` -> which of them the new ones continue."""
        check_logits(logits)
        raw = log_softmax(logits)
        ranked, masses = self._ranked(beam, logits, raw)
        parents: list[int] = []
        live: list[Node] = []
        for choice in self.method.choose(beam, ranked):
            node, reason = self._node(beam, choice, raw, ranked, masses)
            if reason is not None:
                rank = self.method.rank(beam.plan, node)
                beam.done.append(Finished(rank, reason, node))
            else:
                parents.append(choice.parent)
                live.append(node)
        beam.live = live
        if self.method.stops_early:
            beam.keep_the_best()
            if live and beam.settled():
                beam.live, parents = [], []
        if self.processors and beam.live:
            tokens = np.array([node.token for node in beam.live], dtype=np.int64)
            beam.rows = beam.rows.select(parents).after(tokens)
        return parents

    def _ranked(
        self, beam: Beam, logits: Logits, raw: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What ranks the next tokens, and the mass that the constraint leaves. -> (B, V), (B,)"""
        bent, masses = logits, np.ones(len(logits))
        stuck = np.zeros(len(logits), dtype=np.bool_)
        if self.constraint is not None:
            masks = np.stack([self.constraint.allowed(node.grammar) for node in beam.live])
            stuck = ~np.isfinite(np.where(masks, logits, -np.inf).max(axis=-1))
            # a hypothesis at a dead end leaves the beam; until then its row must be one
            bent = np.where(masks | stuck[:, None], logits, -np.inf)
            masses = np.exp(_log_mass(raw, bent))[:, 0]
        if self.processors:
            grammars = [node.grammar for node in beam.live]
            rows = measured(beam.rows, self.constraint, grammars)
            bent, beam.rows = bend(self.processors, rows, bent)
        # A search ranks by the model's own probabilities, so what was barred stays lost; what draws
        # needs a distribution over what is left.
        if self.method.draws:
            ranked = log_softmax(bent)
        elif self.processors:
            ranked = log_softmax(bent) + _log_mass(raw, bent)
        else:
            ranked = np.where(np.isfinite(bent), raw, -np.inf)
        return np.where(stuck[:, None], -np.inf, ranked), masses

    def _node(
        self,
        beam: Beam,
        choice: Choice,
        raw: NDArray[np.float64],
        ranked: NDArray[np.float64],
        masses: NDArray[np.float64],
    ) -> tuple[Node, str | None]:
        """A hypothesis with one token more, and why it ends there, if it does."""
        row, token = choice.parent, choice.token
        old, plan, count = beam.live[row], beam.plan, self.top_logprobs
        said, reason = old.said, "length" if old.length + 1 == plan.steps else None
        if token == plan.end_id:
            reason = "end"
        elif self.stop is not None:
            said, stopped = self.stop(old.said, token)
            reason = "stop" if stopped else reason
        return Node(
            parent=old,
            token=token,
            logprob=float(raw[row, token]),
            length=old.length + 1,
            total=choice.total,
            perturbed=choice.perturbed,
            mass=float(masses[row]),
            grammar=self.constraint.advance(old.grammar, token) if self.constraint else None,
            group=old.group,
            detail=None if count is None else describe_choice(raw[row], ranked[row], token, count),
            said=said,
        ), reason


def _log_mass(log_p: NDArray[np.float64], bent: Logits) -> NDArray[np.float64]:
    """ln of the probability of all that is not barred. (B, V), (B, V) -> (B, 1)"""
    left = np.where(np.isfinite(bent), log_p, -np.inf)
    top = left.max(axis=-1, keepdims=True)  # first, since all of it may be tiny
    mass: NDArray[np.float64] = top + np.log(np.exp(left - top).sum(axis=-1, keepdims=True))
    return mass


def _run(
    stepper: Stepper[Any],
    prompts: Sequence[Sequence[int]],
    beams: list[Beam],
    wheel: _Wheel,
) -> None:
    """Step all hypotheses of all beams until none lives.

    What the prompts have in common is read once. From there each prompt's own rest is fed token by
    token beside the others' hypotheses, so that one batch serves all of them.
    """
    common = _common_length(prompts)
    waiting = [list(prompt[common:]) for prompt in prompts]
    logits, state = stepper.prefill(check_prompt(prompts[0][:common]), stepper.initial_state(1))
    logits, state = logits.repeat(len(beams), axis=0), _reordered(state, [0] * len(beams), 1)
    batch = [[index] for index in range(len(beams))]  # the rows of each beam
    while any(batch):
        sources: list[int] = []  # the row that each new row continues
        tokens: list[int] = []
        for index, (beam, rows) in enumerate(zip(beams, batch, strict=True)):
            if not rows:
                continue
            if waiting[index]:
                new, parents = [waiting[index].pop(0)], rows
            else:
                if len(rows) < len(beam.live):  # at first all groups share the prompt's row
                    rows = rows * len(beam.live)  # noqa: PLW2901
                parents = [rows[parent] for parent in wheel.turn(beam, logits[rows])]
                new = [node.token for node in beam.live]
            batch[index] = list(range(len(tokens), len(tokens) + len(new)))
            sources += parents
            tokens += new
        if tokens:
            state = _reordered(state, sources, len(logits))
            logits, state = stepper.step(np.array(tokens, dtype=np.int64), state)


def _common_length(prompts: Sequence[Sequence[int]]) -> int:
    """How many tokens all prompts begin with; the start token at least.

    Raises:
        ValueError: they begin differently.
    """
    shortest = min(len(prompt) for prompt in prompts)
    different = (i for i in range(shortest) if any(p[i] != prompts[0][i] for p in prompts))
    common = next(different, shortest)
    if common == 0:
        raise ValueError("prompts must begin with the same start token")
    return common


def _reordered(state: Any, rows: list[int], size: int) -> Any:
    """The state's rows in a new order; untouched where the order is the old one."""
    return state if rows == list(range(size)) else state.select(rows)
