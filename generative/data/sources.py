"""The files that arguments name: files, folders and globs, and which of them are MIDI.

No file is opened here, except that the beginning of stdin is looked at.
"""

from __future__ import annotations

import contextlib
import glob
import itertools
import os
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from generative.errors import CorpusError, OptionError
from generative.files import layout
from generative.files.stdin import STDIN, standard_input

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MUSIC_SUFFIXES = frozenset({".mid", ".midi", ".kar", ".rmi"})
MIDI_MARK = b"MThd\0\0"
MIDI_HEAD_BYTES = 4096  # a MIDI file may have so many bytes before its mark


def find_files(sources: Iterable[str | Path]) -> list[Path]:
    """The files that arguments name: files, all but hidden files below folders, and globs.

    Links are followed, and each file comes once, even if several names lead to it. A model folder
    below a folder or glob is left out. Of a model folder that is named itself, the files of the
    model are left out.

    Raises:
        CorpusError: A source matches nothing.
        OptionError: Stdin is named twice.
    """
    found: list[Path] = []
    for path in (path for source in sources for path in expand(source)):
        if path != Path(STDIN) and path.is_dir():
            found += _files_below(path)
        elif path == Path(STDIN) and path in found:
            raise OptionError(f"stdin can be read only once: use {STDIN!r} in one place")
        else:
            found.append(path)  # A pipe or a device is read like a file.
    if not found:
        has_model = any(layout.is_ours(Path(source)) for source in sources)
        note = "; a model folder is no corpus" if has_model else ""
        raise CorpusError(f"no files in {', '.join(map(str, sources))}{note}")
    return _unique(found)


def expand(source: str | Path) -> list[Path]:
    """The paths that one argument names: itself if it exists, else all that match it as a glob.

    Raises:
        CorpusError: Nothing matches.
    """
    if str(source) == STDIN or Path(source).exists():
        return [Path(source)]
    matches = _sorted_unique(m for m in _matches(str(source)) if not _in_model(m, source))
    if not matches:
        raise CorpusError(f"{source}: no such file or folder, and no glob matches")
    return matches


def _matches(pattern: str) -> Iterator[Path]:
    """Like `glob.glob`, which follows loops of links, but "**" visits each folder once."""
    parts = Path(pattern).parts
    if "**" not in parts:
        yield from _glob(pattern)
        return
    at = parts.index("**")
    for base in _glob(str(Path(*parts[:at]))):
        for folder in _folders_below(base):
            yield from _matches(str(Path(glob.escape(str(folder)), *parts[at + 1 :])))


def _glob(pattern: str) -> list[Path]:
    return sorted(map(Path, glob.glob(pattern)))  # noqa: PTH207 - Path.glob refuses absolute patterns


def _in_model(path: Path, pattern: str | Path) -> bool:
    """Whether a match of a glob is, or is in, a model folder that the pattern does not name."""
    named = Path(*itertools.takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts))
    return any(
        layout.is_ours(p) for p in (path, *path.parents) if p != named and named in p.parents
    )


def _files_below(folder: Path) -> list[Path]:
    """The files at any depth below a folder, sorted."""
    found: list[Path] = []
    for inner in _folders_below(folder):
        found += filter(Path.is_file, _children(inner))
    return _sorted_unique(found)


def _sorted_unique(paths: Iterable[Path]) -> list[Path]:
    """The paths, sorted; of several names of one file one that is no link, if there is one."""
    return sorted(_unique(sorted(paths, key=Path.is_symlink)))


def _folders_below(base: Path) -> Iterator[Path]:
    """A folder and all folders below it, each once; folders behind links come last."""
    seen: set[tuple[int, int] | str] = set()
    waiting, linked = [base], deque[Path]()
    while waiting or linked:
        folder = waiting.pop() if waiting else linked.popleft()
        if not folder.is_dir() or (identity := _identity(folder)) in seen:
            continue
        seen.add(identity)
        yield folder
        for child in _children(folder):
            if child.is_dir() and not layout.is_ours(child):
                (linked if child.is_symlink() else waiting).append(child)


def _children(folder: Path) -> list[Path]:
    """The contents of a folder without hidden names and files of a model; none if it is closed."""
    if layout.is_part_of_model(folder):
        return []
    model_names = layout.NAMES if layout.is_model(folder) else ()
    with contextlib.suppress(PermissionError):
        return sorted(p for p in folder.iterdir() if p.name[0] != "." and p.name not in model_names)
    return []


def _unique(files: Iterable[Path]) -> list[Path]:
    """The files in their order, without further names of a file that comes before."""
    first: dict[tuple[int, int] | str, Path] = {}
    for file in files:
        first.setdefault(_identity(file), file)
    return list(first.values())


def _identity(path: Path) -> tuple[int, int] | str:
    """A value that is the same for every name of one file."""
    with contextlib.suppress(OSError):
        about = path.stat()
        if about.st_ino:  # It is 0 on some file systems.
            return about.st_dev, about.st_ino
    return os.path.realpath(path)


def kind_of_files(files: Sequence[Path]) -> str:
    """The kind of corpus that files make: "music" if they are MIDI (see `is_music`), else "text".

    Raises:
        CorpusError: Some files are MIDI and some are not.
    """
    music = [f for f in files if is_music(f)]
    if music and len(music) < len(files):
        other = next(f for f in files if f not in music)
        raise CorpusError(
            f"both music ({music[0]}) and text ({other}): name files of one kind, "
            "or say which to use with --tokenizer music or --tokenizer char"
        )
    return "music" if music else "text"


def is_music(file: Path) -> bool:
    """Whether a file is MIDI: by its suffix, or for stdin by its first bytes."""
    if str(file) == STDIN:
        return MIDI_MARK in standard_input().head(MIDI_HEAD_BYTES)
    return file.suffix.lower() in MUSIC_SUFFIXES


def of_kind(files: Sequence[Path], kind: str) -> list[Path]:
    """The files of a kind of corpus, by `is_music`; all files if none is of that kind."""
    matching = [f for f in files if is_music(f) == (kind == "music")]
    return matching or list(files)
