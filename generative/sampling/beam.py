"""The most probable sequences, by beam search: knows hypotheses and their ranks, draws nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from generative.sampling.loop import Constraint, G, Sampled, check_prompt
from generative.sampling.processors import PENALTIES, SamplingOptions, build
from generative.sampling.samplers import log_softmax

if TYPE_CHECKING:
    from collections.abc import Sequence

    from generative.sampling.stepper import Stepper


@dataclass(frozen=True)
class _Hypothesis:
    """A sequence on its way. `total` is what ranks it: the sum of processed log-probabilities."""

    tokens: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    total: float = 0.0
    grammar: Any = None

    def finished(self, reason: str, score: float) -> Sampled:
        return Sampled(
            tokens=list(self.tokens),
            logprobs=list(self.logprobs),
            finish_reason=reason,
            score=score,
        )


def beam_search(
    stepper: Stepper[Any],
    prompt: Sequence[int],
    *,
    num_beams: int,
    max_new_tokens: int,
    num_return_sequences: int = 1,
    length_penalty: float = 0.0,
    end_id: int | None = None,
    constraint: Constraint[G] | None = None,
    constraint_state: G | None = None,
    options: SamplingOptions | None = None,
) -> list[Sampled]:
    """The best sequences that a beam of `num_beams` hypotheses finds, best first.

    A sequence's score is the sum of its log-probabilities / length ** length_penalty, where length
    counts its tokens without the prompt, the end token included. With `length_penalty` 0 this is
    canonical beam search. A hypothesis may end where its end is among the `num_beams` best
    continuations; the others go on, and the search stops early only when none of them can still
    win. All hypotheses step as one batch; width 1 is greedy search.

    Args:
        prompt: T >= 1 ids, the start token first.
        options: of these the penalties apply (to the ranking); the rest is about drawing.
        constraint, constraint_state: a grammar; what it forbids has probability 0.

    Raises:
        ValueError: a width below 1, more sequences asked for than beams, or a dead end.
    """
    if num_beams < 1:
        raise ValueError(f"num_beams must be at least 1, not {num_beams}")
    if not 1 <= num_return_sequences <= num_beams:
        raise ValueError(
            f"num_return_sequences must be in 1..num_beams ({num_beams}), "
            f"not {num_return_sequences}"
        )
    tokens = check_prompt(prompt)
    begin = constraint.start() if constraint and constraint_state is None else constraint_state
    live = [_Hypothesis(grammar=begin)]
    done: list[Sampled] = []
    processors, _ = build(_penalties_only(options or SamplingOptions()))
    if max_new_tokens < 1:
        return [live[0].finished("length", 0.0)]
    logits, state = stepper.prefill(tokens, stepper.initial_state(1))

    for length in range(1, max_new_tokens + 1):
        raw = log_softmax(logits)
        ranked = raw
        if processors:
            history = [[*prompt, *hypothesis.tokens] for hypothesis in live]
            bent = logits
            for processor in processors:
                bent = processor(history, bent)
            ranked = log_softmax(bent)
        if constraint is not None:
            allowed = np.stack([constraint.allowed(hypothesis.grammar) for hypothesis in live])
            ranked = np.where(allowed, ranked, -np.inf)
        totals = np.array([hypothesis.total for hypothesis in live])[:, None] + ranked  # (B, V)
        # Each hypothesis has one ending, so twice the width holds enough that go on.
        order = np.argsort(-totals, axis=None, kind="stable")[: 2 * num_beams]
        order = order[np.isfinite(totals.ravel()[order])]
        parents, chosen = np.divmod(order, totals.shape[1])
        ending = chosen == end_id
        done += [
            live[p].finished("end", float(totals[p, end_id]) / length**length_penalty)
            for p in parents[:num_beams][ending[:num_beams]].tolist()
        ]
        done = _best(done, num_return_sequences)
        parents, chosen = parents[~ending][:num_beams], chosen[~ending][:num_beams]
        live = [
            _extend(live[p], t, float(raw[p, t]), float(totals[p, t]), constraint)
            for p, t in zip(parents.tolist(), chosen.tolist(), strict=True)
        ]
        if (
            not live
            or length == max_new_tokens
            or _settled(
                live, done, num_return_sequences, length + 1, max_new_tokens, length_penalty
            )
        ):
            break
        logits, state = stepper.step(chosen.astype(np.int64), state.select(parents))
    if not live and not done:
        raise ValueError("the constraint allows no sequence here")
    if live and len(live[0].tokens) == max_new_tokens:
        scale = max_new_tokens**length_penalty
        done += [hypothesis.finished("length", hypothesis.total / scale) for hypothesis in live]
    return _best(done, num_return_sequences)


def _penalties_only(options: SamplingOptions) -> SamplingOptions:
    """The options that have a meaning where nothing is drawn."""
    return replace(SamplingOptions(), **{name: getattr(options, name) for name in PENALTIES})


def _extend(
    parent: _Hypothesis,
    token: int,
    logprob: float,
    total: float,
    constraint: Constraint[Any] | None,
) -> _Hypothesis:
    return _Hypothesis(
        tokens=(*parent.tokens, token),
        logprobs=(*parent.logprobs, logprob),
        total=total,
        grammar=constraint.advance(parent.grammar, token) if constraint else None,
    )


def _best(done: list[Sampled], count: int) -> list[Sampled]:
    """The `count` best, best first; among equals the one found first."""
    return sorted(done, key=lambda sampled: -sampled.score)[:count]


def _settled(
    live: list[_Hypothesis],
    done: list[Sampled],
    count: int,
    shortest: int,
    longest: int,
    length_penalty: float,
) -> bool:
    """Whether no living hypothesis can still be among the `count` best.

    Totals only fall, so the best score left is today's total over the kinder of both lengths.
    """
    if len(done) < count:
        return False
    total = max(hypothesis.total for hypothesis in live)
    bound: float = max(total / shortest**length_penalty, total / longest**length_penalty)
    return bool(done[-1].score >= bound)
