"""Python threads that share work, each with one thread of torch's own; knows no models.

Torch by default splits every product among the cores by OpenMP, and all of its threads wait at a
barrier after each. A recurrent layer has several such barriers a time step, so when another program
holds one core for a few milliseconds all cores wait, thousands of times a second: the rate falls to
a hundredth. Here each thread does a whole part of the work (some rows of a batch, some documents)
alone, and they meet once a step.
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
    """How many threads this process should use: cores it may run on, less by quota or request.

    A container's CPU quota and OMP_NUM_THREADS lower the number. Processes that `torchrun` started
    on one machine share its cores, or the quota, unless OMP_NUM_THREADS says what each may use.
    """
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        cores = os.cpu_count() or 1
    limit = min(float(cores), _quota())
    asked = _positive("OMP_NUM_THREADS")
    share = min(limit, asked) if asked else limit / (_positive("LOCAL_WORLD_SIZE") or 1)
    return max(1, math.floor(share + 0.5))


def _positive(name: str) -> int | None:
    """The whole number that an environment variable begins with; None where it has none above 0."""
    value = os.environ.get(name, "").split(",")[0].strip()
    return int(value) or None if value.isdecimal() else None


def _quota() -> float:
    """The cores that a container's quota is worth; infinite without one."""
    try:  # version 2: "max 100000" or "150000 100000", microseconds of each period
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
    """So many threads, the calling one among them.

    Example:
        with Workers(2) as workers:
            workers.map(math.sqrt, [1.0, 4.0, 9.0])  # [1.0, 2.0, 3.0]
    """

    def __init__(self, count: int = 1) -> None:
        """`count`: threads, 1 or more; with 1 the calling thread does all."""
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
        """The function of each item, in the order of the items. The first error is raised.

        The items must not depend on each other. The calling thread takes items as the others do,
        so that one thread on a busy core delays only the item that it has.
        """
        waiting = list(items)
        if self._pool is None or len(waiting) < 2:
            return [function(item) for item in waiting]
        results: list[Result | None] = [None] * len(waiting)
        places = iter(range(len(waiting)))  # `next` on it is atomic

        def work() -> None:
            for place in places:
                results[place] = function(waiting[place])

        others = min(self.count, len(waiting)) - 1
        futures = [self._pool.submit(work) for _ in range(others)]
        try:
            work()
        finally:
            errors = [future.exception() for future in futures]
        for error in errors:
            if error is not None:
                raise error
        return cast("list[Result]", results)  # every place is filled


ALONE = Workers()


def _single_threaded() -> None:
    torch.set_num_threads(1)


@contextmanager
def single_threaded() -> Iterator[None]:
    """Within the block torch runs each product in the thread that asks for it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
