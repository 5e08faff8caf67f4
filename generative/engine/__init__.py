"""Steppers of a model's weights without torch. It must not know training, text or music."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from generative.context.records import NO_CONTEXT
from generative.engine.counts import CountedStepper
from generative.engine.numpy_stepper import ENGINE_CELLS, NumpyStepper
from generative.engine.weights import Weights
from generative.errors import check_one_of
from generative.ngram.model import CACHED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from generative.context.records import Tables
    from generative.engine.weights import Array
    from generative.model.config import ModelConfig
    from generative.ngram.model import CountModel
    from generative.sampling import Stepper

__all__ = [
    "ENGINE_CELLS",
    "PRECISIONS",
    "NumpyStepper",
    "Weights",
    "build",
    "check_precision",
    "counted",
]

PRECISIONS = ("float32", "int8")


def check_precision(precision: str) -> None:
    """Refuse a precision that does not exist.

    Raises:
        OptionError: it is not in `PRECISIONS`.
    """
    check_one_of("precision", precision, PRECISIONS)


def build(
    config: ModelConfig,
    arrays: Mapping[str, Array],
    *,
    precision: str = "float32",
    compiled: bool = True,
    counts: CountModel | None = None,
    protocol: str = CACHED,
    context: Tables = NO_CONTEXT,
) -> Stepper[Any]:
    """The stepper of a model whose cell is in `ENGINE_CELLS`.

    Args:
        config: the model's shape.
        arrays: its weights by the torch model's parameter names, float32.
        precision: "float32", or "int8" for matrices of whole numbers with a scale a row.
        compiled: False avoids the compiled loop, which takes half a second to load, unless int8
            needs it.
        counts: the count models that the network is mixed with; None is the network alone.
        protocol: how they treat what is read and sampled, one of `ngram.model.PROTOCOLS`.
        context: the tables of the network's context features.

    Raises:
        ValueError: a precision that does not exist.
    """
    check_precision(precision)
    assert tuple(context.sizes) == config.feature_sizes
    weights = Weights.from_arrays(config, arrays)
    if precision == "int8":
        weights, compiled = weights.rounded(), True
    if compiled:
        try:
            from generative.engine.compiled_stepper import CompiledStepper
            from generative.engine.kernels import CELL_NUMBERS
        except ImportError as error:  # numba is often late for a new Python or NumPy
            logging.getLogger(__name__).warning("sampling without the compiled loop: %s", error)
        else:
            if config.cell in CELL_NUMBERS:
                if counts is None:
                    return CompiledStepper(weights, context=context)
                tables, history = counts.tables(protocol), counts.start(protocol)
                return CompiledStepper(weights, tables, history, context=context)
    return counted(NumpyStepper(weights, context), counts, protocol)


def counted(
    stepper: Stepper[Any], counts: CountModel | None, protocol: str = CACHED
) -> Stepper[Any]:
    """A stepper of a network, mixed with count models where there are some; see `build`."""
    if counts is None:
        return stepper
    return CountedStepper(stepper, counts.tables(protocol), counts.start(protocol))
