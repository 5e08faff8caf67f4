"""One table says what a suffix means, for Python and the command alike."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from generative.errors import FileError
from generative.music import formats, midi
from tests.pieces import note, piece_of

if TYPE_CHECKING:
    from pathlib import Path

BEGINNINGS = {
    ".mid": b"MThd",
    ".wav": b"RIFF",
    ".png": b"\x89PNG",
    ".html": b"<!DOCTYPE html>",
    ".abc": b"%abc-2.1\nX:1\n",
}


@pytest.mark.parametrize(("suffix", "begins"), BEGINNINGS.items())
def test_a_suffix_says_what_is_written(suffix: str, begins: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"tune{suffix.upper()}"
    formats.save(piece_of(note(0, 24)), path)
    assert path.read_bytes().startswith(begins)


def test_no_suffix_is_midi_and_a_kind_overrules_it(tmp_path: Path) -> None:
    piece = piece_of(note(0, 24))
    formats.save(piece, tmp_path / "tune")
    assert midi.read(tmp_path / "tune") == piece
    formats.save(piece, tmp_path / "tune.sound", "wav")
    assert (tmp_path / "tune.sound").read_bytes().startswith(b"RIFF")


def test_a_strange_suffix_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"tune.ogg: nothing is written as .ogg; use one of .mid"):
        formats.save(piece_of(note(0, 24)), tmp_path / "tune.ogg")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", formats.FORMATS)
def test_a_full_disk_raises_file_error_and_leaves_nothing(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    try:
        formats.check(kind)
    except RuntimeError as missing:
        pytest.skip(str(missing))
    monkeypatch.setattr("os.fsync", fill)
    path = tmp_path / f"tune{formats.FORMATS[kind].suffixes[0]}"
    with pytest.raises(FileError, match=r"tune.*: cannot be written: No space left on device"):
        formats.save(piece_of(note(0, 24)), path)
    assert not list(tmp_path.iterdir())
