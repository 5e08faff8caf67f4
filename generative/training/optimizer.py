"""AdamW over a model's parameters, and the moving average of the weights.

Every thread updates its own stretch of each parameter, so that the update is limited by the memory
bandwidth of all cores and not of one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from generative.machine.threads import Workers
    from generative.model.language_model import LanguageModel
    from generative.training.config import TrainingConfig

SLOTS = ("exp_avg", "exp_avg_sq")  # the state that AdamW keeps for each weight
VECTOR_NUMBERS = 64  # a multiple of the width of any processor's vector loops


@dataclass(frozen=True, kw_only=True)
class _Stretch:
    """One thread's part of all parameters: flat views, in the order of the parameters."""

    weights: list[Tensor]
    averages: list[Tensor]
    optimizer: torch.optim.AdamW


class Optimizer:
    """AdamW (Loshchilov & Hutter 2019), a bound on the gradient's norm, and a moving average.

    Matrices decay, vectors (biases) do not. Whatever the number of threads, the numbers are the
    same to the last bit: stretches end where vector instructions do, and norms are taken of whole
    tensors.

    Example:
        gradients = optimizer.sum(gradients_of_shards)
        scale = min(1.0, 1.0 / optimizer.norm(gradients))
        optimizer.step(gradients, scale=scale, learning_rate=5e-3, step=0)
    """

    def __init__(
        self,
        model: LanguageModel,
        average: LanguageModel,
        config: TrainingConfig,
        workers: Workers,
    ) -> None:
        """Set up for a model and its average; their parameter tensors must not be replaced."""
        self.parameters = list(model.parameters())
        self._names = [name for name, _ in model.named_parameters()]
        self._config = config
        self._workers = workers
        averages = list(average.parameters())
        self._stretches = []
        for number in range(workers.count):
            cut = partial(_stretch, number=number, count=workers.count)
            weights = [cut(p.detach()) for p in self.parameters]
            groups = [
                {
                    "params": [w for w, p in zip(weights, self.parameters, strict=True) if test(p)],
                    "weight_decay": decay,
                }
                for test, decay in ((_is_matrix, config.weight_decay), (_is_vector, 0.0))
            ]
            self._stretches.append(
                _Stretch(
                    weights=weights,
                    averages=[cut(p.detach()) for p in averages],
                    optimizer=torch.optim.AdamW(
                        groups,
                        lr=config.learning_rate,
                        betas=(config.beta1, config.beta2),
                        fused=True,
                    ),
                )
            )

    def sum(self, gradients: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        """Sum the gradients of all shards of a batch, in place of those of the first.

        gradients: one sequence a shard, one tensor a parameter.
        """
        first, *others = gradients

        def add(number: int) -> None:
            cut = partial(_stretch, number=number, count=self._workers.count)
            mine = [cut(g) for g in first]
            for other in others:
                torch._foreach_add_(mine, [cut(g) for g in other])

        if others:
            self._workers.map(add, range(self._workers.count))
        return list(first)

    def norm(self, gradients: Sequence[Tensor]) -> float:
        """The Euclidean norm of all numbers of the gradients together."""

        norms = self._workers.map(torch.linalg.vector_norm, gradients)
        return float(torch.stack(norms).double().norm())

    def step(
        self, gradients: Sequence[Tensor], *, scale: float, learning_rate: float, step: int
    ) -> None:
        """Update the weights by `scale` times the gradients, and their moving average.

        After `step` steps the weight of the old average is
        min(average_decay, (1 + step) / (10 + step)): lower at first, when there is little to
        average.
        """
        decay = min(self._config.average_decay, (1 + step) / (10 + step))

        def update(number: int) -> None:
            stretch = self._stretches[number]
            cut = partial(_stretch, number=number, count=self._workers.count)
            mine = [cut(g) for g in gradients]
            torch._foreach_mul_(mine, scale)
            for weight, gradient in zip(stretch.weights, mine, strict=True):
                weight.grad = gradient
            for group in stretch.optimizer.param_groups:
                group["lr"] = learning_rate
            stretch.optimizer.step()
            torch._foreach_lerp_(stretch.averages, stretch.weights, 1.0 - decay)

        self._workers.map(update, range(self._workers.count))

    def state(self) -> dict[str, Tensor]:
        """Everything that continuing needs: "NAME.SLOT" -> flat tensor, and "step"."""
        slots = [
            [stretch.optimizer.state[w] for w in stretch.weights] for stretch in self._stretches
        ]
        if not slots[0][0]:
            return {}
        found = {
            f"{name}.{slot}": torch.cat([part[at][slot] for part in slots])
            for at, name in enumerate(self._names)
            for slot in SLOTS
        }
        return {**found, "step": slots[0][0]["step"].clone()}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the result of `state` after the first step."""
        sizes = zip(self._names, self.parameters, strict=True)
        found: dict[str, tuple[int, ...]] = {"step": ()}
        return found | {f"{name}.{slot}": (p.numel(),) for name, p in sizes for slot in SLOTS}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Restore the result of `state`, from any number of threads.

        Raises:
            KeyError, ValueError: it belongs to another model.
        """
        for number, stretch in enumerate(self._stretches):
            stretch.optimizer.state.clear()
            if not state:
                continue
            for name, weight, whole in zip(
                self._names, stretch.weights, self.parameters, strict=True
            ):
                slots = stretch.optimizer.state[weight]
                slots["step"] = state["step"].clone()
                for slot in SLOTS:
                    numbers = state[f"{name}.{slot}"].to(whole.device)
                    if numbers.numel() != whole.numel():
                        raise ValueError(f"{name}: {numbers.numel()} numbers, not {whole.numel()}")
                    slots[slot] = _stretch(numbers, number, len(self._stretches)).clone()


def _stretch(tensor: Tensor, number: int, count: int) -> Tensor:
    """The `number`-th of `count` stretches of nearly equal size, as a flat view.

    All but the last end at a multiple of `VECTOR_NUMBERS`. Numbers that do not fill a vector may be
    rounded differently, so they must be the same ones for every `count`.
    """
    flat = tensor.view(-1)
    vectors = -(-flat.numel() // VECTOR_NUMBERS)
    begin, end = (VECTOR_NUMBERS * (at * vectors // count) for at in (number, number + 1))
    return flat[begin:end]


def _is_matrix(parameter: Tensor) -> bool:
    return parameter.ndim > 1


def _is_vector(parameter: Tensor) -> bool:
    return parameter.ndim <= 1
