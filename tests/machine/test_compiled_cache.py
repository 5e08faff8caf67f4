"""Machine code is kept, and a damaged cache costs a compilation, never a run."""

from __future__ import annotations

import os
import pickle
from typing import TYPE_CHECKING, Any

import numba
import pytest
from numba.core.caching import FunctionCache

from generative.machine import compiled_cache

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(folder))
    return folder


def compiled() -> Any:
    """A function as a new process would have it."""

    def plus_one(number: Any) -> Any:
        return number + 1

    made = numba.njit(plus_one)
    compiled_cache.keep(made)
    return made


def hits(function: Any) -> int:
    """How often code was found; the function has to give the right number all the same."""
    assert function(1) == 2
    return sum(function.stats.cache_hits.values())


def kept(cache: Path, suffix: str) -> Path:
    (found,) = cache.rglob(f"*.{suffix}")
    return found


def test_code_is_kept(cache: Path) -> None:
    assert hits(compiled()) == 0
    assert hits(compiled()) == 1


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
def test_a_file_that_was_cut_is_dropped(cache: Path, suffix: str) -> None:
    hits(compiled())
    whole = kept(cache, suffix).read_bytes()
    for length in (0, 1, 10, len(whole) // 2, len(whole) - 33):
        kept(cache, suffix).write_bytes(whole[:length])
        assert hits(compiled()) == 0
        assert hits(compiled()) == 1


def test_junk_and_changed_code_are_dropped(cache: Path) -> None:
    hits(compiled())
    for suffix in ("nbi", "nbc"):
        for junk in (b"junk", pickle.dumps([1, 2]), pickle.dumps(numba.__version__) + b"junk"):
            kept(cache, suffix).write_bytes(junk)
            assert hits(compiled()) == 0
            assert hits(compiled()) == 1
    code = bytearray(kept(cache, "nbc").read_bytes())
    code[len(code) // 2] ^= 1
    kept(cache, "nbc").write_bytes(code)
    assert hits(compiled()) == 0
    assert hits(compiled()) == 1


def test_without_a_place_to_keep_code_it_is_compiled(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    function = compiled()
    cache.rename(tmp_path / "gone")
    (tmp_path / "cache").write_text("a file where the folder was")
    assert hits(function) == 0

    def refuse(*_: Any) -> None:
        raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr(FunctionCache, "__init__", refuse)
    assert hits(compiled()) == 0


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_a_cache_that_may_not_be_read_is_passed_over(cache: Path) -> None:
    hits(compiled())
    kept(cache, "nbi").chmod(0)
    assert hits(compiled()) == 0
