"""The loop that learns: knows batches, the model and its loss; no text, MIDI or terminals."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from generative.model.state import State
from generative.training import resume
from generative.training.learner import Learner
from generative.training.optimizer import build_optimizer, update_average
from generative.training.reports import Metrics
from generative.training.resume import Progress
from generative.training.validation import validation_loss

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy as np

    from generative.labels import Labels
    from generative.model.language_model import LanguageModel
    from generative.training.batches import Batch, Ids, Lanes
    from generative.training.config import Budget, TrainingConfig
    from generative.training.processes import Processes

VALIDATIONS = 10  # in a whole run
SAVE_SECONDS = 60.0
LOSS_MEMORY = 0.99  # of the running training loss
LEAST_SCALE = 2.0**-4  # of the learning rate: so often is it halved before training gives up


class TrainingError(RuntimeError):
    """Training cannot go on; the message says why and what to change."""


class NotFiniteError(ArithmeticError):
    """A step whose loss or gradient is not finite, before it touched anything."""

    def __init__(self, loss: float, norm: float) -> None:
        super().__init__(f"loss {loss}, gradient norm {norm}")
        self.loss, self.norm = loss, norm


class Observer(Protocol):
    """Who is told how it goes; nothing here depends on what they do with it."""

    def on_step(self, progress: Progress, fraction: float) -> None:
        """After every optimizer step; `fraction` of the budget is spent."""
        ...

    def on_validation(self, metrics: Metrics, average: LanguageModel, is_best: bool) -> None:
        """After every validation of the averaged weights."""
        ...

    def on_trouble(self, messages: list[str]) -> None:
        """When something went wrong and was mended."""
        ...


@dataclass(kw_only=True)
class Trainer:
    """One run: a model, what it reads, how it learns and how long.

    Attributes:
        model: what is trained; `average`, its moving average, is what is validated and kept.
        known: (K,) ids that the training data may ask for.
        lanes: the training batches of the whole run.
        validation: one stream of ids, start tokens included, and the labels of its places.
        precision: torch.float32 or torch.bfloat16, what the matrix products run in.
        folder: where `resume/` is written.
        fingerprint: names model, recipe and data, so that only the same run is continued.
        processes: who shares the run; each reads its rows of the lanes, and rank 0 validates,
            saves and decides.
        observer: is told how it goes.
        should_stop: asked after every step; True in any process ends the run after saving it.
    """

    model: LanguageModel
    average: LanguageModel
    known: Tensor
    lanes: Lanes
    validation: tuple[Ids, Labels | None]
    config: TrainingConfig
    budget: Budget
    precision: torch.dtype
    folder: Path
    fingerprint: str
    processes: Processes
    observer: Observer
    should_stop: Callable[[], bool]

    def __post_init__(self) -> None:
        """Set up what changes during the run."""
        self.device = self.model.output.bias.device
        self.rows = self.processes.rows(self.config.batch_size)
        self.model.share = (self.processes.rank, self.processes.size)
        self.learner = Learner(self.model, self.config, self.known)
        # Drawn alike, but perhaps by other libraries on another machine.
        self.processes.take_first(self.model.state_dict().values())
        self.average.load_state_dict(self.model.state_dict())
        self.optimizer = build_optimizer(self.model, self.config)
        self.progress = Progress()
        self.state = self._empty_state()

    def restore(self) -> list[str]:
        """Continue where `folder` left off. Returns a warning for each damaged state.

        Raises:
            CheckpointError: nothing whole to continue, or another run's state.
        """
        found = resume.load(
            self.folder,
            self.fingerprint,
            self.model,
            self.average,
            self.optimizer,
            self.config.batch_size,
        )
        if found is None:
            return ["nothing to resume: training from the start"]
        self.progress, state, warnings = found
        self.state = state.select(range(self.config.batch_size)[self.rows])
        return warnings

    def save(self) -> None:
        """Write all that continuing needs."""
        state = State(
            tuple(tuple(map(self.processes.gather_rows, layer)) for layer in self.state.layers)
        )
        if self.processes.is_first:
            resume.save(
                self.folder,
                self.fingerprint,
                self.progress,
                self.model,
                self.average,
                self.optimizer,
                state,
            )

    def run(self, seconds_spent: float = 0.0) -> bool:
        """Train until the budget is spent, patience ends, or `should_stop` says so.

        A loss or gradient that is not finite touches no weight: the run goes back to its last saved
        state and on from there with half the learning rate.

        Args:
            seconds_spent: time that already counts against a budget in minutes.

        Returns:
            False if `should_stop` ended it before its time.

        Raises:
            TrainingError: not finite again and again; the last good state is on the disk.
        """
        if self.progress.step == 0:
            self.save()  # somewhere to go back to
        self._began = time.monotonic() - seconds_spent - self.progress.seconds
        while True:
            try:
                return self._run()
            except NotFiniteError as error:
                self._go_back(error)

    def _run(self) -> bool:
        """As `run`, until a step is not finite."""
        self.model.train()
        saved = time.monotonic()
        measured_step, measured_at = self.progress.step, time.monotonic()
        fraction, _ = self._agree()
        if fraction >= 1.0:
            return True
        for batch in self._batches():
            learning_rate = self._learning_rate(fraction)
            norm = self._step(batch, learning_rate, fraction)
            before = fraction
            fraction, stop = self._agree()
            self.observer.on_step(self.progress, fraction)
            if _validations_due(fraction) > _validations_due(before):
                steps = self.progress.step - measured_step
                tokens = steps * self.config.batch_size * self.config.sequence_length
                speed = tokens / (time.monotonic() - measured_at)
                self._validate(learning_rate, norm, speed)
                self.save()
                saved = time.monotonic()
                measured_step, measured_at = self.progress.step, saved
                if self.config.patience is not None and self.progress.stale >= self.config.patience:
                    return True
            if fraction >= 1.0:
                return True
            if stop:
                self.save()
                return False
            if self.processes.from_first(time.monotonic() - saved) > SAVE_SECONDS:
                self.save()
                saved = time.monotonic()
        raise AssertionError("batches never end")

    def _go_back(self, error: NotFiniteError) -> None:
        """Take up the last saved state with a lower learning rate, or give up."""
        scale = 0.5 * self.progress.learning_rate_scale
        said = f"at step {self.progress.step} the loss is {error.loss} and the gradient's norm "
        said += f"{error.norm}; the weights are untouched"
        if scale < LEAST_SCALE:
            raise TrainingError(
                f"{said}; going back and halving the learning rate did not help: "
                "try a lower --learning-rate"
            ) from error
        warnings = self.restore()
        self.progress.learning_rate_scale = scale
        said = f"{said}; back at step {self.progress.step} with half the learning rate"
        self.observer.on_trouble([*warnings, said])

    def _agree(self) -> tuple[float, bool]:
        """The part of the budget that is spent by rank 0's clock, and whether anyone must stop."""
        progress = self.progress
        progress.seconds = time.monotonic() - self._began
        epochs = progress.epoch + progress.window / self.lanes.windows_per_epoch
        spent = self.budget.progress(seconds=progress.seconds, steps=progress.step, epochs=epochs)
        first = self.processes.is_first
        fraction, stops = self.processes.sums(spent if first else 0.0, float(self.should_stop()))
        return fraction, stops > 0

    def _batches(self) -> Iterator[Batch]:
        """Batches from the present place in the data on, without end."""
        progress = self.progress
        while True:
            epoch = self.lanes.epoch(progress.epoch, first=progress.window, rows=self.rows)
            for batch in epoch:
                progress.window += 1
                yield batch
            progress.epoch += 1
            progress.window = 0

    def _learning_rate(self, fraction: float) -> float:
        scale = self.progress.learning_rate_scale
        return scale * self.config.learning_rate_at(self.progress.step, fraction)

    def _step(self, batch: Batch, learning_rate: float, fraction: float) -> float:
        """One optimizer step. Returns the gradient's norm before clipping."""
        if batch.fresh:
            state = self._empty_state()
        else:
            # drawn for all lanes, so that nothing depends on how many processes share them
            cleared = torch.rand(self.config.batch_size) < self.config.clear_probability
            state = self.state.cleared(cleared[self.rows].to(self.device))
        inputs, targets = self._tensor(batch.inputs), self._tensor(batch.targets)
        labels = None if batch.labels is None else self._tensor(batch.labels)
        with self._autocast():
            loss, nats, state = self.learner(inputs, targets, state, fraction, labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.processes.average([p.grad for p in self.model.parameters() if p.grad is not None])
        norm = torch.nn.utils.clip_grad_norm_(
            self.model.parameters(), self.config.gradient_clip, foreach=True
        ).item()
        value = self.processes.sums(nats.item())[0] / self.processes.size
        if not (math.isfinite(value) and math.isfinite(norm)):
            raise NotFiniteError(value, norm)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        update_average(self.average, self.model, self.config.average_decay, self.progress.step)
        self.state = state.detach()
        self.progress.step += 1
        old = self.progress.train_loss
        self.progress.train_loss = (
            value if old is None else LOSS_MEMORY * old + (1 - LOSS_MEMORY) * value
        )
        return norm

    def _empty_state(self) -> State:
        return self.model.initial_state(self.rows.stop - self.rows.start)

    def _validate(
        self, learning_rate: float, gradient_norm: float, tokens_per_second: float
    ) -> None:
        """Measure the averaged weights on held-out data and tell the observer."""
        progress = self.progress
        first = self.processes.is_first
        loss = self.processes.from_first(
            validation_loss(self.average, *self.validation) if first else 0.0
        )
        metrics = Metrics(
            step=progress.step,
            epoch=progress.epoch + progress.window / self.lanes.windows_per_epoch,
            seconds=progress.seconds,
            train_loss=progress.train_loss if progress.train_loss is not None else math.nan,
            validation_loss=loss,
            learning_rate=learning_rate,
            gradient_norm=gradient_norm,
            tokens_per_second=tokens_per_second,
        )
        progress.history.append(metrics)
        is_best = loss < progress.best_loss
        progress.best_loss = min(loss, progress.best_loss)
        progress.stale = 0 if is_best else progress.stale + 1
        self.observer.on_validation(metrics, self.average, is_best)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.precision == torch.bfloat16
        )

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self.device)


def _validations_due(fraction: float) -> int:
    """How many validations belong before this part of the budget is spent."""
    return math.floor(fraction * VALIDATIONS + 1e-9)  # 0.57 * 100 is less than 57
