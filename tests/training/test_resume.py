"""A saved state is checked whole before anything of it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from generative import files
from generative.checkpoint import CheckpointError
from generative.machine.threads import ALONE
from generative.model.config import ModelConfig
from generative.model.language_model import LanguageModel
from generative.training import resume
from generative.training.batches import Batch
from generative.training.config import TrainingConfig
from generative.training.processes import Processes
from generative.training.step import TrainingStep

if TYPE_CHECKING:
    from pathlib import Path

B = 2
BATCH = Batch(
    inputs=np.zeros((4, B), dtype=np.int64), targets=np.ones((4, B), dtype=np.int64), fresh=True
)


def new_run() -> TrainingStep:
    config = ModelConfig(vocab_size=5, embedding_size=3, hidden_size=3)
    return TrainingStep(
        model=LanguageModel(config),
        average=LanguageModel(config),
        config=TrainingConfig(batch_size=B),
        known=torch.arange(5),
        precision=torch.float32,
        workers=ALONE,
        processes=Processes(device=torch.device("cpu")),
    )


def saved(folder: Path, steps: int = 1) -> Path:
    run = new_run()
    for step in range(steps):
        run(BATCH, learning_rate=1e-2, progress=0.0, step=step)
    resume.save(folder, "print", resume.Progress(step=steps), run.tensors(), run.state)
    return folder / "resume" / f"step-{steps:09d}.safetensors"


def load(folder: Path, run: TrainingStep | None = None) -> Any:
    return resume.load(folder, "print", run or new_run(), B)


@pytest.mark.parametrize("steps", [0, 1])
def test_a_state_before_and_after_the_first_step_is_loaded(tmp_path: Path, steps: int) -> None:
    saved(tmp_path, steps)
    progress, state, warnings = load(tmp_path)
    assert (progress.step, state.batch_size, warnings) == (steps, B, [])


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("random", np.zeros(7, "u1"), "random has the shape"),
        ("random", np.zeros(5056, "u1"), "mt19937"),
        ("random", np.full(5056, 255, "u1"), "mt19937"),
        ("model.output.bias", np.zeros(6, "f4"), "shape"),
        ("average.output.bias", np.full(5, np.nan, "f4"), "not finite"),
        ("optimizer.embedding.weight.exp_avg", np.zeros((1, 3), "f4"), "shape"),
        ("optimizer.99.exp_avg", np.zeros((1, 3), "f4"), "not known"),
        ("optimizer.x.exp_avg", np.zeros((1, 3), "f4"), "not known"),
        ("optimizer.step", np.zeros((), "f8"), "type F64"),
        ("state.0.0", np.zeros((B + 1, 3), "f4"), "shape"),
        ("state.0.1", None, "missing: state.0.1"),
        ("state", np.zeros(1, "f4"), "not known"),
    ],
)
def test_a_state_of_another_model_is_refused(
    tmp_path: Path, name: str, array: Any, message: str
) -> None:
    path = saved(tmp_path)
    arrays, notes = files.read_arrays(path)
    changed = {k: v for k, v in {**arrays, name: array}.items() if v is not None}
    files.write_arrays(path, changed, notes)
    run = new_run()
    before = {k: v.clone() for k, v in run.model.state_dict().items()}
    generator = torch.get_rng_state()
    with pytest.raises(CheckpointError, match=message):
        load(tmp_path, run)
    assert all(torch.equal(v, before[k]) for k, v in run.model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator)


@pytest.mark.parametrize(
    "progress",
    [
        "",
        "[]",
        "{}",
        "[" * 100_000,
        '{"step": 1}',
        resume.Progress(step=-1).to_json(),
        resume.Progress(window=1 << 60).to_json(),
        resume.Progress(seconds=float("nan")).to_json(),
        resume.Progress(learning_rate_scale=0.0).to_json(),
        resume.Progress().to_json().replace("[]", '[{"step": 1}]'),
        resume.Progress().to_json().replace("[]", "[1]"),
        resume.Progress().to_json().replace('"epoch": 0', '"epoch": "0"'),
    ],
)
def test_a_progress_that_no_run_comes_to_is_refused(tmp_path: Path, progress: str) -> None:
    path = saved(tmp_path)
    arrays, notes = files.read_arrays(path)
    files.write_arrays(path, arrays, {**notes, "progress": progress})
    with pytest.raises(CheckpointError, match="every saved state is damaged"):
        load(tmp_path)


def test_the_state_before_a_bad_one_is_taken(tmp_path: Path) -> None:
    saved(tmp_path, 1)
    path = saved(tmp_path, 2)
    arrays, notes = files.read_arrays(path)
    files.write_arrays(path, {**arrays, "more": np.zeros(1)}, notes)
    progress, _, warnings = load(tmp_path)
    assert progress.step == 1
    assert "step-000000002.safetensors: damaged: arrays that are not known: more" in warnings[0]
