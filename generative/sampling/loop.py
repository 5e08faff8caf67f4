"""The wheel: step, process, draw, again; knows rows that begin together and end on their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from generative.sampling.plain import PlainChain, Runner, plain_chain
from generative.sampling.processors import NoRepeatNgram, RepetitionPenalty, SamplingOptions, build
from generative.sampling.samplers import Logits, log_softmax, row_generator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from generative.sampling.stepper import Stepper

G = TypeVar("G")
# Tokens that a stepper draws by itself before anyone sees them: few a row at first, since someone
# may be watching, and never so many in all that an interrupt or a stop string waits for long.
FIRST_RUN, LONGEST_RUN = 4, 64


class Constraint(Protocol[G]):
    """A grammar: which tokens may come next. Its states are immutable, so that rows share them."""

    def start(self) -> G:
        """Where every sequence begins."""
        ...

    def advance(self, state: G, token: int) -> G:
        """Where `token` leads."""
        ...

    def allowed(self, state: G) -> NDArray[np.bool_]:
        """What may come next. (V,)"""
        ...


@dataclass(slots=True)
class Draw:
    """One token of one row. Not frozen, which would treble what making one costs.

    Attributes:
        row: which sequence.
        token: what was drawn; the end token when `finish_reason` is "end".
        logprob: ln p of it under the model itself, before constraint and options.
        finish_reason: None while the row goes on; "length", "end" or "stop".
        allowed_mass: the probability of all that the constraint allowed here; near 0, the model
            had something else in mind.
    """

    row: int
    token: int
    logprob: float
    finish_reason: str | None
    allowed_mass: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """A finished sequence.

    Attributes:
        tokens: without prompt and end token.
        logprobs: the model's own ln p of each.
        finish_reason: "length", "end" or "stop".
        score: what ranks it among beams; for a sample the sum of `logprobs`.
        least_allowed_mass: the smallest probability that the constraint left the model at a step.
    """

    tokens: list[int]
    logprobs: list[float]
    finish_reason: str
    score: float
    least_allowed_mass: float = 1.0

    @property
    def nats(self) -> float:
        """-ln p of all tokens together."""
        return -float(sum(self.logprobs))


def check_prompt(prompt: Sequence[int]) -> NDArray[np.int64]:
    """The prompt as an array. (T,)

    Raises:
        ValueError: it is empty; its first token is the start token, so it never is.
    """
    if not prompt:
        raise ValueError("the prompt needs at least the start token")
    return np.asarray(prompt, dtype=np.int64)


def allow(logits: Logits, constraint: Constraint[Any], states: Sequence[Any]) -> Logits:
    """Logits with -inf for what each row's grammar forbids. (B, V) -> (B, V)

    Raises:
        ValueError: a row that may not go on at all.
    """
    masks = np.stack([constraint.allowed(state) for state in states])
    if not masks.any(axis=-1).all():
        raise ValueError("the constraint allows no token here")
    return np.where(masks, logits, -np.inf)


def sample(
    stepper: Stepper[Any],
    prompt: Sequence[int],
    *,
    max_new_tokens: int,
    options: SamplingOptions,
    seed: int,
    num_sequences: int = 1,
    end_id: int | None = None,
    constraint: Constraint[G] | None = None,
    constraint_state: G | None = None,
    stop: Callable[[int, int], bool] | None = None,
) -> Iterator[list[Draw]]:
    """Draw sequences that continue `prompt`, one token of every living row at a time.

    Args:
        prompt: T >= 1 ids, the start token first.
        num_sequences: rows; row i draws from the generator of (seed, i).
        end_id: the token that ends a row.
        constraint: a grammar, and `constraint_state`, where the prompt has led it (None: its
            start).
        stop: asked with (row, token) after each draw; True ends the row.

    Yields:
        The draws of one step, rows in order.

    Raises:
        ValueError: an option out of range, or a constraint that allows nothing.
    """
    processors, sampler = build(options)
    tokens = check_prompt(prompt)
    if max_new_tokens < 1:
        return
    logits, state = stepper.prefill(tokens, stepper.initial_state(1))
    rows = list(range(num_sequences))
    logits, state = logits.repeat(num_sequences, axis=0), state.select([0] * num_sequences)
    rngs = [row_generator(seed, row) for row in rows]
    chain = plain_chain(processors, sampler)
    if chain and constraint is None and isinstance(stepper, Runner):
        yield from _run(stepper, chain, logits, state, max_new_tokens, rngs, end_id, stop)
        return
    needs_history = any(isinstance(p, RepetitionPenalty | NoRepeatNgram) for p in processors)
    history = [list(prompt) if needs_history else [] for _ in rows]
    grammar: list[Any] = []
    if constraint is not None:
        begin = constraint.start() if constraint_state is None else constraint_state
        grammar = [begin] * num_sequences
    for remaining in range(max_new_tokens - 1, -1, -1):
        log_p = log_softmax(logits)
        bent: Logits = logits if constraint is None else allow(logits, constraint, grammar)
        masses = np.where(np.isfinite(bent), np.exp(log_p), 0.0).sum(axis=-1)  # (B,)
        for processor in processors:
            bent = processor(history, bent)
        drawn = sampler(bent, rngs)
        logprobs = log_p[np.arange(len(rows)), drawn]
        drawn_now = zip(rows, drawn.tolist(), logprobs.tolist(), masses.tolist(), strict=True)
        draws = [
            Draw(row, token, logprob, _finish(row, token, remaining, end_id, stop), mass)
            for row, token, logprob, mass in drawn_now
        ]
        yield draws
        alive = [i for i, draw in enumerate(draws) if draw.finish_reason is None]
        if not alive:
            return
        rows, rngs = [rows[i] for i in alive], [rngs[i] for i in alive]
        if constraint is not None:
            grammar = [constraint.advance(grammar[i], draws[i].token) for i in alive]
        history = [history[i] for i in alive]
        if needs_history:
            for past, i in zip(history, alive, strict=True):
                past.append(draws[i].token)
        if len(alive) < len(draws):
            state = state.select(alive)
        logits, state = stepper.step(drawn[alive], state)


def _run(
    stepper: Runner[Any],
    chain: PlainChain,
    logits: Logits,
    state: Any,
    max_new_tokens: int,
    rngs: Sequence[np.random.Generator],
    end_id: int | None,
    stop: Callable[[int, int], bool] | None,
) -> Iterator[list[Draw]]:
    """`sample` by a stepper that draws: a few tokens a call, soon more."""
    rows = list(range(len(rngs)))
    remaining, size = max_new_tokens, FIRST_RUN
    while rows:
        uniforms = np.stack([rngs[row].random(min(size, remaining)) for row in rows], axis=1)
        while len(uniforms) and rows:
            drawn, logprobs, logits, state = stepper.run(chain, logits, state, uniforms, end_id)
            alive = list(range(len(rows)))
            for tokens, their in zip(drawn.tolist(), logprobs.tolist(), strict=True):
                remaining -= 1
                if stop is None and remaining and end_id not in tokens:
                    yield [Draw(rows[i], tokens[i], their[i], None) for i in alive]
                    continue
                draws = [
                    Draw(
                        rows[i], tokens[i], their[i],
                        _finish(rows[i], tokens[i], remaining, end_id, stop),
                    )
                    for i in alive
                ]  # fmt: skip
                yield draws
                alive = [i for i, draw in zip(alive, draws, strict=True) if not draw.finish_reason]
            uniforms = uniforms[len(drawn) :]
            if len(alive) < len(rows):
                rows = [rows[i] for i in alive]
                uniforms, logits, state = uniforms[:, alive], logits[alive], state.select(alive)
        size = min(2 * size, max(FIRST_RUN, LONGEST_RUN // max(1, len(rows))))


def _finish(
    row: int,
    token: int,
    remaining: int,
    end_id: int | None,
    stop: Callable[[int, int], bool] | None,
) -> str | None:
    """Why a row ends with this token; None if it goes on."""
    if token == end_id:
        return "end"
    if stop is not None and stop(row, token):
        return "stop"
    return "length" if remaining == 0 else None


def collect(steps: Iterator[list[Draw]], num_sequences: int) -> list[Sampled]:
    """The finished sequences, by row."""
    tokens: list[list[int]] = [[] for _ in range(num_sequences)]
    logprobs: list[list[float]] = [[] for _ in range(num_sequences)]
    reasons = ["length"] * num_sequences
    masses = [1.0] * num_sequences
    for draws in steps:
        for draw in draws:
            reasons[draw.row] = draw.finish_reason or reasons[draw.row]
            masses[draw.row] = min(masses[draw.row], draw.allowed_mass)
            if draw.finish_reason != "end":
                tokens[draw.row].append(draw.token)
                logprobs[draw.row].append(draw.logprob)
    return [
        Sampled(tokens=t, logprobs=p, finish_reason=r, score=float(sum(p)), least_allowed_mass=m)
        for t, p, r, m in zip(tokens, logprobs, reasons, masses, strict=True)
    ]
