"""How a corpus is split into a part for training and a part that is held out."""

from __future__ import annotations

import numpy as np

HELD_OUT_FRACTION = 0.1


def training_length(total: int, held_out_fraction: float = HELD_OUT_FRACTION) -> int:
    """How many of the characters of a text, counted from its start, are for training."""
    return int(total * (1.0 - held_out_fraction))


def held_out_pieces(
    count: int, seed: int = 0, held_out_fraction: float = HELD_OUT_FRACTION
) -> set[int]:
    """The indices of the pieces that are held out, drawn with `seed`; none of a single piece."""
    held_out = max(1, round(count * held_out_fraction)) if count > 1 else 0
    return set(np.random.default_rng(seed).permutation(count)[:held_out].tolist())
