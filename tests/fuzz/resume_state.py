"""A saved state of training: continues, or is refused with a `CheckpointError`."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from generative.checkpoint import CheckpointError
from generative.model.config import ModelConfig
from generative.model.language_model import LanguageModel
from generative.training import resume
from generative.training.config import TrainingConfig
from generative.training.optimizer import build_optimizer
from generative.training.reports import Metrics
from tests.fuzz import folders
from tests.fuzz.entropy import Entropy, changed

if TYPE_CHECKING:
    from pathlib import Path

BATCH_SIZE = 2
FINGERPRINT = "of this run"
Run = tuple[LanguageModel, LanguageModel, torch.optim.AdamW]
METRICS = Metrics(
    step=1,
    epoch=0.5,
    seconds=0.25,
    train_loss=2.0,
    validation_loss=2.5,
    learning_rate=0.01,
    gradient_norm=1.0,
    tokens_per_second=9.0,
)


@cache
def run_of(steps: int) -> tuple[Path, bytes, Run]:
    """A run that was saved after so many steps: its file, what it holds, and the run."""
    torch.set_num_threads(1)
    config = ModelConfig(vocab_size=5, embedding_size=3, hidden_size=3, recall_length=2)
    model, average = LanguageModel(config), LanguageModel(config)
    optimizer = build_optimizer(model, TrainingConfig())
    state = model.initial_state(BATCH_SIZE)
    for _ in range(steps):
        logits, state = model.step(torch.zeros(BATCH_SIZE, dtype=torch.int64), state.detach())
        logits.sum().backward()
        optimizer.step()
    folder = folders.temporary()
    progress = resume.Progress(step=steps, history=[METRICS] * steps)
    resume.save(folder, FINGERPRINT, progress, model, average, optimizer, state)
    (path,) = (folder / resume.FOLDER).iterdir()
    return path, path.read_bytes(), (model, average, optimizer)


def seeds() -> list[bytes]:
    """Changes by number, and the beginnings of both files."""
    numbers = [bytes([n, n, n, *range(n, n + 12)]) for n in range(0, 250, 9)]
    return [*numbers, *(bytes([n, 1, 1]) + run_of(n)[1][:3000] for n in (0, 1))]


def run(data: bytes) -> None:
    """Replace the state, continue from it and take a step."""
    entropy = Entropy(data)
    path, base, (model, average, optimizer) = run_of(entropy.below(2))
    if entropy.below(3) == 2:
        path.write_bytes(_with_progress(base, entropy))
    else:
        path.write_bytes(folders.sealed_arrays(base, entropy))
    try:
        found = resume.load(path.parent.parent, FINGERPRINT, model, average, optimizer, BATCH_SIZE)
    except CheckpointError:
        return
    assert found is not None
    progress, state, warnings = found
    assert not warnings and state.batch_size == BATCH_SIZE
    assert resume.Progress.from_json(progress.to_json()).to_json() == progress.to_json()
    with torch.no_grad():
        logits, _ = model.step(torch.zeros(BATCH_SIZE, dtype=torch.int64), state)
    assert logits.shape == (BATCH_SIZE, 5)
    assert all(np.isfinite(w.detach().numpy()).all() for w in average.parameters())
    torch.rand(1)


def _with_progress(base: bytes, entropy: Entropy) -> bytes:
    header, content = folders.parted(base)
    notes: dict[str, Any] = header["__metadata__"]
    try:
        notes["progress"] = json.dumps(changed(json.loads(notes["progress"]), entropy))
    except ValueError:  # a number of too many digits
        notes["progress"] = "9" * 5000
    return folders.joined(header, content)
