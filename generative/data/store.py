"""A store of token ids on disk, which may be larger than memory.

A store is a folder. Each part ("train", "held_out") is one file of little-endian integers, as
narrow as the vocabulary permits, without a header: a start token before every document and one at
the end. `store.json` holds the number of documents and tokens, the count of each id and the
checksums of the files. It is written last, so a folder without it is not a store. Parts are read by
memory map.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from generative.errors import FileError
from generative.files import (
    CHECKSUM_KEY,
    is_sealed,
    layout,
    make_folder,
    read_json,
    shown,
    untrusted,
    write_sealed_json,
)
from generative.model.config import MAX_VOCAB_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType
    from typing import BinaryIO

    from numpy.typing import NDArray

FOLDER = layout.TOKENS_FOLDER
DESCRIPTION_FILE = layout.STORE_FILE
FORMAT_VERSION = 1
PARTS = ("train", "held_out")
CHUNK_TOKENS = 1 << 20
DTYPES = ("|u1", "<u2", "<u4")
MAX_DESCRIPTION_BYTES = 256 << 20  # It has a number for each document if there are labels.
_FORM = {
    "key": str,
    "dtype": str,
    "start_id": int,
    "parts": dict,
    "notes": dict,
    "labels": [str],
}
_PART_FORM = {"documents": int, "tokens": int, "sha256": str, "labels": [int]}


@dataclass(frozen=True, kw_only=True)
class Part:
    """One file of a store.

    Attributes:
        documents: The number of documents.
        tokens: The number of ids without start tokens.
        sha256: The checksum of the file.
        counts: Id -> its number of occurrences, without start tokens and ids that do not occur.
        labels: The label of each document: 0 for none, else one more than an index of the store's
            `labels`; empty if the store has no labels.
    """

    documents: int
    tokens: int
    sha256: str
    counts: dict[int, int] = field(repr=False)
    labels: tuple[int, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class TokenFile:
    """N ids in a file, of which stretches are read.

    A memory map that is read from end to end would count as memory of the process.
    """

    path: Path
    dtype: np.dtype[Any]

    def __len__(self) -> int:
        """N."""
        return self.path.stat().st_size // self.dtype.itemsize

    def __getitem__(self, stretch: slice) -> NDArray[np.integer]:
        """The ids of a stretch without steps. -> (stop - start,)"""
        begin, end, _ = stretch.indices(len(self))
        count, offset = max(0, end - begin), begin * self.dtype.itemsize
        ids: NDArray[np.integer] = np.fromfile(self.path, self.dtype, count, offset=offset)
        return ids


@dataclass(frozen=True, kw_only=True)
class TokenStore:
    """A store that has been written completely.

    Attributes:
        folder: Its folder.
        key: A checksum of what its ids were made from.
        dtype: The type of its ids.
        start_id: The id of the start token.
        parts: Name -> part.
        notes: JSON values of its writer.
        labels: The names of the labels that documents may have.
    """

    folder: Path
    key: str
    dtype: str
    start_id: int
    parts: dict[str, Part]
    notes: dict[str, Any]
    labels: tuple[str, ...] = ()

    def stream(self, part: str) -> NDArray[np.integer]:
        """The ids of a part, by memory map: start, document, start, ..., start. -> (N,)"""
        if not self.parts[part].documents:
            return np.zeros(0, dtype=self.dtype)
        return np.memmap(_file(self.folder, part), dtype=self.dtype, mode="r")

    def file(self, part: str) -> TokenFile:
        """The ids of a part as `stream` has them, without a memory map."""
        return TokenFile(_file(self.folder, part), np.dtype(self.dtype))

    def documents(self, part: str) -> Iterator[NDArray[np.integer]]:
        """The documents of a part in order, without start tokens."""
        return documents_of(self.stream(part), self.start_id)

    @property
    def largest_id(self) -> int:
        """The largest id, including the start token."""
        return max(self.start_id, *(max(part.counts, default=0) for part in self.parts.values()))

    def counts(self, part: str, vocab_size: int) -> NDArray[np.int64]:
        """The number of occurrences of each id. -> (V,)"""
        counts = np.zeros(vocab_size, dtype=np.int64)
        for token, count in self.parts[part].counts.items():
            counts[token] = count
        return counts


def documents_of(stream: NDArray[np.integer], start_id: int) -> Iterator[NDArray[np.integer]]:
    """The ids between start tokens, found one by one. (N,) -> (n,), (m,), ..."""
    begin: int | None = None
    for at in range(0, len(stream), CHUNK_TOKENS):
        for start in np.flatnonzero(stream[at : at + CHUNK_TOKENS] == start_id).tolist():
            if begin is not None:
                yield stream[begin : at + start]
            begin = at + start + 1


def _file(folder: Path, part: str) -> Path:
    return folder / f"{part}.ids"


class StoreWriter:
    """Writes a store as ids come; it exists once `close` has returned.

    Example:
        with StoreWriter(folder, vocab_size=300, start_id=256, key="...") as writer:
            writer.append("train", ids, begins_document=True)
            store = writer.close(notes={})
    """

    def __init__(
        self,
        folder: Path,
        *,
        vocab_size: int,
        start_id: int,
        key: str,
        labels: tuple[str, ...] = (),
    ) -> None:
        """Begin a store in `folder`, which invalidates the store that was there.

        Args:
            folder: The folder, which is created.
            vocab_size: The number of ids, which decides their type.
            start_id: The id of the start token.
            key: A checksum of what the ids are made from.
            labels: The names of the labels that documents may have.

        Raises:
            FileError: The folder cannot be written to.
        """
        self._folder = folder
        self._key = key
        self._start_id = start_id
        self._labels = labels
        self._dtype = np.dtype(np.min_scalar_type(vocab_size - 1)).newbyteorder("<")
        make_folder(folder)
        (folder / DESCRIPTION_FILE).unlink(missing_ok=True)
        self._parts = {part: _PartWriter(folder, part, vocab_size) for part in PARTS}

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            for part in self._parts.values():
                part.file.close()
        except OSError as closing:
            error = error or closing
        if isinstance(error, OSError):
            raise FileError(
                f"{shown(self._folder)}: the tokens cannot be written: {error.strerror or error}"
            ) from error

    def append(
        self,
        part: str,
        ids: NDArray[np.integer],
        *,
        begins_document: bool,
        label: str | None = None,
    ) -> None:
        """Write ids (n,), after a start token if a document begins, whose label is `label`."""
        if begins_document:
            self._parts[part].documents += 1
            if self._labels:
                number = 0 if label is None else 1 + self._labels.index(label)
                self._parts[part].labels.append(number)
            self._parts[part].write(np.array([self._start_id], dtype=self._dtype))
        self._parts[part].write(ids.astype(self._dtype))
        self._parts[part].count(ids)

    def close(self, notes: dict[str, Any]) -> TokenStore:
        """Finish the files and write their description."""
        for part in self._parts.values():
            if part.documents:
                part.write(np.array([self._start_id], dtype=self._dtype))
            part.file.close()
        store = TokenStore(
            folder=self._folder,
            key=self._key,
            dtype=self._dtype.str,
            start_id=self._start_id,
            parts={name: part.described() for name, part in self._parts.items()},
            notes=notes,
            labels=self._labels,
        )
        values = asdict(store)
        del values["folder"]
        write_sealed_json(self._folder / DESCRIPTION_FILE, {"format": FORMAT_VERSION, **values})
        return store


class _PartWriter:
    """The file of a part that is being written, with its checksum and counts."""

    def __init__(self, folder: Path, name: str, vocab_size: int) -> None:
        self.file: BinaryIO = _file(folder, name).open("wb")
        self.documents = 0
        self.labels: list[int] = []
        self._digest = hashlib.sha256()
        self._counts = np.zeros(vocab_size, dtype=np.int64)

    def write(self, ids: NDArray[np.integer]) -> None:
        data = np.ascontiguousarray(ids).data
        self.file.write(data)
        self._digest.update(data)

    def count(self, ids: NDArray[np.integer]) -> None:
        self._counts += np.bincount(ids, minlength=len(self._counts))

    def described(self) -> Part:
        used = np.flatnonzero(self._counts).tolist()
        return Part(
            documents=self.documents,
            tokens=int(self._counts.sum()),
            sha256=self._digest.hexdigest(),
            counts={token: int(self._counts[token]) for token in used},
            labels=tuple(self.labels),
        )


def open_store(folder: Path, key: str | None = None) -> TokenStore | None:
    """The store in a folder; None if there is none, it is damaged, or it has another key.

    Every byte is verified, and the counts are compared with the ids. A `key` of None permits any.
    """
    try:
        values = read_json(folder / DESCRIPTION_FILE, MAX_DESCRIPTION_BYTES)
        if not is_sealed(values) or values.pop("format") != FORMAT_VERSION:
            return None
        if key is not None and values["key"] != key:
            return None
        del values[CHECKSUM_KEY]
        values = {"labels": [], **values}
        for part in values["parts"].values():
            part.setdefault("labels", [])
        if not untrusted.fits({**values, "parts": {}}, _FORM) or set(values["parts"]) != set(PARTS):
            return None
        parts = {name: _part(part) for name, part in values.pop("parts").items()}
        store = TokenStore(folder=folder, parts=parts, labels=tuple(values.pop("labels")), **values)
        return store if all(_is_whole(store, name) for name in PARTS) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _part(values: dict[str, Any]) -> Part:
    """A part from its JSON, in which keys are strings and tuples are lists.

    Raises:
        ValueError: The values are not those of a part.
    """
    counts = values.pop("counts")
    if not untrusted.fits(values, _PART_FORM) or not untrusted.fits([*counts.values()], [int]):
        raise ValueError("not a part of a store")
    counts = {int(token): count for token, count in counts.items()}
    return Part(counts=counts, **{**values, "labels": tuple(values["labels"])})


def _is_whole(store: TokenStore, name: str) -> bool:
    """Whether the ids and labels of a part are those that the store describes."""
    part = store.parts[name]
    known = {store.start_id, *part.counts}
    if store.dtype not in DTYPES or not 0 <= min(known) <= max(known) < MAX_VOCAB_SIZE:
        return False
    wanted = part.documents if store.labels else 0
    if len(part.labels) != wanted or not all(0 <= i <= len(store.labels) for i in part.labels):
        return False
    digest = hashlib.sha256()
    counts = np.zeros(max(known) + 1, dtype=np.int64)
    path = _file(store.folder, name)
    if not path.is_file():  # Opening a pipe would block.
        return False
    with path.open("rb") as file:
        while data := file.read(CHUNK_TOKENS * np.dtype(store.dtype).itemsize):
            ids = np.frombuffer(data, dtype=store.dtype)
            if ids.max() >= len(counts):
                return False
            digest.update(data)
            counts += np.bincount(ids, minlength=len(counts))
    expected = np.zeros_like(counts)
    expected[list(part.counts)] = list(part.counts.values())
    expected[store.start_id] += part.documents + (part.documents > 0)
    if digest.hexdigest() != part.sha256 or not np.array_equal(counts, expected):
        return False
    ends = store.stream(name)[[0, -1]].tolist() if part.documents else [store.start_id] * 2
    return part.tokens == sum(part.counts.values()) and ends == [store.start_id] * 2
