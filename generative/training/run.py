"""One run in a model folder, from fresh weights to the fitted ones.

It must not know the corpus's files, or how a batch is learnt from.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import signal
import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from generative import checkpoint
from generative.checkpoint import CheckpointError
from generative.context.reader import reader_for
from generative.model.language_model import LanguageModel
from generative.training.augment import Augmentable, Augmentation
from generative.training.batches import StreamBatches
from generative.training.counting import MEGABYTE, count_corpus
from generative.training.finish import Finish
from generative.training.monitor import Monitor, NullMonitor
from generative.training.signals import Interrupted, collected_signals
from generative.training.step import TrainingStep
from generative.training.trainer import Trainer
from generative.training.validation import part_labels, validation_stream

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from generative.context.reader import Reader
    from generative.data.store import TokenStore
    from generative.machine.threads import Workers
    from generative.ngram.model import CountModel
    from generative.tokenizers import Tokenizer
    from generative.training.config import Budget
    from generative.training.processes import Processes
    from generative.training.recipe import Recipe
    from generative.training.reports import ReportOptions
    from generative.training.resume import Progress


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run and everything that it needs.

    Attributes:
        folder: the model folder, which has a description of the model already.
        tokenizer: of the corpus.
        tokens: of the corpus. Where nothing is held out, the training part is validated on.
        recipe: the model and how it learns.
        budget: how long.
        processes: the processes that share the run; each has a `Run` of its own.
        workers: the threads of this process.
        uses_held_out: whether validation chooses the weights that are kept, and held-out data fit
            numbers afterwards; else the last weights are kept as they are.
    """

    folder: Path
    tokenizer: Tokenizer
    tokens: TokenStore
    recipe: Recipe
    budget: Budget
    processes: Processes
    workers: Workers
    uses_held_out: bool

    def train(
        self,
        say: Callable[[str], None],
        *,
        reporting: ReportOptions,
        resume: bool = False,
        seconds_spent: float = 0.0,
    ) -> Progress:
        """Train, and leave the best weights, reports and `resume/` in the folder.

        Args:
            say: called with each line of text.
            reporting: which logs are written.
            resume: continue from the state in the folder.
            seconds_spent: time before this call that counts against a budget in minutes.

        Raises:
            Interrupted: a signal came; the run is saved.
            TrainingError, CheckpointError: see `Trainer`.
        """
        began = time.monotonic() - seconds_spent  # Counting the corpus takes time, too.
        torch.manual_seed(self.recipe.training.seed)
        counts = self.tokens.counts("train", self.recipe.model.vocab_size)
        model = self._fresh_model(counts)
        augmentation = self._augmentation(counts)
        known = np.union1d(np.flatnonzero(counts), [self.tokenizer.start_id])
        if augmentation is not None:
            known = augmentation.reachable(known)
        counted = self._counts(say, resume=resume) if self.processes.is_first else None
        finish = Finish(
            tokens=self.tokens, workers=self.workers, fits=self.uses_held_out, counts=counted
        )
        monitor = self._monitor(say, reporting)
        with collected_signals() as received, monitor:
            step = self._step(model, known)
            is_timed = self.budget.unit == "minutes" and self.processes.is_first
            trainer = Trainer(
                step=step,
                batches=self._batches(augmentation),
                validation=validation_stream(
                    self.tokens, "held_out" if self.tokens.parts["held_out"].tokens else "train"
                ),
                selects=self.uses_held_out,
                budget=self.budget,
                finishing_seconds=lambda: finish.seconds(step.average) if is_timed else 0.0,
                folder=self.folder,
                fingerprint=self._fingerprint(),
                observer=monitor,
                should_stop=lambda: bool(received),
            )
            if resume:
                monitor.on_warning(trainer.restore())
            finished = trainer.run(time.monotonic() - began)
        if not finished:
            raise Interrupted(received[0] if received else signal.SIGTERM, self.folder)
        if self.processes.is_first:
            finish.run(self.folder, step.average, say)
        return trainer.progress

    def _counts(self, say: Callable[[str], None], *, resume: bool) -> CountModel | None:
        """The count models of the corpus, which are left in the folder; a resumed run has them."""
        if resume:
            with contextlib.suppress(CheckpointError):  # A damaged file is made anew.
                found = checkpoint.load_counts(self.folder, self.recipe.model)
                if found is not None:
                    return found
        counts = count_corpus(self.tokens, self.tokenizer, self.recipe, workers=self.workers)
        if counts is not None:
            checkpoint.save_counts(self.folder, counts)
            size = counts.trie.size_bytes / MEGABYTE
            say(f"counted contexts of up to {counts.order} tokens: {size:.1f} MB")
        return counts

    @cached_property
    def _context(self) -> Reader | None:
        """The reader of the model's context features; None without any."""
        return reader_for(self.tokenizer, self.recipe.model.features)

    def _fresh_model(self, counts: NDArray[np.int64]) -> LanguageModel:
        model = LanguageModel(self.recipe.model, self._context)
        model.initialise(self.recipe.training.init)
        model.set_unigram_bias(counts.tolist())
        return model

    def _augmentation(self, counts: NDArray[np.int64]) -> Augmentation | None:
        """The augmentation of documents; None for text."""
        if not isinstance(self.tokenizer, Augmentable):
            return None
        return Augmentation.of(self.tokenizer, counts, self.recipe.training)

    def _monitor(
        self, say: Callable[[str], None], reporting: ReportOptions
    ) -> Monitor | NullMonitor:
        if not self.processes.is_first:
            return NullMonitor()
        speed = self.recipe.tokens_per_second
        return Monitor(self.folder, self.tokenizer, say, reporting, speed)

    def _step(self, model: LanguageModel, known: NDArray[np.int64]) -> TrainingStep:
        device = self.processes.device
        return TrainingStep(
            model=model.to(device),
            average=LanguageModel(self.recipe.model, self._context).to(device),
            config=self.recipe.training,
            known=torch.from_numpy(known).to(device),
            precision=self.recipe.precision,
            workers=self.workers,
            processes=self.processes,
            shards=self.recipe.shards,
        )

    def _batches(self, augmentation: Augmentation | None) -> StreamBatches:
        """The training batches; music, which is augmented, is also shuffled."""
        config = self.recipe.training
        return StreamBatches(
            stream=self.tokens.stream("train"),
            start_id=self.tokenizer.start_id,
            batch_size=config.batch_size,
            sequence_length=config.sequence_length,
            seed=config.seed,
            shuffle=augmentation is not None,
            augment=augmentation,
            labels=part_labels(self.tokens, "train"),
            label_dropout=config.label_dropout,
            context=self._context,
        )

    def _fingerprint(self) -> str:
        """A hash of model, recipe and data; runs with the same one may continue each other."""
        part, recipe = self.tokens.parts["train"], self.recipe
        chosen: list[Any] = [recipe.model.to_dict(), recipe.training.to_dict()]
        chosen += [str(recipe.precision), part.sha256]
        if self.tokens.labels:
            chosen.append(part.labels)
        return hashlib.sha256(json.dumps(chosen).encode()).hexdigest()
