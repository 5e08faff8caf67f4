"""Tokenising a corpus into a token store in a model folder.

Text is read in chunks of a megabyte and music file by file, so that memory does not grow with the
corpus. A large corpus is encoded on all cores.
"""

from __future__ import annotations

import functools
import hashlib
import json
import sys
from collections import Counter, deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from tqdm import tqdm

from generative import checkpoint, tokenizers
from generative.checkpoint import CheckpointError
from generative.data import corpus, parallel, split, store
from generative.data.request import seekable
from generative.data.store import StoreWriter, TokenStore
from generative.errors import CorpusError
from generative.files import shown, untrusted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from generative.data.request import Request
    from generative.music.piece import Piece
    from generative.tokenizers import Tokenizer

# Starting other processes takes about a second, which pays off from these sizes on.
PARALLEL_CHARS = 64 << 20
PARALLEL_FILES = 300
ENCODED_BY_NUMPY = frozenset({"char", "byte"})  # tokenizers that threads can run in parallel
GRID_FILES = 40  # evenly spaced files by which the grid of a corpus is decided
NAMES_KEPT = 5  # names of files that are kept for the model card
_NOTES_FORM = {"tokenizer": str, "kind": str, "documents": int, "names": [str], "skipped": [[str]]}


def ingest(request: Request, folder: Path, *, use_tokenizer: bool) -> tuple[Tokenizer, TokenStore]:
    """The tokenizer and the token store of a corpus, in a model folder.

    Those in the folder are used again if they were made by an equal request of unchanged files.

    Args:
        request: The corpus and how to read it.
        folder: The model folder; the tokens go to `folder/tokens`.
        use_tokenizer: Whether to take the tokenizer in the folder instead of training one.

    Raises:
        CorpusError: A file cannot be read, or there is nothing to learn from.
        FileError: The folder cannot be written to.
    """
    with seekable(request) as readable:
        key = readable.key()
        found = store.open_store(folder / store.FOLDER, key)
        needed = (checkpoint.TOKENIZER_FILE, checkpoint.CONFIG_FILE)
        if found is not None and all((folder / name).is_file() for name in needed):
            tokenizer = checkpoint.load_tokenizer(folder)
            if _is_made_by(found, tokenizer):
                return tokenizer, found
        given = checkpoint.load_tokenizer(folder) if use_tokenizer else None
        tokenise = _ingest_music if readable.kind == "music" else _ingest_text
        return tokenise(readable, folder, key, given)


def load_ingested(folder: Path) -> tuple[Tokenizer, TokenStore]:
    """The tokenizer and the token store that another process has written to a model folder.

    Raises:
        CheckpointError: There are none.
    """
    found = store.open_store(folder / store.FOLDER)
    if found is None:
        raise CheckpointError(
            f"{folder / store.FOLDER}: no tokens; all processes of a run must see one folder"
        )
    return checkpoint.load_tokenizer(folder), found


class _Chunk(NamedTuple):
    """A chunk of a text file, whether it begins the file, and the label of the file."""

    text: str
    begins_document: bool
    label: str | None


def _ingest_text(
    request: Request, folder: Path, key: str, tokenizer: Tokenizer | None
) -> tuple[Tokenizer, TokenStore]:
    """Tokenise text in three passes: count characters, train the tokenizer, encode."""
    lengths = _chars_by_label(request, request.files)
    total = lengths.total() + _chars_by_label(request, request.held_out_files).total()
    if not lengths.total():
        raise corpus.empty_error(request.files)
    if tokenizer is None:
        training = (chunk.text for part, chunk in _parts(request, lengths) if part == "train")
        tokenizer_class = tokenizers.tokenizer_class(request.tokenizer)
        tokenizer = tokenizer_class.train(training, request.vocab_size)
    with (
        _writer(request, folder, tokenizer, key) as writer,
        _progress(total, "chars") as bar,
    ):
        for part, chunk, ids in _encoded(request, tokenizer, _parts(request, lengths), total):
            writer.append(part, ids, begins_document=chunk.begins_document, label=chunk.label)
            bar.update(len(chunk.text))
        return tokenizer, writer.close(_notes(request, tokenizer, request.files, []))


def _chunks(request: Request, files: Iterable[Path]) -> Iterator[_Chunk]:
    for file in files:
        begins_document = True
        for text in corpus.text_chunks(file, request.encoding):
            yield _Chunk(text, begins_document, request.labels.get(file))
            begins_document = False


def _chars_by_label(request: Request, files: Iterable[Path]) -> Counter[str | None]:
    chars: Counter[str | None] = Counter()
    for chunk in _chunks(request, files):
        chars[chunk.label] += len(chunk.text)
    return chars


def _parts(request: Request, lengths: Counter[str | None]) -> Iterator[tuple[str, _Chunk]]:
    """Each chunk with its part of the store; a chunk across the split point is cut in two.

    The last tenth of the text is held out; if there are labels, of the text of each.

    Args:
        request: The corpus.
        lengths: Label -> the number of its characters in `request.files`.
    """
    split_points = {
        label: length if request.learns_all_files else split.training_length(length)
        for label, length in lengths.items()
    }
    positions = dict.fromkeys(lengths, 0)
    for chunk in _chunks(request, request.files):
        text, begins_document, label = chunk
        position, split_point = positions[label], split_points[label]
        count = min(max(split_point - position, 0), len(text))  # characters for training
        if count:
            yield "train", chunk._replace(text=text[:count])
        if count < len(text):
            begins = begins_document or count > 0 or position == split_point
            yield "held_out", _Chunk(text[count:], begins, label)
        positions[label] += len(text)
    for chunk in _chunks(request, request.held_out_files):
        yield "held_out", chunk


def _encoded(
    request: Request, tokenizer: Tokenizer, parts: Iterator[tuple[str, _Chunk]], total: int
) -> Iterator[tuple[str, _Chunk, NDArray[np.unsignedinteger]]]:
    """Each chunk with its part and its ids, by all cores if there are many characters."""
    waiting: deque[tuple[str, _Chunk]] = deque()  # those that are being encoded

    def texts() -> Iterator[str]:
        for part, chunk in parts:
            waiting.append((part, chunk))
            yield chunk.text

    encode = functools.partial(_encode_text, tokenizer.to_config(), tokenizer.files())
    workers = parallel.available_cores() if total >= PARALLEL_CHARS else 1
    threads = request.tokenizer in ENCODED_BY_NUMPY
    for ids in parallel.map_in_order(encode, texts(), workers, threads=threads):
        yield *waiting.popleft(), ids


def _encode_text(
    config: dict[str, Any], files: dict[str, bytes], text: str
) -> NDArray[np.unsignedinteger]:
    """The ids of a chunk, in the narrowest type, as they may be sent between processes. -> (N,)"""
    tokenizer = _tokenizer(json.dumps(config), tuple(files.items()))
    ids: NDArray[np.int32] = tokenizer.encode_array(text)
    return ids.astype(np.min_scalar_type(tokenizer.vocab_size - 1))


@functools.lru_cache(maxsize=1)  # Each process that encodes makes one.
def _tokenizer(config: str, files: tuple[tuple[str, bytes], ...]) -> Any:
    return tokenizers.from_config(json.loads(config), dict(files))


def _ingest_music(
    request: Request, folder: Path, key: str, tokenizer: Tokenizer | None
) -> tuple[Tokenizer, TokenStore]:
    """Tokenise MIDI files; those that cannot be read are noted and left out."""
    if tokenizer is None:
        tokenizer_class = tokenizers.tokenizer_class(request.tokenizer)
        sample = _sample(request.files) if request.grid is None else ()
        tokenizer = cast(
            "Tokenizer", tokenizer_class.train(sample, request.vocab_size, request.grid)
        )
    pieces, skipped = _encode_files(request.all_files, tokenizer)
    if not pieces:
        raise corpus.unreadable_error(request.all_files, skipped)
    held_out = set(request.held_out_files)
    drawn = set[int]()
    if not request.learns_all_files:
        drawn = split.held_out_pieces(len(pieces), request.seed)
    with _writer(request, folder, tokenizer, key) as writer:
        for i, (file, ids) in enumerate(pieces):
            part = "held_out" if i in drawn or file in held_out else "train"
            writer.append(part, ids, begins_document=True, label=request.labels.get(file))
        kept = [file for file, _ in pieces if file not in held_out]
        return tokenizer, writer.close(_notes(request, tokenizer, kept, skipped))


def _sample(files: Sequence[Path]) -> Iterator[Piece]:
    """Some pieces of a corpus; files that cannot be read are left out."""
    from generative.music.midi import MidiError

    for file in files[:: -(-len(files) // GRID_FILES)]:
        with suppress(MidiError, CorpusError):
            yield corpus.read_piece(file)


def _encode_files(
    files: Sequence[Path], tokenizer: Tokenizer
) -> tuple[list[tuple[Path, NDArray[np.integer]]], list[tuple[str, str]]]:
    """(file, ids) for each MIDI file that can be read, and (file, reason) for each other."""
    encode = functools.partial(_encode_music, tokenizer.to_config())
    workers = parallel.available_cores() if len(files) >= PARALLEL_FILES else 1
    pieces: list[tuple[Path, NDArray[np.integer]]] = []
    skipped: list[tuple[str, str]] = []
    with _progress(len(files), "files") as bar:
        results = parallel.map_in_order(encode, files, workers)
        for file, (ids, reason) in zip(files, results, strict=True):
            if reason is None:
                pieces.append((file, ids))
            else:
                skipped.append((str(file), reason))
            bar.update()
    return pieces, skipped


def _encode_music(config: dict[str, Any], file: Path) -> tuple[NDArray[np.integer], str | None]:
    """The ids of a MIDI file and None, or no ids and the reason why it cannot be read."""
    from generative.music.midi import MidiError

    try:
        ids = _tokenizer(json.dumps(config), ()).encode_array(corpus.read_piece(file))
    except (MidiError, CorpusError) as error:
        return np.zeros(0, dtype=np.uint16), str(error)
    except ValueError as error:  # The piece is longer than the vocabulary can express.
        return np.zeros(0, dtype=np.uint16), f"{file}: {error}"
    return ids.astype(np.uint16), None


def _writer(request: Request, folder: Path, tokenizer: Tokenizer, key: str) -> StoreWriter:
    return StoreWriter(
        folder / store.FOLDER,
        vocab_size=tokenizer.vocab_size,
        start_id=tokenizer.start_id,
        key=key,
        labels=request.label_names,
    )


def _notes(
    request: Request, tokenizer: Tokenizer, files: Sequence[Path], skipped: list[tuple[str, str]]
) -> dict[str, Any]:
    """The notes of a store on where its tokens come from."""
    return {
        "tokenizer": _checksum(tokenizer),
        "kind": request.kind,
        "documents": len(files),
        "names": [shown(file.name) for file in files[:NAMES_KEPT]],
        "skipped": [(shown(file), shown(reason)) for file, reason in skipped],
    }


def _is_made_by(found: TokenStore, tokenizer: Tokenizer) -> bool:
    """Whether the tokens of a store are those of a tokenizer, by the store's notes."""
    return (
        untrusted.fits(found.notes, _NOTES_FORM)
        and all(len(pair) == 2 for pair in found.notes["skipped"])
        and bool(found.notes["tokenizer"] == _checksum(tokenizer))
        and found.start_id == tokenizer.start_id
        and found.largest_id < tokenizer.vocab_size
    )


def _checksum(tokenizer: Tokenizer) -> str:
    """The checksum of all that a tokenizer is stored as."""
    digest = hashlib.sha256(json.dumps(tokenizer.to_config(), sort_keys=True).encode())
    for name, data in sorted(tokenizer.files().items()):
        digest.update(name.encode())
        digest.update(data)
    return digest.hexdigest()


def _progress(total: int, unit: str) -> tqdm[Any]:
    return tqdm(
        total=total,
        desc="reading",
        unit=f" {unit}",
        unit_scale=True,
        leave=False,
        disable=not sys.stderr.isatty(),
    )
