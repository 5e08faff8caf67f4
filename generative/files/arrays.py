"""Arrays as safetensors files with a checksum; their names and meanings are the caller's."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors
from numpy.typing import NDArray

from generative.errors import FileError
from generative.files import untrusted
from generative.files.sealed import CHECKSUM_KEY
from generative.files.writing import shown, write_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

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


def write_arrays(
    path: Path, arrays: Mapping[str, NDArray[Any]], notes: Mapping[str, str] | None = None
) -> None:
    """Write arrays as safetensors with notes and a checksum of both, in one move.

    Equal arrays and notes make equal files, byte for byte.

    Raises:
        FileError: The file cannot be written.
        ValueError: An array has a type that the format does not have.
    """
    # The format is little-endian on every machine.
    ordered = {
        name: np.asarray(arrays[name], dtype=arrays[name].dtype.newbyteorder("<"), order="C")
        for name in sorted(arrays)
    }
    metadata = {**(notes or {}), CHECKSUM_KEY: checksum(ordered, notes or {})}
    write_bytes(path, safetensors_bytes(ordered, metadata))


def safetensors_bytes(arrays: Arrays, metadata: Mapping[str, str]) -> bytes:
    """The contents of a safetensors file, its keys in a fixed order.

    The writer of the library orders the metadata at random.

    Source: https://github.com/huggingface/safetensors#format
    """
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    at = 0
    # The widest types come first, as in the library, so that each array is aligned to its size.
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
    """Read and verify the arrays and the notes that `write_arrays` wrote.

    Shapes and types are checked before an array is read.

    Args:
        path: The file.
        shapes: Name -> shape of exactly the arrays that the file must hold; None permits any.
        types: The types that are permitted, by safetensors' names, for all arrays or for each name.

    Raises:
        FileError: The file is missing, cut short or changed, holds other arrays than `shapes`, or
            holds numbers that are not finite.
    """
    try:
        untrusted.check_header_size(path)
        with safetensors.safe_open(path, framework="numpy") as file:
            notes = dict(file.metadata() or {})
            names = file.keys()
            slices = {name: file.get_slice(name) for name in names}
            found = {n: (s.get_dtype(), tuple(s.get_shape())) for n, s in slices.items()}
            untrusted.check_shapes(
                found, {n: s for n, (_, s) in found.items()} if shapes is None else shapes, types
            )
            arrays = {name: file.get_tensor(name) for name in found}
    except FileNotFoundError as error:
        raise FileError(f"{shown(path)}: no such file") from error
    except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        raise FileError(f"{shown(path)}: damaged: {error}") from error
    if notes.pop(CHECKSUM_KEY, None) != checksum(arrays, notes):
        raise FileError(f"{shown(path)}: damaged: the checksum does not match its contents")
    if broken := [n for n, a in arrays.items() if a.dtype.kind == "f" and not np.isfinite(a).all()]:
        raise FileError(f"{shown(path)}: numbers that are not finite in {untrusted.listed(broken)}")
    return arrays, notes


def checksum(arrays: Arrays, notes: Mapping[str, str]) -> str:
    """SHA-256 over notes and every array's name, type, shape and bytes."""
    digest = hashlib.sha256(json.dumps(sorted(notes.items())).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
