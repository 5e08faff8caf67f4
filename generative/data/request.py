"""A request to read a corpus: its files, what is held out, the tokenizer and the labels."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generative import tokenizers
from generative.data import labelling, store
from generative.data.corpus import opened
from generative.data.sources import find_files, kind_of_files, of_kind
from generative.files.stdin import NAME, STDIN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


@dataclass(frozen=True, kw_only=True)
class Request:
    """A corpus and how it is to be read; equal requests of unchanged files give equal stores.

    Attributes:
        files: The files of the corpus, in reading order.
        held_out: Files that are held out. If it is empty, a tenth of `files` is held out; if it
            is None, nothing is.
        kind: "text" or "music".
        tokenizer: A name in `TOKENIZERS`.
        vocab_size: The most tokens of a vocabulary; None leaves it to the tokenizer.
        encoding: The encoding of text files.
        seed: Seed for drawing the music files that are held out.
        grid: The grid of music, "score" or "performance"; None decides by the files.
        labels: File -> label, for held-out files too; a file that is absent has no label.
    """

    files: tuple[Path, ...]
    held_out: tuple[Path, ...] | None
    kind: str
    tokenizer: str
    vocab_size: int | None
    encoding: str
    seed: int
    grid: str | None = None
    labels: Mapping[Path, str] = field(default_factory=dict)

    @property
    def held_out_files(self) -> tuple[Path, ...]:
        """The files that are named to be held out."""
        return self.held_out or ()

    @property
    def all_files(self) -> tuple[Path, ...]:
        """The files of the corpus, then those that are named to be held out."""
        return (*self.files, *self.held_out_files)

    @property
    def learns_all_files(self) -> bool:
        """Whether no part of `files` is held out."""
        return self.held_out is None or bool(self.held_out)

    @property
    def label_names(self) -> tuple[str, ...]:
        """Each label once, in alphabetical order."""
        return tuple(sorted(set(self.labels.values())))

    def key(self) -> str:
        """A checksum of the request and of the names, sizes and times of its files."""
        stats = [(str(f.resolve()), f.stat()) for f in self.all_files]
        files = [(name, about.st_size, about.st_mtime_ns) for name, about in stats]
        how: list[Any] = [self.kind, self.tokenizer, self.vocab_size, self.encoding, self.seed]
        how.append(self.grid)
        if self.labels:
            how.append([self.labels.get(file) for file in self.all_files])
        how.append(self.held_out is None)
        described = [store.FORMAT_VERSION, files, len(self.files), how]
        return hashlib.sha256(json.dumps(described).encode()).hexdigest()


def make_request(
    sources: Sequence[str | Path],
    *,
    tokenizer: str,
    vocab_size: int | None,
    encoding: str,
    held_out: Sequence[str | Path] | None,
    seed: int,
    grid: str | None = None,
    styles: str | Path | Mapping[str, str] | None = None,
) -> Request:
    """Find the files that arguments name and decide their kind.

    Args:
        sources: Files, folders and globs of the corpus.
        tokenizer: A name in `TOKENIZERS`; "auto" takes the default one for the kind of the files.
        held_out: Files or folders to hold out. An empty sequence holds out a tenth, None nothing.
        styles: Where the files' labels come from, see `labelling.labels_of`.
        vocab_size, encoding, seed, grid: See `Request`.

    Raises:
        CorpusError: There are no files, text and music are mixed, or no file has one of the labels
            that were asked for.
    """
    kind = None if tokenizer == "auto" else tokenizers.kind_of(tokenizer)
    files = find_files(sources)
    if isinstance(styles, str | Path) and styles != labelling.FOLDERS:
        table = Path(styles).resolve()
        files = [file for file in files if file.resolve() != table]
    kind = kind or kind_of_files(files)
    files = of_kind(files, kind)
    held_out_files = of_kind(find_files(held_out), kind) if held_out else []
    labels = {}
    if styles is not None:
        named = [*sources, *(held_out or ())]
        labels = labelling.labels_of([*files, *held_out_files], named, styles)
    return Request(
        files=tuple(files),
        held_out=None if held_out is None else tuple(held_out_files),
        kind=kind,
        tokenizer=tokenizers.DEFAULT_TOKENIZER[kind] if tokenizer == "auto" else tokenizer,
        vocab_size=vocab_size,
        encoding=encoding,
        seed=seed,
        grid=grid,
        labels=labels,
    )


@contextmanager
def seekable(request: Request) -> Iterator[Request]:
    """The request with stdin and pipes copied to files, since a text is read several times."""
    pipes = [file for file in request.all_files if not _is_regular(file)]
    if not pipes:
        yield request
        return
    with tempfile.TemporaryDirectory() as folder:
        copies: dict[Path, Path] = {}
        for number, pipe in enumerate(pipes):
            name = NAME if str(pipe) == STDIN else pipe.name
            copies[pipe] = Path(folder) / str(number) / name
            copies[pipe].parent.mkdir()
            with opened(pipe, "the corpus") as source, copies[pipe].open("wb") as copy:
                shutil.copyfileobj(source, copy)

        def copied(files: Sequence[Path]) -> tuple[Path, ...]:
            return tuple(copies.get(file, file) for file in files)

        yield replace(
            request,
            files=copied(request.files),
            held_out=None if request.held_out is None else copied(request.held_out),
            labels={copies.get(file, file): label for file, label in request.labels.items()},
        )


def _is_regular(path: Path) -> bool:
    return str(path) != STDIN and path.is_file()
