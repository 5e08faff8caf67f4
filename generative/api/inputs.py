"""Files, folders, globs and standard input as texts and pieces of music."""

from __future__ import annotations

from typing import TYPE_CHECKING

from generative.data.corpus import read_piece, read_text
from generative.data.sources import find_files, kind_of_files

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["kind_of", "read_piece", "read_text"]


def kind_of(sources: Iterable[str | Path]) -> str:
    """What files hold: "text" or "music".

    Raises:
        CorpusError: a source that matches nothing, or files of both kinds.
    """
    return kind_of_files(find_files(sources))
