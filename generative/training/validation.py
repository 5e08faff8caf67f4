"""The validation loss: the cross-entropy of held-out token streams, read in rows side by side.

It must not know how weights are trained or fitted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from generative.data.labels import Labels, excerpt
from generative.machine.threads import ALONE, Workers
from generative.scoring.loss import cross_entropy
from generative.training.batches import Ids, windows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from generative.data.store import TokenStore
    from generative.model.language_model import LanguageModel
    from generative.model.state import State

VALIDATION_ROWS = 32
GROUP_ROWS = 8  # One thread reads so many rows together; threads share the groups.
VALIDATION_WINDOW = 256  # tokens
VALIDATION_TOKENS = 1 << 15  # At most so many tokens are read, always the same ones.


def validation_loss(
    model: LanguageModel,
    stream: Ids,
    labels: Labels | None = None,
    *,
    workers: Workers = ALONE,
) -> float:
    """Mean nats per token of a stream read in rows side by side, with each row's state carried on.

    It approximates the loss of the stream read from beginning to end: only the first tokens of the
    rows lack their context. Tokens that do not fill a row's last window are left out.

    labels: of the stream's positions.
    """

    @torch.no_grad()
    def read(rows: slice) -> tuple[float, int]:
        nats, tokens = 0.0, 0
        for logits, targets in window_logits(model, stream, labels, rows):
            nats += cross_entropy(logits, targets, "sum").item()
            tokens += targets.numel()
        return nats, tokens

    nats, tokens = zip(*workers.map(read, row_groups(stream)), strict=True)
    return float(sum(nats) / sum(tokens))


def validation_stream(
    tokens: TokenStore, part: str, at_most: int = VALIDATION_TOKENS
) -> tuple[Ids, Labels | None]:
    """The stream of a part and its labels; with labels an excerpt of equally much of each.

    Readers take at most the first `at_most` tokens.
    """
    stream, labels = tokens.stream(part), part_labels(tokens, part)
    if labels is None:
        return stream, None
    return excerpt(stream, tokens.start_id, labels, at_most)


def part_labels(tokens: TokenStore, part: str) -> Labels | None:
    """The labels of a part's stream; None where the corpus has none."""
    if not tokens.labels:
        return None
    return Labels.of_documents(tokens.stream(part), tokens.start_id, tokens.parts[part].labels)


def row_groups(stream: Ids) -> list[slice]:
    """The rows that a stream is read in, as one group for each task of a worker."""
    count = _row_count(stream[:VALIDATION_TOKENS])
    return [slice(begin, begin + GROUP_ROWS) for begin in range(0, count, GROUP_ROWS)]


def window_logits(
    model: LanguageModel, stream: Ids, labels: Labels | None, rows: slice
) -> Iterator[tuple[Tensor, Tensor]]:
    """(logits (T, B, V), targets (T, B)) of some rows of a stream, window by window."""
    stream = stream[:VALIDATION_TOKENS]
    count = _row_count(stream)
    length = max(1, min(VALIDATION_WINDOW, (len(stream) - 1) // count))
    device = model.output.bias.device
    state: State = model.initial_state(len(range(count)[rows]))
    for batch in windows(stream, count, length, labels=labels, rows=rows, context=model.context):
        batch_labels = None if batch.labels is None else torch.from_numpy(batch.labels).to(device)
        state = state.with_memory(batch.memory)
        logits, state = model(torch.from_numpy(batch.inputs).to(device), state, batch_labels)
        yield logits, torch.from_numpy(batch.targets).to(device)


def _row_count(stream: Ids) -> int:
    return max(1, min(VALIDATION_ROWS, len(stream) // (2 * VALIDATION_WINDOW)))
