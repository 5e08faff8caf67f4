"""Checks of files from untrusted sources: sizes, nesting of JSON, links and safetensors headers.

A checksum in a file detects damage, not a malicious author. So whatever a file declares is checked
before memory is allocated for it.
"""

from __future__ import annotations

import json
import os
import re
import stat
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAX_JSON_BYTES = 16 << 20  # 16 MB of JSON may be 200 MB of Python objects
MAX_JSON_DEPTH = 32
MAX_JSON_CONTAINERS = 100_000  # an empty list is 2 bytes in a file and 56 in memory
MAX_NUMBER = 1 << 53  # Larger numbers are not exact in every JSON reader, and sums may overflow.
MAX_HEADER_BYTES = 16 << 20  # the header of a safetensors file, which includes its notes
LENGTH_BYTES = 8  # the length before that header
ARRAY_TYPES = ("BOOL", "U8", "I8", "U16", "I16", "F16", "U32", "I32", "F32", "U64", "I64", "F64")
MAX_LISTED = 200  # characters of names in an error

# Strings are matched since they may contain brackets; an unterminated one extends to the end.
_STRINGS_AND_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.?)*+"?|[][{}]', re.DOTALL)
_DEPTH = {b"[": 1, b"{": 1, b"]": -1, b"}": -1}


def read_bounded(path: Path, at_most: int = MAX_JSON_BYTES) -> bytes:
    """The contents of a regular file of at most `at_most` bytes.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file is longer, or is a pipe or a device.
    """
    about = path.stat()  # Opening a pipe would block.
    if not stat.S_ISREG(about.st_mode):
        raise ValueError("not a regular file")
    if about.st_size > at_most:
        raise ValueError(f"{about.st_size:,} bytes; at most {at_most:,} are read")
    with path.open("rb") as file:
        return file.read(at_most)


def parse_json(data: bytes) -> dict[str, Any]:
    """Parse a JSON object in UTF-8.

    Raises:
        ValueError: The data is not a JSON object, is nested deeper than `MAX_JSON_DEPTH`, has more
            than `MAX_JSON_CONTAINERS` lists and objects, or contains a lone surrogate.
    """
    depth = containers = 0
    for match in _STRINGS_AND_BRACKETS.finditer(data):
        step = _DEPTH.get(match[0], 0)
        depth += step
        containers += step > 0
        if depth > MAX_JSON_DEPTH:
            raise ValueError(f"nested deeper than {MAX_JSON_DEPTH} levels")
        if containers > MAX_JSON_CONTAINERS:
            raise ValueError(f"more than {MAX_JSON_CONTAINERS:,} lists and objects")
    value = json.loads(data.decode("utf-8"))
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError("a text holds a lone surrogate") from error
    return value


def fits(value: Any, form: Any) -> bool:
    """Whether a JSON value has a form.

    A form is a type, a tuple of forms of which one must fit, a list with the form of all items, or
    a dict with the form of each key. Whole numbers must be below `MAX_NUMBER`.

    Example:
        fits({"names": ["a"]}, {"names": [str]})    # True
    """
    if isinstance(form, dict):
        same = isinstance(value, dict) and value.keys() == form.keys()
        return same and all(fits(value[key], form[key]) for key in form)
    if isinstance(form, list):
        return isinstance(value, list) and all(fits(item, form[0]) for item in value)
    if isinstance(value, int) and abs(value) >= MAX_NUMBER:
        return False
    if isinstance(form, tuple):
        return any(fits(value, one) for one in form)
    return bool(isinstance(value, form) and (form is bool or not isinstance(value, bool)))


def check_links(folder: Path) -> None:
    """Refuse a folder with a link, at any depth, that leads out of it.

    So files that are read from the folder, or written to it, are in it.

    Raises:
        OSError: A folder cannot be read.
        ValueError: There is such a link; the message names it.
    """
    root = os.path.realpath(folder)
    waiting = [root]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_symlink():
                    if os.path.commonpath([root, os.path.realpath(entry.path)]) != root:
                        raise ValueError(
                            f"{os.path.relpath(entry.path, root)} is a link that leads out of the "
                            "folder; put a copy of what it names in its place"
                        )
                elif entry.is_dir():
                    waiting.append(entry.path)


def check_header_size(path: Path) -> None:
    """Refuse a safetensors file whose header is too long.

    Raises:
        OSError: The file cannot be read.
        ValueError: The header is too long, or the file is not regular or ends within the header.
    """
    about = path.stat()
    if not stat.S_ISREG(about.st_mode):
        raise ValueError("not a regular file")
    with path.open("rb") as file:
        length = int.from_bytes(file.read(LENGTH_BYTES), "little")
    if length > min(MAX_HEADER_BYTES, about.st_size - LENGTH_BYTES):
        raise ValueError(f"a header of {length:,} bytes")


def check_shapes(
    found: Mapping[str, tuple[str, tuple[int, ...]]],
    expected: Mapping[str, tuple[int, ...]],
    types: Mapping[str, tuple[str, ...]] | tuple[str, ...],
) -> None:
    """Refuse arrays with other names, shapes or types than expected.

    Args:
        found: Name -> (safetensors' name of the type, shape).
        expected: Name -> shape.
        types: The permitted types, of all arrays or for each name.

    Raises:
        ValueError: An array is missing, unknown or different; the message names it.
    """
    for wrong, names in (
        ("missing", expected.keys() - found.keys()),
        ("not known", found.keys() - expected.keys()),
    ):
        if names:
            raise ValueError(f"arrays that are {wrong}: {listed(names)}")
    for name, (dtype, shape) in found.items():
        if shape != tuple(expected[name]):
            raise ValueError(f"{name} has the shape {shape}, not {tuple(expected[name])}")
        allowed = types if isinstance(types, tuple) else types[name]
        if dtype not in allowed:
            raise ValueError(f"{name} has the type {dtype}, not {' or '.join(allowed)}")


def listed(names: Any) -> str:
    """Names joined for an error message, cut to a length."""
    text = ", ".join(sorted(map(str, names)))
    return text if len(text) <= MAX_LISTED else text[:MAX_LISTED] + " …"
