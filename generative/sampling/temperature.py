"""Processors that sharpen or flatten a distribution.

They may know logits and how far a row has come, and must not know its tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from generative.sampling.checks import require

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from generative.sampling.rows import Rows
    from generative.sampling.samplers import Logits


@dataclass(frozen=True)
class Temperature:
    """Divides the logits: a temperature below 1 sharpens the distribution, above 1 flattens it."""

    temperature: float

    def __post_init__(self) -> None:
        require(
            0 < self.temperature < np.inf, "temperature", self.temperature, "finite and at least 0"
        )

    def __call__(self, _rows: Rows, logits: Logits) -> Logits:
        return _divided(logits, self.temperature)


def _divided(logits: Logits, temperature: NDArray[np.float64] | float) -> Logits:
    """Logits over a temperature; the maximum is moved to 0 first, so that nothing overflows.

    logits: (B, V); temperature: () or (B, 1)
    """
    top = logits.max(axis=-1, keepdims=True)
    with np.errstate(over="ignore"):  # a vanishing temperature leaves only the maximum
        return np.asarray((logits.astype(np.float64) - top) / temperature)


@dataclass(frozen=True)
class TemperatureSchedule:
    """A temperature that is interpolated linearly from the first value over the others to the last.

    The values are spaced equally from the first token to the last one possible (`max_new_tokens`,
    or the end of the bars or seconds that a constraint measures).
    """

    temperatures: tuple[float, ...]

    def __post_init__(self) -> None:
        require(bool(self.temperatures), "temperature", "an empty list", "a number or a list")
        for value in self.temperatures:
            require(0 < value < np.inf, "a temperature in a list", value, "finite and above 0")

    def at(self, progress: NDArray[np.float64] | float) -> NDArray[np.float64]:
        """The temperature at a progress from 0, the first token, to 1, the last."""
        places = np.linspace(0, 1, len(self.temperatures))
        return np.asarray(np.interp(progress, places, self.temperatures))

    def __call__(self, rows: Rows, logits: Logits) -> Logits:
        return _divided(logits, self.at(rows.progress))


def temperature_processor(value: float | Sequence[float]) -> Temperature | TemperatureSchedule:
    """The processor of a constant temperature, or of a list of them.

    Raises:
        OptionError: neither a number nor a list of numbers, or one that is out of range.
    """
    require(not isinstance(value, str), "temperature", repr(value), "a number or a list of them")
    return TemperatureSchedule(tuple(value)) if isinstance(value, Sequence) else Temperature(value)
