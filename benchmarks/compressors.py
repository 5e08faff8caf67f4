"""What general compressors make of a text that follows another, for scale beside models.

A compressor learns while it reads, so its figure compares with adaptive scores. PPMd (Cleary &
Witten 1984; Shkarin 2002) predicts characters by their contexts, as count models do; the others
look for repeats. Its longest context is 6 characters, the best of 4 to 32 on Tiny Shakespeare.
"""

from __future__ import annotations

import bz2
import importlib
import importlib.util
import lzma
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    Compress = Callable[[bytes], bytes]

PPMD_ORDER, PPMD_MEMORY = 6, 192 << 20


def compressors() -> dict[str, Compress | None]:
    """By name; None for what is not installed."""
    return {
        "xz -9e": lambda data: lzma.compress(data, preset=9 | lzma.PRESET_EXTREME),
        "bzip2 -9": bz2.compress,
        "zstd --ultra -22": _zstd if shutil.which("zstd") else None,
        "PPMd (pyppmd)": _ppmd if importlib.util.find_spec("pyppmd") else None,
    }


def bits_after(compress: Compress, text: str, following: str) -> float:
    """The bits that `following` adds to the compressed size of `text`, both as UTF-8."""
    first, both = text.encode(), (text + following).encode()
    return 8.0 * (len(compress(both)) - len(compress(first)))


def _zstd(data: bytes) -> bytes:
    command = ["zstd", "--ultra", "-22", "--quiet", "--stdout"]
    return subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout


def _ppmd(data: bytes) -> bytes:
    pyppmd: Any = importlib.import_module("pyppmd")
    compressed: bytes = pyppmd.compress(
        data, max_order=PPMD_ORDER, mem_size=PPMD_MEMORY, variant="I"
    )
    return compressed
