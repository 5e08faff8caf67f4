"""What a model folder records of its training: notes in config.json, and recipe.toml.

It must not know how training is done.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from generative import checkpoint
from generative.checkpoint import CheckpointError
from generative.context.features import NO_FEATURES
from generative.files import shown, write_text
from generative.training.config import TrainingConfig
from generative.training.hardware import PRECISIONS, precision_name
from generative.training.recipe import Recipe

if TYPE_CHECKING:
    from pathlib import Path

    from generative.data.store import TokenStore
    from generative.training.config import Budget

RECIPE_FILE = "recipe.toml"  # It has the choices as options for another run.

# Fields of `ModelConfig` that no option sets, or one of another name.
_NOT_OPTIONS = ("vocab_size", "labels", "features", "feature_sizes")


def details(
    tokens: TokenStore, recipe: Recipe, budget: Budget, licence: str, launch: str | None
) -> dict[str, Any]:
    """The notes about corpus and recipe in a model's config.json."""
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
            "precision": precision_name(recipe.precision),
            "budget": asdict(budget),
            "shards": recipe.shards,
            "reason": recipe.reason,
            "tokens_per_second": recipe.tokens_per_second,
            "launch": launch,
        },
    }


def save_recipe(
    folder: Path, recipe: Recipe, *, tokenizer: str, vocab_size: int | None, grid: str | None
) -> None:
    """Write the choices as options: `train --config FILE --steps N` repeats the run."""
    model = {k: v for k, v in recipe.model.to_dict().items() if k not in _NOT_OPTIONS}
    tables: dict[str, dict[str, Any]] = {
        "run": {
            "tokenizer": tokenizer,
            "vocab_size": vocab_size,
            "grid": grid,
            "context_features": ",".join(recipe.model.features) or NO_FEATURES,
            "precision": precision_name(recipe.precision),
            "threads": recipe.shards,
        },
        "model": model,
        "training": recipe.training.to_dict(),
    }
    lines = [f"# {recipe.reason}", ""]
    for table, values in tables.items():
        lines += [f"[{table}]"]
        # Strings, numbers and booleans are written alike in JSON and TOML.
        lines += [f"{key} = {json.dumps(v)}" for key, v in values.items() if v is not None]
        lines += [""]
    write_text(folder / RECIPE_FILE, "\n".join(lines))


def load_recipe(folder: Path) -> Recipe:
    """The recipe of the run in a folder.

    Raises:
        CheckpointError: it holds none.
    """
    config, details = checkpoint.read_config(folder)
    try:
        stored = details["recipe"]
        return Recipe(
            model=config,
            training=TrainingConfig(**stored["training"]),
            precision=PRECISIONS[stored["precision"]],
            shards=int(stored.get("shards", 1)),
            reason=stored["reason"],
            tokens_per_second=stored.get("tokens_per_second"),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{shown(folder)}: no recipe to resume: {error}") from error
