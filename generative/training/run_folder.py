"""The model folder of a run: which run may use it, and by only one at a time.

It must not know how a run trains.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from generative import checkpoint
from generative.checkpoint import CheckpointError
from generative.files import make_folder, shown
from generative.training.resume import FOLDER, holds_run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from generative.data.store import TokenStore
    from generative.training.recipe import Recipe

LOCK_FILE = "lock"


@contextmanager
def locked(folder: Path, resume: bool) -> Iterator[None]:
    """Keep other runs out of a folder, which is made if it does not exist.

    A folder in which nothing but the lock was left is removed again.

    Raises:
        CheckpointError: another run uses it, or it holds what this run must not touch.
    """
    # Processes that `torchrun` has restarted may continue; they check later.
    if os.environ.get("WORLD_SIZE", "1") == "1":
        check(folder, resume)
    states = folder / FOLDER
    make_folder(states)
    lock = FileLock(states / LOCK_FILE, timeout=0)
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
            if [path.name for path in states.iterdir()] == [LOCK_FILE]:
                (states / LOCK_FILE).unlink()
                states.rmdir()
                folder.rmdir()
        lock.release()


def check(folder: Path, resume: bool) -> None:
    """Refuse to train over a model or a run, or to continue where there is none.

    Raises:
        CheckpointError: which of them, and what to do.
    """
    if folder.exists() and not folder.is_dir():
        raise CheckpointError(f"{folder}: not a folder; name another with -o")
    if resume:
        _check_resumable(folder)
        return
    held = "a model" if (folder / checkpoint.WEIGHTS_FILE).exists() else None
    held = held or ("a run" if holds_run(folder) else None)
    if held:
        raise CheckpointError(
            f"{shown(folder)}: holds {held} already; continue it with --resume "
            "or name another folder"
        )


def _check_resumable(folder: Path) -> None:
    if not (folder / checkpoint.CONFIG_FILE).is_file():
        raise CheckpointError(f"{folder}: no run to resume; leave out --resume to start one")
    if checkpoint.read_format(folder) != checkpoint.FORMAT_VERSION:
        raise CheckpointError(
            f"{shown(folder)}: an earlier version of generative began the run, and only that "
            "version can resume it; name another folder with -o to train anew"
        )


def check_labels(folder: Path, tokens: TokenStore, recipe: Recipe) -> None:
    """Refuse to continue a run with other styles than it began with.

    Raises:
        CheckpointError: which styles it began with.
    """
    if tokens.labels != recipe.model.labels:
        began, now = (", ".join(n) or "none" for n in (recipe.model.labels, tokens.labels))
        raise CheckpointError(
            f"{folder}: the run began with the styles {began}, and now there are {now}: "
            "give the same --styles"
        )


def is_restarted(folder: Path, launch: str | None, restarted: bool) -> bool:
    """Whether the launcher that began the run in a folder has started its processes again.

    Args:
        folder: of the run.
        launch: the name of this process's launch, see `processes.launch`.
        restarted: whether that launch has restarted its processes.
    """
    if not (folder / checkpoint.CONFIG_FILE).is_file():
        return False
    recipe = checkpoint.read_config(folder)[1].get("recipe", {})
    return restarted or (launch is not None and recipe.get("launch") == launch)
