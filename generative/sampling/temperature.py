"""Processors that sharpen or flatten a distribution: knows logits and how far a row has come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from generative.sampling.penalties import require

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from generative.sampling.rows import Rows
    from generative.sampling.samplers import Logits


@dataclass(frozen=True)
class Temperature:
    """Divides the logits: below 1 sharpens, above 1 flattens."""

    temperature: float

    def __post_init__(self) -> None:
        """Refuse what would turn likely into unlikely."""
        require(
            0 < self.temperature < np.inf, "temperature", self.temperature, "finite and at least 0"
        )

    def __call__(self, rows: Rows, logits: Logits) -> Logits:  # noqa: ARG002
        """See the class."""
        return _divided(logits, self.temperature)


def _divided(logits: Logits, temperature: NDArray[np.float64] | float) -> Logits:
    """The maximum is moved to 0 first, so that nothing overflows. (B, V), () or (B, 1)"""
    top = logits.max(axis=-1, keepdims=True)
    with np.errstate(over="ignore"):  # a vanishing temperature leaves only the maximum
        return np.asarray((logits.astype(np.float64) - top) / temperature)


@dataclass(frozen=True)
class TemperatureSchedule:
    """A temperature that moves from the first value over the others to the last.

    The values stand at equal distances from the first token to the last one possible
    (`max_new_tokens`, or where a constraint measures bars or seconds the end of those), with
    straight lines between them: (1.2, 0.6) starts warm and ends cool.
    """

    temperatures: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse what would turn likely into unlikely."""
        require(bool(self.temperatures), "temperature", "an empty list", "a number or a list")
        for value in self.temperatures:
            require(0 < value < np.inf, "a temperature in a list", value, "finite and above 0")

    def at(self, progress: NDArray[np.float64] | float) -> NDArray[np.float64]:
        """The temperature there: 0 is the first token, 1 the last."""
        places = np.linspace(0, 1, len(self.temperatures))
        return np.asarray(np.interp(progress, places, self.temperatures))

    def __call__(self, rows: Rows, logits: Logits) -> Logits:
        """See the class."""
        return _divided(logits, self.at(rows.progress))
