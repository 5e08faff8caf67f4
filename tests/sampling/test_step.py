"""What a grammar does to one step's logits: forbidden tokens, and fallback tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pytest

from generative.sampling.processors import start_rows
from generative.sampling.step import LogitsPipeline

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

P = np.array([0.1, 0.2, 0.3, 0.4])


class Masks:
    """A grammar whose states are the masks themselves; token 2 is the fallback of token 1."""

    fallback_tokens: ClassVar[Mapping[int, int]] = {1: 2}

    def start(self) -> NDArray[np.bool_]:
        return np.ones(4, np.bool_)

    def advance(self, state: NDArray[np.bool_], token: int) -> NDArray[np.bool_]:
        del token
        return state

    def allowed(self, state: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return state


@pytest.mark.parametrize(
    ("mask", "weights", "mass"),
    [
        ([1, 1, 1, 1], [0.1, 0.2, 0.3, 0.4], 1.0),
        ([1, 0, 1, 1], [0.1, 0.0, 0.5, 0.4], 0.8),  # token 2 takes both
        ([1, 0, 0, 1], [0.1, 0.0, 0.0, 0.4], 0.5),  # token 2 is forbidden as well
        ([0, 1, 1, 0], [0.0, 0.2, 0.3, 0.0], 0.5),  # token 1 is allowed
        ([0, 0, 1, 0], [0.0, 0.0, 0.5, 0.0], 0.3),
    ],
)
def test_a_fallback_token_takes_the_probability_of_a_forbidden_one(
    mask: list[int], weights: list[float], mass: float
) -> None:
    state = np.array(mask, np.bool_)
    # The other row's grammar forbids nothing, so that rows do not mix.
    logits = np.log(np.stack([P, P])).astype(np.float32)
    rows = start_rows((), [0], 4, [np.random.default_rng(0)] * 2, 1)
    step = LogitsPipeline((), Masks())(logits, rows, [state, np.ones(4, np.bool_)])
    assert np.exp(step.processed[0]) == pytest.approx(weights, abs=1e-6)
    assert np.exp(step.processed[1]) == pytest.approx(P, abs=1e-6)
    assert step.allowed_mass[0] == pytest.approx(mass)  # The model itself allowed no more.
