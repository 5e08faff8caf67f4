"""Chains of options so usual that a stepper may draw by itself: knows which, not how it draws.

Most speech is temperature and a cut tail. A stepper with a `run` does that for many tokens in one
call; every other chain, grammar or beam goes round the wheel of `loop`. Both take the same tokens
from the same random numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from generative.sampling.processors import MinP, Temperature, TopK, TopP, TypicalP
from generative.sampling.samplers import Categorical, Greedy

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from generative.sampling.processors import LogitsProcessor
    from generative.sampling.samplers import Sampler

S = TypeVar("S")


@dataclass(frozen=True, kw_only=True)
class PlainChain:
    """Temperature, top-k, top-p, min-p and typical-p, in this order; None is off."""

    greedy: bool = False
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    typical_p: float | None = None


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
            chain: what bends the distribution before a draw.
            logits: for the first token. (B, V)
            state: of B rows, which read all before it.
            uniforms: what `Categorical` would ask each row's generator for. (N, B)
            end_id: nothing is drawn after the step that brought it.

        Returns:
            tokens (n, B), the model's own ln p of each (n, B), logits (B, V) after the last, new
            state.
        """
        ...


# in the order of application: processor, its value, the chain's name for it
_LINKS: tuple[tuple[type, str, str], ...] = (
    (Temperature, "temperature", "temperature"),
    (TopK, "k", "top_k"),
    (TopP, "p", "top_p"),
    (MinP, "p", "min_p"),
    (TypicalP, "p", "typical_p"),
)


def plain_chain(processors: Sequence[LogitsProcessor], sampler: Sampler) -> PlainChain | None:
    """The plain chain that these are, or None if they are more than that or in another order."""
    if type(sampler) not in {Categorical, Greedy}:
        return None
    values: dict[str, Any] = {}
    place = 0
    for processor in processors:
        while place < len(_LINKS) and type(processor) is not _LINKS[place][0]:
            place += 1
        if place == len(_LINKS):
            return None
        _, attribute, name = _LINKS[place]
        values[name] = getattr(processor, attribute)
        place += 1
    return PlainChain(greedy=isinstance(sampler, Greedy), **values)
