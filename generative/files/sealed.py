"""JSON files with a checksum of their contents ("sealed"), and reading files of bounded size."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from generative.errors import FileError
from generative.files import untrusted
from generative.files.writing import shown, write_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CHECKSUM_KEY = "sha256"


def read_file(path: Path, at_most: int = untrusted.MAX_JSON_BYTES) -> bytes:
    """The contents of a regular file of at most `at_most` bytes.

    Raises:
        FileError: The file cannot be read, is longer, or is a pipe or device.
    """
    try:
        return untrusted.read_bounded(path, at_most)
    except OSError as error:
        raise FileError(f"{shown(path)}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise FileError(f"{shown(path)}: damaged: {error}") from error


def read_json(path: Path, at_most: int = untrusted.MAX_JSON_BYTES) -> dict[str, Any]:
    """Read a JSON object from a file of at most `at_most` bytes.

    `is_sealed` tells whether it is unchanged since `write_sealed_json` wrote it.

    Raises:
        FileError: The file cannot be read, is not a JSON object, or exceeds a bound of `untrusted`.
    """
    data = read_file(path, at_most)
    try:
        return untrusted.parse_json(data)
    except ValueError as error:
        raise FileError(f"{shown(path)}: damaged: {error}") from error


def json_bytes(value: Mapping[str, Any]) -> bytes:
    """Indented JSON in UTF-8, with a line end."""
    return (shown(json.dumps(value, ensure_ascii=False, indent=2)) + "\n").encode("utf-8")


def write_sealed_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON object together with the checksum of its other keys, in one move.

    Raises:
        FileError: The file cannot be written.
    """
    as_read = json.loads(json_bytes(values))
    write_bytes(path, json_bytes({**as_read, CHECKSUM_KEY: checksum(as_read)}))


def is_sealed(values: Mapping[str, Any]) -> bool:
    """Whether the checksum in a JSON object is that of its other keys."""
    rest = {key: value for key, value in values.items() if key != CHECKSUM_KEY}
    return bool(values.get(CHECKSUM_KEY) == checksum(rest))


def checksum(values: Mapping[str, Any]) -> str:
    """The checksum of a JSON object, whatever the order of its keys."""
    return sha256(json.dumps(values, sort_keys=True).encode())


def sha256(data: bytes) -> str:
    """The SHA-256 checksum of bytes, in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()
