"""From a corpus to a model folder: joins the rooms in order and does none of their work.

`python -m generative.train CORPUS... -o DIR` is `generate train`. The module itself can be called,
so that `generative.train([...], output=...)` works whether or not it was imported as a module.
"""

from __future__ import annotations

import sys
import time
import types
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generative import card, checkpoint
from generative.checkpoint import CheckpointError
from generative.evaluation import score_ids
from generative.ingest import ingest, ingested, request
from generative.labels import NO_LABEL
from generative.model.config import ModelConfig
from generative.training.config import UNITS, Budget, TrainingConfig
from generative.training.reports import Watching

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from generative.likelihood import Likelihood
    from generative.store import TokenStore
    from generative.tokenizers import Tokenizer
    from generative.training.recipe import Recipe
    from generative.training.resume import Progress

DEFAULT_MINUTES = 10.0
SCORED_TOKENS = 250_000  # the score after training reads at most about this much held-out data
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
    held_out: Sequence[str | Path] = (),
    styles: str | Path | Mapping[str, str] | None = None,
    tokenizer: str = "auto",
    vocab_size: int | None = None,
    grid: str = "auto",
    encoding: str = "utf-8",
    resume: bool = False,
    device: str = "auto",
    precision: str = "auto",
    seed: int = 0,
    licence: str = "",
    histograms: bool = False,
    wandb: str | None = None,
    report: Callable[[str], None] | None = None,
    **choices: Any,
) -> TrainingResult:
    """Train a model on a corpus and leave it in a folder.

    What is not set is chosen from the corpus, the time and the machine's measured speed.

    Args:
        sources: files, folders or globs of text or MIDI.
        output: the folder to make.
        minutes, steps, epochs: how long; one of them, or 10 minutes.
        held_out: what to validate on; by default the last tenth of the text, or a tenth of the
            music files; with `styles` the last tenth of each style's text.
        styles: what a document is called, to ask for it later: "folders" for the folder that it
            lies in, right below one of `sources`; or a CSV file, path,label; or a table.
        tokenizer: "auto", "char", "byte", "sentencepiece" or "music".
        vocab_size: of the char or sentencepiece tokenizer at most.
        grid: of music: "score" (beats), "performance" (10 ms) or "auto", which looks at the files.
        encoding: of text files.
        resume: continue the run in `output`, on the same corpus; its recipe stands.
        device: "auto", "cpu", "cuda", ...
        precision: "auto" (the faster, by measurement), "float32" or "bfloat16".
        seed: of everything that is drawn.
        licence: the corpus's, for the model card.
        histograms: of the weights, among the TensorBoard events.
        wandb: a project of Weights & Biases to report to as well.
        report: called with one line at a time; None is silent.
        choices: any field of `ModelConfig` or `TrainingConfig` (cell, dropout, learning_rate,
            batch_size, sequence_length, patience ...); `layers` and `hidden` are short for
            `num_layers` and `hidden_size`.

    Raises:
        CorpusError: the corpus cannot be read.
        CheckpointError: `output` holds a model already, or nothing fit to resume.
        ValueError: an option that is out of range.
        TrainingError: the loss is no longer finite; the last good weights are kept.
        Interrupted: SIGINT or SIGTERM came; the run is saved.
    """
    began = time.monotonic()
    folder = Path(output)
    budget = _budget({"minutes": minutes, "steps": steps, "epochs": epochs})
    chosen = _sort_choices({"seed": seed, **choices})
    watching = Watching(histograms=histograms, wandb=wandb)
    asked = request(
        _as_list(sources),
        tokenizer=tokenizer,
        vocab_size=vocab_size,
        encoding=encoding,
        held_out=held_out,
        seed=seed,
        grid=None if grid == "auto" else grid,
        styles=styles,
    )
    from generative.training import processes as shared
    from generative.training import run as training_run
    from generative.training.recipe import choose

    wanted = training_run.precision(precision)
    with shared.joined(training_run.device(device)) as processes:
        say = (report if processes.is_first else None) or (lambda _: None)
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
                        processes=processes,
                        precision=wanted,
                        model_choices={**chosen[0], "labels": tokens.labels},
                        training_choices=chosen[1],
                    )
                    details = _details(tokens, recipe, budget, licence, launch)
                    checkpoint.save_description(folder, recipe.model, made, details)
            else:
                made, tokens = ingested(folder)
        recipe = _stored_recipe(folder)
        _check_labels(folder, tokens, recipe)
        say(f"resuming {folder}: {recipe.reason}" if resume else recipe.reason)
        progress = training_run.run(
            folder=folder,
            tokenizer=made,
            recipe=recipe,
            tokens=tokens,
            budget=budget,
            processes=processes,
            resume_run=resume,
            say=say,
            watching=watching,
            seconds_spent=time.monotonic() - began,
        )
        score = _finish(folder, made, tokens, budget, progress) if processes.is_first else None
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
    """Refuse to train over a model, or to continue where there is none.

    Raises:
        CheckpointError: saying which, and what to do.
    """
    if folder.exists() and not folder.is_dir():
        raise CheckpointError(f"{folder}: not a folder; name another with -o")
    if resume and not (folder / checkpoint.CONFIG_FILE).is_file():
        raise CheckpointError(f"{folder}: no run to resume; leave out --resume to start one")
    if not resume and (folder / checkpoint.WEIGHTS_FILE).exists():
        raise CheckpointError(
            f"{folder}: holds a model already; continue it with --resume or name another folder"
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


def _stored_recipe(folder: Path) -> Recipe:
    """The recipe of the run in a folder."""
    from generative.training.recipe import Recipe
    from generative.training.run import precision

    config, details = checkpoint.read_config(folder)
    try:
        stored = details["recipe"]
        kept = precision(stored["precision"])
        assert kept is not None  # a recipe names one
        return Recipe(
            model=config,
            training=TrainingConfig(**stored["training"]),
            precision=kept,
            reason=stored["reason"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder}: no recipe to resume: {error}") from error


def _details(
    tokens: TokenStore, recipe: Recipe, budget: Budget, licence: str, launch: str | None
) -> dict[str, Any]:
    """What the folder's config notes about where the model comes from."""
    notes = tokens.notes
    return {
        "corpus": {
            "kind": notes["kind"],
            "documents": notes["documents"],
            "names": notes["names"],
            "skipped": len(notes["skipped"]),
            "train_tokens": tokens.parts["train"].tokens,
            "held_out_tokens": tokens.parts["held_out"].tokens,
            "licence": licence or "not stated",
        },
        "recipe": {
            "training": recipe.training.to_dict(),
            "precision": str(recipe.precision).removeprefix("torch."),
            "budget": asdict(budget),
            "reason": recipe.reason,
            "launch": launch,
        },
    }


def _finish(
    folder: Path, tokenizer: Tokenizer, tokens: TokenStore, budget: Budget, progress: Progress
) -> Likelihood | None:
    """Score the kept weights on held-out documents, state carried through each, and note it."""
    from generative.api import load

    score = _held_out_score(load(folder), tokens)
    config, details = checkpoint.read_config(folder)
    details["recipe"]["budget"] = asdict(budget)  # a resumed run may have been given more
    details["scores"] = {
        "steps": progress.step,
        "seconds": round(progress.seconds, 1),
        "validation_loss": progress.best_loss,
        "held_out": asdict(score) if score else None,
    }
    checkpoint.save_description(folder, config, tokenizer, details)
    card.write(folder)
    return score


def _held_out_score(model: Any, tokens: TokenStore) -> Likelihood | None:
    """Of held-out documents, each in its own style, and as many tokens of each."""
    part = tokens.parts["held_out"]
    numbers = part.labels or (NO_LABEL,) * part.documents
    total: Likelihood | None = None
    for number in sorted(set(numbers)):
        pairs = zip(tokens.documents("held_out"), numbers, strict=True)
        score = score_ids(
            model.in_style(tokens.labels[number - 1] if number else None),
            (document for document, its_number in pairs if its_number == number),
            SCORED_TOKENS // len(set(numbers)),
        )
        total = score if total is None or score is None else total + score
    return total


class _CallableModule(types.ModuleType):
    """A module that is also the function it is named after.

    `import generative.train` binds the module to the name `generative.train`, which should stay
    callable as the public API says.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> TrainingResult:
        return train(*args, **kwargs)


sys.modules[__name__].__class__ = _CallableModule

if __name__ == "__main__":
    from generative.cli import main

    main(["train", *sys.argv[1:]])
