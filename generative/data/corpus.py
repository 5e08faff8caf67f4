"""Files to documents, and where to cut them for training: knows files and encodings.

Knows nothing of models. What a document is depends on its kind: a str for text, a `Piece` for
music. A new corpus format is one row in `MUSIC_SUFFIXES` or `READERS`.
"""

from __future__ import annotations

import contextlib
import glob
import itertools
import os
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Generic, TypeVar

from generative.errors import CorpusError, FileError, OptionError
from generative.files import layout, shown
from generative.files.decoding import decoded
from generative.files.stdin import NAME, STDIN, standard_input

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from generative.music.piece import Piece

MUSIC_SUFFIXES = frozenset({".mid", ".midi", ".kar", ".rmi"})
HELD_OUT_FRACTION = 0.1
CHUNK_BYTES = 1 << 20
MIDI_MARK = b"MThd\0\0"
MIDI_HEAD_BYTES = 4096  # MIDI may have so much before its mark

D = TypeVar("D", str, "Piece")


@dataclass(frozen=True, kw_only=True)
class Document(Generic[D]):
    """One text or one piece of music, and where it came from."""

    name: str
    content: D


@dataclass(frozen=True, kw_only=True)
class Corpus(Generic[D]):
    """What was read, and what was not.

    Attributes:
        kind: "text" or "music".
        documents: in reading order: arguments in their order, folders and globs sorted.
        skipped: (file, reason) for each music file that could not be read.
    """

    kind: str
    documents: tuple[Document[D], ...]
    skipped: tuple[tuple[str, str], ...] = ()


def find_files(sources: Iterable[str | Path]) -> list[Path]:
    """The files that arguments name: files, folders (all below, hidden ones left out), globs.

    Links are followed, and each real file comes once, however many names lead to it. Of a model
    folder below a folder or glob nothing is taken, of one that is named all but the model.

    Raises:
        CorpusError: a source that matches nothing.
        OptionError: stdin, twice.
    """
    found: list[Path] = []
    for path in (path for source in sources for path in expand(source)):
        if path != Path(STDIN) and path.is_dir():
            found += _inside(path)
        elif path == Path(STDIN) and path in found:
            raise OptionError(f"stdin can be read only once: use {STDIN!r} in one place")
        else:
            found.append(path)  # a pipe or device, too, is read as a file
    if not found:
        models = any(layout.is_ours(Path(source)) for source in sources)
        note = "; a model folder is no corpus" if models else ""
        raise CorpusError(f"no files in {', '.join(map(str, sources))}{note}")
    return _each_once(found)


def expand(source: str | Path) -> list[Path]:
    """What one argument names: itself, or all that match it as a glob.

    Raises:
        CorpusError: nothing.
    """
    if str(source) == STDIN or Path(source).exists():
        return [Path(source)]
    matches = _real_first(m for m in _matches(str(source)) if not _in_model(m, source))
    if not matches:
        raise CorpusError(f"{source}: no such file or folder, and no glob matches")
    return matches


def _matches(pattern: str) -> Iterator[Path]:
    """`glob`, but its "**" meets each folder once: through links that lead back, `glob` loops."""
    parts = Path(pattern).parts
    if "**" not in parts:
        yield from map(Path, glob.glob(pattern))  # noqa: PTH207 - absolute globs too
        return
    at = parts.index("**")
    for base in sorted(glob.glob(str(Path(*parts[:at])))):  # noqa: PTH207
        for folder in _folders(Path(base)):
            yield from _matches(str(Path(glob.escape(str(folder)), *parts[at + 1 :])))


def _in_model(path: Path, pattern: str | Path) -> bool:
    """Whether a glob's match is, or lies in, a model folder that the pattern does not name."""
    named = Path(*itertools.takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts))
    return any(
        layout.is_ours(p) for p in (path, *path.parents) if p != named and named in p.parents
    )


def _inside(folder: Path) -> list[Path]:
    """The files below a folder, sorted."""
    found: list[Path] = []
    for inner in _folders(folder):
        found += filter(Path.is_file, _listed(inner))
    return _real_first(found)


def _real_first(paths: Iterable[Path]) -> list[Path]:
    """The paths, sorted; of several names of one file a real one, if there is."""
    return sorted(_each_once(sorted(paths, key=Path.is_symlink)))


def _folders(base: Path) -> Iterator[Path]:
    """A folder and those below it, each real one once; those behind links come last."""
    seen: set[tuple[int, int] | str] = set()
    waiting, linked = [base], deque[Path]()
    while waiting or linked:
        folder = waiting.pop() if waiting else linked.popleft()
        if not folder.is_dir() or (identity := _identity(folder)) in seen:
            continue
        seen.add(identity)
        yield folder
        for child in _listed(folder):
            if child.is_dir() and not layout.is_ours(child):
                (linked if child.is_symlink() else waiting).append(child)


def _listed(folder: Path) -> list[Path]:
    """What lies in a folder but hidden names and what training left; nothing if it is closed."""
    if layout.is_part_of_model(folder):
        return []
    ours = layout.NAMES if layout.is_model(folder) else ()
    with contextlib.suppress(PermissionError):
        return sorted(p for p in folder.iterdir() if p.name[0] != "." and p.name not in ours)
    return []


def _each_once(files: Iterable[Path]) -> list[Path]:
    """The files in their order, without further names of one that was there before."""
    first: dict[tuple[int, int] | str, Path] = {}
    for file in files:
        first.setdefault(_identity(file), file)
    return list(first.values())


def _identity(path: Path) -> tuple[int, int] | str:
    """The same for every name of one file."""
    with contextlib.suppress(OSError):
        about = path.stat()
        if about.st_ino:  # some file systems number nothing
            return about.st_dev, about.st_ino
    return os.path.realpath(path)


def kind_of_files(files: Sequence[Path]) -> str:
    """ "music" if the files are MIDI, by their names or stdin by its bytes, else "text".

    Raises:
        CorpusError: some are and some are not.
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
    """Whether a file is MIDI by its name, or stdin by how it begins."""
    if str(file) == STDIN:
        return MIDI_MARK in standard_input().head(MIDI_HEAD_BYTES)
    return file.suffix.lower() in MUSIC_SUFFIXES


def of_kind(files: Sequence[Path], kind: str) -> list[Path]:
    """The files of a kind by their names; all of them, where none is."""
    matching = [f for f in files if is_music(f) == (kind == "music")]
    return matching or list(files)


def read_corpus(
    sources: Sequence[str | Path], *, kind: str | None = None, encoding: str = "utf-8"
) -> Corpus[str] | Corpus[Piece]:
    """Read files, folders and globs as one corpus.

    Args:
        sources: paths, folders, glob patterns, or "-" for stdin.
        kind: "text" or "music"; None looks at the files' names. With "music" only MIDI files are
            taken from the sources, with "text" all others.
        encoding: of text files; byte order marks are dropped, line ends are kept as they are.

    Raises:
        CorpusError: nothing there, not in the encoding, or no music file that can be read.
    """
    files = find_files(sources)
    kind = kind or kind_of_files(files)
    files = of_kind(files, kind)
    if kind == "text" and Path(STDIN) in files and is_music(Path(STDIN)):
        raise CorpusError("stdin holds MIDI, which a model of text cannot read")
    return _read_music(files) if kind == "music" else _read_text(files, encoding)


def _read_text(files: Sequence[Path], encoding: str) -> Corpus[str]:
    documents = [Document(name=str(f), content=read_text(f, encoding)) for f in files]
    documents = [document for document in documents if document.content]
    if not documents:
        raise CorpusError(f"{files[0]}: empty; there is nothing to read")
    return Corpus(kind="text", documents=tuple(documents))


def read_text(path: Path, encoding: str = "utf-8") -> str:
    """One text file, exactly, but for byte order marks.

    Raises:
        CorpusError: unreadable, or not in `encoding`; the message names the first bad byte.
    """
    return "".join(text_chunks(path, encoding))


def text_chunks(path: Path, encoding: str = "utf-8") -> Iterator[str]:
    """`read_text` in stretches of about a megabyte, for files larger than memory."""
    name = NAME if str(path) == STDIN else shown(path)
    with opened(path, "the text") as file:
        yield from decoded(iter(lambda: file.read(CHUNK_BYTES), b""), encoding, name)


def read_piece(path: Path) -> Piece:
    """One MIDI file, or stdin.

    Raises:
        CorpusError: unreadable.
        MidiError: not MIDI.
    """
    from generative.music import midi  # text needs no MIDI library

    with opened(path, "MIDI") as file:
        return midi.read(file)


@contextlib.contextmanager
def opened(path: Path, what: str = "input") -> Iterator[BinaryIO]:
    """A file's bytes, or stdin's for "-", where `what` is said to be waited for.

    Raises:
        CorpusError: unreadable.
    """
    try:
        if str(path) == STDIN:
            with standard_input().open(what) as file:
                yield file
        else:
            with path.open("rb") as file:
                yield file
    except FileError:
        raise
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read: {error.strerror}") from error


def _read_music(files: Sequence[Path]) -> Corpus[Piece]:
    from generative.music import midi  # text needs no MIDI library

    documents: list[Document[Piece]] = []
    skipped: list[tuple[str, str]] = []
    for file in files:
        try:
            documents.append(Document(name=str(file), content=read_piece(file)))
        except midi.MidiError as error:
            skipped.append((str(file), str(error)))
    if not documents:
        reasons = "; ".join(reason for _, reason in skipped[:3])
        raise CorpusError(f"none of {len(files)} MIDI files can be read: {reasons}")
    return Corpus(kind="music", documents=tuple(documents), skipped=tuple(skipped))


def cut_between(total: int, held_out_fraction: float = HELD_OUT_FRACTION) -> int:
    """How many of a text's characters, in reading order, are for learning; the rest is held out."""
    return int(total * (1.0 - held_out_fraction))


def held_out_pieces(
    count: int, seed: int = 0, held_out_fraction: float = HELD_OUT_FRACTION
) -> set[int]:
    """Which of so many pieces are held out, drawn with `seed`; a lone piece is for training."""
    import numpy as np

    held_out = max(1, round(count * held_out_fraction)) if count > 1 else 0
    return set(np.random.default_rng(seed).permutation(count)[:held_out].tolist())
