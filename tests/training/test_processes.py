"""Several processes on this machine train as one would, and outlive one of them."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from generative import checkpoint
from generative.training.processes import Processes
from tests.conftest import ONE_THREAD

if TYPE_CHECKING:
    from pathlib import Path

# All run in one worker, so that the run of two processes is made once.
pytestmark = pytest.mark.xdist_group("processes")
OPTIONS = (
    "--steps 40 --hidden 16 --batch-size 4 --sequence-length 16 --precision float32 --dropout 0.2"
)
# Train as the command does, but let one process die in mid-run, the first time.
DYING = """
import os, signal
from generative.cli.main import main
from generative.training.trainer import Trainer
agree = Trainer._agree
def dying(self):
    again = os.environ["TORCHELASTIC_RESTART_COUNT"] != "0"
    if self.progress.step == 23 and os.environ["RANK"] == "1" and not again:
        os.kill(os.getpid(), signal.SIGKILL)
    return agree(self)
Trainer._agree = dying
if __name__ == "__main__":
    main(["train", *__import__("sys").argv[1:]])
"""


def launch(
    folder: Path, corpus: Path, processes: int, *how: str
) -> subprocess.CompletedProcess[str]:
    """Train by so many processes; `how` names the launcher's options and the program."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    launcher += ["--nproc-per-node", str(processes)]
    program = [*how, str(corpus), "-o", str(folder), *OPTIONS.split(), "--weight-drop", "0.1"]
    return subprocess.run(
        [*launcher, *program],
        check=False,
        capture_output=True,
        text=True,
        env=ONE_THREAD,
        timeout=200,
    )


def train(folder: Path, corpus: Path, processes: int, *how: str) -> dict[str, Any]:
    """The weights that so many processes come to."""
    done = launch(folder, corpus, processes, *how)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("held out:") == 1  # one speaks for all
    return checkpoint.load_weights(folder)[0]


@pytest.fixture(scope="module")
def by_two(rhyme: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return train(tmp_path_factory.mktemp("two") / "model", rhyme, 2, "-m", "generative.train")


@pytest.mark.parametrize("processes", [1, 4])
def test_one_two_and_four_processes_reach_the_same_weights(
    rhyme: Path, tmp_path: Path, by_two: dict[str, Any], processes: int
) -> None:
    others = train(tmp_path / "model", rhyme, processes, "-m", "generative.train")
    for name, array in by_two.items():
        np.testing.assert_allclose(others[name], array, atol=1e-5)


def test_a_killed_process_loses_nothing(
    rhyme: Path, tmp_path: Path, by_two: dict[str, Any]
) -> None:
    script = tmp_path / "dying.py"
    script.write_text(DYING)
    survived = train(tmp_path / "model", rhyme, 2, "--max-restarts", "1", str(script))
    for name, array in by_two.items():
        np.testing.assert_array_equal(survived[name], array)


def test_another_number_of_processes_goes_on_with_a_run(
    rhyme: Path, tmp_path: Path, by_two: dict[str, Any]
) -> None:
    script = tmp_path / "dying.py"
    script.write_text(DYING)
    died = launch(tmp_path / "model", rhyme, 2, str(script))
    assert died.returncode != 0
    alone = train(tmp_path / "model", rhyme, 1, "-m", "generative.train", "--resume")
    for name, array in by_two.items():
        np.testing.assert_allclose(alone[name], array, atol=1e-5)


def test_a_lone_process_tells_itself_everything() -> None:
    alone = Processes(device=torch.device("cpu"))
    assert alone.is_first
    assert alone.rows(6) == slice(0, 6)
    assert alone.sums(1.5, 2.0) == [1.5, 2.0]
    assert alone.from_first(3.0) == 3.0
    rows = torch.ones(2, 3)
    assert alone.gather_rows(rows) is rows


# A run, and then the names of the threads that are left when its processes have parted.
PARTING = """
import os, sys
from pathlib import Path
from generative.cli.main import main
code = 0
try:
    main(["train", *sys.argv[1:]])
except SystemExit as end:
    code = end.code
names = [Path(f"/proc/self/task/{task}/comm").read_text() for task in os.listdir("/proc/self/task")]
left = any("gloo" in name for name in names)
os.write(1, f"left: {left}\\n".encode())  # in one piece: two processes share the pipe
sys.exit(code)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="names of threads are read in /proc")
def test_nothing_of_the_group_runs_while_python_ends(rhyme: Path, tmp_path: Path) -> None:
    script = tmp_path / "parting.py"
    script.write_text(PARTING)
    parted = launch(tmp_path / "model", rhyme, 2, str(script))
    assert parted.returncode == 0, parted.stderr
    assert parted.stdout.count("left: False") == 2


# As if another machine's libraries drew other weights.
ASTRAY = """
import os, sys
import torch
from generative.cli.main import main
from generative.model.language_model import LanguageModel
initialise = LanguageModel.initialise
def astray(self, how):
    initialise(self, how)
    if os.environ["RANK"] == "1":
        with torch.no_grad():
            self.output.weight.add_(1.0)
LanguageModel.initialise = astray
if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
"""


def test_all_begin_from_the_first_ones_weights(
    rhyme: Path, tmp_path: Path, by_two: dict[str, Any]
) -> None:
    script = tmp_path / "astray.py"
    script.write_text(ASTRAY)
    together = train(tmp_path / "model", rhyme, 2, str(script))
    for name, array in by_two.items():
        np.testing.assert_array_equal(together[name], array)
