"""The cross-entropy, as training minimises it and as reports give it, token by token.

It must not know text or music.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from generative.machine.threads import ALONE, Workers
from generative.ngram.model import STATIC

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from generative.model.language_model import LanguageModel
    from generative.ngram.model import CountModel
    from generative.ngram.scorer import Scorer

CHUNK_TOKENS = 1024  # One forward pass reads so much of a stream; the result does not depend on it.
MAX_ROWS = 32  # So many blocks with cleared states are scored side by side.


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
    counts: CountModel | None = None,
    protocol: str = STATIC,
    workers: Workers = ALONE,
) -> NDArray[np.float64]:
    """-ln p of each token given all before it; the first one's context is the start token.

    Args:
        model: the network.
        ids: one document, T tokens.
        start_id: the token that stands before the first.
        reset_every: clear the state every so many tokens, as models that read blocks do. The
            context of a block's first token is then the one token before it. None never clears.
        counts: the count models that the network is mixed with; None is the network alone.
        protocol: one of `ngram.model.PROTOCOLS`; each block begins with an empty cache.
        workers: the threads that share the blocks; a stream is read by one thread.

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

    def scorer() -> Scorer | None:
        return None if counts is None else counts.scorer(protocol)

    if reset_every is None:
        return _stream_nats(model, inputs, targets, scorer())
    whole = len(ids) // reset_every * reset_every
    parts = [np.zeros(0)]
    if whole:
        blocks = (t[:whole].view(-1, reset_every).T for t in (inputs, targets))  # (T, blocks)
        rows = (t.split(MAX_ROWS, dim=1) for t in blocks)

        def read(pair: tuple[Tensor, ...]) -> NDArray[np.float64]:
            return _block_nats(model, pair[0], pair[1], scorer)

        parts += workers.map(read, zip(*rows, strict=True))
    parts.append(_stream_nats(model, inputs[whole:], targets[whole:], scorer()))
    return np.concatenate(parts)


def window_nats(
    logits: Tensor, inputs: Tensor, targets: Tensor, scorer: Scorer | None
) -> NDArray[np.float64]:
    """-ln p of one sequence's targets by the network's logits, mixed with counts by a scorer.

    (T, V), (T,), (T,) -> (T,)
    """
    if scorer is None:
        return _to_numpy(F.cross_entropy(logits.float(), targets, reduction="none"))
    arrays = (t.detach().cpu().numpy() for t in (logits.float(), inputs, targets))
    return scorer(*arrays)


def _stream_nats(
    model: LanguageModel, inputs: Tensor, targets: Tensor, scorer: Scorer | None
) -> NDArray[np.float64]:
    """One sequence, state carried from beginning to end. (T,), (T,) -> (T,)"""
    state = model.initial_state(1)
    parts = [np.zeros(0)]
    for begin in range(0, len(inputs), CHUNK_TOKENS):
        x, y = (t[begin : begin + CHUNK_TOKENS] for t in (inputs, targets))
        logits, state = model(x.unsqueeze(1), state)
        parts.append(window_nats(logits[:, 0], x, y, scorer))
    return np.concatenate(parts)


@torch.no_grad()  # The caller's `no_grad` does not reach the workers' threads.
def _block_nats(
    model: LanguageModel,
    inputs: Tensor,
    targets: Tensor,
    new_scorer: Callable[[], Scorer | None],
) -> NDArray[np.float64]:
    """Blocks side by side, each from an empty state. (T, B), (T, B) -> (B * T,) block by block."""
    logits, _ = model(inputs, model.initial_state(inputs.shape[1]))
    blocks = zip(logits.unbind(1), inputs.unbind(1), targets.unbind(1), strict=True)
    return np.concatenate([window_nats(*block, new_scorer()) for block in blocks])


def _to_numpy(nats: Tensor) -> NDArray[np.float64]:
    return np.asarray(nats.double().cpu().numpy(), dtype=np.float64)
