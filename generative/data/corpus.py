"""Corpora read into memory: a text or a `Piece` for each file, with where it came from.

A large text can also be read in chunks. How documents are used is not known here.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Generic, TypeVar

from generative.data.sources import find_files, is_music, kind_of_files, of_kind
from generative.errors import CorpusError, FileError
from generative.files import shown
from generative.files.decoding import decode_blocks
from generative.files.stdin import NAME, STDIN, standard_input

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from generative.music.piece import Piece

CHUNK_BYTES = 1 << 20
MAX_REASONS = 3  # in the error for a corpus of which nothing can be read

D = TypeVar("D", str, "Piece")


@dataclass(frozen=True, kw_only=True)
class Document(Generic[D]):
    """One text or one piece of music, and the name of its file."""

    name: str
    content: D


@dataclass(frozen=True, kw_only=True)
class Corpus(Generic[D]):
    """The documents of a corpus, and the files that could not be read.

    Attributes:
        kind: "text" or "music".
        documents: The documents; arguments in their order, folders and globs sorted.
        skipped: (file, reason) for each music file that could not be read.
    """

    kind: str
    documents: tuple[Document[D], ...]
    skipped: tuple[tuple[str, str], ...] = ()


def read_corpus(
    sources: Sequence[str | Path], *, kind: str | None = None, encoding: str = "utf-8"
) -> Corpus[str] | Corpus[Piece]:
    """Read files, folders and globs as one corpus.

    Args:
        sources: paths, folders, glob patterns, or "-" for stdin.
        kind: "text" or "music"; None decides by the files' names. With "music" only MIDI files are
            taken from the sources, with "text" all others.
        encoding: The encoding of text files. Byte order marks are removed, line ends are kept.

    Raises:
        CorpusError: There are no files, a text is not in the encoding, or no music file is
            readable.
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
        raise empty_error(files)
    return Corpus(kind="text", documents=tuple(documents))


def read_text(path: Path, encoding: str = "utf-8") -> str:
    """The contents of a text file without byte order marks.

    Raises:
        CorpusError: The file cannot be read or is not in `encoding`; the message names the first
            bad byte.
    """
    return "".join(text_chunks(path, encoding))


def text_chunks(path: Path, encoding: str = "utf-8") -> Iterator[str]:
    """`read_text` in chunks of about a megabyte, for files larger than memory."""
    name = NAME if str(path) == STDIN else shown(path)
    with opened(path, "the text") as file:
        yield from decode_blocks(iter(lambda: file.read(CHUNK_BYTES), b""), encoding, name)


def read_piece(path: Path) -> Piece:
    """The piece in a MIDI file, or in stdin for "-".

    Raises:
        CorpusError: The file cannot be read.
        MidiError: It is not MIDI.
    """
    from generative.music import midi  # text needs no MIDI library

    with opened(path, "MIDI") as file:
        return midi.read(file)


@contextlib.contextmanager
def opened(path: Path, what: str = "input") -> Iterator[BinaryIO]:
    """A file opened for reading bytes; "-" is stdin, for which a log message waits for `what`.

    Raises:
        CorpusError: The file cannot be read.
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
        raise unreadable_error(files, skipped)
    return Corpus(kind="music", documents=tuple(documents), skipped=tuple(skipped))


def empty_error(files: Sequence[Path]) -> CorpusError:
    """The error for text files that are all empty."""
    return CorpusError(f"{files[0]}: empty; there is nothing to read")


def unreadable_error(files: Sequence[Path], skipped: Sequence[tuple[str, str]]) -> CorpusError:
    """The error for MIDI files of which none can be read; `skipped` holds (file, reason)."""
    reasons = "; ".join(reason for _, reason in skipped[:MAX_REASONS])
    return CorpusError(f"none of {len(files)} MIDI files can be read: {reasons}")
