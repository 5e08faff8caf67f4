"""A saved state is checked whole before anything of it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from generative import files
from generative.checkpoint import CheckpointError
from generative.training import resume
from tests.fuzz.resume_state import BATCH_SIZE, FINGERPRINT, new_step, saved

if TYPE_CHECKING:
    from pathlib import Path

    from generative.training.step import TrainingStep


def load(folder: Path, step: TrainingStep | None = None) -> Any:
    return resume.load(folder, FINGERPRINT, step or new_step(), BATCH_SIZE)


@pytest.mark.parametrize("steps", [0, 1])
def test_a_state_before_and_after_the_first_step_is_loaded(tmp_path: Path, steps: int) -> None:
    saved(tmp_path, steps)
    progress, state, warnings = load(tmp_path)
    assert (progress.step, state.batch_size, warnings) == (steps, BATCH_SIZE, [])


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("random", np.zeros(7, "u1"), "random has the shape"),
        ("random", np.zeros(5056, "u1"), "mt19937"),
        ("random", np.full(5056, 255, "u1"), "mt19937"),
        ("model.output.bias", np.zeros(6, "f4"), "shape"),
        ("average.output.bias", np.full(5, np.nan, "f4"), "not finite"),
        ("optimizer.output.bias.exp_avg", np.zeros(4, "f4"), "shape"),
        ("optimizer.99.exp_avg", np.zeros((1, 3), "f4"), "not known"),
        ("optimizer.output.bias.x", np.zeros((1, 3), "f4"), "not known"),
        ("optimizer.step", np.zeros((), "f8"), "type F64"),
        ("state.0.0", np.zeros((BATCH_SIZE + 1, 3), "f4"), "shape"),
        ("state.0.1", None, "missing: state.0.1"),
        ("state", np.zeros(1, "f4"), "not known"),
    ],
)
def test_a_state_of_another_model_is_refused(
    tmp_path: Path, name: str, array: Any, message: str
) -> None:
    path = saved(tmp_path, 1)
    arrays, notes = files.read_arrays(path)
    changed = {k: v for k, v in {**arrays, name: array}.items() if v is not None}
    files.write_arrays(path, changed, notes)
    run = new_step()
    before = {k: v.clone() for k, v in run.tensors().items()}
    with pytest.raises(CheckpointError, match=message):
        load(tmp_path, run)
    assert all(torch.equal(v, before[k]) for k, v in run.tensors().items())


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
    path = saved(tmp_path, 1)
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
