"""Stepping a model's weights without torch: knows arrays and cells, not training or media."""

from generative.engine.numpy_stepper import ENGINE_CELLS, NumpyStepper

__all__ = ["ENGINE_CELLS", "NumpyStepper"]
