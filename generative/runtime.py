"""A loaded model at work: builds the stepper and the scorer when first needed, from one checkpoint.

The one place that decides what runs a model: the torch-free engine steps, torch scores. Knows ids,
no media.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from generative.engine import ENGINE_CELLS, NumpyStepper

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from generative.checkpoint import Checkpoint
    from generative.model.language_model import LanguageModel
    from generative.sampling import Stepper


class Runtime:
    """Steps and scores under one checkpoint's weights."""

    def __init__(self, checkpoint: Checkpoint, device: str = "cpu") -> None:
        self._checkpoint = checkpoint
        self._device = device

    @cached_property
    def torch_model(self) -> LanguageModel:
        """The model with gradients and exact forward passes."""
        return self._checkpoint.build(self._device)

    @cached_property
    def stepper(self) -> Stepper[Any]:
        """What sampling steps: the engine on a CPU, torch for other devices and cells."""
        if self._device == "cpu" and self._checkpoint.config.cell in ENGINE_CELLS:
            return NumpyStepper(self._checkpoint.config, self._checkpoint.weights)
        from generative.model.stepper import TorchStepper

        return TorchStepper(self.torch_model)

    def token_nats(self, ids: Sequence[int], reset_every: int | None) -> NDArray[np.float64]:
        """-ln p of each token given all before it. -> (T,)"""
        from generative.scoring import token_nats

        start_id = self._checkpoint.tokenizer.start_id
        return token_nats(self.torch_model, ids, start_id, reset_every)

    def dynamic_token_nats(self, ids: Sequence[int]) -> NDArray[np.float64]:
        """The same while a copy of the weights learns from what it has read. -> (T,)"""
        from generative.dynamic import dynamic_token_nats

        start_id = self._checkpoint.tokenizer.start_id
        return dynamic_token_nats(self._checkpoint.build(self._device), ids, start_id)
