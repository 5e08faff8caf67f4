"""What a caller asks of sampling or beam search, besides how to choose tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

G = TypeVar("G")
# (the row's state, the new token) -> the row's new state, and whether the token ends the row. The
# state of a new row is None.
Stop: TypeAlias = "Callable[[Any, int], tuple[Any, bool]]"


class Constraint(Protocol[G]):
    """A grammar: which tokens may come next. Its states are immutable, so that rows share them.

    It may also have a method `progress(state)`, which returns how far a row has come, from 0 to 1,
    or None where it cannot tell. And it may have a mapping `fallback_tokens` from one token to
    another: where the first is forbidden and the second is not, the second takes the probability of
    both.
    """

    def start(self) -> G:
        """The state in which every sequence begins."""
        ...

    def advance(self, state: G, token: int) -> G:
        """The state after `token`."""
        ...

    def allowed(self, state: G) -> NDArray[np.bool_]:
        """Which tokens may come next. (V,)"""
        ...


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request for sequences that continue a prompt.

    Attributes:
        max_new_tokens: how many tokens a sequence may have at most.
        seed: row i, or the beam of prompt i, draws from the generator of (seed, i).
        num_return_sequences: how many sequences to draw, or how many of the best beams to return.
        end_id: the token that ends a sequence; None lets none end by a token.
        constraint: a grammar, which forbids tokens; None forbids none.
        constraint_state: the state to which the prompt has led the grammar; None is its start.
        stop: called with each new token; it decides whether the token ends its sequence.
        top_logprobs: how many alternatives to report for each token; None reports no details.
    """

    max_new_tokens: int
    seed: int = 0
    num_return_sequences: int = 1
    end_id: int | None = None
    constraint: Constraint[Any] | None = None
    constraint_state: Any = None
    stop: Stop | None = None
    top_logprobs: int | None = None

    def first_state(self) -> Any:
        """The state of the grammar behind the prompt; None without a grammar."""
        if self.constraint is None or self.constraint_state is not None:
            return self.constraint_state
        return self.constraint.start()


def check_prompt(prompt: Sequence[int]) -> NDArray[np.int64]:
    """The prompt as an array. (T,)

    Raises:
        ValueError: it is empty, without even the start token.
    """
    if not prompt:
        raise ValueError("the prompt needs at least the start token")
    return np.asarray(prompt, dtype=np.int64)
