"""Python threads that share work and each run torch on one thread; models are not known here.

By default torch splits every matrix product among the cores by OpenMP, and all of its threads wait
at a barrier after each. A recurrent layer has several such barriers in each time step. If another
program uses one core for a few milliseconds, all cores wait, and the speed may fall to a hundredth.
Here each thread does a whole part of the work (some rows of a batch, some documents) alone, and the
threads wait for each other once in a training step.
"""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar, cast

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Item = TypeVar("Item")
Result = TypeVar("Result")

CGROUP_FOLDER = Path("/sys/fs/cgroup")


def available_threads() -> int:
    """The number of threads that this process should use.

    It is the number of cores that the process may run on, or less by the CPU quota of a container
    or by OMP_NUM_THREADS. Processes that `torchrun` starts on one machine divide the cores, or the
    quota, among themselves unless OMP_NUM_THREADS is set.
    """
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # Some systems do not have it.
        cores = os.cpu_count() or 1
    limit = min(float(cores), _quota())
    asked = _positive("OMP_NUM_THREADS")
    threads = min(limit, asked) if asked else limit / (_positive("LOCAL_WORLD_SIZE") or 1)
    return max(1, math.floor(threads + 0.5))


def _positive(name: str) -> int | None:
    """The positive number that an environment variable begins with; None if there is none."""
    value = os.environ.get(name, "").split(",")[0].strip()
    return int(value) or None if value.isdecimal() else None


def _quota() -> float:
    """The CPU quota of a container in cores; infinite without one."""
    try:  # The format of cgroup version 2 is "max 100000" or "150000 100000", in microseconds.
        quota, period = (CGROUP_FOLDER / "cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        try:
            quota, period = (
                (CGROUP_FOLDER / "cpu" / f"cpu.cfs_{name}_us").read_text(encoding="ascii").strip()
                for name in ("quota", "period")
            )
        except (OSError, ValueError):
            return math.inf
    try:
        cores = float(quota) / float(period)
    except (ValueError, ZeroDivisionError):
        return math.inf
    return cores if cores > 0 else math.inf


class Workers:
    """A pool of threads that includes the calling thread.

    Example:
        with Workers(2) as workers:
            workers.map(math.sqrt, [1.0, 4.0, 9.0])  # [1.0, 2.0, 3.0]
    """

    def __init__(self, count: int = 1) -> None:
        """`count` is the number of threads, 1 or more; with 1 the calling thread does all work."""
        self.count = count
        self._pool = (
            ThreadPoolExecutor(count - 1, "worker", _single_threaded) if count > 1 else None
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """The results of a function for each item, in the order of the items.

        The items must not depend on each other. Each thread takes the next item when it is free, so
        that a busy core delays only one item. The first error is raised.
        """
        waiting = list(items)
        if self._pool is None or len(waiting) < 2:
            return [function(item) for item in waiting]
        results: list[Result | None] = [None] * len(waiting)
        indices = iter(range(len(waiting)))  # `next` on it is atomic.

        def work() -> None:
            for i in indices:
                results[i] = function(waiting[i])

        others = min(self.count, len(waiting)) - 1
        futures = [self._pool.submit(work) for _ in range(others)]
        try:
            work()
        finally:
            errors = [future.exception() for future in futures]
        for error in errors:
            if error is not None:
                raise error
        return cast("list[Result]", results)  # All of them are set.


ALONE = Workers()


def _single_threaded() -> None:
    torch.set_num_threads(1)


@contextmanager
def single_threaded() -> Iterator[None]:
    """Let torch run on one thread within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
