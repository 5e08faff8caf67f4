"""Bytes that were changed a little, from a seed; knows nothing of what they mean.

It stands in for atheris where that is not installed, and finds less, since it does not see which
code an input reaches.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_BYTES = 4096
_EXTREME = (0, 1, 0x7F, 0x80, 0xFF)


class Mutator:
    """Draws inputs: one of the seeds with up to eight changes.

    Example:
        Mutator([b"seed"], seed=0).draw()
    """

    def __init__(self, seeds: Sequence[bytes], seed: int) -> None:
        self._seeds = list(seeds)
        self._rng = random.Random(seed)

    def draw(self) -> bytes:
        """The next input."""
        rng = self._rng
        data = bytearray(rng.choice(self._seeds))
        for _ in range(1 << rng.randrange(4)):
            begin = rng.randrange(len(data) + 1)
            end = min(len(data), begin + (1 << rng.randrange(6)))
            kind = rng.randrange(7)
            if kind == 0 and begin < len(data):
                data[begin] ^= 1 << rng.randrange(8)
            elif kind == 1 and begin < len(data):
                data[begin] = rng.choice(_EXTREME)
            elif kind == 2:
                data[begin:begin] = rng.randbytes(1 << rng.randrange(4))
            elif kind == 3:
                del data[begin:end]
            elif kind == 4:
                data[begin:begin] = data[begin:end] * rng.randrange(1, 4)
            elif kind == 5:
                other = rng.choice(self._seeds)
                at = rng.randrange(len(other) + 1)
                data[begin:end] = other[at : at + end - begin]
            elif data:
                data[begin : begin + 2] = rng.randbytes(2)
        return bytes(data[:MAX_BYTES])
