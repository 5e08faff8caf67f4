"""The torch model as a stepper, with NumPy tokens in and NumPy logits out.

It must not know samplers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from generative.model.language_model import LanguageModel
    from generative.model.state import State

PREFILL_CHUNK = 1024  # tokens; it bounds the memory that a long prompt takes


class TorchStepper:
    """One token a row and call through the model's own `forward`, as the reference.

    `generative.engine` steps the same weights without torch, an order of magnitude faster.
    """

    def __init__(self, model: LanguageModel) -> None:
        """Put `model` into evaluation mode."""
        self._model = model.eval()
        self.vocab_size = model.config.vocab_size

    def initial_state(self, batch_size: int) -> State:
        """The state of `batch_size` sequences before their first token."""
        return self._model.initial_state(batch_size)

    @torch.no_grad()
    def step(self, tokens: NDArray[np.int64], state: State) -> tuple[NDArray[np.float32], State]:
        """tokens: (B,) -> logits (B, V) for the token after each, new state."""
        logits, state = self._model.step(self._tensor(tokens), state)
        return self._array(logits), state

    @torch.no_grad()
    def prefill(self, tokens: NDArray[np.int64], state: State) -> tuple[NDArray[np.float32], State]:
        """Read a prompt. tokens: (T,), T >= 1; state of one row -> logits (1, V) after the last."""
        for chunk in self._tensor(tokens).split(PREFILL_CHUNK):
            features, state = self._model.outputs(chunk.unsqueeze(1), state)
        return self._array(self._model.output(features[-1])), state

    def _tensor(self, tokens: NDArray[np.int64]) -> torch.Tensor:
        return torch.as_tensor(tokens, dtype=torch.int64, device=self._model.output.bias.device)

    @staticmethod
    def _array(logits: torch.Tensor) -> NDArray[np.float32]:
        return np.asarray(logits.float().cpu().numpy(), dtype=np.float32)
