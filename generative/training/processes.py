"""The processes that share a run, and the collective operations between them.

It must not know what is trained. `torchrun` starts the processes and gives each its rank in
environment variables. A run without it is a single process, for which the same calls do nothing.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

# This must be imported before there is a process group, since the default arguments of its
# functions would keep the group alive.
import torch.distributed.nn
from torch import Tensor, distributed
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BACKENDS = {"cuda": "nccl", "cpu": "gloo"}


@dataclass(frozen=True, kw_only=True)
class Processes:
    """This process among those of its run.

    Attributes:
        device: holds the model and the tensors that are exchanged.
        rank: 0 .. size - 1; rank 0 writes files and reports.
        size: the number of processes.
    """

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0

    def rows(self, batch_size: int) -> slice:
        """The rows of a batch that are this process's."""
        rows = batch_size // self.size
        return slice(self.rank * rows, (self.rank + 1) * rows)

    def sums(self, *values: float) -> list[float]:
        """Each value summed over all processes."""
        if self.size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(tensor)
        return [float(value) for value in tensor.tolist()]

    def from_first(self, value: float) -> float:
        """The value of rank 0; the values of other ranks are ignored."""
        return self.sums(value if self.is_first else 0.0)[0]

    def average(self, tensors: list[Tensor]) -> None:
        """Replace each tensor by its mean over all processes, in one all-reduce.

        tensors: the same number and shapes in each process.
        """
        if self.size == 1:
            return
        together = torch.cat([tensor.flatten() for tensor in tensors])
        distributed.all_reduce(together)
        together /= self.size
        for tensor, mean in zip(tensors, together.split([t.numel() for t in tensors]), strict=True):
            tensor.copy_(mean.view_as(tensor))

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by that of rank 0."""
        if self.size > 1:
            for tensor in tensors:
                distributed.broadcast(tensor, 0)

    def gather_rows(self, tensor: Tensor) -> Tensor:
        """The rows of all processes, in the order of their ranks. (B / size, H) -> (B, H)"""
        if self.size == 1:
            return tensor
        parts = [torch.empty_like(tensor) for _ in range(self.size)]
        distributed.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    def wait(self) -> None:
        """Wait until all processes have called this."""
        if self.size > 1:
            distributed.barrier()

    @contextmanager
    def first_then_others(self) -> Iterator[None]:
        """Run the block in rank 0, and then in all others."""
        if not self.is_first:
            self.wait()
        yield
        if self.is_first:
            self.wait()


@contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """Join the process group of `torchrun`; without it, a single process.

    The group is destroyed at the end of the block, since a thread of gloo that releases a tensor
    while Python exits would crash the process.

    Raises:
        ValueError: the environment describes no such group.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Processes(device=device)
        return
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        device = torch.device("cuda", torch.cuda.current_device())
    store, rank, size = next(rendezvous("env://"))
    # The launcher keeps one store through all restarts. Without a prefix of its own, a group could
    # read the addresses of processes that have ended.
    attempt = f"{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')} of {size}"
    distributed.init_process_group(
        BACKENDS.get(device.type, "gloo"),
        store=PrefixStore(attempt, store),
        rank=rank,
        world_size=size,
    )
    try:
        yield Processes(rank=distributed.get_rank(), size=size, device=device)
    finally:
        distributed.destroy_process_group()


def launch() -> str | None:
    """The name of the `torchrun` launch of this process; None without one, or without a name."""
    name = os.environ.get("TORCHELASTIC_RUN_ID", "none")
    return None if name == "none" else name


def restarted() -> bool:
    """Whether `torchrun` has started this group again after one of its processes ended."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0
