"""A run as its user meets it: progress, samples, signals and the files it leaves behind.

Knows the terminal and the model folder; how a model learns is the trainer's.
"""

from __future__ import annotations

import hashlib
import json
import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
import torch
from tqdm import tqdm

from generative import checkpoint, engine
from generative.checkpoint import CheckpointError
from generative.model.language_model import LanguageModel
from generative.model.stepper import TorchStepper
from generative.sampling import Request, SamplingOptions, collect, sample
from generative.training.augment import Augmentable, Augmentation
from generative.training.batches import StreamBatches
from generative.training.finish import Finish
from generative.training.recipe import PRECISIONS
from generative.training.reports import (
    EventLog,
    Metrics,
    WandbLog,
    Watching,
    draw_curve,
    write_metrics,
)
from generative.training.step import TrainingStep
from generative.training.trainer import Trainer
from generative.training.validation import validation_labels, validation_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import FrameType

    from generative.data.store import TokenStore
    from generative.machine.threads import Workers
    from generative.tokenizers import Tokenizer
    from generative.training.config import Budget
    from generative.training.processes import Processes
    from generative.training.recipe import Recipe
    from generative.training.resume import Progress

SAMPLE_TOKENS = 120
SAMPLE_TEMPERATURE = 0.8
TEMPERATURE_NOTE = "temperature"  # beside calibrated weights
RATE_TOLERANCE = 0.1  # of the expected speed; beyond it a new estimate is said
# Asked by these to stop, a run saves first. SIGHUP comes when a terminal goes away.
SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


class Interrupted(KeyboardInterrupt):
    """Training was stopped by a signal; everything is saved. `exit_code` is 128 + the signal."""

    def __init__(self, signal_number: int, folder: Path) -> None:
        super().__init__(f"stopped and saved; continue with --resume -o {folder}")
        self.exit_code = 128 + signal_number


def device(name: str) -> torch.device:
    """The device of that name; "auto" is a GPU where there is one.

    Raises:
        ValueError: no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(name)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {name!r} cannot be used: {str(error).splitlines()[0]}") from error
    return found


def precision(name: str) -> torch.dtype | None:
    """The type that matrix products run in; None for "auto".

    Raises:
        ValueError: an unknown name.
    """
    if name == "auto":
        return None
    if name not in PRECISIONS:
        raise ValueError(f"precision must be one of auto, {', '.join(PRECISIONS)}, not {name!r}")
    return PRECISIONS[name]


def run(
    *,
    folder: Path,
    tokenizer: Tokenizer,
    recipe: Recipe,
    tokens: TokenStore,
    budget: Budget,
    processes: Processes,
    workers: Workers,
    uses_held_out: bool,
    resume_run: bool,
    say: Callable[[str], None],
    watching: Watching,
    seconds_spent: float,
) -> Progress:
    """Train, and keep the best weights in `folder` with metrics, curve, events and `resume/`.

    Where nothing is held out, the training part stands in for validation; and without
    `uses_held_out` the last weights are kept and nothing is fitted.

    Raises:
        Interrupted: a signal came; the run is saved.
        TrainingError, CheckpointError: see `Trainer`.
    """
    config = recipe.training
    device = processes.device
    torch.manual_seed(config.seed)
    counts = tokens.counts("train", recipe.model.vocab_size)
    model = LanguageModel(recipe.model)
    model.initialise(config.init)
    model.set_unigram_bias(counts.tolist())
    known = np.union1d(np.flatnonzero(counts), [tokenizer.start_id])
    variation = None
    if isinstance(tokenizer, Augmentable):
        variation = Augmentation.of(tokenizer, counts, config)
        known = variation.reachable(known)
    finish = Finish(tokens=tokens, workers=workers, fits=uses_held_out)
    watch = _Watch(folder, tokenizer, recipe, say, watching) if processes.is_first else _Silence()
    with _signals() as received, watch:
        step = TrainingStep(
            model=model.to(device),
            average=LanguageModel(recipe.model).to(device),
            config=config,
            known=torch.from_numpy(known).to(device),
            precision=recipe.precision,
            workers=workers,
            processes=processes,
            shards=recipe.shards,
        )
        timed = budget.unit == "minutes" and processes.is_first
        trainer = Trainer(
            step=step,
            batches=StreamBatches(
                stream=tokens.stream("train"),
                start_id=tokenizer.start_id,
                batch_size=config.batch_size,
                sequence_length=config.sequence_length,
                seed=config.seed,
                shuffle=variation is not None,
                augment=variation,
                labels=validation_labels(tokens, "train"),
                label_dropout=config.label_dropout,
            ),
            validation=validation_stream(
                tokens, "held_out" if tokens.parts["held_out"].tokens else "train"
            ),
            selects=uses_held_out,
            budget=budget,
            finishing_seconds=lambda: finish.seconds(step.average) if timed else 0.0,
            folder=folder,
            fingerprint=_fingerprint(recipe, tokens),
            observer=watch,
            should_stop=lambda: bool(received),
        )
        if resume_run:
            watch.on_trouble(trainer.restore())
            watch.on_trouble(_check_best(folder, trainer.progress))
            watch.history = trainer.progress.history
        finished = trainer.run(seconds_spent)
    if not finished:
        raise Interrupted(received[0] if received else signal.SIGTERM, folder)
    if processes.is_first:
        _finish(folder, step.average, finish, say)
    return trainer.progress


def _finish(folder: Path, model: LanguageModel, finish: Finish, say: Callable[[str], None]) -> None:
    """Calibrate the best weights and gather the gradients' statistics; `model` takes them on.

    Calibrated weights say so, and are left as they are: a run that was killed here, or is longer
    now but found none that are better, comes to the same weights as an undisturbed one.
    """
    best, notes = checkpoint.load_weights(folder, model.config)
    model.load_state_dict({name: torch.from_numpy(array) for name, array in best.items()})
    if finish.fits and finish.tokens.parts["held_out"].tokens and TEMPERATURE_NOTE not in notes:
        temperature = finish.fit(model, say)
        weights = {name: tensor.cpu().numpy() for name, tensor in model.state_dict().items()}
        checkpoint.save_weights(folder, weights, {TEMPERATURE_NOTE: str(temperature)})
    checkpoint.save_statistics(folder, finish.statistics(model))


def _check_best(folder: Path, progress: Progress) -> list[str]:
    """Where the best weights so far are damaged, the next validation's will replace them."""
    if progress.best_loss == float("inf"):
        return []
    try:
        checkpoint.load_weights(folder)
    except CheckpointError as error:
        progress.best_loss = float("inf")
        return [f"{error}; the next validation's weights replace it"]
    return []


def _fingerprint(recipe: Recipe, tokens: TokenStore) -> str:
    """Names model, recipe and data: two runs with the same one may continue each other."""
    part = tokens.parts["train"]
    chosen: list[Any] = [recipe.model.to_dict(), recipe.training.to_dict(), str(recipe.precision)]
    chosen += [part.sha256, *([part.labels] if tokens.labels else [])]
    return hashlib.sha256(json.dumps(chosen).encode()).hexdigest()


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect `SIGNALS` instead of dying by them; a second SIGINT is not held back.

    A signal that is ignored already, as `nohup` does with SIGHUP, stays ignored.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received  # only the main thread may listen
        return

    def note(number: int, _: FrameType | None) -> None:
        received.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    previous = {number: signal.signal(number, note) for number in heard}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class Steadfast:
    """A text stream that goes on when its reader has gone: what it is given is then dropped.

    A terminal may close, and `head` may have seen enough, long before a training ends.
    """

    def __init__(self, stream: TextIO | None) -> None:
        """`stream` may be None, as `sys.stderr` is where it was closed from the start."""
        self._stream = stream
        self.encoding = getattr(stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        """Write, or drop; nothing is raised."""
        if self._stream is not None:
            try:
                self._stream.write(text)
            except (OSError, ValueError):
                self._stream = None
        return len(text)

    def flush(self) -> None:
        """Flush; nothing is raised."""
        if self._stream is not None:
            try:
                self._stream.flush()
            except (OSError, ValueError):
                self._stream = None

    def isatty(self) -> bool:
        """Whether a terminal shows it."""
        try:
            return self._stream is not None and self._stream.isatty()
        except (OSError, ValueError):
            return False


class _Silence:
    """What processes other than the first make of a run: nothing."""

    history: list[Metrics]

    def __enter__(self) -> _Silence:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def on_step(self, progress: Progress, fraction: float) -> None:
        """Nothing."""

    def on_validation(self, metrics: Metrics, average: LanguageModel, is_best: bool) -> None:
        """Nothing."""

    def on_trouble(self, messages: list[str]) -> None:
        """Nothing."""


class _Watch:
    """Shows a run on the terminal and keeps its best weights, metrics, curve and events."""

    def __init__(
        self,
        folder: Path,
        tokenizer: Tokenizer,
        recipe: Recipe,
        say: Callable[[str], None],
        watching: Watching,
    ) -> None:
        self.expected_rate = recipe.tokens_per_second
        self.history: list[Metrics] = []
        self._folder = folder
        self._tokenizer = tokenizer
        self._say = say
        self._histograms = watching.histograms
        self._logs: list[EventLog | WandbLog] = [EventLog(folder)]
        if watching.wandb is not None:
            self._logs.append(WandbLog(folder, watching.wandb, checkpoint.read_config(folder)[1]))
        self._stream = Steadfast(sys.stderr)
        self._bar = tqdm(
            total=100.0,
            file=self._stream,
            disable=not self._stream.isatty(),
            bar_format="{l_bar}{bar}| {elapsed}<{remaining} {postfix}",
            leave=False,
        )

    def __enter__(self) -> _Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
        for log in self._logs:
            log.close()

    def on_step(self, progress: Progress, fraction: float) -> None:
        """Move the bar."""
        self._bar.set_postfix_str(
            f"step {progress.step:,} loss {progress.train_loss:.3f}", refresh=False
        )
        self._bar.update(100.0 * fraction - self._bar.n)

    def on_validation(self, metrics: Metrics, average: LanguageModel, is_best: bool) -> None:
        """Keep the weights if they are the best yet, and report."""
        self.history = [*self.history, metrics] if metrics not in self.history else self.history
        if is_best:
            checkpoint.save_weights(
                self._folder, {k: v.cpu().numpy() for k, v in average.state_dict().items()}
            )
        sample_text = self._sample(average, metrics.step)
        write_metrics(self._folder, self.history)
        draw_curve(self._folder, self.history)
        weights = {f"weights/{k}": v.cpu().numpy() for k, v in average.state_dict().items()}
        for log in self._logs:
            log.add(metrics, sample_text, weights if self._histograms else {})
        line = (
            f"step {metrics.step:>7,}  epoch {metrics.epoch:6.2f}  "
            f"train {metrics.train_loss:.4f}  validation {metrics.validation_loss:.4f}"
            f"{' *' if is_best else ''}  {metrics.tokens_per_second:,.0f} tokens/s"
        )
        with tqdm.external_write_mode(file=self._stream):
            self._say(line)
            self._correct(metrics.tokens_per_second)
            if sample_text is not None:
                self._say("    " + sample_text.replace("\n", "\n    "))

    def _correct(self, rate: float) -> None:
        """Say so where the speed is not the expected one any more."""
        if self.expected_rate is None or not rate:
            return
        if abs(rate / self.expected_rate - 1.0) > RATE_TOLERANCE:
            self._say(
                f"{rate:,.0f} tokens/s instead of {self.expected_rate:,.0f}: "
                f"{rate / self.expected_rate:.2f} times the passes from here on"
            )
            self.expected_rate = rate

    def on_trouble(self, messages: list[str]) -> None:
        """Say it."""
        with tqdm.external_write_mode(file=self._stream):
            for message in messages:
                self._say(message)

    def _sample(self, average: LanguageModel, seed: int) -> str | None:
        """A short text by the model as it stands; music is not shown in letters."""
        if isinstance(self._tokenizer, Augmentable):
            return None
        arrays = {k: v.float().cpu().numpy() for k, v in average.state_dict().items()}
        usual = average.config.cell in engine.ENGINE_CELLS
        draws = sample(
            # as the model will speak once it is trained, and ten times as fast as torch
            engine.build(average.config, arrays, compiled=False)
            if usual
            else TorchStepper(average),
            [self._tokenizer.start_id],
            Request(max_new_tokens=SAMPLE_TOKENS, seed=seed, end_id=self._tokenizer.start_id),
            SamplingOptions(temperature=SAMPLE_TEMPERATURE),
        )
        (sequence,) = collect(draws, 1)
        text = self._tokenizer.decode(sequence.tokens)
        assert isinstance(text, str)
        return text
