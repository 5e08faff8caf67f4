"""Weights in motion: AdamW over a model's parameters and their moving average."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from generative.model.language_model import LanguageModel
    from generative.training.config import TrainingConfig


def build_optimizer(model: LanguageModel, config: TrainingConfig) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019): matrices decay, vectors (biases) do not."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": config.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ],
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        fused=True,
    )


@torch.no_grad()
def update_average(average: LanguageModel, model: LanguageModel, decay: float, step: int) -> None:
    """Move `average` towards `model`, faster at first, when there is little to average.

    After `step` steps the weight of the old average is min(decay, (1 + step) / (10 + step)).
    """
    weight = min(decay, (1 + step) / (10 + step))
    old: list[Tensor] = list(average.parameters())
    torch._foreach_lerp_(old, list(model.parameters()), 1.0 - weight)
