"""A model that learns from what it has just been scored on: knows weights and ids, no media.

Source: Krause et al., "Dynamic Evaluation of Neural Sequence Models" (2018): after each segment one
gradient step, scaled by the gradient's root mean square, and a pull back to the trained weights.
Their statistics come from the training text; here they are a running mean over the segments read
so far, so that any model will do and nothing is seen before it is scored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from generative.scoring import cross_entropy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from generative.model.language_model import LanguageModel

SEGMENT_TOKENS = 64
LEARNING_RATE = 1.4e-3
DECAY = 0.005  # of the way back to the trained weights, each segment
MEMORY = 0.999  # of the running mean of squared gradients
# Added to each weight's scale, as a part of the mean scale, so that rarely used weights stay put.
DAMPING = 1.0


def dynamic_token_nats(
    model: LanguageModel, ids: Sequence[int], start_id: int
) -> NDArray[np.float64]:
    """-ln p of each token, the weights following the text one segment behind. -> (T,)

    Every token is scored before the model learns from it. `model` is in evaluation mode and is
    changed: hand in one that nobody else uses. The state runs on through the document.
    """
    weights: list[torch.Tensor] = list(model.parameters())
    trained = [w.detach().clone() for w in weights]
    squares = [torch.zeros_like(w) for w in weights]
    numbers = sum(w.numel() for w in weights)
    stream = torch.tensor([start_id, *ids], dtype=torch.int64, device=weights[0].device)
    state = model.initial_state(1)
    parts = [np.zeros(0)]
    for step, begin in enumerate(range(0, len(ids), SEGMENT_TOKENS), start=1):
        segment = stream[begin : begin + SEGMENT_TOKENS + 1].unsqueeze(1)  # (T + 1, 1)
        logits, state = model(segment[:-1], state)
        state = state.detach()
        nats = cross_entropy(logits, segment[1:], "none")
        gradients = torch.autograd.grad(nats.mean(), weights)
        parts.append(nats.detach()[:, 0].double().cpu().numpy())
        with torch.no_grad():
            torch._foreach_mul_(squares, MEMORY)
            torch._foreach_addcmul_(squares, gradients, gradients, 1.0 - MEMORY)
            scales = torch._foreach_sqrt(torch._foreach_div(squares, 1.0 - MEMORY**step))
            mean_scale = sum(scale.sum() for scale in scales) / numbers
            torch._foreach_add_(scales, DAMPING * mean_scale + torch.finfo(torch.float32).tiny)
            torch._foreach_addcdiv_(weights, gradients, scales, -LEARNING_RATE)
            torch._foreach_lerp_(weights, trained, DECAY)
    return np.concatenate(parts)
