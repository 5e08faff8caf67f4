"""Steppers that the tests of the engine share."""

from __future__ import annotations

from functools import cache
from typing import Any

from generative import engine
from tests.model.test_model import small


@cache
def stepper(precision: str = "float32", compiled: bool = True, **changes: Any) -> Any:
    """The stepper of a small model whose logits spread."""
    model = small(**changes)
    arrays = {name: 3 * value.numpy() for name, value in model.state_dict().items()}
    return engine.build(model.config, arrays, precision=precision, compiled=compiled)


class OnlySteps:
    """A stepper that cannot draw by itself, so that the loop in Python is used."""

    vocab_size: int
    initial_state: Any
    step: Any
    prefill: Any

    def __init__(self, inner: Any) -> None:
        self.vocab_size = inner.vocab_size
        self.initial_state, self.step, self.prefill = (
            inner.initial_state,
            inner.step,
            inner.prefill,
        )
