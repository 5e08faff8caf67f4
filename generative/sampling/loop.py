"""The wheel: step, process, draw, again; knows rows that begin together and end on their own."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

import numpy as np

from generative.sampling.details import Detail, describe_choice, log_p_drawn_from
from generative.sampling.plain import PlainChain, Runner, plain_chain
from generative.sampling.processors import SamplingOptions, begin, bend, build
from generative.sampling.samplers import Logits, are_distributions, log_softmax, row_generator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from generative.sampling.rows import Rows
    from generative.sampling.stepper import Stepper

G = TypeVar("G")
# Tokens that a stepper draws by itself before anyone sees them: few a row at first, since someone
# may be watching, and never so many in all that an interrupt or a stop string waits for long.
FIRST_RUN, LONGEST_RUN = 4, 64
# (what a row has said, token) -> the same with it, and whether that ends the row; at first None
Stop: TypeAlias = "Callable[[Any, int], tuple[Any, bool]]"


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


def measured(rows: Rows, constraint: Constraint[Any] | None, states: Sequence[Any]) -> Rows:
    """The rows with their shares of what was asked for, where the constraint can tell.

    It can where it has a method `progress(state)` -> 0 at the beginning to 1 at the end, or None.
    """
    progress = getattr(constraint, "progress", None)
    if progress is None:
        return rows
    shares = [progress(state) for state in states]
    if any(share is None for share in shares):
        return rows
    return replace(rows, shares=np.array(shares, dtype=np.float64)[:, None])


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
        detail: processed log-probability and alternatives, where they were asked for.
    """

    row: int
    token: int
    logprob: float
    finish_reason: str | None
    allowed_mass: float = 1.0
    detail: Detail | None = None


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """A finished sequence.

    Attributes:
        tokens: without prompt and end token.
        logprobs: the model's own ln p of each.
        finish_reason: "length", "end" or "stop".
        score: what ranks it among beams; for a sample the sum of `logprobs`.
        least_allowed_mass: the smallest probability that the constraint left the model at a step.
        details: one a token, where they were asked for.
    """

    tokens: list[int]
    logprobs: list[float]
    finish_reason: str
    score: float
    least_allowed_mass: float = 1.0
    details: list[Detail] = field(default_factory=list)

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
    bound = np.where(masks, logits, -np.inf)
    if not are_distributions(bound):
        raise ValueError("the constraint allows no token that is possible here")
    return bound


def check_logits(logits: Logits) -> None:
    """Refuse what is no distribution. (B, V)

    Raises:
        ValueError: a row with NaN or +inf, or with nothing but -inf.
    """
    if not are_distributions(logits):
        raise ValueError("the model's logits hold NaN or infinity, or make every token impossible")


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
    stop: Stop | None = None,
    top_logprobs: int | None = None,
) -> Iterator[list[Draw]]:
    """Draw sequences that continue `prompt`, one token of every living row at a time.

    Args:
        prompt: T >= 1 ids, the start token first.
        num_sequences: rows; row i draws from the generator of (seed, i).
        end_id: the token that ends a row.
        constraint: a grammar, and `constraint_state`, where the prompt has led it (None: its
            start).
        stop: asked after each draw whether it ends the row.
        top_logprobs: tell each draw's processed log-probability, and so many alternatives.

    Yields:
        The draws of one step, rows in order.

    Raises:
        ValueError: an option out of range, or a constraint that allows nothing.
    """
    processors, sampler = build(options, end_id=end_id)
    tokens = check_prompt(prompt)
    if max_new_tokens < 1:
        return
    logits, state = stepper.prefill(tokens, stepper.initial_state(1))
    rows = list(range(num_sequences))
    logits, state = logits.repeat(num_sequences, axis=0), state.select([0] * num_sequences)
    rngs = [row_generator(seed, row) for row in rows]
    plain = constraint is None and top_logprobs is None
    chain = plain_chain(processors, sampler) if plain else None
    ends = _Ends(num_sequences, end_id, stop)
    if chain and isinstance(stepper, Runner):
        check_logits(logits)
        yield from _run(stepper, chain, logits, state, max_new_tokens, rngs, ends)
        return
    known = begin(processors, prompt, logits.shape[-1], rngs, max_new_tokens)
    grammar: list[Any] = []
    if constraint is not None:
        first = constraint.start() if constraint_state is None else constraint_state
        grammar = [first] * num_sequences
    for remaining in range(max_new_tokens - 1, -1, -1):
        check_logits(logits)
        log_p = log_softmax(logits)
        bent: Logits = logits if constraint is None else allow(logits, constraint, grammar)
        masses = np.where(np.isfinite(bent), np.exp(log_p), 0.0).sum(axis=-1)  # (B,)
        known = measured(known, constraint, grammar)
        bent, known = bend(processors, known, bent)
        drawn = sampler(bent, rngs)
        logprobs = log_p[np.arange(len(rows)), drawn]
        details: Sequence[Detail | None] = [None] * len(rows)
        if top_logprobs is not None:
            processed = log_p_drawn_from(bent, sampler)
            details = [
                describe_choice(log_p[i], processed[i], token, top_logprobs)
                for i, token in enumerate(drawn.tolist())
            ]
        drawn_now = zip(
            rows, drawn.tolist(), logprobs.tolist(), masses.tolist(), details, strict=True
        )
        draws = [
            Draw(row, token, logprob, ends.reason(row, token, remaining), mass, detail)
            for row, token, logprob, mass, detail in drawn_now
        ]
        yield draws
        alive = [i for i, draw in enumerate(draws) if draw.finish_reason is None]
        if not alive:
            return
        rows, rngs = [rows[i] for i in alive], [rngs[i] for i in alive]
        if constraint is not None:
            grammar = [constraint.advance(grammar[i], draws[i].token) for i in alive]
        if processors:
            known = known.after(drawn)
        if len(alive) < len(draws):
            state, known = state.select(alive), known.select(alive)
        logits, state = stepper.step(drawn[alive], state)


def _run(
    stepper: Runner[Any],
    chain: PlainChain,
    logits: Logits,
    state: Any,
    max_new_tokens: int,
    rngs: Sequence[np.random.Generator],
    ends: _Ends,
) -> Iterator[list[Draw]]:
    """`sample` by a stepper that draws: a few tokens a call, soon more."""
    rows = list(range(len(rngs)))
    remaining, size = max_new_tokens, FIRST_RUN
    while rows:
        uniforms = np.stack([rngs[row].random(min(size, remaining)) for row in rows], axis=1)
        while len(uniforms) and rows:
            drawn, logprobs, logits, state = stepper.run(
                chain, logits, state, uniforms, ends.end_id
            )
            alive = list(range(len(rows)))
            for tokens, their in zip(drawn.tolist(), logprobs.tolist(), strict=True):
                if not alive:
                    break
                remaining -= 1
                draws = [
                    Draw(
                        rows[i], tokens[i], their[i], ends.reason(rows[i], tokens[i], remaining)
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


class _Ends:
    """Why rows end: the end token, what they have said, or the length."""

    def __init__(self, num_sequences: int, end_id: int | None, stop: Stop | None) -> None:
        self.end_id = end_id
        self._stop = stop
        self._said: list[Any] = [None] * num_sequences

    def reason(self, row: int, token: int, remaining: int) -> str | None:
        """Why a row ends with this token; None if it goes on."""
        if token == self.end_id:
            return "end"
        if self._stop is not None:
            self._said[row], stopped = self._stop(self._said[row], token)
            if stopped:
                return "stop"
        return "length" if remaining == 0 else None


def collect(steps: Iterator[list[Draw]], num_sequences: int) -> list[Sampled]:
    """The finished sequences, by row."""
    tokens: list[list[int]] = [[] for _ in range(num_sequences)]
    logprobs: list[list[float]] = [[] for _ in range(num_sequences)]
    reasons = ["length"] * num_sequences
    masses = [1.0] * num_sequences
    details: list[list[Detail]] = [[] for _ in range(num_sequences)]
    for draws in steps:
        for draw in draws:
            reasons[draw.row] = draw.finish_reason or reasons[draw.row]
            masses[draw.row] = min(masses[draw.row], draw.allowed_mass)
            if draw.finish_reason != "end":
                tokens[draw.row].append(draw.token)
                logprobs[draw.row].append(draw.logprob)
                if draw.detail is not None:
                    details[draw.row].append(draw.detail)
    return [
        Sampled(
            tokens=t,
            logprobs=p,
            finish_reason=r,
            score=float(sum(p)),
            least_allowed_mass=m,
            details=d,
        )
        for t, p, r, m, d in zip(tokens, logprobs, reasons, masses, details, strict=True)
    ]
