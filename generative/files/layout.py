"""The names of what lies in a model folder, and how to tell such a folder; reads nothing in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
TOKENIZER_FILE = "tokenizer.json"
CARD_FILE = "README.md"
STATISTICS_FILE = "gradients.safetensors"
TOKENS_FOLDER = "tokens"
STORE_FILE = "store.json"  # describes the tokens beside it
RESUME_FOLDER = "resume"
RESUME_PATTERN = "step-*.safetensors"
# All that training and its reports leave in a model folder.
NAMES = frozenset(
    {
        CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE, CARD_FILE, STATISTICS_FILE,
        TOKENS_FOLDER, RESUME_FOLDER,
        "tokenizer.model", "recipe.toml", "metrics.csv", "learning_curve.png",
        "tensorboard", "wandb",
    }
)  # fmt: skip


def is_model(folder: Path) -> bool:
    """Whether a folder is a model's, or a run's that has no weights yet."""
    return (folder / CONFIG_FILE).is_file() and (
        (folder / WEIGHTS_FILE).is_file() or (folder / TOKENIZER_FILE).is_file()
    )


def is_part_of_model(folder: Path) -> bool:
    """Whether a folder holds a model's tokens or the states of its run."""
    if folder.name == RESUME_FOLDER:
        return any(folder.glob(RESUME_PATTERN))
    return folder.name == TOKENS_FOLDER and (folder / STORE_FILE).is_file()


def is_ours(folder: Path) -> bool:
    """Whether a folder is one or the other."""
    return is_model(folder) or is_part_of_model(folder)
