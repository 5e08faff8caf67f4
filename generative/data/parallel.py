"""A parallel `map` whose results come in order and whose memory does not grow with its input."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Executor, Future

T = TypeVar("T")
R = TypeVar("R")


def available_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_in_order(
    function: Callable[[T], R], items: Iterable[T], workers: int, *, threads: bool = False
) -> Iterator[R]:
    """`map` by several workers, whose results come in the order of the items.

    Args:
        function: What is called for each item.
        items: The items, which are taken only a few ahead of the results.
        workers: How many threads or processes to use; 1 calls `function` directly.
        threads: Use threads, for a function that releases the interpreter lock, as NumPy does.
            Otherwise processes are used.
    """
    if workers == 1:
        yield from map(function, items)
        return
    executor = ThreadPoolExecutor(workers) if threads else _processes(workers)
    pending: deque[Future[R]] = deque()
    try:
        for item in items:
            pending.append(executor.submit(function, item))
            if len(pending) > 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        executor.shutdown(wait=True)


def _processes(workers: int) -> Executor:
    """Processes that need no `if __name__ == "__main__"` guard in the calling script."""
    import loky

    return cast("Executor", loky.get_reusable_executor(max_workers=workers))
