"""Nothing that befalls a run from outside loses more than the steps since its last save."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests import survival
from tests.conftest import ONE_THREAD

if TYPE_CHECKING:
    from pathlib import Path

# Let no file grow beyond so many bytes, as on a full disk, once training is on its way.
FULL_DISK = """
import resource, signal, sys
from generative.cli.main import main
from generative.training.trainer import Trainer
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
agree = Trainer._agree
def filling(self):
    if self.progress.step == 23:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
    return agree(self)
Trainer._agree = filling
main(["train", *sys.argv[1:]])
"""


@pytest.mark.xdist_group("survival")  # the longest test begins first
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_and_damaged_runs_come_to_the_same_weights() -> None:
    options = ["--kills", "4", "--damages", "12", "--full-disks", "3"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.survival", *options],
        check=False,
        capture_output=True,
        text=True,
        env=ONE_THREAD,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    assert "4 kills over" in done.stdout
    assert "12 damaged files, none loaded wrongly" in done.stdout
    assert "SIGTERM and SIGHUP before the first validation: continued" in done.stdout
    assert "a second run in a folder is refused" in done.stdout
    assert "3 runs on a disk that was full" in done.stdout
    assert "closed to writing is left as it is" in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits on file sizes")
def test_a_full_disk_ends_a_run_with_one_line_and_its_last_state(
    rhyme: Path, tmp_path: Path
) -> None:
    options = "--steps 40 --hidden 16 --batch-size 4 --sequence-length 16 --precision float32"
    command = [str(rhyme), "-o", str(tmp_path / "model"), *options.split()]
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, *command],
        check=False,
        capture_output=True,
        text=True,
        env=ONE_THREAD,
        timeout=100,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "cannot be written: File too large" in done.stderr.splitlines()[-1]
    again = subprocess.run(
        [sys.executable, "-m", "generative.train", *command, "--resume"],
        check=False,
        capture_output=True,
        text=True,
        env=ONE_THREAD,
        timeout=100,
    )
    assert again.returncode == 0, again.stderr
    survival.weights(tmp_path / "model")
