"""From a corpus to a model folder: joins the rooms in order and does none of their work."""

from __future__ import annotations

import math
import os
import time
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generative import checkpoint
from generative.api import card
from generative.api.evaluation import score_ids
from generative.checkpoint import CheckpointError
from generative.data.ingest import ingest, load_ingested
from generative.data.labels import NO_LABEL
from generative.data.request import make_request
from generative.errors import OptionError
from generative.files import make_folder, shown
from generative.model.config import ModelConfig
from generative.training.config import UNITS, Budget, TrainingConfig
from generative.training.reports import Watching

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from generative.data.store import TokenStore
    from generative.scoring.likelihood import Likelihood
    from generative.tokenizers import Tokenizer
    from generative.training.recipe import Recipe
    from generative.training.resume import Progress

DEFAULT_MINUTES = 10.0
EXIT_SECONDS = 0.4  # of a budget in minutes, for the last files and for leaving
NOT_HELD_OUT = "none"  # as `held_out`: learn from everything
SHORT_NAMES = {
    "layers": "num_layers",
    "hidden": "hidden_size",
    "recall": "recall_length",
}  # of options -> fields


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """What a run came to.

    Attributes:
        path: the model folder.
        steps, seconds: how long it trained, over all sessions.
        validation_loss: the best on the way, nats per token, on part of the held-out data.
        held_out: the kept weights' exact score on (about 250,000 tokens at most of) that data;
            None where the corpus is too small to hold anything out.
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
    minutes: float | None = None,
    steps: int | None = None,
    epochs: float | None = None,
    held_out: str | Sequence[str | Path] = (),
    styles: str | Path | Mapping[str, str] | None = None,
    tokenizer: str = "auto",
    vocab_size: int | None = None,
    grid: str = "auto",
    encoding: str = "utf-8",
    resume: bool = False,
    device: str = "auto",
    precision: str = "auto",
    seed: int = 0,
    threads: int | None = None,
    licence: str = "",
    histograms: bool = False,
    wandb: str | None = None,
    report: Callable[[str], None] | None = None,
    seconds_spent: float = 0.0,
    **choices: Any,
) -> TrainingResult:
    """Train a model on a corpus and leave it in a folder.

    What is not set is chosen from the corpus, the time and the machine's measured speed.

    Args:
        sources: files, folders or globs of text or MIDI.
        output: the folder to make.
        minutes, steps, epochs: how long; one of them, or 10 minutes.
        held_out: what to validate on; by default the last tenth of the text, or a tenth of the
            music files; with `styles` the last tenth of each style's text. "none" learns from
            everything: the last weights are kept, and nothing is fitted or scored.
        styles: what a document is called, to ask for it later: "folders" for the folder that it
            lies in, right below one of `sources`; or a CSV file, path,label; or a table.
        tokenizer: "auto", "char", "byte", "sentencepiece" or "music".
        vocab_size: of the char or sentencepiece tokenizer at most.
        grid: of music: "score" (beats), "performance" (10 ms) or "auto", which looks at the files.
        encoding: of text files.
        resume: continue the run in `output`, on the same corpus; its recipe stands.
        device: "auto", "cpu", "cuda", ...
        precision: "auto" (bfloat16 where the processor has it), "float32" or "bfloat16".
        seed: of everything that is drawn.
        threads: that share each batch; by default as many as there are cores for this process. The
            number is part of the recipe, since it decides in which order gradients are added up.
        licence: the corpus's, for the model card.
        histograms: of the weights, among the TensorBoard events.
        wandb: a project of Weights & Biases to report to as well.
        report: called with one line at a time; None is silent.
        seconds_spent: of a budget in minutes, before this call.
        choices: any field of `ModelConfig` or `TrainingConfig` (cell, dropout, learning_rate,
            batch_size, sequence_length, patience ...); `layers` and `hidden` are short for
            `num_layers` and `hidden_size`.

    Raises:
        CorpusError: the corpus cannot be read.
        CheckpointError: `output` holds a model or a run already, is in use by another run, or holds
            nothing fit to resume.
        ValueError: an option that is out of range.
        TrainingError: the loss is no longer finite; the last good weights are kept.
        Interrupted: SIGINT, SIGTERM or SIGHUP came; the run is saved.
    """
    began = time.monotonic() - seconds_spent
    folder = Path(output)
    budget = _budget({"minutes": minutes, "steps": steps, "epochs": epochs})
    chosen = _sort_choices({"seed": seed, **choices})
    watching = Watching(histograms=histograms, wandb=wandb)
    if threads is not None and threads < 1:
        raise OptionError(f"threads must be at least 1, not {threads}")
    is_first = os.environ.get("RANK", "0") == "0"
    say = _steadily(report) if report is not None and is_first else lambda _: None
    names = _as_list(sources)
    say(f"reading {', '.join(map(shown, names[:3]))}{' ...' if len(names) > 3 else ''}")
    nothing = held_out in (NOT_HELD_OUT, [NOT_HELD_OUT], (NOT_HELD_OUT,))
    asked = make_request(
        names,
        tokenizer=tokenizer,
        vocab_size=vocab_size,
        encoding=encoding,
        held_out=None if nothing else _as_list(held_out),
        seed=seed,
        grid=None if grid == "auto" else grid,
        styles=styles,
    )
    from generative.machine.threads import Workers, available_threads, single_threaded
    from generative.training import processes as shared
    from generative.training import recorded
    from generative.training import run as training_run
    from generative.training.recipe import Machine, choose

    wanted = training_run.precision(precision)
    count = threads or available_threads()
    with (
        single_threaded(),
        shared.joined(training_run.device(device)) as processes,
        _locked(folder, resume) if processes.is_first else nullcontext(),
        Workers(count if processes.device.type == "cpu" else 1) as workers,
    ):
        launch = shared.launch()
        resume = resume or (processes.is_first and _goes_on(folder, launch, shared.restarted()))
        resume = processes.from_first(float(resume)) > 0
        with processes.first_then_others():
            if processes.is_first:
                _check_output(folder, resume)
                made, tokens = ingest(asked, folder, use_tokenizer=resume)
                for file, reason in tokens.notes["skipped"]:
                    say(f"skipped {file}: {reason}")
                if not resume:
                    recipe = choose(
                        kind=asked.kind,
                        counts=tokens.counts("train", made.vocab_size),
                        documents=tokens.parts["train"].documents,
                        budget=budget,
                        machine=Machine(processes=processes, workers=workers, precision=wanted),
                        model_choices={**chosen[0], "labels": tokens.labels},
                        training_choices=chosen[1],
                        seconds_spent=time.monotonic() - began,
                    )
                    details = recorded.details(tokens, recipe, budget, licence, launch)
                    checkpoint.save_description(folder, recipe.model, made, details)
                    recorded.save_recipe(
                        folder,
                        recipe,
                        tokenizer=asked.tokenizer,
                        vocab_size=asked.vocab_size,
                        grid=asked.grid,
                    )
            else:
                made, tokens = load_ingested(folder)
        recipe = recorded.load_recipe(folder)
        _check_labels(folder, tokens, recipe)
        say(f"resuming {shown(folder)}: {recipe.reason}" if resume else recipe.reason)
        progress = training_run.run(
            folder=folder,
            tokenizer=made,
            recipe=recipe,
            tokens=tokens,
            budget=budget,
            processes=processes,
            workers=workers,
            uses_held_out=asked.held_out is not None,
            resume_run=resume,
            say=say,
            watching=watching,
            seconds_spent=time.monotonic() - began,
        )
        score = None
        if processes.is_first:
            deadline = began + 60.0 * budget.amount if budget.unit == "minutes" else math.inf
            score = _finish(folder, made, tokens, budget, progress, deadline)
        processes.wait()
    return TrainingResult(
        path=folder,
        steps=progress.step,
        seconds=progress.seconds,
        validation_loss=progress.best_loss,
        held_out=score,
        recipe=recipe.reason,
        skipped=tuple((file, reason) for file, reason in tokens.notes["skipped"]),
    )


def _steadily(report: Callable[[str], None]) -> Callable[[str], None]:
    """The same, but silent from the first line on that cannot be told: training goes on."""
    gone = False

    def say(line: str) -> None:
        nonlocal gone
        if not gone:
            try:
                report(line)
            except OSError:
                gone = True

    return say


@contextmanager
def _locked(folder: Path, resume: bool) -> Iterator[None]:
    """Keep other runs out of a folder, which is made if it is not there.

    Raises:
        CheckpointError: another run is in it, or it holds what this one must not touch.
    """
    from filelock import FileLock, Timeout

    from generative.training.resume import FOLDER

    if os.environ.get("WORLD_SIZE", "1") == "1":  # before anything is made; restarts may go on
        _check_output(folder, resume)
    make_folder(folder / FOLDER)
    lock = FileLock(folder / FOLDER / "lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise CheckpointError(
            f"{shown(folder)}: in use by another run; wait for it, or name another folder with -o"
        ) from None
    except OSError as error:
        raise CheckpointError(
            f"{shown(folder)}: cannot be written to: {error.strerror}; name another folder with -o"
        ) from error
    try:
        yield
    finally:
        with suppress(OSError):
            if [path.name for path in (folder / FOLDER).iterdir()] == [
                "lock"
            ]:  # nothing came of it
                (folder / FOLDER / "lock").unlink()
                (folder / FOLDER).rmdir()
                folder.rmdir()
        lock.release()


def _as_list(sources: str | Path | Sequence[str | Path]) -> list[str | Path]:
    return [sources] if isinstance(sources, str | Path) else list(sources)


def _budget(amounts: dict[str, float | None]) -> Budget:
    given = {unit: amount for unit, amount in amounts.items() if amount is not None}
    if len(given) > 1:
        raise ValueError(f"give one of {', '.join(UNITS)}, not {' and '.join(given)}")
    unit, amount = next(iter(given.items()), ("minutes", DEFAULT_MINUTES))
    return Budget(unit=unit, amount=amount)


def _sort_choices(choices: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options by where they belong: (of the model, of the training). None means not chosen."""
    named = {SHORT_NAMES.get(k, k): v for k, v in choices.items() if v is not None}
    parts: list[dict[str, Any]] = []
    for config in (ModelConfig, TrainingConfig):
        known = {field.name for field in fields(config)} - {"vocab_size", "labels"}
        parts.append({k: named.pop(k) for k in list(named) if k in known})
    if named:
        raise ValueError(f"unknown training options: {', '.join(sorted(named))}")
    return parts[0], parts[1]


def _check_output(folder: Path, resume: bool) -> None:
    """Refuse to train over a model or a run, or to continue where there is none.

    Raises:
        CheckpointError: saying which, and what to do.
    """
    if folder.exists() and not folder.is_dir():
        raise CheckpointError(f"{folder}: not a folder; name another with -o")
    from generative.training.resume import holds_run

    if resume and not (folder / checkpoint.CONFIG_FILE).is_file():
        raise CheckpointError(f"{folder}: no run to resume; leave out --resume to start one")
    if resume:
        return
    held = "a model" if (folder / checkpoint.WEIGHTS_FILE).exists() else None
    held = held or ("a run" if holds_run(folder) else None)
    if held:
        raise CheckpointError(
            f"{shown(folder)}: holds {held} already; continue it with --resume "
            "or name another folder"
        )


def _check_labels(folder: Path, tokens: TokenStore, recipe: Recipe) -> None:
    """Refuse to continue a run with other styles than it began with.

    Raises:
        CheckpointError: saying which it began with.
    """
    if tokens.labels != recipe.model.labels:
        began, now = (", ".join(n) or "none" for n in (recipe.model.labels, tokens.labels))
        raise CheckpointError(
            f"{folder}: the run began with the styles {began}, and now there are {now}: "
            "give the same --styles"
        )


def _goes_on(folder: Path, launch: str | None, restarted: bool) -> bool:
    """Whether the launcher that began the run in `folder` has started its processes again."""
    if not (folder / checkpoint.CONFIG_FILE).is_file():
        return False
    recipe = checkpoint.read_config(folder)[1].get("recipe", {})
    return restarted or (launch is not None and recipe.get("launch") == launch)


def _finish(
    folder: Path,
    tokenizer: Tokenizer,
    tokens: TokenStore,
    budget: Budget,
    progress: Progress,
    deadline: float,
) -> Likelihood | None:
    """Score the kept weights on held-out documents, state carried through each, and note it.

    deadline: of `time.monotonic`, by which the score should be there; what has not been read then
        is left out of it.
    """
    from generative.api.load import load

    score = _held_out_score(load(folder), tokens, deadline - EXIT_SECONDS)
    config, details = checkpoint.read_config(folder)
    details["recipe"]["budget"] = asdict(budget)  # a resumed run may have been given more
    details["scores"] = {
        "steps": progress.step,
        "validation_loss": progress.best_loss,
        "held_out": asdict(score) if score else None,
    }
    checkpoint.save_description(folder, config, tokenizer, details)
    card.write(folder)
    return score


def _held_out_score(model: Any, tokens: TokenStore, deadline: float) -> Likelihood | None:
    """Of held-out documents, each in its own style, and as many tokens of each."""
    from generative.training.finish import SCORED_TOKENS

    part = tokens.parts["held_out"]
    numbers = part.labels or (NO_LABEL,) * part.documents
    different = sorted(set(numbers))
    total: Likelihood | None = None
    for place, number in enumerate(different):
        pairs = zip(tokens.documents("held_out"), numbers, strict=True)
        left = (deadline - time.monotonic()) / (len(different) - place)
        score = score_ids(
            model.in_style(tokens.labels[number - 1] if number else None),
            (document for document, its_number in pairs if its_number == number),
            SCORED_TOKENS // len(different),
            left,
        )
        total = score if total is None or score is None else total + score
    return total
