"""Standard input is read once, looked at before, and said to be waited for."""

from __future__ import annotations

import io
import os
import sys
import threading
import time
from typing import BinaryIO, cast

import pytest

from generative.data import corpus, sources
from generative.errors import CorpusError, FileError, OptionError
from generative.files import stdin
from generative.files.stdin import Stdin
from tests.conftest import TUNES


class Slow(io.RawIOBase):
    """Gives a few bytes at a time, as a pipe may."""

    def __init__(self, parts: list[bytes], seconds: float = 0.0) -> None:
        self._parts, self._seconds = list(parts), seconds

    def read(self, _: int = -1) -> bytes:
        time.sleep(self._seconds)
        return self._parts.pop(0) if self._parts else b""


def test_the_beginning_is_seen_and_still_read() -> None:
    found = Stdin(cast("BinaryIO", Slow([b"M", b"Thd", b"more", b"rest"])))
    assert found.head(4) == b"MThd"
    assert found.head(2) == b"MT"
    assert found.head(6) == b"MThdmo"
    with found.open() as file:
        assert file.read(5) == b"MThdm"
        assert file.read() == b"orerest"
    with pytest.raises(OptionError, match="only once"):
        found.open()


def test_less_than_was_asked_for_is_all() -> None:
    found = Stdin(io.BytesIO(b"ab"))
    assert found.head(9) == b"ab"
    assert found.open().read() == b"ab"


def test_a_line_says_what_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = threading.active_count()
    monkeypatch.setattr(stdin, "WAIT_SECONDS", 0.05)
    assert Stdin(cast("BinaryIO", Slow([b"a", b"b"], 0.3))).open("the prompt").read() == b"ab"
    assert [record.getMessage() for record in caplog.records] == [
        "reading the prompt from stdin ...; Ctrl-D ends it"
    ]
    caplog.clear()
    assert Stdin(io.BytesIO(b"at once")).open("the prompt").read() == b"at once"
    time.sleep(0.1)
    assert not caplog.records
    assert threading.active_count() <= before


def test_a_closed_stdin_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(FileError, match="stdin is closed"):
        stdin.standard_input()
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as file:
        broken = Stdin(cast("BinaryIO", io.FileIO(file.fileno(), "w", closefd=False)))
        with pytest.raises((FileError, io.UnsupportedOperation)):
            broken.head(1)


def test_midi_and_text_are_told_apart_by_how_they_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    tune = (TUNES / "slow_tide.mid").read_bytes()
    riff = b"RIFF\x00\x00\x00\x00RMIDdata\x00\x00\x00\x00" + tune
    for content, kind in ((tune, "music"), (riff, "music"), (b"MThd is a mark", "text")):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        read = corpus.read_corpus(["-"])
        assert (read.kind, len(read.documents)) == (kind, 1)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(tune)))
    with pytest.raises(CorpusError, match="stdin holds MIDI"):
        corpus.read_corpus(["-"], kind="text")
    with pytest.raises(OptionError, match="only once"):
        sources.find_files(["-", "-"])
