"""The training step: from a batch, cut into shards of rows, to updated weights.

It must not know budgets or files.

The rows of a batch are cut into shards of equal size. Each shard is read by one thread from
embedding to gradient, and the threads meet when the gradients are added up. The number of shards is
part of a run's recipe, so the same run comes to the same weights however many threads there are and
whatever else the machine does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from generative.model.noise import Noise
from generative.model.state import State
from generative.training.learner import Learner
from generative.training.optimizer import Optimizer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from generative.machine.threads import Workers
    from generative.model.language_model import LanguageModel
    from generative.training.batches import Batch
    from generative.training.config import TrainingConfig
    from generative.training.processes import Processes

SHARD_ROWS = 4  # With fewer rows, reading the weights would take most of a thread's time.


def shards_for(rows: int, threads: int) -> int:
    """The number of equal shards that a process cuts its rows into, at most one a thread."""
    most = min(threads, max(1, rows // SHARD_ROWS))
    return max(count for count in range(1, most + 1) if rows % count == 0)


class NotFiniteError(ArithmeticError):
    """The loss or gradient of a step is not finite; the step has changed nothing."""

    def __init__(self, loss: float, norm: float) -> None:
        super().__init__(f"loss {loss}, gradient norm {norm}")
        self.loss, self.norm = loss, norm


class Outcome(NamedTuple):
    """The figures of a step: mean nats per token, and the gradient's norm before clipping."""

    nats: float
    norm: float


class _Read(NamedTuple):
    """The results of one shard of a batch."""

    nats: Tensor
    gradients: list[Tensor]
    state: State


@dataclass(kw_only=True)
class TrainingStep:
    """A model being trained, its optimizer and the state of each row.

    Attributes:
        model: the model that is trained.
        average: its moving average.
        config: how it learns.
        known: (K,) ids that may be targets.
        precision: torch.float32 or torch.bfloat16, the type of matrix products.
        workers: the threads of this process.
        processes: the processes that share the batch; each has its own rows.
        shards: the number of parts that the rows of this process are cut into. It is reduced to a
            divisor of the rows, since a run may be continued by more processes with fewer rows
            each.
    """

    model: LanguageModel
    average: LanguageModel
    config: TrainingConfig
    known: Tensor
    precision: torch.dtype
    workers: Workers
    processes: Processes
    shards: int = 1

    def __post_init__(self) -> None:
        """Set up the learner, the optimizer and the states of the rows."""
        self.device = self.model.output.bias.device
        self.learner = Learner(self.model, self.config, self.known)
        # All processes drew the same weights, unless libraries on another machine differ.
        self.processes.broadcast(self.model.state_dict().values())
        self.average.load_state_dict(self.model.state_dict())
        self.optimizer = Optimizer(self.model, self.average, self.config, self.workers)
        rows = self.processes.rows(self.config.batch_size)
        self.shards = math.gcd(self.shards, rows.stop - rows.start)
        self._rows = (rows.stop - rows.start) // self.shards  # rows of one shard
        first = self.processes.rank * self.shards
        count = self.processes.size * self.shards
        self._noises = [
            Noise.seeded(self.config.seed, self.device, first + number, count)
            for number in range(self.shards)
        ]
        self._states = [self.model.initial_state(self._rows)] * self.shards

    @property
    def state(self) -> State:
        """The state of this process's rows."""
        return State.joined(self._states)

    @state.setter
    def state(self, state: State) -> None:
        self._states = [
            state.select(range(number * self._rows, (number + 1) * self._rows))
            for number in range(self.shards)
        ]

    def tensors(self) -> dict[str, Tensor]:
        """Everything that continuing needs beside the state of the rows, by name."""
        parts = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state(),
        }
        named = {f"{part}.{name}": t for part, ts in parts.items() for name, t in ts.items()}
        return {**named, "random": self._noises[0].generator.get_state()}

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore the result of `tensors`.

        Raises:
            KeyError, ValueError, RuntimeError: it belongs to another model.
        """

        def part(prefix: str) -> dict[str, Tensor]:
            return {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}

        for noise in self._noises:  # This comes first, since torch may refuse a generator's state.
            noise.generator.set_state(tensors["random"])
        self.model.load_state_dict(part("model."))
        self.average.load_state_dict(part("average."))
        self.optimizer.load_state(part("optimizer."))

    def shapes(self, *, begun: bool) -> dict[str, tuple[int, ...]]:
        """The shapes of the result of `tensors`, before the first step or after it."""
        shapes = {"random": tuple(self._noises[0].generator.get_state().shape)}
        for name, tensor in self.model.state_dict().items():
            shapes[f"model.{name}"] = shapes[f"average.{name}"] = tuple(tensor.shape)
        if begun:
            shapes |= {f"optimizer.{k}": shape for k, shape in self.optimizer.shapes().items()}
        return shapes

    def __call__(
        self, batch: Batch, *, learning_rate: float, progress: float, step: int
    ) -> Outcome:
        """Update the weights by one batch.

        Args:
            batch: (T, B) ids of this process's rows.
            learning_rate: of this step.
            progress: the part of the budget that is spent, 0..1.
            step: steps taken before.

        Raises:
            NotFiniteError: the loss or the gradient is not finite; no weight was moved.
        """
        reads = self.workers.map(
            lambda number: self._read(batch, number, progress), range(self.shards)
        )
        gradients = self.optimizer.sum([read.gradients for read in reads])
        self.processes.average(gradients)
        norm = self.optimizer.norm(gradients) / self.shards
        value = sum(read.nats.item() for read in reads) / self.shards
        value = self.processes.sums(value)[0] / self.processes.size
        if not (math.isfinite(value) and math.isfinite(norm)):
            raise NotFiniteError(value, norm)
        clipped = min(1.0, self.config.gradient_clip / (norm + 1e-6))
        self.optimizer.step(
            gradients, scale=clipped / self.shards, learning_rate=learning_rate, step=step
        )
        self._states = [read.state for read in reads]
        return Outcome(value, norm)

    def _read(self, batch: Batch, number: int, progress: float) -> _Read:
        """The mean loss of a shard's rows, its gradient and the rows' state after the batch."""
        rows = slice(number * self._rows, (number + 1) * self._rows)
        inputs, targets, labels = (
            None if ids is None else torch.from_numpy(ids[:, rows]).to(self.device)
            for ids in (batch.inputs, batch.targets, batch.labels)
        )
        assert inputs is not None
        assert targets is not None
        noise = self._noises[number]
        cleared = noise.uniform_rows((1, self._rows))[0] < self.config.clear_probability
        state = self._states[number].cleared(cleared)
        if batch.fresh:
            state = self.model.initial_state(self._rows)
        if batch.memory is not None:
            state = state.with_memory(batch.memory[rows])
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.precision == torch.bfloat16
        ):
            loss, nats, state = self.learner(inputs, targets, state, progress, labels, noise)
        gradients = torch.autograd.grad(
            loss, self.optimizer.parameters, allow_unused=True, materialize_grads=True
        )
        return _Read(nats, [g.contiguous() for g in gradients], state.detach())
