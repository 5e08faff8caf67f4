"""Files of arrays (weights, statistics, counts): load and work, or refused with one error."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from generative import checkpoint
from generative.checkpoint import CheckpointError
from tests.fuzz import folders
from tests.fuzz.entropy import Entropy

KINDS = ("byte", "char", "music")
FILES = (checkpoint.WEIGHTS_FILE, checkpoint.STATISTICS_FILE, checkpoint.COUNTS_FILE)


def seeds() -> list[bytes]:
    """Changes by number, and the files' headers."""
    numbers = [bytes([n, n, n, *range(n, n + 12)]) for n in range(0, 250, 9)]
    whole = [
        bytes([n, m, 1]) + folders.original(folders.folder_of(kind), file)[:3000]
        for n, kind in enumerate(KINDS)
        for m, file in enumerate(FILES)
    ]
    return [*numbers, *whole]


def run(data: bytes) -> None:
    """Replace a file and read it as the folder's weights, statistics or counts."""
    entropy = Entropy(data)
    folder = folders.folder_of(entropy.pick(KINDS))
    chosen = entropy.pick(FILES)
    for file in FILES:
        base = folders.original(folder, file)
        content = folders.sealed_arrays(base, entropy) if file == chosen else base
        (folder / file).write_bytes(content)
    whole = folders.loaded(folder)
    folders.opened.clear()
    try:
        weights = checkpoint.load_weights(folder, whole.config)[0]
        found = replace(
            whole,
            weights={k: v.astype(np.float32) for k, v in weights.items()},
            counts=checkpoint.load_counts(folder, whole.config),
        )
        folders.check(found)
        for rms in (found.statistics() or {}).values():
            assert np.isfinite(rms).all() and (rms >= 0).all()
    except CheckpointError:
        pass
    folders.check_opened(folder)
