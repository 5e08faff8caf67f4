"""A cache of numba's machine code on disk that detects damaged files.

The cache of numba does not verify its files: one that is cut short raises an error on every start,
and machine code with a changed byte may crash the process. Here each file of code has a checksum,
and a file that cannot be read is discarded and its function compiled again. If no folder is
writable, nothing is cached.
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numba.core.caching import FunctionCache, IndexDataCacheFile

if TYPE_CHECKING:
    from collections.abc import Iterable

DIGEST_BYTES = hashlib.sha256().digest_size


def keep(compiled: Any, sources: Iterable[str] = ()) -> None:
    """Cache the machine code of a function that `numba.njit` made, if a folder is writable.

    Otherwise the function is compiled once in each process.

    sources: paths of other files that the code is made from.
    """
    with contextlib.suppress(RuntimeError, OSError):  # No folder is writable.
        compiled._cache = VerifiedCache(compiled.py_func, sources)


class VerifiedCache(FunctionCache):
    """The cache of one function: its dispatcher loads code from it, and saves new code in it."""

    def __init__(self, function: Any, sources: Iterable[str] = ()) -> None:
        """`function` is the Python function that is compiled, from its own file and `sources`.

        Raises:
            RuntimeError: No folder is writable.
        """
        super().__init__(function)
        stamp = (self._impl.locator.get_source_stamp(), _digest(sources))
        self._files = self._cache_file = _VerifiedFiles(
            self._cache_path, self._impl.filename_base, stamp
        )

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The code for a signature; None if there is none, or it is damaged."""
        try:
            return super().load_overload(sig, target_context)
        except Exception:
            self._files.drop()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Save the code for a signature, unless an error prevents it."""
        with contextlib.suppress(Exception):  # A damaged index may not be writable, for example.
            super().save_overload(sig, data)


def _digest(sources: Iterable[str]) -> str:
    """The contents of some files as one number."""
    digest = hashlib.sha256()
    for source in sources:
        with contextlib.suppress(OSError):  # The code may lie in an archive.
            digest.update(hashlib.sha256(Path(source).read_bytes()).digest())
    return digest.hexdigest()


class _VerifiedFiles(IndexDataCacheFile):
    """The index and the code files of a function, with a checksum after the data of numba."""

    def drop(self) -> None:
        """Remove the index, so that all code is compiled again and its files are overwritten."""
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
