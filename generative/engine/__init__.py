"""Stepping a model's weights without torch: knows arrays and cells, not training or media."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from generative.engine.numpy_stepper import ENGINE_CELLS, NumpyStepper
from generative.engine.weights import Weights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from generative.engine.weights import Array
    from generative.model.config import ModelConfig
    from generative.sampling import Stepper

__all__ = ["ENGINE_CELLS", "PRECISIONS", "NumpyStepper", "Weights", "build", "check_precision"]

PRECISIONS = ("float32", "int8")


def check_precision(precision: str) -> None:
    """Refuse a precision that is none.

    Raises:
        ValueError: it is not in `PRECISIONS`.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}")


def build(
    config: ModelConfig,
    arrays: Mapping[str, Array],
    *,
    precision: str = "float32",
    compiled: bool = True,
) -> Stepper[Any]:
    """The stepper of a model whose cell is in `ENGINE_CELLS`.

    Args:
        config: its shape.
        arrays: its weights by the torch model's parameter names, float32.
        precision: "float32", or "int8" for matrices of whole numbers with a scale a row.
        compiled: False does without the compiled loop, which takes half a second to load; not
            where int8 asks for it.

    Raises:
        ValueError: a precision that is none.
    """
    check_precision(precision)
    weights = Weights.from_arrays(
        arrays, num_layers=config.num_layers, sum_layers=config.sum_layers
    )
    if precision == "int8":
        weights, compiled = weights.rounded(), True
    if compiled:
        try:
            from generative.engine.compiled_stepper import COMPILED_CELLS, CompiledStepper
        except ImportError as error:  # numba is often late for a new Python or NumPy
            logging.getLogger(__name__).warning("sampling without the compiled loop: %s", error)
        else:
            if config.cell in COMPILED_CELLS:
                return CompiledStepper(config.cell, weights)
    return NumpyStepper(config.cell, weights)
