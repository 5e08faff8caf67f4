"""The sampling loop: step, process, draw, again, for rows that begin together and end singly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from generative.sampling.options import SamplingOptions, build
from generative.sampling.plain import PlainChain, Runner, plain_chain
from generative.sampling.processors import start_rows
from generative.sampling.request import Request, check_prompt
from generative.sampling.results import Detail, Draw, describe_choice
from generative.sampling.samplers import Logits, Sampler, drawn_log_p, row_generator
from generative.sampling.step import LogitsPipeline, Step, check_logits

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from generative.sampling.rows import Rows
    from generative.sampling.stepper import Stepper

# A `Runner` draws that many tokens of a row before the caller sees them: few at first, since a user
# may be watching, and never so many that an interrupt or a stop string waits for long.
FIRST_RUN, LONGEST_RUN = 4, 64


def sample(
    stepper: Stepper[Any],
    prompt: Sequence[int],
    request: Request,
    options: SamplingOptions | None = None,
) -> Iterator[list[Draw]]:
    """Draw sequences that continue `prompt`, one token of every unfinished row at a time.

    Args:
        stepper: the model.
        prompt: T >= 1 ids, the start token first.
        request: what is asked for.
        options: how to choose tokens; None draws from the model's own distribution.

    Yields:
        The draws of one step, rows in order.

    Raises:
        ValueError: an option out of range, or a constraint that allows nothing.
    """
    processors, sampler = build(options or SamplingOptions(), end_id=request.end_id)
    tokens = check_prompt(prompt)
    if request.max_new_tokens < 1:
        return
    count = request.num_return_sequences
    logits, state = stepper.prefill(tokens, stepper.initial_state(1))
    logits, state = logits.repeat(count, axis=0), state.select([0] * count)
    rngs = [row_generator(request.seed, row) for row in range(count)]
    is_plain = request.constraint is None and request.top_logprobs is None
    chain = plain_chain(processors, sampler) if is_plain else None
    endings = _Endings(request)
    if chain and isinstance(stepper, Runner):
        check_logits(logits)
        yield from _draw_in_runs(stepper, chain, logits, state, rngs, endings)
        return
    batch = _Batch(
        indices=list(range(count)),
        rows=start_rows(processors, prompt, logits.shape[-1], rngs, request.max_new_tokens),
        grammars=[request.first_state()] * count,
    )
    pipeline = LogitsPipeline(processors, request.constraint)
    for remaining in range(request.max_new_tokens - 1, -1, -1):
        step = pipeline(logits, batch.rows, batch.grammars)
        if step.dead_ends.any():
            raise ValueError("the constraint allows no token that is possible here")
        drawn = sampler(step.processed, batch.rows.rngs)
        details = _details(step, drawn, sampler, request.top_logprobs)
        draws = _draws(batch.indices, step, drawn, details)
        for draw in draws:
            draw.finish_reason = endings.reason(draw.row, draw.token, remaining)
        yield draws
        alive = [i for i, draw in enumerate(draws) if draw.finish_reason is None]
        if not alive:
            return
        batch = batch.after(step.rows, drawn, alive, pipeline)
        if len(alive) < len(draws):
            state = state.select(alive)
        logits, state = stepper.step(drawn[alive], state)


@dataclass(frozen=True, slots=True)
class _Batch:
    """The rows that are not finished.

    Attributes:
        indices: the index of the sequence that each row is.
        rows: what processors may know of them.
        grammars: the constraint's state of each row.
    """

    indices: list[int]
    rows: Rows
    grammars: list[Any]

    def after(
        self, rows: Rows, drawn: NDArray[np.int64], alive: list[int], pipeline: LogitsPipeline
    ) -> _Batch:
        """The rows that live on, with the token that each has drawn."""
        if pipeline.processors:
            rows = rows.after(drawn)
        if len(alive) < len(drawn):
            rows = rows.select(alive)
        grammars = self.grammars
        if pipeline.constraint is not None:
            grammars = [pipeline.constraint.advance(grammars[i], int(drawn[i])) for i in alive]
        return _Batch([self.indices[i] for i in alive], rows, grammars)


def _details(
    step: Step, drawn: NDArray[np.int64], sampler: Sampler, count: int | None
) -> Sequence[Detail | None]:
    """Each row's choice beside its `count` likeliest tokens; None for each if none is requested."""
    if count is None:
        return [None] * len(drawn)
    processed = drawn_log_p(step.processed, sampler)
    return [
        describe_choice(step.log_p[i], processed[i], token, count)
        for i, token in enumerate(drawn.tolist())
    ]


def _draws(
    indices: list[int], step: Step, drawn: NDArray[np.int64], details: Sequence[Detail | None]
) -> list[Draw]:
    """The draws of one step, which do not yet have a reason to finish."""
    logprobs = step.log_p[np.arange(len(drawn)), drawn]
    columns = zip(
        indices,
        drawn.tolist(),
        logprobs.tolist(),
        step.allowed_mass.tolist(),
        details,
        strict=True,
    )
    return [
        Draw(index, token, logprob, None, mass, detail)
        for index, token, logprob, mass, detail in columns
    ]


def _draw_in_runs(
    stepper: Runner[Any],
    chain: PlainChain,
    logits: Logits,
    state: Any,
    rngs: Sequence[np.random.Generator],
    endings: _Endings,
) -> Iterator[list[Draw]]:
    """`sample` by a stepper that draws: a few tokens a call at first, then more."""
    rows = list(range(len(rngs)))
    remaining, size = endings.max_new_tokens, FIRST_RUN
    while rows:
        uniforms = np.stack([rngs[row].random(min(size, remaining)) for row in rows], axis=1)
        while len(uniforms) and rows:
            drawn, logprobs, logits, state = stepper.run(
                chain, logits, state, uniforms, endings.end_id
            )
            alive = list(range(len(rows)))
            for tokens, step_logprobs in zip(drawn.tolist(), logprobs.tolist(), strict=True):
                if not alive:
                    break
                remaining -= 1
                draws = [
                    Draw(
                        rows[i],
                        tokens[i],
                        step_logprobs[i],
                        endings.reason(rows[i], tokens[i], remaining),
                    )
                    for i in alive
                ]
                yield draws
                alive = [i for i, draw in zip(alive, draws, strict=True) if not draw.finish_reason]
            uniforms = uniforms[len(drawn) :]
            if len(alive) < len(rows):
                rows = [rows[i] for i in alive]
                uniforms, logits, state = uniforms[:, alive], logits[alive], state.select(alive)
        size = min(2 * size, max(FIRST_RUN, LONGEST_RUN // max(1, len(rows))))


class _Endings:
    """Why rows end: by the end token, by `request.stop` or by their length."""

    def __init__(self, request: Request) -> None:
        self.end_id = request.end_id
        self.max_new_tokens = request.max_new_tokens
        self._stop = request.stop
        self._stop_states: list[Any] = [None] * request.num_return_sequences

    def reason(self, row: int, token: int, remaining: int) -> str | None:
        """Why a row ends with this token; None if it goes on."""
        if token == self.end_id:
            return "end"
        if self._stop is not None:
            self._stop_states[row], stopped = self._stop(self._stop_states[row], token)
            if stopped:
                return "stop"
        return "length" if remaining == 0 else None
