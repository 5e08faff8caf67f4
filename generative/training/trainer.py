"""The training loop: steps, validations, saved states, and the best weights.

It must not know text, MIDI or terminals.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from generative import checkpoint
from generative.checkpoint import CheckpointError
from generative.model.state import State
from generative.training import resume
from generative.training.reports import Metrics
from generative.training.resume import Progress
from generative.training.step import NotFiniteError
from generative.training.validation import validation_loss

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from generative.data.labels import Labels
    from generative.model.language_model import LanguageModel
    from generative.training.batches import Batch, Ids, StreamBatches
    from generative.training.config import Budget
    from generative.training.step import Outcome, TrainingStep

VALIDATIONS = 10  # evenly spaced over a run
VALIDATION_FRACTION = 0.1  # Validations take at most this part of a budget in minutes.
FIRST_VALIDATION_SECONDS = 1.0  # The estimate for a validation before one was timed.
SAVE_SECONDS = 60.0  # The time between saved states, where no validation comes first.
LOSS_DECAY = 0.99  # The running training loss keeps this part of itself at each step.
MIN_SCALE = 2.0**-4  # The learning rate is halved down to this scale before training gives up.


class TrainingError(RuntimeError):
    """Training cannot go on; the message says why and what to change."""


class Observer(Protocol):
    """A reporter of a run; nothing about the run depends on it."""

    def on_step(self, progress: Progress, fraction: float) -> None:
        """After every optimizer step; `fraction` of the budget is spent."""
        ...

    def on_validation(self, progress: Progress, average: LanguageModel, is_best: bool) -> None:
        """After every validation of the averaged weights, whose metrics end the history."""
        ...

    def on_warning(self, messages: list[str]) -> None:
        """After something went wrong and was mended."""
        ...


@dataclass(kw_only=True)
class Trainer:
    """The loop of one run.

    Attributes:
        step: the model, how it learns, and its moving average, which is validated and kept. The
            step's processes share the run; rank 0 validates, saves and decides.
        batches: the training batches of the whole run.
        validation: one stream of ids, start tokens included, and the labels of its positions.
        selects: whether the average with the lowest validation loss is the best; else the last is.
        budget: how long.
        finishing_seconds: called after every validation; the seconds of a budget in minutes that
            the work after training will take.
        folder: the model folder, which gets the best weights and `resume/`.
        fingerprint: a hash of model, recipe and data, so that only the same run is continued.
        observer: reports the run.
        should_stop: called after every step; True in any process ends the run after saving it.
    """

    step: TrainingStep
    batches: StreamBatches
    validation: tuple[Ids, Labels | None]
    selects: bool
    budget: Budget
    finishing_seconds: Callable[[], float]
    folder: Path
    fingerprint: str
    observer: Observer
    should_stop: Callable[[], bool]

    def __post_init__(self) -> None:
        """Set up the progress at the start of a run."""
        self.processes = self.step.processes
        self.config = self.step.config
        self.rows = self.processes.rows(self.config.batch_size)
        self.progress = Progress()
        self._reserve = self.finishing_seconds()
        self._next_validation = 1.0 / VALIDATIONS
        self._validation_seconds = FIRST_VALIDATION_SECONDS

    def restore(self) -> list[str]:
        """Take up the newest whole state in the folder.

        Returns:
            A warning for each damaged file.

        Raises:
            CheckpointError: all states are damaged, or they belong to another run.
        """
        found = resume.load(self.folder, self.fingerprint, self.step, self.config.batch_size)
        if found is None:
            return ["nothing to resume: training from the start"]
        self.progress, state, warnings = found
        self.step.state = state.select(range(self.config.batch_size)[self.rows])
        return warnings + self._check_best()

    def _check_best(self) -> list[str]:
        """Forget the best loss where its weights are damaged, so that the next weights are kept."""
        if self.progress.best_loss == math.inf:
            return []
        try:
            checkpoint.load_weights(self.folder)
        except CheckpointError as error:
            self.progress.best_loss = math.inf
            return [f"{error}; the next validation's weights replace it"]
        return []

    def save(self) -> None:
        """Save a state with everything that continuing needs."""
        state = State(
            tuple(tuple(map(self.processes.gather_rows, layer)) for layer in self.step.state.layers)
        )
        if self.processes.is_first:
            resume.save(self.folder, self.fingerprint, self.progress, self.step.tensors(), state)

    def run(self, seconds_spent: float = 0.0) -> bool:
        """Train until the budget is spent, patience ends, or `should_stop` returns True.

        A step whose loss or gradient is not finite changes no weight. The run goes back to its last
        saved state and continues with half the learning rate.

        Args:
            seconds_spent: time that already counts against a budget in minutes.

        Returns:
            False if `should_stop` ended the run before the budget was spent.

        Raises:
            TrainingError: losses are not finite even with the lowest learning rate; the last good
                state is on the disk.
        """
        if self.progress.step == 0:
            self.save()  # A first step that is not finite goes back to this state.
        self._began = time.monotonic() - seconds_spent - self.progress.seconds
        while True:
            try:
                return self._run()
            except NotFiniteError as error:
                self._go_back(error)

    def _run(self) -> bool:
        """Train as in `run`, where a step that is not finite raises `NotFiniteError`."""
        progress, config = self.progress, self.config
        saved = time.monotonic()
        measured_step, measured_at = progress.step, saved
        fraction, _ = self._agree()
        self._next_validation = self._validation_after(fraction)
        norm = 0.0
        batches = self._batches()
        while fraction < 1.0 or progress.step == 0:
            learning_rate = self._learning_rate(fraction)
            outcome = self.step(
                next(batches), learning_rate=learning_rate, progress=fraction, step=progress.step
            )
            norm = self._note(outcome)
            fraction, stop = self._agree()
            self.observer.on_step(progress, fraction)
            if fraction >= self._next_validation:
                tokens = config.batch_size * config.sequence_length
                speed = (progress.step - measured_step) * tokens / (time.monotonic() - measured_at)
                self._validate(learning_rate, norm, speed)
                self.save()
                saved = time.monotonic()
                self._next_validation = self._validation_after(fraction)
                measured_step, measured_at = progress.step, saved
                if config.patience is not None and progress.stale >= config.patience:
                    return True
            elif stop or self.processes.from_first(time.monotonic() - saved) > SAVE_SECONDS:
                self.save()
                saved = time.monotonic()
            if stop and fraction < 1.0:
                return False
        if not progress.history or progress.history[-1].step < progress.step:
            self._validate(self._learning_rate(fraction), norm, 0.0)
            self.save()
        return True

    def _note(self, outcome: Outcome) -> float:
        """Count a step and update the running loss. Returns the gradient's norm."""
        progress = self.progress
        progress.step += 1
        old = progress.train_loss
        progress.train_loss = (
            outcome.nats if old is None else LOSS_DECAY * old + (1 - LOSS_DECAY) * outcome.nats
        )
        return outcome.norm

    def _validation_after(self, fraction: float) -> float:
        """The part of the budget after which to validate next.

        With a budget in minutes, validations are left out that would take more than
        `VALIDATION_FRACTION` of it.
        """
        least = fraction
        if self.budget.unit == "minutes":
            seconds = self.processes.from_first(self._validation_seconds)
            least += seconds / (VALIDATION_FRACTION * 60.0 * self.budget.amount)
        due = math.ceil(least * VALIDATIONS + 1e-9)  # In floating point 0.57 * 100 is less than 57.
        if due <= fraction * VALIDATIONS + 1e-9:
            due += 1
        return min(1.0, due / VALIDATIONS)

    def _go_back(self, error: NotFiniteError) -> None:
        """Restore the last saved state with half the learning rate, or give up."""
        scale = 0.5 * self.progress.learning_rate_scale
        message = f"at step {self.progress.step} the loss is {error.loss} and the gradient's norm "
        message += f"{error.norm}; the weights are untouched"
        if scale < MIN_SCALE:
            raise TrainingError(
                f"{message}; going back and halving the learning rate did not help: "
                "try a lower --learning-rate"
            ) from error
        warnings = self.restore()
        self.progress.learning_rate_scale = scale
        message = f"{message}; back at step {self.progress.step} with half the learning rate"
        self.observer.on_warning([*warnings, message])

    def _agree(self) -> tuple[float, bool]:
        """The part of the budget spent by rank 0's clock, and whether any process must stop."""
        progress = self.progress
        progress.seconds = time.monotonic() - self._began
        epochs = progress.epoch + progress.window / self.batches.windows_per_epoch
        spent = self.budget.progress(
            seconds=progress.seconds,
            steps=progress.step,
            epochs=epochs,
            reserved_seconds=self._reserve + self._validation_seconds,
        )
        first = self.processes.is_first
        fraction, stops = self.processes.sums(spent if first else 0.0, float(self.should_stop()))
        return fraction, stops > 0

    def _batches(self) -> Iterator[Batch]:
        """Batches from the present position in the data on, without end."""
        progress = self.progress
        while True:
            epoch = self.batches.epoch(progress.epoch, first=progress.window, rows=self.rows)
            for batch in epoch:
                progress.window += 1
                yield batch
            progress.epoch += 1
            progress.window = 0

    def _learning_rate(self, fraction: float) -> float:
        scale = self.progress.learning_rate_scale
        return scale * self.config.learning_rate_at(self.progress.step, fraction)

    def _validate(
        self, learning_rate: float, gradient_norm: float, tokens_per_second: float
    ) -> None:
        """Measure the averaged weights on held-out data, keep them if they are best, and report."""
        progress = self.progress
        first = self.processes.is_first
        began = time.monotonic()
        loss = self.processes.from_first(
            validation_loss(self.step.average, *self.validation, workers=self.step.workers)
            if first
            else 0.0
        )
        metrics = Metrics(
            step=progress.step,
            epoch=progress.epoch + progress.window / self.batches.windows_per_epoch,
            seconds=progress.seconds,
            train_loss=progress.train_loss if progress.train_loss is not None else math.nan,
            validation_loss=loss,
            learning_rate=learning_rate,
            gradient_norm=gradient_norm,
            tokens_per_second=tokens_per_second,
        )
        progress.history.append(metrics)
        is_best = loss < progress.best_loss or not self.selects
        progress.best_loss = min(loss, progress.best_loss)
        progress.stale = 0 if is_best else progress.stale + 1
        if is_best and first:
            weights = self.step.average.state_dict()
            checkpoint.save_weights(self.folder, {k: v.cpu().numpy() for k, v in weights.items()})
        self.observer.on_validation(progress, self.step.average, is_best)
        if first:
            self._reserve = self.finishing_seconds()
        self._validation_seconds = time.monotonic() - began
