"""Training from a corpus to a model folder: `train`, and the order of its steps.

It must not know how a model learns. Whatever needs torch is imported once the options are checked.
"""

from __future__ import annotations

import math
import os
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generative import checkpoint
from generative.api import card
from generative.api.evaluation import score_ids
from generative.api.training_options import TrainOptions, TrainSettings, as_list
from generative.context.reader import Contextual, reader_for
from generative.data.ingest import ingest, load_ingested
from generative.data.labels import NO_LABEL
from generative.data.request import make_request
from generative.files import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Unpack

    from generative.data.request import Request
    from generative.data.store import TokenStore
    from generative.scoring.likelihood import Likelihood
    from generative.tokenizers import Tokenizer
    from generative.training.processes import Processes
    from generative.training.recipe import Recipe
    from generative.training.resume import Progress
    from generative.training.speed import Machine

__all__ = ["TrainOptions", "TrainingResult", "train"]

EXIT_SECONDS = 0.4  # A budget in minutes keeps this time for the last files and for leaving.


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """The result of a run.

    Attributes:
        path: the model folder.
        steps, seconds: how long it trained, over all sessions.
        validation_loss: the lowest during the run, nats per token, on part of the held-out data.
        held_out: the exact score of the kept weights on the held-out data, of which about 250,000
            tokens are read at most; None where nothing is held out.
        recipe: what was chosen and why, in one line.
        skipped: (file, reason) for each file of the corpus that could not be read.
    """

    path: Path
    steps: int
    seconds: float
    validation_loss: float
    held_out: Likelihood | None
    recipe: str
    skipped: tuple[tuple[str, str], ...]


def train(
    sources: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    report: Callable[[str], None] | None = None,
    seconds_spent: float = 0.0,
    **options: Unpack[TrainOptions],
) -> TrainingResult:
    """Train a model on a corpus and leave it in a folder.

    What is not set is chosen from the corpus, the time and the machine's measured speed.

    Args:
        sources: files, folders or globs of text or MIDI.
        output: the folder to make.
        report: called with one line at a time; None reports nothing.
        seconds_spent: time before this call that counts against a budget in minutes.
        options: see `TrainOptions`.

    Raises:
        CorpusError: the corpus cannot be read.
        CheckpointError: `output` holds a model or a run already, is in use by another run, or holds
            nothing fit to resume.
        ValueError: an option that is unknown or out of range.
        TrainingError: the loss is no longer finite; the last good weights are kept.
        Interrupted: SIGINT, SIGTERM or SIGHUP came; the run is saved.

    Example:
        train(["my_corpus/"], output="checkpoints/mine", minutes=10, layers=2)
    """
    began = time.monotonic() - seconds_spent
    settings = TrainSettings.from_options(options)
    is_first = os.environ.get("RANK", "0") == "0"
    say = _until_broken(report) if report is not None and is_first else lambda _: None
    names = as_list(sources)
    say(f"reading {', '.join(map(shown, names[:3]))}{' ...' if len(names) > 3 else ''}")
    corpus = make_request(
        names,
        tokenizer=settings.tokenizer,
        vocab_size=settings.vocab_size,
        encoding=settings.encoding,
        held_out=settings.held_out,
        seed=settings.seed,
        grid=None if settings.grid == "auto" else settings.grid,
        styles=settings.styles,
    )
    return _Session(Path(output), settings, corpus, say, began).train()


@dataclass(frozen=True)
class _Session:
    """One call of `train` in one process.

    Attributes:
        folder: of the model.
        settings: from the call's options.
        corpus: the files, and how they are read.
        say: called with each line of text.
        began: when the time of a budget in minutes began, by `time.monotonic`.
    """

    folder: Path
    settings: TrainSettings
    corpus: Request
    say: Callable[[str], None]
    began: float

    def train(self) -> TrainingResult:
        """Train, score and describe the model."""
        from generative.machine.threads import Workers, available_threads, single_threaded
        from generative.training import recorded, run_folder
        from generative.training.hardware import find_device, find_precision
        from generative.training.processes import joined
        from generative.training.run import Run
        from generative.training.speed import Machine

        settings = self.settings
        precision = find_precision(settings.precision)
        threads = settings.threads or available_threads()
        with (
            single_threaded(),
            joined(find_device(settings.device)) as processes,
            run_folder.locked(self.folder, settings.resume)
            if processes.is_first
            else nullcontext(),
            Workers(threads if processes.device.type == "cpu" else 1) as workers,
        ):
            resume = self._resumes(processes)
            machine = Machine(processes=processes, workers=workers, precision=precision)
            tokenizer, tokens = self._prepare(machine, resume)
            recipe = recorded.load_recipe(self.folder)
            run_folder.check_labels(self.folder, tokens, recipe)
            self.say(f"{f'resuming {shown(self.folder)}: ' if resume else ''}{recipe.reason}")
            run = Run(
                folder=self.folder,
                tokenizer=tokenizer,
                tokens=tokens,
                recipe=recipe,
                budget=settings.budget,
                processes=processes,
                workers=workers,
                uses_held_out=self.corpus.held_out is not None,
            )
            progress = run.train(
                self.say,
                reporting=settings.reporting,
                resume=resume,
                seconds_spent=self._seconds,
            )
            score = self._finish(tokenizer, tokens, progress) if processes.is_first else None
            processes.wait()
        return TrainingResult(
            path=self.folder,
            steps=progress.step,
            seconds=progress.seconds,
            validation_loss=progress.best_loss,
            held_out=score,
            recipe=recipe.reason,
            skipped=tuple((file, reason) for file, reason in tokens.notes["skipped"]),
        )

    @property
    def _seconds(self) -> float:
        """The seconds since the session began."""
        return time.monotonic() - self.began

    def _resumes(self, processes: Processes) -> bool:
        """Whether the run in the folder is continued; rank 0 decides for all processes."""
        from generative.training.processes import launch, restarted
        from generative.training.run_folder import is_restarted

        resume = self.settings.resume or (
            processes.is_first and is_restarted(self.folder, launch(), restarted())
        )
        return processes.from_first(float(resume)) > 0

    def _prepare(self, machine: Machine, resume: bool) -> tuple[Tokenizer, TokenStore]:
        """The tokens of the corpus; a new run's recipe and description are written as well.

        Rank 0 does the work, and the other processes read its files.
        """
        from generative.training import run_folder

        with machine.processes.first_then_others():
            if not machine.processes.is_first:
                return load_ingested(self.folder)
            run_folder.check(self.folder, resume)
            tokenizer, tokens = ingest(self.corpus, self.folder, use_tokenizer=resume)
            for file, reason in tokens.notes["skipped"]:
                self.say(f"skipped {file}: {reason}")
            if not resume:
                self._save_recipe(self._choose(machine, tokenizer, tokens), tokenizer, tokens)
            return tokenizer, tokens

    def _choose(self, machine: Machine, tokenizer: Tokenizer, tokens: TokenStore) -> Recipe:
        from generative.training.recipe import Corpus, choose

        names = self.settings.context_features
        if names is None:
            names = tokenizer.default_features if isinstance(tokenizer, Contextual) else ()
        context = reader_for(tokenizer, names)
        sizes = () if context is None else context.sizes
        chosen = {"labels": tokens.labels, "features": names, "feature_sizes": sizes}
        return choose(
            Corpus(
                kind=self.corpus.kind,
                counts=tokens.counts("train", tokenizer.vocab_size),
                documents=tokens.parts["train"].documents,
                context=context,
            ),
            self.settings.budget,
            machine,
            model_choices={**self.settings.model_choices, **chosen},
            training_choices=self.settings.training_choices,
            seconds_spent=self._seconds,
        )

    def _save_recipe(self, recipe: Recipe, tokenizer: Tokenizer, tokens: TokenStore) -> None:
        """Write the description of a model that is to be trained, and its recipe."""
        from generative.training import recorded
        from generative.training.processes import launch

        details = recorded.details(
            tokens, recipe, self.settings.budget, self.settings.licence, launch()
        )
        checkpoint.save_description(self.folder, recipe.model, tokenizer, details)
        recorded.save_recipe(
            self.folder,
            recipe,
            tokenizer=self.corpus.tokenizer,
            vocab_size=self.corpus.vocab_size,
            grid=self.corpus.grid,
        )

    def _finish(
        self, tokenizer: Tokenizer, tokens: TokenStore, progress: Progress
    ) -> Likelihood | None:
        """Score the kept weights on held-out documents, and write score and model card.

        With a budget in minutes, tokens that cannot be read in time are left out of the score.
        """
        from generative.api.load import load

        budget = self.settings.budget
        deadline = self.began + 60.0 * budget.amount if budget.unit == "minutes" else math.inf
        score = _held_out_score(load(self.folder), tokens, deadline - EXIT_SECONDS)
        config, details = checkpoint.read_config(self.folder)
        details["recipe"]["budget"] = asdict(budget)  # A resumed run may have another budget.
        details["scores"] = {
            "steps": progress.step,
            "validation_loss": progress.best_loss,
            "held_out": asdict(score) if score else None,
        }
        checkpoint.save_description(self.folder, config, tokenizer, details)
        card.write(self.folder)
        return score


def _until_broken(report: Callable[[str], None]) -> Callable[[str], None]:
    """The same function, but it does nothing after its first `OSError`: training goes on."""
    is_broken = False

    def say(line: str) -> None:
        nonlocal is_broken
        if not is_broken:
            try:
                report(line)
            except OSError:
                is_broken = True

    return say


def _held_out_score(model: Any, tokens: TokenStore, deadline: float) -> Likelihood | None:
    """The score of held-out documents, each in its own style, with as many tokens of each style.

    Args:
        model: a `TextModel` or `MusicModel`.
        tokens: of the corpus.
        deadline: by `time.monotonic`; scoring ends then.
    """
    from generative.training.finish import SCORED_TOKENS

    part = tokens.parts["held_out"]
    labels = part.labels or (NO_LABEL,) * part.documents
    distinct = sorted(set(labels))
    total: Likelihood | None = None
    for index, label in enumerate(distinct):
        pairs = zip(tokens.documents("held_out"), labels, strict=True)
        seconds = (deadline - time.monotonic()) / (len(distinct) - index)
        score = score_ids(
            model.in_style(tokens.labels[label - 1] if label else None),
            (document for document, its_label in pairs if its_label == label),
            SCORED_TOKENS // len(distinct),
            seconds,
        )
        total = score if total is None or score is None else total + score
    return total
