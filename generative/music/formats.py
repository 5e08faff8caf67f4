"""The files that a piece can be written to: knows suffixes and who writes each, not how.

Nothing is imported before it is asked for.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import os

    from generative.music.piece import Piece


class Format(NamedTuple):
    """One kind of file: its suffixes, the first the usual one, and `write(piece, path)`.

    `description` is a noun phrase for help texts.
    """

    suffixes: tuple[str, ...]
    room: str
    write: str
    description: str
    check: str | None = None  # raises where what the writer needs is not installed


FORMATS = {
    "midi": Format((".mid", ".midi"), "midi", "write", "MIDI"),
    "wav": Format((".wav",), "sound", "write_wav", "sound (WAV)", check="check"),
    "plot": Format((".png",), "pianoroll", "draw", "a piano roll (PNG)"),
    "html": Format((".html", ".htm"), "page", "write", "a web page that plays and shows it"),
    "musicxml": Format(
        (".musicxml", ".xml"), "notation", "write", "notation (MusicXML)", check="check"
    ),
}


def format_of(path: str | os.PathLike[str]) -> str:
    """The format that a path's suffix names; without a suffix it is MIDI.

    Raises:
        ValueError: no format has this suffix.
    """
    suffix = Path(path).suffix.casefold()
    for name, known in FORMATS.items():
        if suffix in known.suffixes or not suffix:
            return name
    usual = ", ".join(known.suffixes[0] for known in FORMATS.values())
    raise ValueError(f"{Path(path)}: nothing is written as {suffix}; use one of {usual}")


def check(kind: str, **options: Any) -> None:
    """Refuse, before any work is done, what could not be written in the end.

    Raises:
        RuntimeError: something is not installed; the message says how to get it.
        ValueError: an option that cannot be.
    """
    if FORMATS[kind].check:
        _function(kind, FORMATS[kind].check or "")(**options)


def save(
    piece: Piece,
    path: str | os.PathLike[str],
    kind: str | None = None,
    *,
    soundfont: str | os.PathLike[str] | None = None,
) -> None:
    """Write a piece, in one move.

    Args:
        piece: the music.
        path: the file; by its suffix MIDI (.mid), sound (.wav), a picture (.png), a page that plays
            it (.html) or notation (.musicxml, with the extra `notation`).
        kind: a name in `FORMATS`, whatever the suffix.
        soundfont: with sound: play it by FluidSynth through this .sf2 file.

    Raises:
        ValueError: a suffix that is none, or a piece that the format cannot hold.
        RuntimeError: what the format needs is not installed.
        OSError: it cannot be written.
    """
    kind = kind or format_of(path)
    options = {"soundfont": soundfont} if kind == "wav" else {}
    check(kind, **options)
    _function(kind, FORMATS[kind].write)(piece, Path(path), **options)


def _function(kind: str, name: str) -> Any:
    return getattr(importlib.import_module(f"generative.music.{FORMATS[kind].room}"), name)
