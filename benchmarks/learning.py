"""Learning from ids, for benchmarks whose tokens the package has no tokenizer for."""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from generative import checkpoint
from generative.context.reader import Contextual, reader_for
from generative.data import store
from generative.data.store import StoreWriter
from generative.machine.threads import Workers, available_threads, single_threaded
from generative.model.language_model import LanguageModel
from generative.training.config import Budget
from generative.training.processes import Processes
from generative.training.recipe import Corpus, Recipe, choose
from generative.training.reports import ReportOptions
from generative.training.run import Run
from generative.training.speed import Machine

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from generative.ngram.model import CountModel
    from generative.tokenizers import Tokenizer

Ids = NDArray[np.integer[Any]]  # (T,)


@dataclass(frozen=True, kw_only=True)
class Learnt:
    """A network, the count models beside it, and the recipe that they were learnt by."""

    model: LanguageModel
    counts: CountModel | None
    recipe: Recipe


def learn(
    tokenizer: Any,
    pieces: Mapping[str, Sequence[Ids]],
    minutes: float,
    *,
    copies: int = 1,
    features: Sequence[str] | None = None,
    model_choices: Mapping[str, Any] | None = None,
    training_choices: Mapping[str, Any] | None = None,
) -> Learnt:
    """What `generative.train` does with a corpus of music, once its tokens are made.

    Args:
        tokenizer: has what training asks of one: a name, `vocab_size`, `start_id`, axes, files,
            and context features if it offers some.
        pieces: of each part of a store.
        minutes: of training; making tokens is not counted.
        copies: how many of each piece the training part has; the recipe sees the counts of one.
        features: the names of context features; None takes those that the tokenizer has by default.
        model_choices, training_choices: what is not left to the recipe.
    """
    budget = Budget(unit="minutes", amount=minutes)
    processes = Processes(device=torch.device("cpu"))
    shape = cast("Tokenizer", tokenizer)
    if features is None:
        features = tokenizer.default_features if isinstance(tokenizer, Contextual) else ()
    context = reader_for(tokenizer, features)
    sizes = () if context is None else context.sizes
    chosen = {"features": tuple(features), "feature_sizes": sizes}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with StoreWriter(
            folder / store.FOLDER,
            vocab_size=shape.vocab_size,
            start_id=shape.start_id,
            key="",
        ) as writer:
            for part in store.PARTS:
                for ids in pieces[part]:
                    writer.append(part, ids, begins_document=True)
            tokens = writer.close(notes={})
        began = time.monotonic()
        with single_threaded(), Workers(available_threads()) as workers:
            recipe = choose(
                Corpus(
                    kind="music",
                    counts=-(-tokens.counts("train", shape.vocab_size) // copies),
                    documents=len(pieces["train"]) // copies,
                    context=context,
                ),
                budget,
                Machine(processes=processes, workers=workers, precision=None),
                model_choices={**(model_choices or {}), **chosen},
                training_choices=dict(training_choices or {}),
            )
            say(recipe.reason)
            checkpoint.save_description(folder, recipe.model, shape, {})
            run = Run(
                folder=folder,
                tokenizer=shape,
                recipe=recipe,
                tokens=tokens,
                budget=budget,
                processes=processes,
                workers=workers,
                uses_held_out=True,
            )
            run.train(say, reporting=ReportOptions(), seconds_spent=time.monotonic() - began)
        model = LanguageModel(recipe.model, context)
        arrays, _ = checkpoint.load_weights(folder)
        counts = checkpoint.load_counts(folder, recipe.model)
    model.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    return Learnt(model=model.eval(), counts=counts, recipe=recipe)


def say(line: str) -> None:
    """A line of progress, at once."""
    print(f"    {line}", file=sys.stderr, flush=True)
