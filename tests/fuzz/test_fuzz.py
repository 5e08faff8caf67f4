"""A short seeded run of every target; the long ones are in benchmarks/LOG.md."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys

import pytest

from tests.conftest import ONE_THREAD
from tests.fuzz import runner
from tests.fuzz.entropy import Entropy, changed
from tests.fuzz.mutator import Mutator

GUIDED_RUNS = 1000

if sys.platform == "win32":
    pytest.skip("needs Unix timers and limits", allow_module_level=True)


@pytest.mark.parametrize("target", runner.TARGETS)
def test_nothing_is_found_in_a_second(target: str) -> None:
    findings = runner.plain(target, runs=20_000, seed=0, seconds=1.0)
    assert not findings, findings[0][1]


@pytest.mark.parametrize("target", runner.TARGETS)
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed")
def test_nothing_is_found_with_coverage(target: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", target, "--runs", str(GUIDED_RUNS), "--seed", "0"],
        check=False,
        capture_output=True,
        text=True,
        errors="replace",
        env=ONE_THREAD,
        timeout=200,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    # libFuzzer completes the mutations of an input that it has begun, so there may be a few more.
    (runs,) = re.findall(r"Done (\d+) runs", done.stdout + done.stderr)
    assert GUIDED_RUNS <= int(runs) < 1.1 * GUIDED_RUNS


def test_slow_and_large_inputs_are_findings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "MAX_SECONDS", 0.05)
    monkeypatch.setattr(runner, "MAX_KILOBYTES", 30_000)

    def run(data: bytes) -> None:
        while data == b"slow":
            pass
        if data == b"large":
            bytearray(200_000_000)[::4096] = b"1" * (200_000_000 // 4096 + 1)

    watched = runner.watched(run)
    watched(b"")
    with pytest.raises(runner.TooSlowError):
        watched(b"slow")
    bytearray(runner.peak_kilobytes() * 1000)
    with pytest.raises(runner.TooLargeError):
        watched(b"large")


def test_inputs_are_the_same_for_the_same_seed() -> None:
    def drawn(seed: int) -> list[bytes]:
        mutator = Mutator([b"some seed", b"another"], seed)
        return [mutator.draw() for _ in range(20)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    value = {"a": [1, {"b": "c"}]}
    # one change, inside "a", its second item: the key "b" is gone
    assert changed(value, Entropy(bytes([0, 1, 0, 2, 1, 1, 2, 1, 0, 0]))) == {"a": [1, {}]}
    assert value == {"a": [1, {"b": "c"}]}
