"""A saved state of training: continues, or is refused with a `CheckpointError`."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from generative.checkpoint import CheckpointError
from generative.machine.threads import ALONE
from generative.model.config import ModelConfig
from generative.model.language_model import LanguageModel
from generative.training import resume
from generative.training.batches import Batch
from generative.training.config import TrainingConfig
from generative.training.processes import Processes
from generative.training.reports import Metrics
from generative.training.step import TrainingStep
from tests.fuzz import folders
from tests.fuzz.entropy import Entropy, changed

if TYPE_CHECKING:
    from pathlib import Path

BATCH_SIZE = 2
FINGERPRINT = "of this run"
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
def run_of(steps: int) -> tuple[Path, bytes, TrainingStep]:
    """A run that was saved after so many steps: its file, what it holds, and the run."""
    torch.set_num_threads(1)
    config = ModelConfig(vocab_size=5, embedding_size=3, hidden_size=3)
    step = TrainingStep(
        model=LanguageModel(config),
        average=LanguageModel(config),
        config=TrainingConfig(batch_size=BATCH_SIZE),
        known=torch.arange(5),
        precision=torch.float32,
        workers=ALONE,
        processes=Processes(device=torch.device("cpu")),
    )
    ids = np.zeros((4, BATCH_SIZE), dtype=np.int64)
    batch = Batch(inputs=ids, targets=ids, fresh=True)
    for number in range(steps):
        step(batch, learning_rate=0.01, progress=0.0, step=number)
    folder = folders.temporary()
    progress = resume.Progress(step=steps, history=[METRICS] * steps)
    resume.save(folder, FINGERPRINT, progress, step.tensors(), step.state)
    (path,) = (folder / resume.FOLDER).iterdir()
    return path, path.read_bytes(), step


def seeds() -> list[bytes]:
    """Changes by number, and the beginnings of both files."""
    numbers = [bytes([n, n, n, *range(n, n + 12)]) for n in range(0, 250, 9)]
    return [*numbers, *(bytes([n, 1, 1]) + run_of(n)[1][:3000] for n in (0, 1))]


def run(data: bytes) -> None:
    """Replace the state, continue from it and take a step."""
    entropy = Entropy(data)
    path, base, step = run_of(entropy.below(2))
    if entropy.below(3) == 2:
        path.write_bytes(_with_progress(base, entropy))
    else:
        path.write_bytes(folders.sealed_arrays(base, entropy))
    try:
        found = resume.load(path.parent.parent, FINGERPRINT, step, BATCH_SIZE)
    except CheckpointError:
        return
    assert found is not None
    progress, state, warnings = found
    assert not warnings and state.batch_size == BATCH_SIZE
    assert resume.Progress.from_json(progress.to_json()).to_json() == progress.to_json()
    with torch.no_grad():
        logits, _ = step.model.step(torch.zeros(BATCH_SIZE, dtype=torch.int64), state)
    assert logits.shape == (BATCH_SIZE, 5)
    assert all(np.isfinite(w.detach().numpy()).all() for w in step.average.parameters())
    torch.rand(1)


def _with_progress(base: bytes, entropy: Entropy) -> bytes:
    header, content = folders.parted(base)
    notes: dict[str, Any] = header["__metadata__"]
    try:
        notes["progress"] = json.dumps(changed(json.loads(notes["progress"]), entropy))
    except ValueError:  # a number of too many digits
        notes["progress"] = "9" * 5000
    return folders.joined(header, content)
