"""Chains of options so common that a stepper may draw by itself, without the loop in Python.

Most requests need no more than a temperature and a truncated tail. A stepper with a `run` draws
many tokens of them in one call; every other chain and every grammar takes the loop in `loop`. Both
draw the same tokens from the same random numbers. This module must not know how a stepper draws.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar, runtime_checkable

from generative.sampling.samplers import Categorical, Greedy
from generative.sampling.temperature import Temperature
from generative.sampling.truncation import MinP, TopK, TopP, TypicalP

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from generative.sampling.processors import LogitsProcessor
    from generative.sampling.samplers import Sampler

S = TypeVar("S")
MAX_TOP_K = 2**31 - 1  # larger than any vocabulary


class PlainChain(NamedTuple):
    """Temperature, top-k, top-p, min-p and typical-p, in this order; the defaults change nothing.

    The compiled loop takes this record as it is. So the values are plain numbers of one type each:
    for another type the loop would be compiled anew.
    """

    greedy: bool = False
    temperature: float = 1.0
    top_k: int = MAX_TOP_K
    top_p: float = 1.0
    min_p_log: float = -math.inf  # ln of min_p
    typical_p: float = 1.0


@runtime_checkable
class Runner(Protocol[S]):
    """A stepper that can draw many tokens by itself."""

    def run(
        self,
        chain: PlainChain,
        logits: NDArray[np.float32],
        state: S,
        uniforms: NDArray[np.float64],
        end_id: int | None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float32], S]:
        """Draw a token a row from each row of `uniforms` (N, B), or fewer if one is `end_id`.

        Args:
            chain: how logits are processed before a draw.
            logits: those for the first token. (B, V)
            state: the state of B rows that have read all before it.
            uniforms: the numbers that `Categorical` would take from each row's generator. (N, B)
            end_id: nothing is drawn after the step that brought it.

        Returns:
            tokens (n, B), the model's own ln p of each (n, B), logits (B, V) after the last, new
            state.
        """
        ...


# in the order of application: processor, the chain's name for its value, the value
_LINKS: tuple[tuple[type, str, Callable[[Any], float]], ...] = (
    (Temperature, "temperature", lambda one: float(one.temperature)),
    (TopK, "top_k", lambda one: min(int(one.k), MAX_TOP_K)),
    (TopP, "top_p", lambda one: float(one.p)),
    (MinP, "min_p_log", lambda one: float(one.log_p)),
    (TypicalP, "typical_p", lambda one: float(one.p)),
)


def plain_chain(processors: Sequence[LogitsProcessor], sampler: Sampler) -> PlainChain | None:
    """The processors as a plain chain, or None if they are more than that or in another order."""
    if type(sampler) not in {Categorical, Greedy}:
        return None
    values: dict[str, Any] = {}
    place = 0
    for processor in processors:
        while place < len(_LINKS) and type(processor) is not _LINKS[place][0]:
            place += 1
        if place == len(_LINKS):
            return None
        _, name, value = _LINKS[place]
        values[name] = value(processor)
        place += 1
    return PlainChain(greedy=isinstance(sampler, Greedy), **values)
