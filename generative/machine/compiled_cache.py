"""numba's cache of machine code, which outlives damage to its files; knows no function it keeps.

numba reads its files as they are: one that was cut short raises for ever, and machine code with a
changed byte may end the process. Here each file of code carries a checksum, and whatever cannot be
read is dropped and compiled anew. A folder that cannot be written to keeps nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import Any

from numba.core.caching import FunctionCache, IndexDataCacheFile

DIGEST_BYTES = hashlib.sha256().digest_size


def keep(compiled: Any) -> None:
    """Keep the machine code of a function that `numba.njit` made, from one process to the next.

    Where there is no place to keep it, it is compiled once a process.
    """
    with contextlib.suppress(RuntimeError, OSError):  # no folder can be written to
        compiled._cache = VerifiedCache(compiled.py_func)


class VerifiedCache(FunctionCache):
    """What a dispatcher asks for code before it compiles, and hands code to after."""

    def __init__(self, function: Any) -> None:
        """`function` is the Python function that is compiled.

        Raises:
            RuntimeError: no folder can be written to.
        """
        super().__init__(function)
        self._files = self._cache_file = _VerifiedFiles(
            self._cache_path, self._impl.filename_base, self._impl.locator.get_source_stamp()
        )

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The code for a signature; None where there is none that is whole."""
        try:
            return super().load_overload(sig, target_context)
        except Exception:
            self._files.drop()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep the code for a signature, if there is room."""
        with contextlib.suppress(Exception):  # the index may be damaged and not ours to drop
            super().save_overload(sig, data)


class _VerifiedFiles(IndexDataCacheFile):
    """An index and files of code, each with a checksum after what numba reads of it."""

    def drop(self) -> None:
        """Remove the index: what it names is compiled anew, and its files overwritten."""
        with contextlib.suppress(OSError):
            Path(self._index_path).unlink()

    def _dump(self, obj: Any) -> bytes:
        data: bytes = super()._dump(obj)
        return data + hashlib.sha256(data).digest()

    def _load_data(self, name: str) -> Any:
        data = Path(self._data_path(name)).read_bytes()
        if hashlib.sha256(data[:-DIGEST_BYTES]).digest() != data[-DIGEST_BYTES:]:
            raise ValueError(f"{name}: the checksum does not match")
        return super()._load_data(name)
