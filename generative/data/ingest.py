"""From files to a token store: joins corpus, tokenizer and store, and does none of their work.

Text goes through in stretches of a megabyte and music by files, so that memory does not grow with
the corpus. A large one is encoded by all cores.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import numpy as np
from tqdm import tqdm

from generative import checkpoint, tokenizers
from generative.checkpoint import CheckpointError
from generative.data import corpus, labelling, store
from generative.data.store import StoreWriter, TokenStore
from generative.errors import CorpusError
from generative.files import shown, untrusted
from generative.files.stdin import NAME, STDIN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Executor, Future

    from numpy.typing import NDArray

    from generative.music.piece import Piece
    from generative.tokenizers import Tokenizer

# Starting other processes takes about a second: worth it from about so much work on.
PARALLEL_CHARS = 64 << 20
PARALLEL_FILES = 300
ENCODED_BY_NUMPY = frozenset({"char", "byte"})  # so that threads run side by side
GRID_FILES = 40  # evenly spaced, that tell which grid suits a corpus
NAMES_KEPT = 5  # of the corpus's files, for the model card
_NOTES = {"tokenizer": str, "kind": str, "documents": int, "names": [str], "skipped": [[str]]}

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be read and how; equal requests of unchanged files give the same store.

    Attributes:
        files: of the corpus, in reading order.
        held_out: files to hold out; empty holds out a tenth of `files`, None nothing.
        kind: "text" or "music".
        tokenizer: a name in `TOKENIZERS`.
        vocab_size: at most so many tokens; None leaves it to the tokenizer.
        encoding: of text files.
        seed: draws which music files are held out.
        grid: of music, "score" or "performance"; None looks at the files.
        labels: of files, held-out ones too; a file that is not there has none.
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
    def apart(self) -> tuple[Path, ...]:
        """The files that are named to be held out."""
        return self.held_out or ()

    @property
    def learns_all_files(self) -> bool:
        """Whether no part of `files` is held out."""
        return self.held_out is None or bool(self.held_out)

    @property
    def label_names(self) -> tuple[str, ...]:
        """Each label once, in alphabetical order."""
        return tuple(sorted(set(self.labels.values())))

    def key(self) -> str:
        """Names the files as they are now, and all that was asked for."""
        stats = [(str(f.resolve()), f.stat()) for f in (*self.files, *self.apart)]
        files = [(name, about.st_size, about.st_mtime_ns) for name, about in stats]
        how: list[Any] = [self.kind, self.tokenizer, self.vocab_size, self.encoding, self.seed]
        how.append(self.grid)
        if self.labels:
            how.append([self.labels.get(file) for file in (*self.files, *self.apart)])
        how.append(self.held_out is None)
        asked = [store.FORMAT_VERSION, files, len(self.files), how]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


def request(
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
    """Find the files and what they are; "auto" takes the tokenizer for their kind.

    held_out: files or folders to hold out; an empty sequence holds out a tenth, None nothing.
    styles: where the files' labels come from, see `labelling.labels_of`.

    Raises:
        CorpusError: nothing there, text and music mixed, or no labels where they were asked for.
    """
    kind = None if tokenizer == "auto" else tokenizers.kind_of(tokenizer)
    files = corpus.find_files(sources)
    if isinstance(styles, str | Path) and styles != labelling.FOLDERS:
        files = [f for f in files if f.resolve() != Path(styles).resolve()]  # a table is no text
    kind = kind or corpus.kind_of_files(files)
    files = corpus.of_kind(files, kind)
    apart = corpus.of_kind(corpus.find_files(held_out), kind) if held_out else []
    labels = {}
    if styles is not None:
        labels = labelling.labels_of([*files, *apart], [*sources, *(held_out or ())], styles)
    return Request(
        files=tuple(files),
        held_out=None if held_out is None else tuple(apart),
        kind=kind,
        tokenizer=tokenizers.DEFAULT_TOKENIZER[kind] if tokenizer == "auto" else tokenizer,
        vocab_size=vocab_size,
        encoding=encoding,
        seed=seed,
        grid=grid,
        labels=labels,
    )


def ingest(asked: Request, folder: Path, *, use_tokenizer: bool) -> tuple[Tokenizer, TokenStore]:
    """The tokenizer and the tokens of a corpus, in a model folder.

    What is there already is used again if it was made from the same files by the same request.

    Args:
        asked: what to read.
        folder: of the model; the tokens go to `folder/tokens`.
        use_tokenizer: take the tokenizer that lies in the folder, rather than learning one.

    Raises:
        CorpusError: a file that cannot be read, or nothing to learn from.
        FileError: the folder cannot be written to.
    """
    with _seekable(asked) as readable:
        key = readable.key()
        found = store.open_store(folder / store.FOLDER, key)
        described = (checkpoint.TOKENIZER_FILE, checkpoint.CONFIG_FILE)  # in the order of writing
        if found is not None and all((folder / name).is_file() for name in described):
            tokenizer = checkpoint.load_tokenizer(folder)
            if _is_of(found, tokenizer):
                return tokenizer, found
        made = checkpoint.load_tokenizer(folder) if use_tokenizer else None
        read = _ingest_music if asked.kind == "music" else _ingest_text
        return read(readable, folder, key, made)


def ingested(folder: Path) -> tuple[Tokenizer, TokenStore]:
    """What another process has put into a model folder.

    Raises:
        CheckpointError: it is not there.
    """
    found = store.open_store(folder / store.FOLDER)
    if found is None:
        raise CheckpointError(
            f"{folder / store.FOLDER}: no tokens; all processes of a run must see one folder"
        )
    return checkpoint.load_tokenizer(folder), found


@contextmanager
def _seekable(asked: Request) -> Iterator[Request]:
    """The same request with stdin and pipes copied to files, since a text is read several times."""
    pipes = [file for file in (*asked.files, *asked.apart) if not _is_file(file)]
    if not pipes:
        yield asked
        return
    with tempfile.TemporaryDirectory() as folder:
        copies: dict[Path, Path] = {}
        for number, pipe in enumerate(pipes):
            name = NAME if str(pipe) == STDIN else pipe.name
            copies[pipe] = Path(folder) / str(number) / name
            copies[pipe].parent.mkdir()
            with corpus.opened(pipe, "the corpus") as source, copies[pipe].open("wb") as copy:
                shutil.copyfileobj(source, copy)
        yield replace(
            asked,
            files=tuple(copies.get(file, file) for file in asked.files),
            held_out=None
            if asked.held_out is None
            else tuple(copies.get(file, file) for file in asked.held_out),
            labels={copies.get(file, file): label for file, label in asked.labels.items()},
        )


def _is_file(path: Path) -> bool:
    return str(path) != STDIN and path.is_file()


class _Place(NamedTuple):
    """Where a stretch of text goes: the store's part, whether a document begins, its label."""

    part: str
    begins: bool
    label: str | None


def _ingest_text(
    asked: Request, folder: Path, key: str, tokenizer: Tokenizer | None
) -> tuple[Tokenizer, TokenStore]:
    """Three passes: how long the text is, which tokens the part to learn from has, the tokens.

    The last tenth is held out, of each label's text if there are labels.
    """

    def read(files: Iterable[Path]) -> Iterator[tuple[str | None, bool, str]]:
        for file in files:
            begins = True
            for chunk in corpus.text_chunks(file, asked.encoding):
                yield asked.labels.get(file), begins, chunk
                begins = False

    own: Counter[str | None] = Counter()  # label -> characters
    for label, _, text in read(asked.files):
        own[label] += len(text)
    total = own.total() + sum(len(text) for _, _, text in read(asked.apart))
    if not own.total():
        raise CorpusError(f"{asked.files[0]}: empty; there is nothing to read")
    cuts = {k: n if asked.learns_all_files else corpus.cut_between(n) for k, n in own.items()}

    def parts() -> Iterator[tuple[_Place, str]]:
        """Where each stretch of text goes, and the text, from beginning to end."""
        at = dict.fromkeys(own, 0)
        for label, begins, text in read(asked.files):
            here = min(max(cuts[label] - at[label], 0), len(text))
            if here:
                yield _Place("train", begins, label), text[:here]
            if here < len(text):
                first = begins or here > 0 or at[label] == cuts[label]
                yield _Place("held_out", first, label), text[here:]
            at[label] += len(text)
        for label, begins, text in read(asked.apart):
            yield _Place("held_out", begins, label), text

    if tokenizer is None:
        learnt = (text for place, text in parts() if place.part == "train")
        tokenizer = tokenizers.tokenizer_class(asked.tokenizer).train(learnt, asked.vocab_size)
    jobs = _cores() if total >= PARALLEL_CHARS else 1
    encode = functools.partial(_encode_text, tokenizer.to_config(), tokenizer.files())
    places: deque[tuple[_Place, int]] = deque()  # of what is being encoded, and its length

    def texts() -> Iterator[str]:
        for place, text in parts():
            places.append((place, len(text)))
            yield text

    with (
        _writer(folder, tokenizer, key, asked.label_names) as writer,
        _progress(total, "chars") as bar,
    ):
        threads = asked.tokenizer in ENCODED_BY_NUMPY
        for ids in _in_order(encode, texts(), jobs, threads=threads):
            place, chars = places.popleft()
            writer.append(place.part, ids, begins_document=place.begins, label=place.label)
            bar.update(chars)
        return tokenizer, writer.close(_notes(asked, tokenizer, asked.files, []))


def _encode_text(
    config: dict[str, Any], files: dict[str, bytes], text: str
) -> NDArray[np.unsignedinteger]:
    """One stretch of text, in whichever process; ids as narrow as they can be sent."""
    tokenizer = _tokenizer(json.dumps(config), tuple(files.items()))
    ids: NDArray[np.int32] = tokenizer.encode_array(text)
    return ids.astype(np.min_scalar_type(tokenizer.vocab_size - 1))


@functools.lru_cache(maxsize=1)  # a process of its own has to make one
def _tokenizer(config: str, files: tuple[tuple[str, bytes], ...]) -> Any:
    return tokenizers.from_config(json.loads(config), dict(files))


def _ingest_music(
    asked: Request, folder: Path, key: str, tokenizer: Tokenizer | None
) -> tuple[Tokenizer, TokenStore]:
    """Each file to ids; what cannot be read is noted and left out."""
    if tokenizer is None:
        kind = tokenizers.tokenizer_class(asked.tokenizer)
        sample = _sample(asked.files) if asked.grid is None else ()
        tokenizer = cast("Tokenizer", kind.train(sample, asked.vocab_size, asked.grid))
    encode = functools.partial(_encode_music, tokenizer.to_config())
    files = [*asked.files, *asked.apart]
    jobs = _cores() if len(files) >= PARALLEL_FILES else 1
    pieces: list[tuple[Path, NDArray[np.integer]]] = []
    skipped: list[tuple[str, str]] = []
    with _progress(len(files), "files") as bar:
        for file, (ids, reason) in zip(files, _in_order(encode, files, jobs), strict=True):
            if reason is None:
                pieces.append((file, ids))
            else:
                skipped.append((str(file), reason))
            bar.update()
    if not pieces:
        reasons = "; ".join(reason for _, reason in skipped[:3])
        raise CorpusError(f"none of {len(files)} MIDI files can be read: {reasons}")
    held_out = set(asked.apart)
    drawn = set[int]()
    if not asked.learns_all_files:
        drawn = corpus.held_out_pieces(len(pieces), asked.seed)
    with _writer(folder, tokenizer, key, asked.label_names) as writer:
        for i, (file, ids) in enumerate(pieces):
            part = "held_out" if i in drawn or file in held_out else "train"
            writer.append(part, ids, begins_document=True, label=asked.labels.get(file))
        kept = [file for file, _ in pieces if file not in held_out]
        return tokenizer, writer.close(_notes(asked, tokenizer, kept, skipped))


def _sample(files: Sequence[Path]) -> Iterator[Piece]:
    """Some pieces of a corpus; files that cannot be read are passed over."""
    from generative.music import midi

    for file in files[:: -(-len(files) // GRID_FILES)]:
        with suppress(midi.MidiError, OSError):
            yield midi.read(file)


def _encode_music(config: dict[str, Any], file: Path) -> tuple[NDArray[np.integer], str | None]:
    """One file's ids, or why there are none."""
    from generative.music import midi  # text needs no MIDI library

    try:
        ids = _tokenizer(json.dumps(config), ()).encode_array(midi.read(file))
    except (midi.MidiError, OSError) as error:
        return np.zeros(0, dtype=np.uint16), str(error)
    except ValueError as error:  # longer than there are tokens for
        return np.zeros(0, dtype=np.uint16), f"{file}: {error}"
    return ids.astype(np.uint16), None


def _writer(folder: Path, tokenizer: Tokenizer, key: str, labels: tuple[str, ...]) -> StoreWriter:
    return StoreWriter(
        folder / store.FOLDER,
        vocab_size=tokenizer.vocab_size,
        start_id=tokenizer.start_id,
        key=key,
        labels=labels,
    )


def _notes(
    asked: Request, tokenizer: Tokenizer, files: Sequence[Path], skipped: list[tuple[str, str]]
) -> dict[str, Any]:
    """What the store says of where its tokens come from."""
    return {
        "tokenizer": _identity(tokenizer),
        "kind": asked.kind,
        "documents": len(files),
        "names": [shown(file.name) for file in files[:NAMES_KEPT]],
        "skipped": [(shown(file), shown(reason)) for file, reason in skipped],
    }


def _is_of(found: TokenStore, tokenizer: Tokenizer) -> bool:
    """Whether the tokens in a store are those of a tokenizer, noted as `_notes` does."""
    return (
        untrusted.fits(found.notes, _NOTES)
        and all(len(pair) == 2 for pair in found.notes["skipped"])
        and bool(found.notes["tokenizer"] == _identity(tokenizer))
        and found.start_id == tokenizer.start_id
        and found.largest_id < tokenizer.vocab_size
    )


def _identity(tokenizer: Tokenizer) -> str:
    """Names a tokenizer by all that it is stored as."""
    digest = hashlib.sha256(json.dumps(tokenizer.to_config(), sort_keys=True).encode())
    for name, data in sorted(tokenizer.files().items()):
        digest.update(name.encode())
        digest.update(data)
    return digest.hexdigest()


def _cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _in_order(
    function: Callable[[T], R], items: Iterable[T], jobs: int, *, threads: bool = False
) -> Iterator[R]:
    """`map`, by so many workers where that is more than one; results in the items' order.

    Threads do where the work is NumPy's; else processes, each with memory of its own.
    """
    if jobs == 1:
        yield from map(function, items)
        return
    executor = ThreadPoolExecutor(jobs) if threads else _processes(jobs)
    pending: deque[Future[R]] = deque()
    try:
        for item in items:
            pending.append(executor.submit(function, item))
            if len(pending) > 2 * jobs:  # no further ahead: memory would grow with the corpus
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        executor.shutdown(wait=True)


def _processes(jobs: int) -> Executor:
    """Processes that, unlike the standard library's, need no guard in a user's own script."""
    import loky

    return cast("Executor", loky.get_reusable_executor(max_workers=jobs))


def _progress(total: int, unit: str) -> tqdm[Any]:
    return tqdm(
        total=total,
        desc="reading",
        unit=f" {unit}",
        unit_scale=True,
        leave=False,
        disable=not sys.stderr.isatty(),
    )
