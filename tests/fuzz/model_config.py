"""config.json of a model folder: loads and works, or is refused with a `CheckpointError`."""

from __future__ import annotations

import json

from generative import checkpoint
from generative.api import card
from generative.checkpoint import CheckpointError
from tests.fuzz import folders
from tests.fuzz.entropy import Entropy

KINDS = ("char", "byte")


def seeds() -> list[bytes]:
    """Changes by number, and the whole file."""
    numbers = [bytes([0, 0, *range(n, n + 12)]) for n in range(0, 240, 17)]
    whole = [
        bytes([n, 1]) + folders.original(folders.folder_of(kind), checkpoint.CONFIG_FILE)
        for n, kind in enumerate(KINDS)
    ]
    return [*numbers, *whole]


def run(data: bytes) -> None:
    """Replace the file and load the folder."""
    entropy = Entropy(data)
    folder = folders.folder_of(entropy.pick(KINDS))
    base = folders.original(folder, checkpoint.CONFIG_FILE)
    (folder / checkpoint.CONFIG_FILE).write_bytes(folders.sealed_json(base, entropy))
    folders.opened.clear()
    try:
        found = checkpoint.load(folder)
        folders.check(found)
        json.dumps(found.details)
        card.render(folder)
    except CheckpointError:
        pass
    folders.check_opened(folder)
