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
# What torchrun starts processes with, but they are forked, and so need not import torch each.
FORKING = """
import runpy, sys
import matplotlib.figure, numba, tensorboardX
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
import generative.api.training, generative.cli.train, generative.training.run
processes, program, *arguments = sys.argv[1:]
def work():
    sys.argv[1:] = arguments
    try:
        runpy.run_path(program, run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise RuntimeError(f"exit code {end.code}") from end
config = LaunchConfig(
    min_nodes=1, max_nodes=1, nproc_per_node=int(processes), max_restarts=0,
    start_method="fork", rdzv_backend="c10d", rdzv_endpoint="localhost:0", run_id="forked",
)
elastic_launch(config, work)()
"""
# The command, as a program of its own.
COMMAND = "import sys; from generative.cli.main import main; main(['train', *sys.argv[1:]])"


def launch(
    folder: Path, corpus: Path, processes: int, *how: str
) -> subprocess.CompletedProcess[str]:
    """Train by so many processes of torchrun; `how` names its options and the program."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    return run(folder, corpus, *launcher, *how)


def fork(
    folder: Path, corpus: Path, processes: int, program: Path
) -> subprocess.CompletedProcess[str]:
    """Train by so many processes that are forked, and that each run a program."""
    return run(folder, corpus, "-c", FORKING, str(processes), str(program))


def run(folder: Path, corpus: Path, *how: str) -> subprocess.CompletedProcess[str]:
    """Train; `how` are Python's arguments before those of the command."""
    program = [*how, str(corpus), "-o", str(folder), *OPTIONS.split(), "--weight-drop", "0.1"]
    return subprocess.run(
        [sys.executable, *program],
        check=False,
        capture_output=True,
        text=True,
        env=ONE_THREAD,
        timeout=200,
    )


def came_to(folder: Path, done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The weights that processes came to."""
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("held out:") == 1  # one speaks for all
    return checkpoint.load_weights(folder)[0]


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
tasks = Path("/proc/self/task")
names = [(task / "comm").read_text() for task in tasks.iterdir()] if tasks.exists() else []
left = any("gloo" in name for name in names)
os.write(1, f"left: {left}\\n".encode())  # in one piece: two processes share the pipe
sys.exit(code)
"""


@pytest.fixture(scope="module")
def launched(
    rhyme: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], subprocess.CompletedProcess[str]]:
    """The weights of two processes that torchrun started, and what they printed."""
    folder = tmp_path_factory.mktemp("two")
    script = folder / "parting.py"
    script.write_text(PARTING)
    done = launch(folder / "model", rhyme, 2, str(script))
    return came_to(folder / "model", done), done


@pytest.fixture(scope="module")
def by_two(launched: tuple[dict[str, Any], Any]) -> dict[str, Any]:
    return launched[0]


def test_one_process_of_the_launcher_reaches_the_same_weights(
    rhyme: Path, tmp_path: Path, by_two: dict[str, Any]
) -> None:
    done = launch(tmp_path / "model", rhyme, 1, "-m", "generative.train")
    others = came_to(tmp_path / "model", done)
    for name, array in by_two.items():
        np.testing.assert_allclose(others[name], array, atol=1e-5)


def test_four_processes_reach_the_same_weights(
    rhyme: Path, tmp_path: Path, by_two: dict[str, Any]
) -> None:
    script = tmp_path / "command.py"
    script.write_text(COMMAND)
    others = came_to(tmp_path / "model", fork(tmp_path / "model", rhyme, 4, script))
    for name, array in by_two.items():
        np.testing.assert_allclose(others[name], array, atol=1e-5)


def test_a_killed_process_loses_nothing(
    rhyme: Path, tmp_path: Path, by_two: dict[str, Any]
) -> None:
    script = tmp_path / "dying.py"
    script.write_text(DYING)
    done = launch(tmp_path / "model", rhyme, 2, "--max-restarts", "1", str(script))
    survived = came_to(tmp_path / "model", done)
    for name, array in by_two.items():
        np.testing.assert_array_equal(survived[name], array)


def test_another_number_of_processes_goes_on_with_a_run(
    rhyme: Path, tmp_path: Path, by_two: dict[str, Any]
) -> None:
    script = tmp_path / "dying.py"
    script.write_text(DYING)
    died = fork(tmp_path / "model", rhyme, 2, script)
    assert died.returncode != 0
    assert "held out:" not in died.stderr
    done = run(tmp_path / "model", rhyme, "-m", "generative.train", "--resume")
    alone = came_to(tmp_path / "model", done)
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


@pytest.mark.skipif(sys.platform != "linux", reason="names of threads are read in /proc")
def test_nothing_of_the_group_runs_while_python_ends(launched: tuple[Any, Any]) -> None:
    assert launched[1].stdout.count("left: False") == 2


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
    together = came_to(tmp_path / "model", fork(tmp_path / "model", rhyme, 2, script))
    for name, array in by_two.items():
        np.testing.assert_array_equal(together[name], array)
