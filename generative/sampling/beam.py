"""Beam search over a stepper; all hypotheses of all prompts step as one batch.

How a beam branches is in `branching`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from generative.errors import OptionError
from generative.sampling.branching import METHODS, Method
from generative.sampling.checks import require
from generative.sampling.hypotheses import Beam, BeamOptions, Choice, Finished, Node
from generative.sampling.options import SamplingOptions, build
from generative.sampling.processors import start_rows
from generative.sampling.request import Request, check_prompt
from generative.sampling.results import Sampled, describe_choice
from generative.sampling.samplers import Greedy, Logits, log_softmax, row_generator
from generative.sampling.step import LogitsPipeline, Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from generative.sampling.stepper import Stepper

MAX_LENGTH_PENALTY = 10


def beam_search(
    stepper: Stepper[Any],
    prompts: Sequence[Sequence[int]],
    beam_options: BeamOptions,
    request: Request,
    options: SamplingOptions | None = None,
) -> list[list[Sampled]]:
    """For each prompt the best sequences that a beam of `num_beams` hypotheses finds, best first.

    A sequence's score is the sum of its log-probabilities / length ** length_penalty, where length
    counts its tokens without the prompt, the end token included. With `length_penalty` 0 and one
    group, "search" is canonical beam search: a hypothesis ends where its end is among the best
    continuations, the others go on, and it stops early only when none of them can still win.
    Width 1 is greedy search. Groups choose in turn at each token; in each a token loses
    `diversity_penalty` for every earlier group's hypothesis that took it, in the choice, not in
    the score.

    "sample" fills the beam with continuations drawn without replacement by their probability;
    "stochastic" draws whole sequences without replacement (its score is the log-probability
    with Gumbel noise, by which they were drawn). In both a finished sequence keeps its place in
    the beam, and with width 1 both are ordinary sampling.

    A score counts the model's own probabilities: the mass that constraints, bans and blocked
    n-grams remove is not given to the remaining tokens, and penalties move mass only among those.

    Fewer sequences are returned where there are no more, or where groups found the same ones.

    Args:
        stepper: the model.
        prompts: of T >= 1 ids each, the start token first.
        beam_options: the width of the beam and how it branches.
        request: what is asked for. A token that the constraint forbids has probability 0.
        options: how to process logits. "search" uses only the processors that have a meaning where
            nothing is drawn; the other methods draw from the result of all of them.

    Raises:
        ValueError: a number out of range, or a dead end.
    """
    check(beam_options, request.num_return_sequences)
    for prompt in prompts:
        check_prompt(prompt)
    if request.max_new_tokens < 1:
        return [[Node().sampled("length", 0.0)] for _ in prompts]
    method = METHODS[beam_options.beam_method]
    processors, sampler = build(
        options or SamplingOptions(), end_id=request.end_id, ranking=not method.draws
    )
    if method.draws and isinstance(sampler, Greedy):
        name = beam_options.beam_method
        raise OptionError(f"temperature 0 draws nothing: beam_method {name!r} needs more")
    first, groups = request.first_state(), beam_options.num_beam_groups
    beams = []
    for index, prompt in enumerate(prompts):
        rng = row_generator(request.seed, index)
        rows = start_rows(processors, prompt, stepper.vocab_size, [rng], request.max_new_tokens)
        roots = [Node(grammar=first, group=group) for group in range(groups)]
        beams.append(Beam(beam_options, request, rng, rows.select([0] * groups), roots))
    _run(stepper, prompts, beams, _Advance(method, LogitsPipeline(processors, request.constraint)))
    if not all(beam.done for beam in beams):
        raise ValueError("the constraint allows no sequence here")
    return [beam.result() for beam in beams]


def check(options: BeamOptions, num_return_sequences: int) -> None:
    """Refuse numbers that do not fit together.

    Raises:
        OptionError: naming the option, its range and the value.
    """
    method, width, groups = options.beam_method, options.num_beams, options.num_beam_groups
    require(method in METHODS, "beam_method", repr(method), f"one of {', '.join(METHODS)}")
    require(width >= 1, "num_beams", width, "at least 1")
    require(
        1 <= num_return_sequences <= width,
        "num_return_sequences",
        num_return_sequences,
        f"in 1..num_beams ({width})",
    )
    if groups < 1 or width % groups:
        raise OptionError(f"num_beam_groups must divide num_beams ({width}), not {groups}")
    if groups > 1 and method != "search":
        raise OptionError(f"num_beam_groups must be 1 where beam_method is {method!r}")
    penalty = options.diversity_penalty
    require(0 <= penalty < np.inf, "diversity_penalty", penalty, "finite and at least 0")
    limit = MAX_LENGTH_PENALTY
    penalty = options.length_penalty
    require(-limit <= penalty <= limit, "length_penalty", penalty, f"in -{limit}..{limit}")


@dataclass(frozen=True)
class _Advance:
    """Gives one beam one token more: processes logits, chooses and makes the new hypotheses."""

    method: Method
    pipeline: LogitsPipeline

    def __call__(self, beam: Beam, logits: Logits) -> list[int]:
        """logits: (B, V), a row for each of `beam.live` -> the row that each new one continues."""
        step = self.pipeline(logits, beam.rows, [node.grammar for node in beam.live])
        beam.rows = step.rows
        ranked = self._ranked(step)
        parents: list[int] = []
        live: list[Node] = []
        for choice in self.method.choose(beam, ranked):
            node, reason = self._node(beam, choice, step, ranked)
            if reason is not None:
                rank = self.method.rank(beam.options, node)
                beam.done.append(Finished(rank, reason, node))
            else:
                parents.append(choice.parent)
                live.append(node)
        beam.live = live
        if self.method.stops_early:
            beam.keep_the_best()
            if live and beam.settled():
                beam.live, parents = [], []
        if self.pipeline.processors and beam.live:
            tokens = np.array([node.token for node in beam.live], dtype=np.int64)
            beam.rows = beam.rows.select(parents).after(tokens)
        return parents

    def _ranked(self, step: Step) -> NDArray[np.float64]:
        """The log-probabilities by which the next tokens are chosen. (B, V)

        A search ranks by the model's own probabilities, so the mass of forbidden tokens stays lost.
        A method that draws needs a distribution over the remaining tokens.
        """
        if self.method.draws:
            ranked = log_softmax(step.processed)
        elif self.pipeline.processors:
            ranked = log_softmax(step.processed) + _log_mass(step.log_p, step.processed)
        else:
            ranked = np.where(np.isfinite(step.processed), step.log_p, -np.inf)
        return np.where(step.dead_ends[:, None], -np.inf, ranked)

    def _node(
        self, beam: Beam, choice: Choice, step: Step, ranked: NDArray[np.float64]
    ) -> tuple[Node, str | None]:
        """A hypothesis with one token more, and why it ends there, if it does."""
        row, token = choice.parent, choice.token
        old, request, constraint = beam.live[row], beam.request, self.pipeline.constraint
        stop_state = old.stop_state
        reason = "length" if old.length + 1 == request.max_new_tokens else None
        if token == request.end_id:
            reason = "end"
        elif request.stop is not None:
            stop_state, stopped = request.stop(old.stop_state, token)
            reason = "stop" if stopped else reason
        detail = None
        if request.top_logprobs is not None:
            detail = describe_choice(step.log_p[row], ranked[row], token, request.top_logprobs)
        return Node(
            parent=old,
            token=token,
            logprob=float(step.log_p[row, token]),
            length=old.length + 1,
            total=choice.total,
            perturbed=choice.perturbed,
            mass=float(step.allowed_mass[row]),
            grammar=constraint.advance(old.grammar, token) if constraint else None,
            group=old.group,
            detail=detail,
            stop_state=stop_state,
        ), reason


def _log_mass(log_p: NDArray[np.float64], processed: Logits) -> NDArray[np.float64]:
    """ln of the model's probability of all that is not forbidden. (B, V), (B, V) -> (B, 1)"""
    left = np.where(np.isfinite(processed), log_p, -np.inf)
    top = left.max(axis=-1, keepdims=True)  # subtracted first, since all of it may be tiny
    mass: NDArray[np.float64] = top + np.log(np.exp(left - top).sum(axis=-1, keepdims=True))
    return mass


def _run(
    stepper: Stepper[Any],
    prompts: Sequence[Sequence[int]],
    beams: list[Beam],
    advance: _Advance,
) -> None:
    """Step all hypotheses of all beams until none lives.

    The tokens that all prompts have in common are read once. Then each prompt's remaining tokens
    are read one by one beside the others' hypotheses, so that one batch serves all of them.
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
                # before the first token all groups share the prompt's row
                own = rows if len(rows) == len(beam.live) else rows * len(beam.live)
                parents = [own[parent] for parent in advance(beam, logits[own])]
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
