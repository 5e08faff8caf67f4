"""The formats that a piece can be written in: for each its suffixes and the module that writes it.

That module is imported when a piece is written.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import os

    from generative.music.piece import Piece


class Format(NamedTuple):
    """A format and the functions that write it.

    Attributes:
        suffixes: The suffixes of its files, the usual one first.
        module: The module in `generative.music` that writes it.
        write: The name of its function `write(piece, path)`.
        description: A noun phrase for help texts.
        check: The name of its function that raises if what the writer needs is not installed.
        check_piece: The name of its function that raises if the format cannot hold a piece.
    """

    suffixes: tuple[str, ...]
    module: str
    write: str
    description: str
    check: str | None = None
    check_piece: str | None = None


FORMATS = {
    "midi": Format((".mid", ".midi"), "midi", "write", "MIDI"),
    "wav": Format((".wav",), "sound", "write_wav", "sound (WAV)", check="check"),
    "plot": Format((".png",), "pianoroll", "draw", "a piano roll (PNG)"),
    "html": Format((".html", ".htm"), "page", "write", "a web page that plays and shows it"),
    "musicxml": Format(
        (".musicxml", ".xml"), "notation", "write", "notation (MusicXML)", check="check"
    ),
    "abc": Format(
        (".abc",), "abc_notation", "write", "ABC, if it has one voice", check_piece="check_piece"
    ),
}


def format_of(path: str | os.PathLike[str]) -> str:
    """The name of the format that the suffix of a path stands for; without a suffix "midi".

    Raises:
        ValueError: No format has this suffix.
    """
    suffix = Path(path).suffix.casefold()
    for name, known in FORMATS.items():
        if suffix in known.suffixes or not suffix:
            return name
    usual = ", ".join(known.suffixes[0] for known in FORMATS.values())
    raise ValueError(f"{Path(path)}: nothing is written as {suffix}; use one of {usual}")


def check(kind: str, **options: Any) -> None:
    """Refuse, before any work is done, a format that could not be written in the end.

    Raises:
        RuntimeError: Something is not installed; the message says how to get it.
        ValueError: An option of the format is wrong.
    """
    if name := FORMATS[kind].check:
        _function(kind, name)(**options)


def check_piece(kind: str, piece: Piece) -> None:
    """Refuse a piece that a format cannot hold.

    Raises:
        ValueError: It cannot; the message says what to write instead.
    """
    if name := FORMATS[kind].check_piece:
        _function(kind, name)(piece)


def save(
    piece: Piece,
    path: str | os.PathLike[str],
    kind: str | None = None,
    *,
    soundfont: str | os.PathLike[str] | None = None,
) -> None:
    """Write a piece, in one move.

    Args:
        piece: The music.
        path: The file; its suffix decides between the formats. Notation needs the extra `notation`.
        kind: A name in `FORMATS` that overrides the suffix.
        soundfont: For sound, a file (.sf2 or .sf3) with which FluidSynth plays the piece.

    Raises:
        ValueError: The suffix is unknown, or the format cannot hold the piece.
        RuntimeError: A program or package that the format needs is not installed.
        FileError: The file cannot be written.
    """
    kind = kind or format_of(path)
    options = {"soundfont": soundfont} if kind == "wav" else {}
    check(kind, **options)
    _function(kind, FORMATS[kind].write)(piece, Path(path), **options)


def _function(kind: str, name: str) -> Any:
    return getattr(importlib.import_module(f"generative.music.{FORMATS[kind].module}"), name)
