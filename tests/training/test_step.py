"""Steps of training: shards and threads that change nothing, and an optimizer that is AdamW."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from generative.machine.threads import Workers, single_threaded
from generative.model.config import ModelConfig
from generative.model.language_model import LanguageModel
from generative.training.batches import windows
from generative.training.config import TrainingConfig
from generative.training.optimizer import Optimizer
from generative.training.processes import Processes
from generative.training.step import NotFiniteError, Outcome, TrainingStep, shards_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

V, B, T = 11, 16, 32
KNOWN = torch.tensor([0, 2, 3, 5, 8])
STEPS = 5
# All kinds of noise, and a bound that every gradient exceeds.
CONFIG = TrainingConfig(
    batch_size=B,
    sequence_length=T,
    gradient_clip=0.05,
    weight_decay=0.1,
    clear_probability=0.3,
    scheduled_sampling=0.5,
    activation_penalty=0.1,
    activation_change_penalty=0.1,
)


@pytest.fixture(autouse=True)
def one_thread_a_product() -> Iterator[None]:
    """As `generative.train` sets it."""
    with single_threaded():
        yield


def model(hidden: int = 17) -> LanguageModel:
    """The same at each call; its sizes are no multiples of what a processor adds up at a time."""
    torch.manual_seed(0)
    shape = ModelConfig(
        vocab_size=V,
        embedding_size=9,
        hidden_size=hidden,
        num_layers=2,
        embedding_dropout=0.1,
        dropout=0.2,
        output_dropout=0.2,
        weight_drop=0.2,
    )
    made = LanguageModel(shape)
    made.set_unigram_bias([5 if i in KNOWN else 0 for i in range(V)])
    return made


def training(workers: Workers, shards: int, config: TrainingConfig = CONFIG) -> TrainingStep:
    return TrainingStep(
        model=model(),
        average=LanguageModel(model().config),
        config=config,
        known=KNOWN,
        precision=torch.float32,
        workers=workers,
        processes=Processes(device=torch.device("cpu")),
        shards=shards,
    )


def walk(step: TrainingStep, first: int = 0, last: int = STEPS) -> list[Outcome]:
    """Steps `first` to `last` over the same stream. Returns the nats and the norm of each."""
    stream = KNOWN.numpy()[np.random.default_rng(0).integers(len(KNOWN), size=B * T * STEPS + B)]
    batches = list(windows(stream, B, T))
    return [
        step(batches[at], learning_rate=1e-2, progress=at / STEPS, step=at)
        for at in range(first, last)
    ]


def all_tensors(step: TrainingStep) -> dict[str, Tensor]:
    """Copies of the weights, their average, the optimizer's state and the rows' state."""
    rows = {
        f"state.{i}.{j}": tensor
        for i, layer in enumerate(step.state.layers)
        for j, tensor in enumerate(layer)
    }
    return {name: tensor.clone() for name, tensor in {**step.tensors(), **rows}.items()}


def assert_same_bits(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("rows", "threads", "expected"),
    [
        (16, 1, 1),
        (16, 2, 2),
        (16, 3, 2),  # three parts would not be equal
        (16, 4, 4),
        (16, 8, 4),  # at least four rows each
        (64, 8, 8),
        (12, 2, 2),
        (12, 8, 3),
        (20, 4, 4),
        (20, 8, 5),
        (18, 4, 3),
        (8, 8, 2),
        (7, 2, 1),
        (13, 3, 1),
        (4, 4, 1),
        (1, 4, 1),
    ],
)
def test_shards_are_equal_and_not_too_small(rows: int, threads: int, expected: int) -> None:
    assert shards_for(rows, threads) == expected


@pytest.mark.parametrize("shards", [2, 4])
def test_shards_come_to_the_weights_of_the_whole_batch(shards: int) -> None:
    with Workers(2) as workers:
        whole, parts = training(workers, 1), training(workers, shards)
        for one, other in zip(walk(whole), walk(parts), strict=True):
            assert one == pytest.approx(other, rel=1e-4)
        # AdamW divides a gradient by its own size, rounding errors included.
        torch.testing.assert_close(all_tensors(whole), all_tensors(parts), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("shards", [1, 2, 4])
def test_threads_do_not_show_in_one_bit(shards: int) -> None:
    found = []
    for count in (1, 2, 4):
        with Workers(count) as workers:
            step = training(workers, shards)
            outcomes = walk(step)
            found.append((outcomes, all_tensors(step)))
    (expected, tensors), *others = found
    assert all(norm > CONFIG.gradient_clip for _, norm in expected)
    for outcomes, theirs in others:
        assert outcomes == expected
        assert_same_bits(tensors, theirs)


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (4, 3)])
def test_a_run_goes_on_with_another_number_of_threads(before: int, after: int) -> None:
    with Workers(before) as few, Workers(after) as many:
        whole, half, rest = (training(workers, 2) for workers in (few, few, many))
        walk(whole)
        walk(half, 0, 3)
        rest.load_tensors({name: t.clone() for name, t in half.tensors().items()})
        rest.state = half.state
        walk(rest, 3, STEPS)
        assert_same_bits(all_tensors(whole), all_tensors(rest))


def test_a_gradient_that_is_not_finite_moves_nothing() -> None:
    with Workers(2) as workers:
        step = training(workers, 2)
        walk(step, 0, 2)
        with torch.no_grad():
            step.model.output.bias[0] = float("nan")
        before = all_tensors(step)
        noise = before.pop("random")
        with pytest.raises(NotFiniteError, match="loss nan"):
            walk(step, 2, 3)
        after = all_tensors(step)
        assert (after.pop("random") != noise).any()
        torch.testing.assert_close(before, after, rtol=0, atol=0, equal_nan=True)


def gradients(like: Sequence[Tensor], step: int) -> list[Tensor]:
    """Those of a step: large ones and tiny ones."""
    source = torch.Generator().manual_seed(step)
    return [torch.randn(p.shape, generator=source) * 10.0 ** (step % 3 - 1) for p in like]


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("clip", [0.5, 1e6])
def test_the_optimizer_is_clipped_adamw_with_a_moving_average(count: int, clip: float) -> None:
    config = TrainingConfig(weight_decay=0.3, beta1=0.8, beta2=0.95, average_decay=0.2)
    ours, average, theirs = model(), model(), model()
    expected = [p.detach().clone() for p in theirs.parameters()]
    reference = torch.optim.AdamW(
        [
            {"params": [p for p in theirs.parameters() if p.ndim > 1], "weight_decay": 0.3},
            {"params": [p for p in theirs.parameters() if p.ndim == 1], "weight_decay": 0.0},
        ],
        betas=(0.8, 0.95),
    )
    with Workers(count) as workers:
        optimizer = Optimizer(ours, average, config, workers)
        for step in range(6):
            rate = 1e-2 / (1 + step)
            for parameter, gradient in zip(
                theirs.parameters(), gradients(expected, step), strict=True
            ):
                parameter.grad = gradient
            norm = torch.nn.utils.clip_grad_norm_(theirs.parameters(), clip).item()
            for group in reference.param_groups:
                group["lr"] = rate
            reference.step()
            decay = (0.1, 2 / 11, 0.2, 0.2, 0.2, 0.2)[step]  # (1 + step) / (10 + step), at most 0.2
            for kept, parameter in zip(expected, theirs.parameters(), strict=True):
                kept.mul_(decay).add_(parameter.detach(), alpha=1 - decay)

            mine = gradients(expected, step)
            assert optimizer.norm(mine) == pytest.approx(norm, rel=1e-6)
            scale = min(1.0, clip / (norm + 1e-6))
            optimizer.step(mine, scale=scale, learning_rate=rate, step=step)
    torch.testing.assert_close(list(ours.parameters()), list(theirs.parameters()))
    torch.testing.assert_close([p.detach() for p in average.parameters()], expected)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_gradients_of_shards_are_added_up(count: int) -> None:
    with Workers(count) as workers:
        optimizer = Optimizer(model(), model(), TrainingConfig(), workers)
        shards = [gradients(optimizer.parameters, step) for step in range(3)]
        expected = [torch.stack(parts).sum(0) for parts in zip(*shards, strict=True)]
        torch.testing.assert_close(optimizer.sum(shards), expected)
        only = gradients(optimizer.parameters, 0)
        torch.testing.assert_close(optimizer.sum([only]), gradients(optimizer.parameters, 0))


@pytest.mark.parametrize("hidden", [3, 17])  # of 3 some threads have nothing of any tensor
@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (3, 5)])
def test_the_optimizers_state_is_that_of_any_number_of_threads(
    before: int, after: int, hidden: int
) -> None:
    with Workers(before) as few, Workers(after) as many:
        ours = model(hidden)
        one = Optimizer(ours, model(hidden), TrainingConfig(), few)
        assert one.state() == {}
        for step in range(2):
            one.step(gradients(one.parameters, step), scale=1.0, learning_rate=1e-2, step=step)
        saved = {name: tensor.clone() for name, tensor in one.state().items()}
        assert {name: tuple(tensor.shape) for name, tensor in saved.items()} == one.shapes()
        assert saved["step"] == 2

        copy = LanguageModel(ours.config)
        copy.load_state_dict(ours.state_dict())
        other = Optimizer(copy, model(hidden), TrainingConfig(), many)
        other.load_state(saved)
        assert_same_bits(saved, other.state())
        for optimizer in (one, other):
            taken = gradients(one.parameters, 2)
            optimizer.step(taken, scale=1.0, learning_rate=1e-2, step=2)
        assert_same_bits(one.state(), other.state())
        assert_same_bits(dict(ours.named_parameters()), dict(copy.named_parameters()))
        other.load_state({})
        assert other.state() == {}


def test_the_state_of_another_model_is_refused() -> None:
    with Workers(2) as workers:
        large = Optimizer(model(17), model(17), TrainingConfig(), workers)
        small = Optimizer(model(16), model(16), TrainingConfig(), workers)
        small.step(gradients(small.parameters, 0), scale=1.0, learning_rate=1e-2, step=0)
        saved = small.state()
        with pytest.raises(ValueError, match="numbers, not"):
            large.load_state(saved)
        name = next(iter(saved))
        with pytest.raises(KeyError):
            small.load_state({key: tensor for key, tensor in saved.items() if key != name})
