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

from generative import card, checkpoint, tokenizers
from generative.checkpoint import CheckpointError
from generative.corpus import Corpus, Split, read_corpus, split_music, split_text
from generative.model.config import ModelConfig
from generative.training.config import UNITS, Budget, TrainingConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from generative.likelihood import Likelihood
    from generative.training.recipe import Recipe

DEFAULT_MINUTES = 10.0
SCORED_TOKENS = 250_000  # the score after training reads at most about this much held-out data
SHORT_NAMES = {"layers": "num_layers", "hidden": "hidden_size"}  # of options -> fields


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
    tokenizer: str = "auto",
    vocab_size: int | None = None,
    encoding: str = "utf-8",
    resume: bool = False,
    device: str = "auto",
    precision: str = "auto",
    seed: int = 0,
    licence: str = "",
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
            music files.
        tokenizer: "auto", "char", "byte", "sentencepiece" or "music".
        vocab_size: of the char or sentencepiece tokenizer at most.
        encoding: of text files.
        resume: continue the run in `output`, on the same corpus; its recipe stands.
        device: "auto", "cpu", "cuda", ...
        precision: "auto" (the faster, by measurement), "float32" or "bfloat16".
        seed: of everything that is drawn.
        licence: the corpus's, for the model card.
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
    say = report or (lambda _: None)
    budget = _budget({"minutes": minutes, "steps": steps, "epochs": epochs})
    model_choices, training_choices = _sort_choices(choices)
    _check_output(folder, resume)

    kind = None if tokenizer == "auto" else tokenizers.kind_of(tokenizer)
    read = read_corpus(_as_list(sources), kind=kind, encoding=encoding)
    for file, reason in read.skipped:
        say(f"skipped {file}: {reason}")
    split = _split(read, held_out, encoding, seed)
    if resume:
        made = checkpoint.load_tokenizer(folder)
    else:
        name = tokenizers.DEFAULT_TOKENIZER[read.kind] if tokenizer == "auto" else tokenizer
        made = tokenizers.tokenizer_class(name).train(split.train, vocab_size)
    learnt, unseen = (
        [made.encode_array(d) for d in part] for part in (split.train, split.held_out)
    )

    from generative.training import run as training_run
    from generative.training.recipe import choose

    target = training_run.device(device)
    if resume:
        recipe = _stored_recipe(folder)
    else:
        recipe = choose(
            kind=read.kind,
            vocab_size=made.vocab_size,
            documents=learnt,
            budget=budget,
            device=target,
            precision=training_run.precision(precision),
            model_choices=model_choices,
            training_choices={"seed": seed, **training_choices},
        )
    say(recipe.reason)
    details = _details(read, learnt, unseen, recipe, budget, licence)
    checkpoint.save_description(folder, recipe.model, made, details)
    progress = training_run.run(
        folder=folder,
        tokenizer=made,
        recipe=recipe,
        documents=learnt,
        held_out=unseen,
        budget=budget,
        device=target,
        resume_run=resume,
        say=say,
        seconds_spent=time.monotonic() - began,
    )
    score = _score(folder, split.held_out)
    details["scores"] = {
        "steps": progress.step,
        "seconds": round(progress.seconds, 1),
        "validation_loss": progress.best_loss,
        "held_out": asdict(score) if score else None,
    }
    checkpoint.save_description(folder, recipe.model, made, details)
    card.write(folder)
    return TrainingResult(
        path=folder,
        steps=progress.step,
        seconds=progress.seconds,
        validation_loss=progress.best_loss,
        held_out=score,
        recipe=recipe.reason,
        skipped=read.skipped,
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
        known = {field.name for field in fields(config)} - {"vocab_size", "seed"}
        parts.append({k: named.pop(k) for k in list(named) if k in known})
    if named:
        raise ValueError(f"unknown training options: {', '.join(sorted(named))}")
    return parts[0], parts[1]


def _check_output(folder: Path, resume: bool) -> None:
    """Refuse to train over a model, or to continue where there is none."""
    if folder.exists() and not folder.is_dir():
        raise CheckpointError(f"{folder}: not a folder; name another with -o")
    if resume and not (folder / checkpoint.CONFIG_FILE).is_file():
        raise CheckpointError(f"{folder}: no run to resume; leave out --resume to start one")
    if not resume and (folder / checkpoint.WEIGHTS_FILE).exists():
        raise CheckpointError(
            f"{folder}: holds a model already; continue it with --resume or name another folder"
        )


def _split(
    read: Corpus[Any], held_out: Sequence[str | Path], encoding: str, seed: int
) -> Split[Any]:
    contents = [document.content for document in read.documents]
    if held_out:
        other = read_corpus(held_out, kind=read.kind, encoding=encoding)
        return Split(train=tuple(contents), held_out=tuple(d.content for d in other.documents))
    return split_text(contents) if read.kind == "text" else split_music(contents, seed)


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
            reason=f"resuming {folder}: {stored['reason']}",
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder}: no recipe to resume: {error}") from error


def _details(
    read: Corpus[Any],
    learnt: Sequence[NDArray[Any]],
    unseen: Sequence[NDArray[Any]],
    recipe: Recipe,
    budget: Budget,
    licence: str,
) -> dict[str, Any]:
    """What the folder's config notes about where the model comes from."""
    return {
        "corpus": {
            "kind": read.kind,
            "documents": len(read.documents),
            "names": [Path(document.name).name for document in read.documents[:5]],
            "skipped": len(read.skipped),
            "train_tokens": sum(map(len, learnt)),
            "held_out_tokens": sum(map(len, unseen)),
            "licence": licence or "not stated",
        },
        "recipe": {
            "training": recipe.training.to_dict(),
            "precision": str(recipe.precision).removeprefix("torch."),
            "budget": asdict(budget),
            "reason": recipe.reason,
        },
    }


def _score(folder: Path, held_out: Sequence[Any]) -> Likelihood | None:
    """The kept weights on held-out documents, state carried through each."""
    from generative.api import load

    if not held_out:
        return None
    model = load(folder)
    total: Likelihood | None = None
    for document in held_out:
        left = SCORED_TOKENS - (total.tokens if total else 0)
        if left <= 0:
            break
        part = document[:left] if isinstance(document, str) else document
        score = model.score(part)
        total = score if total is None else total + score
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
