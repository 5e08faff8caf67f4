"""Threads: how many there should be, and work that they share."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
import torch

from generative.machine import threads
from generative.machine.threads import Workers, available_threads, single_threaded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PATIENCE_SECONDS = 30.0  # until a barrier gives up


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Pretend: cores that the process may run on, files of the control groups, environment."""
    monkeypatch.setattr(threads, "CGROUP_FOLDER", tmp_path)

    def pretend(cores: int, files: dict[str, str] | None = None, **environment: str) -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
        for name in ("OMP_NUM_THREADS", "LOCAL_WORLD_SIZE"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        for name, text in (files or {}).items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text, encoding="ascii")

    return pretend


def quota_files(quota: str, period: str = "100000") -> dict[str, str]:
    """Those of version 1."""
    return {"cpu/cpu.cfs_quota_us": f"{quota}\n", "cpu/cpu.cfs_period_us": f"{period}\n"}


def test_a_thread_for_each_core_that_the_process_may_run_on(machine: Callable[..., None]) -> None:
    machine(3)
    assert available_threads() == 3


def test_all_cores_where_the_system_knows_no_affinity(
    machine: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(3)
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert available_threads() == 5
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_threads() == 1


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "150000 100000\n"}, 2),  # a half counts as a whole
        ({"cpu.max": "140000 100000\n"}, 1),
        ({"cpu.max": "10000 100000\n"}, 1),
        ({"cpu.max": "1600000 100000\n"}, 8),
        ({"cpu.max": "25000 5000\n"}, 5),
        ({"cpu.max": "200000 0\n"}, 8),
        ({"cpu.max": "nonsense\n"}, 8),
        (quota_files("-1"), 8),
        (quota_files("300000"), 3),
        (quota_files("150000", "50000"), 3),
        (quota_files("nonsense"), 8),
        ({"cpu.max": "200000 100000\n", **quota_files("300000")}, 2),
    ],
)
def test_a_containers_quota_lowers_the_number(
    machine: Callable[..., None], files: dict[str, str], expected: int
) -> None:
    machine(8, files)
    assert available_threads() == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [("3", 3), (" 3 ", 3), ("3,2", 3), ("99", 8), ("0", 8), ("-1", 8), ("", 8), ("²", 8)],
)
def test_omp_num_threads_lowers_the_number(
    machine: Callable[..., None], value: str, expected: int
) -> None:
    machine(8, OMP_NUM_THREADS=value)
    assert available_threads() == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [("1", 8), ("2", 4), ("3", 3), ("20", 1), ("0", 8), ("", 8), ("many", 8)],
)
def test_processes_on_one_machine_share_its_cores(
    machine: Callable[..., None], value: str, expected: int
) -> None:
    machine(8, LOCAL_WORLD_SIZE=value)
    assert available_threads() == expected


def test_processes_in_one_container_share_its_quota(machine: Callable[..., None]) -> None:
    machine(8, {"cpu.max": "400000 100000\n"}, LOCAL_WORLD_SIZE="2")
    assert available_threads() == 2


def test_omp_num_threads_is_of_each_process(machine: Callable[..., None]) -> None:
    machine(8, OMP_NUM_THREADS="3", LOCAL_WORLD_SIZE="4")
    assert available_threads() == 3


@pytest.mark.parametrize("count", [1, 2, 3, 8])
@pytest.mark.parametrize("items", [0, 1, 2, 7, 50])
def test_results_come_in_the_order_of_the_items(count: int, items: int) -> None:
    numbers = [float(n * n) for n in range(items)]
    with Workers(count) as workers:
        for _ in range(2):
            assert workers.map(math.sqrt, iter(numbers)) == [float(n) for n in range(items)]


def test_the_order_holds_when_the_first_item_is_ready_last() -> None:
    ready = threading.Event()

    def wait_or_tell(item: int) -> int:
        if item == 0:
            assert ready.wait(PATIENCE_SECONDS)
        if item == 3:
            ready.set()
        return item

    with Workers(2) as workers:
        assert workers.map(wait_or_tell, range(4)) == [0, 1, 2, 3]


def test_one_thread_is_the_calling_one() -> None:
    with Workers() as workers:
        found = workers.map(lambda _: threading.get_ident(), range(5))
    assert set(found) == {threading.get_ident()}


@pytest.mark.parametrize("count", [2, 3])
def test_the_calling_thread_is_one_of_them(count: int) -> None:
    meeting = threading.Barrier(count)  # passed only if so many threads are at work together

    def meet(_: int) -> int:
        meeting.wait(PATIENCE_SECONDS)
        return threading.get_ident()

    with Workers(count) as workers:
        found = set(workers.map(meet, range(count)))
    assert len(found) == count
    assert threading.get_ident() in found


def test_no_more_threads_than_asked_for() -> None:
    with Workers(3) as workers:
        found = set(workers.map(lambda _: threading.get_ident(), range(200)))
    assert len(found) <= 3


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("bad", [0, 3, 9])
def test_an_error_is_raised_and_the_threads_go_on(count: int, bad: int) -> None:
    def refuse(item: int) -> int:
        if item == bad:
            raise ValueError(f"not {item}")
        return item

    with Workers(count) as workers:
        with pytest.raises(ValueError, match=f"not {bad}"):
            workers.map(refuse, range(10))
        assert workers.map(abs, [-1, -2, -3]) == [1, 2, 3]


@pytest.mark.parametrize("caller_fails", [True, False])
def test_an_error_waits_for_the_other_thread(caller_fails: bool) -> None:
    meeting, finished = threading.Barrier(2), []

    def fail_or_finish(_: int) -> None:
        meeting.wait(PATIENCE_SECONDS)
        if (threading.current_thread() is threading.main_thread()) == caller_fails:
            raise ValueError("mine")
        time.sleep(0.05)
        finished.append(True)

    with Workers(2) as workers, pytest.raises(ValueError, match="mine"):
        workers.map(fail_or_finish, range(2))
    assert finished == [True]


def test_threads_end_with_the_block() -> None:
    before = set(threading.enumerate())
    with Workers(4) as workers:
        workers.map(abs, range(100))
    assert set(threading.enumerate()) <= before


@pytest.fixture
def three_threads() -> Iterator[None]:
    """Torch with three threads, whatever the tests began with."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
def test_a_worker_has_one_thread_of_torchs_and_the_caller_keeps_its_own() -> None:
    meeting = threading.Barrier(2)

    def meet(_: int) -> tuple[bool, int]:
        meeting.wait(PATIENCE_SECONDS)
        return threading.current_thread() is threading.main_thread(), torch.get_num_threads()

    with Workers(2) as workers:
        assert dict(workers.map(meet, range(2))) == {True: 3, False: 1}
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("three_threads")
def test_single_threaded_blocks_nest_and_restore() -> None:
    with single_threaded():
        assert torch.get_num_threads() == 1
        with single_threaded():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("three_threads")
def test_single_threaded_restores_after_an_error() -> None:
    with pytest.raises(ValueError, match="within"), single_threaded():
        raise ValueError("within")
    assert torch.get_num_threads() == 3


SCORED_BY_A_CHILD = """
import multiprocessing, sys, warnings
import generative

def child(model, queue):
    queue.put(model.score("7 bottles " * 50, reset_every=50).nats)

warnings.simplefilter("ignore")
model = generative.load(sys.argv[1])
own = model.score("7 bottles " * 50, reset_every=50).nats
context = multiprocessing.get_context("fork")
queue = context.Queue()
process = context.Process(target=child, args=(model, queue))
process.start()
try:
    print(queue.get(timeout=60) == own)
finally:
    process.kill()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_forked_process_scores_like_the_one_that_scored_before_it(trained: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCORED_BY_A_CHILD, str(trained)],
        env={**os.environ, "OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.strip() == "True"
