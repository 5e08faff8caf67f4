"""The observers of a run: one reports to the console and to files, the other to nobody.

They only report: nothing about a run depends on them.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from generative import checkpoint, engine
from generative.errors import FileError
from generative.model.stepper import TorchStepper
from generative.sampling import Request, SamplingOptions, collect, sample
from generative.training.augment import Augmentable
from generative.training.console import Console
from generative.training.reports import (
    EventLog,
    Metrics,
    ReportOptions,
    WandbLog,
    draw_curve,
    write_metrics,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from generative.model.language_model import LanguageModel
    from generative.tokenizers import Tokenizer
    from generative.training.resume import Progress

SAMPLE_TOKENS = 120
SAMPLE_TEMPERATURE = 0.8
DRAWING_SECONDS = 10.0  # the time between two drawings of the curve, which take long for a step
SPEED_TOLERANCE = 0.1  # A speed that differs by more than this part of the expected is reported.


class NullMonitor:
    """The observer in processes other than the first: it reports nothing."""

    def __enter__(self) -> NullMonitor:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def on_step(self, progress: Progress, fraction: float) -> None:
        """Report nothing."""

    def on_validation(self, progress: Progress, average: LanguageModel, is_best: bool) -> None:
        """Report nothing."""

    def on_warning(self, messages: list[str]) -> None:
        """Report nothing."""


class Monitor:
    """Reports a run on the console and as metrics, a curve and events in its folder."""

    def __init__(
        self,
        folder: Path,
        tokenizer: Tokenizer,
        say: Callable[[str], None],
        options: ReportOptions,
        expected_speed: float | None,
    ) -> None:
        """Open the logs.

        Args:
            folder: of the model.
            tokenizer: decodes samples.
            say: called with each line of text.
            options: which logs there are.
            expected_speed: tokens a second; None without an expectation.
        """
        self._folder = folder
        self._tokenizer = tokenizer
        self._expected_speed = expected_speed
        self._histograms = options.histograms
        self._logs: list[EventLog | WandbLog] = [EventLog(folder)]
        if options.wandb is not None:
            self._logs.append(WandbLog(folder, options.wandb, checkpoint.read_config(folder)[1]))
        self._console = Console(say)
        self._undrawn: list[Metrics] = []
        self._draws_from = 0.0

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._console.close()
        for log in self._logs:
            log.close()
        # An error of the run is not hidden by one of the drawing.
        with contextlib.suppress(FileError) if kind else contextlib.nullcontext():
            self._draw()

    def on_step(self, progress: Progress, fraction: float) -> None:
        """Move the progress bar."""
        self._console.advance(fraction, f"step {progress.step:,} loss {progress.train_loss:.3f}")

    def on_validation(self, progress: Progress, average: LanguageModel, is_best: bool) -> None:
        """Report the newest validation, with a sample of text."""
        metrics = progress.history[-1]
        sample_text = self._sample(average, metrics.step)
        write_metrics(self._folder, progress.history)
        self._undrawn = progress.history
        if time.monotonic() >= self._draws_from:
            self._draw()
            self._draws_from = time.monotonic() + DRAWING_SECONDS
        weights = {f"weights/{k}": v.cpu().numpy() for k, v in average.state_dict().items()}
        for log in self._logs:
            log.add(metrics, sample_text, weights if self._histograms else {})
        self._console.say(self._lines(metrics, is_best, sample_text))

    def on_warning(self, messages: list[str]) -> None:
        """Show the messages."""
        self._console.say(messages)

    def _draw(self) -> None:
        """Draw the curve if there are validations that it does not show."""
        history, self._undrawn = self._undrawn, []
        if history:
            draw_curve(self._folder, history)

    def _lines(self, metrics: Metrics, is_best: bool, sample_text: str | None) -> Iterator[str]:
        """The lines of a validation."""
        speed = metrics.tokens_per_second
        yield (
            f"step {metrics.step:>7,}  epoch {metrics.epoch:6.2f}  "
            f"train {metrics.train_loss:.4f}  validation {metrics.validation_loss:.4f}"
            f"{' *' if is_best else ''}  {speed:,.0f} tokens/s"
        )
        expected = self._expected_speed
        if expected is not None and speed and abs(speed / expected - 1.0) > SPEED_TOLERANCE:
            yield (
                f"{speed:,.0f} tokens/s instead of {expected:,.0f}: "
                f"{speed / expected:.2f} times the passes from here on"
            )
            self._expected_speed = speed
        if sample_text is not None:
            yield "    " + sample_text.replace("\n", "\n    ")

    def _sample(self, average: LanguageModel, seed: int) -> str | None:
        """A short text by the averaged weights; None for music."""
        if isinstance(self._tokenizer, Augmentable):
            return None
        arrays = {k: v.float().cpu().numpy() for k, v in average.state_dict().items()}
        in_engine = average.config.cell in engine.ENGINE_CELLS
        draws = sample(
            # The engine is ten times as fast as torch, and samples as the trained model will.
            engine.build(average.config, arrays, compiled=False)
            if in_engine
            else TorchStepper(average),
            [self._tokenizer.start_id],
            Request(max_new_tokens=SAMPLE_TOKENS, seed=seed, end_id=self._tokenizer.start_id),
            SamplingOptions(temperature=SAMPLE_TEMPERATURE),
        )
        (sequence,) = collect(draws, 1)
        text = self._tokenizer.decode(sequence.tokens)
        assert isinstance(text, str)
        return text
