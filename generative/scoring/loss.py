"""The one loss, for training and for reports: knows models and ids, not text or music."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from generative.machine.threads import ALONE, Workers
from generative.model.recall import NOTHING, follow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from generative.model.language_model import LanguageModel

CHUNK_TOKENS = 1024  # how much of a stream one forward pass reads; no effect on the result
MAX_ROWS = 32  # how many cold blocks are scored side by side


def cross_entropy(logits: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
    """-ln softmax(logits)[target] in nats, in float32 whatever the logits are in.

    Args:
        logits: (T, B, V).
        targets: (T, B) int64.
        reduction: "mean", "sum", or "none" for one number a token, (T, B).
    """
    nats = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction=reduction)
    return nats.view_as(targets) if reduction == "none" else nats


@torch.no_grad()
def token_nats(
    model: LanguageModel,
    ids: Sequence[int],
    start_id: int,
    reset_every: int | None = None,
    *,
    workers: Workers = ALONE,
) -> NDArray[np.float64]:
    """-ln p of each token given all before it; the first one's context is the start token.

    Args:
        model: the weights.
        ids: one document, T tokens.
        start_id: the token that stands before the first.
        reset_every: clear the state every so many tokens, as models that read blocks do: the
            first token of a block sees the token before it and nothing else. None never clears.
        workers: share the blocks; a stream is read by one thread.

    Returns:
        (T,) nats.

    Raises:
        ValueError: `reset_every` below 1.
    """
    if reset_every is not None and reset_every < 1:
        raise ValueError(f"reset_every must be at least 1, not {reset_every}")
    device = model.output.bias.device
    stream = torch.tensor([start_id, *ids], dtype=torch.int64, device=device)
    inputs, targets = stream[:-1], stream[1:]
    if reset_every is None:
        return _stream_nats(model, inputs, targets)
    whole = len(ids) // reset_every * reset_every
    parts = [np.zeros(0)]
    if whole:
        blocks = (t[:whole].view(-1, reset_every).T for t in (inputs, targets))  # (T, blocks)
        rows = (t.split(MAX_ROWS, dim=1) for t in blocks)
        parts += workers.map(lambda pair: _block_nats(model, *pair), zip(*rows, strict=True))
    parts.append(_stream_nats(model, inputs[whole:], targets[whole:]))
    return np.concatenate(parts)


@dataclass(frozen=True)
class Boosts:
    """What recall adds to one logit after each token; None is nothing anywhere.

    Attributes:
        expected: the token whose logit it is. (T, B)
        values: what is added. (T, B)
    """

    expected: Tensor | None = None
    values: Tensor | None = None

    def added(self, logits: Tensor, begin: int = 0) -> Tensor:
        """Logits after the tokens from `begin` on, raised. (T, B, V) -> (T, B, V)"""
        if self.expected is None or self.values is None:
            return logits
        window = slice(begin, begin + len(logits))
        return logits.scatter_add(
            -1, self.expected[window].unsqueeze(-1), self.values[window].unsqueeze(-1)
        )


def recalled(model: LanguageModel, tokens: Tensor) -> Boosts:
    """What a model adds to its logits as it reads `tokens`, (T, B), from the first one on.

    Source: `generative.model.recall`.
    """
    if not model.config.recall_length or not model.recall_boosts.any():
        return Boosts()
    rows = [follow(ids, model.config.recall_length) for ids in tokens.T.tolist()]
    expected, buckets = (
        torch.from_numpy(np.stack(arrays, axis=1)).to(tokens.device)
        for arrays in zip(*rows, strict=True)
    )  # (T, B)
    known = expected != NOTHING
    return Boosts(expected * known, model.recall_boosts[buckets * known] * known)


def _stream_nats(model: LanguageModel, inputs: Tensor, targets: Tensor) -> NDArray[np.float64]:
    """One sequence, state carried from beginning to end. (T,), (T,) -> (T,)"""
    state = model.initial_state(1)
    boosts = recalled(model, inputs.unsqueeze(1))
    parts = [np.zeros(0)]
    for begin in range(0, len(inputs), CHUNK_TOKENS):
        x, y = (t[begin : begin + CHUNK_TOKENS].unsqueeze(1) for t in (inputs, targets))
        logits, state = model(x, state)
        logits = boosts.added(logits, begin)
        parts.append(_to_numpy(cross_entropy(logits, y, "none")[:, 0]))
    return np.concatenate(parts)


@torch.no_grad()  # which holds in one thread only
def _block_nats(model: LanguageModel, inputs: Tensor, targets: Tensor) -> NDArray[np.float64]:
    """Blocks side by side, each from an empty state. (T, B), (T, B) -> (B * T,) block by block."""
    logits, _ = model(inputs, model.initial_state(inputs.shape[1]))
    logits = recalled(model, inputs).added(logits)
    return _to_numpy(cross_entropy(logits, targets, "none").T.flatten())


def _to_numpy(nats: Tensor) -> NDArray[np.float64]:
    return np.asarray(nats.double().cpu().numpy(), dtype=np.float64)
