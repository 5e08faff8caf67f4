"""Features beside training and scoring: each part of a text begins with what stands before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from generative.machine.threads import ALONE
from generative.model.language_model import LanguageModel
from generative.music import midi
from generative.scoring.dynamic import SEGMENT_TOKENS, gradient_statistics
from generative.scoring.loss import token_nats
from generative.training import validation
from generative.training.batches import windows
from generative.training.config import TrainingConfig
from generative.training.processes import Processes
from generative.training.step import TrainingStep
from generative.training.validation import validation_loss
from tests.conftest import TUNES
from tests.context.test_models import START, TOKENIZER, small

if TYPE_CHECKING:
    from numpy.typing import NDArray

WINDOW = 16


def tune(length: int) -> NDArray[np.int64]:
    """A start token and the beginning of a tune. (N,)"""
    ids = TOKENIZER.encode(midi.read(sorted(TUNES.glob("*.mid"))[0]))
    assert len(ids) >= length
    return np.array([START, *ids[: length - 1]])


def loss_of(model: LanguageModel, stream: NDArray[np.int64], begin: int, end: int) -> torch.Tensor:
    """The mean nats of the tokens after begin..end, which the layers read from an empty state."""
    assert model.context is not None
    before = stream[:begin, np.newaxis]
    _, memory = model.context.read(before, model.context.start(1))
    tokens = torch.from_numpy(stream[begin : end + 1, np.newaxis])
    logits, _ = model(tokens[:-1], model.initial_state(1).with_memory(memory))
    return F.cross_entropy(logits[:, 0], tokens[1:, 0])


def trained(shards: int) -> TrainingStep:
    """A copy of the model after two windows of four rows."""
    model, average = (LanguageModel(small().config, small().context) for _ in range(2))
    model.load_state_dict(small().state_dict())
    step = TrainingStep(
        model=model,
        average=average,
        config=TrainingConfig(batch_size=4, sequence_length=WINDOW, clear_probability=0.0),
        known=torch.arange(TOKENIZER.vocab_size),
        precision=torch.float32,
        workers=ALONE,
        processes=Processes(device=torch.device("cpu")),
        shards=shards,
    )
    stream = tune(8 * WINDOW + 1)
    for number, batch in enumerate(windows(stream, 4, WINDOW, context=model.context)):
        step(batch, learning_rate=1e-3, progress=0.0, step=number)
    return step


def test_each_shard_has_the_memory_of_its_own_rows() -> None:
    whole, parts = trained(1), trained(2)
    assert whole.state.memory is not None
    assert parts.state.memory is not None
    np.testing.assert_array_equal(parts.state.memory, whole.state.memory)
    for name, weight in whole.model.state_dict().items():
        torch.testing.assert_close(
            parts.model.state_dict()[name], weight, rtol=1e-3, atol=1e-5, msg=name
        )


def test_statistics_of_gradients_begin_with_the_memory_of_their_place() -> None:
    stream, model = tune(2 * SEGMENT_TOKENS + 1), small()
    found = gradient_statistics(model, stream)
    squares = {name: torch.zeros_like(weight) for name, weight in model.named_parameters()}
    for begin in (0, SEGMENT_TOKENS):
        loss = loss_of(model, stream, begin, begin + SEGMENT_TOKENS)
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        for name, gradient in zip(squares, gradients, strict=True):
            squares[name] += gradient.square()
    for name, square in squares.items():
        np.testing.assert_allclose(found[name], (square / 2).sqrt(), atol=1e-5, err_msg=name)


def test_validation_of_one_row_is_the_score_of_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "VALIDATION_WINDOW", 40)
    stream = tune(121)
    monkeypatch.setattr(validation, "VALIDATION_ROWS", 1)
    nats = token_nats(small(), stream[1:].tolist(), START)
    assert validation_loss(small(), stream) == pytest.approx(nats.mean(), rel=1e-5)


def test_the_rows_of_validation_know_what_stands_before_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(validation, "VALIDATION_WINDOW", 30)
    stream = tune(121)
    assert validation.row_groups(stream) == [slice(0, 8)]
    with torch.no_grad():
        rows = [loss_of(small(), stream, begin, begin + 60).item() for begin in (0, 60)]
    assert validation_loss(small(), stream) == pytest.approx(np.mean(rows), rel=1e-5)
