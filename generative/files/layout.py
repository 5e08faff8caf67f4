"""The names of the files in a model folder, and how such a folder is recognised.

No file is read here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
TOKENIZER_FILE = "tokenizer.json"
CARD_FILE = "README.md"
STATISTICS_FILE = "gradients.safetensors"
COUNTS_FILE = "ngram.safetensors"
TOKENS_FOLDER = "tokens"
STORE_FILE = "store.json"  # describes the token files in the same folder
RESUME_FOLDER = "resume"
RESUME_PATTERN = "step-*.safetensors"
# everything that training and its reports write to a model folder
NAMES = frozenset(
    {
        CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE, CARD_FILE, STATISTICS_FILE, COUNTS_FILE,
        TOKENS_FOLDER, RESUME_FOLDER,
        "tokenizer.model", "recipe.toml", "metrics.csv", "learning_curve.png",
        "tensorboard", "wandb",
    }
)  # fmt: skip


def is_model(folder: Path) -> bool:
    """Whether a folder is a model, or a training run without weights so far."""
    return (folder / CONFIG_FILE).is_file() and (
        (folder / WEIGHTS_FILE).is_file() or (folder / TOKENIZER_FILE).is_file()
    )


def is_part_of_model(folder: Path) -> bool:
    """Whether a folder holds the tokens of a model or the states of its training run."""
    if folder.name == RESUME_FOLDER:
        return any(folder.glob(RESUME_PATTERN))
    return folder.name == TOKENS_FOLDER and (folder / STORE_FILE).is_file()


def is_ours(folder: Path) -> bool:
    """Whether a folder is a model or a part of one."""
    return is_model(folder) or is_part_of_model(folder)
