"""Files to documents, and where to cut them for training: knows files and encodings.

Knows nothing of models. What a document is depends on its kind: a str for text, a `Piece` for
music. A new corpus format is one row in `MUSIC_SUFFIXES` or `READERS`.
"""

from __future__ import annotations

import codecs
import contextlib
import glob
import itertools
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from generative.piece import Piece

STDIN = "-"
MUSIC_SUFFIXES = frozenset({".mid", ".midi", ".kar", ".rmi"})
HELD_OUT_FRACTION = 0.1
CHUNK_BYTES = 1 << 20
# Byte order marks that mean "not UTF-8", longest first, for the error's advice.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

D = TypeVar("D", str, "Piece")


class CorpusError(ValueError):
    """The corpus cannot be read; the message says which file, where, and how to mend it."""


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

    Raises:
        CorpusError: a source that matches nothing.
    """
    found: list[Path] = []
    for path in (path for source in sources for path in expand(source)):
        if path.is_dir():
            inside = (p for p in sorted(path.rglob("*")) if p.is_file())
            found += [p for p in inside if not _hidden(p.relative_to(path))]
        else:
            found.append(path)  # a pipe or device, too, is read as a file
    if not found:
        raise CorpusError(f"no files in {', '.join(map(str, sources))}")
    return found


def expand(source: str | Path) -> list[Path]:
    """What one argument names: itself, or all that match it as a glob.

    Raises:
        CorpusError: nothing.
    """
    if str(source) == STDIN or Path(source).exists():
        return [Path(source)]
    matches = sorted(glob.glob(str(source), recursive=True))  # noqa: PTH207 - absolute globs too
    if not matches:
        raise CorpusError(f"{source}: no such file or folder, and no glob matches")
    return [Path(match) for match in matches]


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def kind_of_files(files: Sequence[Path]) -> str:
    """ "music" if the files are MIDI, else "text".

    Raises:
        CorpusError: some are and some are not.
    """
    music = [f for f in files if f.suffix.lower() in MUSIC_SUFFIXES]
    if music and len(music) < len(files):
        other = next(f for f in files if f.suffix.lower() not in MUSIC_SUFFIXES)
        raise CorpusError(
            f"both music ({music[0]}) and text ({other}): name files of one kind, "
            "or say which to use with --tokenizer music or --tokenizer char"
        )
    return "music" if music else "text"


def of_kind(files: Sequence[Path], kind: str) -> list[Path]:
    """The files of a kind by their names; all of them, where none is."""
    matching = [f for f in files if (f.suffix.lower() in MUSIC_SUFFIXES) == (kind == "music")]
    return matching or list(files)


def read_corpus(
    sources: Sequence[str | Path], *, kind: str | None = None, encoding: str = "utf-8"
) -> Corpus[str] | Corpus[Piece]:
    """Read files, folders and globs as one corpus.

    Args:
        sources: paths, folders, glob patterns, or "-" for text on stdin.
        kind: "text" or "music"; None looks at the files' names. With "music" only MIDI files are
            taken from the sources, with "text" all others.
        encoding: of text files; a byte order mark is dropped, line ends are kept as they are.

    Raises:
        CorpusError: nothing there, not in the encoding, or no music file that can be read.
    """
    files = find_files(sources)
    kind = kind or kind_of_files(files)
    files = of_kind(files, kind)
    return _read_music(files) if kind == "music" else _read_text(files, encoding)


def _read_text(files: Sequence[Path], encoding: str) -> Corpus[str]:
    documents = [Document(name=str(f), content=read_text(f, encoding)) for f in files]
    documents = [document for document in documents if document.content]
    if not documents:
        raise CorpusError(f"{files[0]}: empty; there is nothing to read")
    return Corpus(kind="text", documents=tuple(documents))


def read_text(path: Path, encoding: str = "utf-8") -> str:
    """One text file, exactly, but for a byte order mark.

    Raises:
        CorpusError: unreadable, or not in `encoding`; the message names the first bad byte.
    """
    return "".join(text_chunks(path, encoding))


def text_chunks(path: Path, encoding: str = "utf-8") -> Iterator[str]:
    """`read_text` in stretches of about a megabyte, for files larger than memory."""
    name = "stdin" if str(path) == STDIN else str(path)
    with opened(path) as file:
        yield from _decoded(iter(lambda: file.read(CHUNK_BYTES), b""), encoding, name)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A file's bytes, or stdin's for "-".

    Raises:
        CorpusError: unreadable.
    """
    try:
        if str(path) == STDIN:
            yield sys.stdin.buffer
        else:
            with path.open("rb") as file:
                yield file
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read: {error.strerror}") from error


def decode_text(data: bytes, encoding: str, name: str) -> str:
    """Bytes to text, exactly, but for a byte order mark; `name` is for the error.

    Raises:
        CorpusError: `data` is not in `encoding`, or there is no such encoding.
    """
    return "".join(_decoded(iter([data]), encoding, name))


def _decoded(blocks: Iterator[bytes], encoding: str, name: str) -> Iterator[str]:
    """Text as its bytes come; a character may lie across blocks."""
    try:
        decoder = codecs.getincrementaldecoder(encoding)()
    except LookupError as error:
        raise CorpusError(f"unknown encoding {encoding!r}; try utf-8, latin-1, utf-16 …") from error
    offset, marked, begun = 0, None, False
    for block in itertools.chain(blocks, [b""]):
        if offset == 0:
            marked = next((name for mark, name in _MARKS if block.startswith(mark)), None)
        pending = len(decoder.getstate()[0])  # bytes of an unfinished character
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            advice = f"it looks like {marked}: " if marked else "if it is text, "
            other = marked or "NAME (latin-1, cp1252, shift-jis, …)"
            raise CorpusError(
                f"{name}: not {encoding}: byte 0x{error.object[error.start]:02x} at offset "
                f"{offset - pending + error.start}; {advice}say so with --encoding {other}"
            ) from error
        except UnicodeError as error:  # of UTF-16 and UTF-32 without their mark
            raise CorpusError(
                f"{name}: {error}; say --encoding {encoding}-le or {encoding}-be"
            ) from error
        offset += len(block)
        if text:
            yield text if begun else text.removeprefix("\ufeff")
            begun = True


def _read_music(files: Sequence[Path]) -> Corpus[Piece]:
    from generative import midi  # text needs no MIDI library

    documents: list[Document[Piece]] = []
    skipped: list[tuple[str, str]] = []
    for file in files:
        try:
            documents.append(Document(name=str(file), content=midi.read(file)))
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
