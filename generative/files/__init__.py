"""Files written whole and read verified: bytes, text, sealed JSON, arrays; knows no models.

A regular file is replaced in one move, so that it is whole at any moment. A pipe, a device or a
standard stream is written to, and a link keeps pointing where it points: its target is replaced.
JSON and arrays carry a checksum. No pickle.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors
from numpy.typing import NDArray

from generative.errors import FileError
from generative.files import untrusted

if TYPE_CHECKING:
    from collections.abc import Mapping

CHECKSUM_KEY = "sha256"
STREAMS = (1, 2)  # file descriptors of stdout and stderr
# A file that cannot be replaced for one of these reasons may still be open to writing.
_IRREPLACEABLE = (errno.EACCES, errno.EPERM, errno.EBUSY, errno.EROFS)
_SURROGATES = re.compile("[\ud800-\udfff]")
_NAME_CHARS = 32  # of a file that its temporary file is named after
# NumPy's name of a type -> safetensors' name
_ARRAY_TYPES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "uint16": "U16",
    "int16": "I16",
    "float16": "F16",
    "uint32": "U32",
    "int32": "I32",
    "float32": "F32",
    "uint64": "U64",
    "int64": "I64",
    "float64": "F64",
}
_HEADER_ALIGNMENT = 8  # bytes

Arrays = dict[str, NDArray[Any]]


def shown(text: str | os.PathLike[str]) -> str:
    """A text or path for human eyes and for UTF-8: bytes that were not UTF-8 become U+FFFD.

    Python holds such bytes of a file's name as lone surrogates, which no encoding can hold.
    """
    return _SURROGATES.sub("\ufffd", os.fspath(text))


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8, see `write_bytes`; lone surrogates become U+FFFD.

    Raises:
        FileError: it cannot be written.
    """
    write_bytes(path, shown(text).encode("utf-8"))


def write_bytes(path: Path, data: bytes) -> None:
    """Replace a file in one move: whatever happens, either the old or the new one is there.

    The data is on the disk before the move. A new file has the mode that the umask gives, an old
    one keeps its mode. Of a link the target is replaced, or made. What is no regular file, or is
    open as stdout or stderr, is written to. A file that may be written to in a folder that may not
    be is overwritten in place, which is not one move.

    Raises:
        FileError: the disk is full, the folder is closed to us ...
        BrokenPipeError: `path` is stdout or stderr, and nobody reads it any more.
    """
    note = ""
    try:
        about = _stat(path)
        if about is not None and (stream := _stream(about)) is not None:
            _write_all(os.dup(stream), data)
        elif about is not None and not stat.S_ISREG(about.st_mode):
            _write_all(os.open(path, os.O_WRONLY), data)
        else:
            target = Path(os.path.realpath(path))
            note = "; what was there before is as it was"
            try:
                _replace(target, data, about)
            except OSError as error:
                if about is None or error.errno not in _IRREPLACEABLE:
                    raise
                descriptor = os.open(target, os.O_WRONLY)
                note = "; what was there before is lost"
                os.ftruncate(descriptor, 0)
                _write_all(descriptor, data)
    except OSError as error:
        if isinstance(error, BrokenPipeError) and about is not None and _stream(about) is not None:
            raise
        raise FileError(f"{shown(path)}: cannot be written: {error.strerror}{note}") from error


def check_writable(path: Path) -> None:
    """Refuse, before any work is done, what `write_bytes` could not write.

    Raises:
        FileError: it is a folder, its folder is missing, or both are closed to us.
    """
    name = shown(path)
    try:
        about = _stat(path)
    except OSError as error:
        raise FileError(f"{name}: cannot be written: {error.strerror}") from error
    if about is not None and stat.S_ISDIR(about.st_mode):
        raise FileError(f"{name}: is a folder; name a file")
    if about is not None and os.access(path, os.W_OK):
        return
    if about is not None and not stat.S_ISREG(about.st_mode):
        raise FileError(f"{name}: cannot be written to")
    folder = (Path(os.path.realpath(path)) if path.is_symlink() else path).parent
    if not folder.is_dir():
        raise FileError(f"{name}: there is no folder {shown(folder)}; make it first")
    if not os.access(folder, os.W_OK):
        raise FileError(f"{name}: the folder {shown(folder)} cannot be written to")


def is_special(path: Path) -> bool:
    """Whether a path leads to a pipe, a device or a socket, which is written to and never moved."""
    about = _stat(path)
    return about is not None and not stat.S_ISREG(about.st_mode) and not stat.S_ISDIR(about.st_mode)


def _stat(path: Path) -> os.stat_result | None:
    """What a path leads to through all links; None where there is nothing yet."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _stream(about: os.stat_result) -> int | None:
    """The standard stream that is this file, if one is."""
    for descriptor in STREAMS:
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), about):
                return descriptor
    return None


def _write_all(descriptor: int, data: bytes) -> None:
    """Write to an open file and close it."""
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


def _replace(path: Path, data: bytes, old: os.stat_result | None) -> None:
    prefix = f".{path.name[:_NAME_CHARS]}."
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=prefix)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        mode = 0o666 & ~_umask() if old is None else stat.S_IMODE(old.st_mode)
        Path(temporary).chmod(mode)  # mkstemp makes it private
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make renames within a folder survive a power cut, where the system can."""
    if os.name == "nt":
        return  # Windows has no such call, and its renames are journalled
    with contextlib.suppress(OSError):  # a folder may be closed to reading, or know no sync
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _umask() -> int:
    """The process's umask; reading it means setting it for a moment."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def make_folder(path: Path) -> None:
    """Make a folder and those above it, if it is not there; of a link, the folder it names.

    Raises:
        FileError: it cannot be made or written to.
    """
    try:
        Path(os.path.realpath(path)).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"{shown(path)}: cannot be made: {error.strerror}") from error
    if not os.access(path, os.W_OK):
        raise FileError(f"{shown(path)}: cannot be written to; name another folder with -o")


def read_file(path: Path, at_most: int = untrusted.MAX_JSON_BYTES) -> bytes:
    """A regular file of no more than so many bytes.

    Raises:
        FileError: it cannot be read, is longer, or is a pipe or device.
    """
    try:
        return untrusted.read_bounded(path, at_most)
    except OSError as error:
        raise FileError(f"{shown(path)}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise FileError(f"{shown(path)}: damaged: {error}") from error


def read_json(path: Path, at_most: int = untrusted.MAX_JSON_BYTES) -> dict[str, Any]:
    """A JSON object of no more than so many bytes; `is_sealed` tells whether it is unchanged.

    Raises:
        FileError: it cannot be read, or is no JSON object, or larger or deeper than any of ours.
    """
    data = read_file(path, at_most)
    try:
        return untrusted.parse_json(data)
    except ValueError as error:
        raise FileError(f"{shown(path)}: damaged: {error}") from error


def json_bytes(value: Mapping[str, Any]) -> bytes:
    """JSON for people and programs, in UTF-8."""
    return (shown(json.dumps(value, ensure_ascii=False, indent=2)) + "\n").encode("utf-8")


def write_sealed_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON object with a checksum of all else in it, in one move.

    Raises:
        FileError: it cannot be written.
    """
    as_read = json.loads(json_bytes(values))
    write_bytes(path, json_bytes({**as_read, CHECKSUM_KEY: _json_checksum(as_read)}))


def is_sealed(values: Mapping[str, Any]) -> bool:
    """Whether a JSON object is as `write_sealed_json` wrote it."""
    rest = {key: value for key, value in values.items() if key != CHECKSUM_KEY}
    return bool(values.get(CHECKSUM_KEY) == _json_checksum(rest))


def _json_checksum(values: Mapping[str, Any]) -> str:
    return sha256(json.dumps(values, sort_keys=True).encode())


def sha256(data: bytes) -> str:
    """The checksum of bytes, in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def write_arrays(
    path: Path, arrays: Mapping[str, NDArray[Any]], notes: Mapping[str, str] | None = None
) -> None:
    """Write arrays as safetensors with notes and a checksum of both, in one move.

    Equal arrays and notes make equal files, byte for byte.

    Raises:
        FileError: it cannot be written.
        ValueError: an array of a type that the format does not have.
    """
    # safetensors is little-endian everywhere
    ordered = {
        name: np.asarray(arrays[name], dtype=arrays[name].dtype.newbyteorder("<"), order="C")
        for name in sorted(arrays)
    }
    metadata = {**(notes or {}), CHECKSUM_KEY: _checksum(ordered, notes or {})}
    write_bytes(path, _safetensors(ordered, metadata))


def _safetensors(arrays: Arrays, metadata: Mapping[str, str]) -> bytes:
    """The file format, its keys in one order. The library's own writer shuffles the metadata.

    Source: https://github.com/huggingface/safetensors#format
    """
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    at = 0
    # the widest types first, as the library does, so that each array lies on a multiple of its size
    ordered = sorted(arrays.items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))
    for name, array in ordered:
        if array.dtype.name not in _ARRAY_TYPES:
            raise ValueError(f"{name}: safetensors has no type {array.dtype}")
        header[name] = {
            "dtype": _ARRAY_TYPES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [at, at + array.nbytes],
        }
        at += array.nbytes
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % _HEADER_ALIGNMENT)
    parts = [len(text).to_bytes(8, "little"), text, *(array.tobytes() for _, array in ordered)]
    return b"".join(parts)


def read_arrays(
    path: Path,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    types: Mapping[str, tuple[str, ...]] | tuple[str, ...] = untrusted.ARRAY_TYPES,
) -> tuple[Arrays, dict[str, str]]:
    """Read and verify what `write_arrays` wrote: the arrays and the notes.

    Args:
        path: of the file.
        shapes: the arrays that must be there, and no others; None takes any.
        types: what they may have, by safetensors' names, or those of each array.

    Raises:
        FileError: missing, cut short, any byte changed, other arrays than those, or numbers that
            are not finite. Shapes and types are checked before an array is read.
    """
    try:
        untrusted.check_header_size(path)
        with safetensors.safe_open(path, framework="numpy") as file:
            notes = dict(file.metadata() or {})
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            found = {n: (s.get_dtype(), tuple(s.get_shape())) for n, s in slices.items()}
            untrusted.check_shapes(
                found, {n: s for n, (_, s) in found.items()} if shapes is None else shapes, types
            )
            arrays = {name: file.get_tensor(name) for name in found}
    except FileNotFoundError as error:
        raise FileError(f"{shown(path)}: no such file") from error
    except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        raise FileError(f"{shown(path)}: damaged: {error}") from error
    if notes.pop(CHECKSUM_KEY, None) != _checksum(arrays, notes):
        raise FileError(f"{shown(path)}: damaged: the checksum does not match its contents")
    if broken := [n for n, a in arrays.items() if a.dtype.kind == "f" and not np.isfinite(a).all()]:
        raise FileError(f"{shown(path)}: numbers that are not finite in {untrusted.listed(broken)}")
    return arrays, notes


def _checksum(arrays: Arrays, notes: Mapping[str, str]) -> str:
    """SHA-256 over notes and every array's name, type, shape and bytes."""
    digest = hashlib.sha256(json.dumps(sorted(notes.items())).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
