"""Files to documents and parts, on files made here, good and bad."""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generative import corpus
from generative.corpus import (
    find_files,
    held_out_pieces,
    read_corpus,
    text_chunks,
)
from generative.errors import CorpusError
from tests.conftest import TUNES, data


def test_folders_are_sorted_and_hidden_files_left_out(tmp_path: Path) -> None:
    for name in ("b.txt", "a/c.txt", ".hidden", ".git/config"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    names = [document.content for document in read_corpus([tmp_path]).documents]
    assert names == ["a/c.txt", "b.txt"]
    assert find_files([str(tmp_path / "*.txt")]) == [tmp_path / "b.txt"]


def test_line_ends_stay_and_a_mark_goes(tmp_path: Path) -> None:
    path = tmp_path / "dos.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\ntwo\r")
    assert read_corpus([path]).documents[0].content == "one\r\ntwo\r"


def test_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("né".encode())))
    assert read_corpus(["-"]).documents[0].content == "né"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("né".encode("latin-1"), r"not utf-8: byte 0xe9 at offset 1; .*--encoding"),
        ("né".encode("utf-16"), "looks like utf-16: say so with --encoding utf-16"),
        (b"", "empty"),
    ],
)
def test_bad_text_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.txt"
    path.write_bytes(content)
    with pytest.raises(CorpusError, match=message):
        read_corpus([path])


def test_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "old.txt"
    path.write_bytes("né".encode("latin-1"))
    assert read_corpus([path], encoding="latin-1").documents[0].content == "né"
    with pytest.raises(CorpusError, match="unknown encoding 'klingon'"):
        read_corpus([path], encoding="klingon")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_utf_16_without_its_mark_is_refused(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("né".encode(f"{encoding}-le"))
    with pytest.raises(CorpusError, match=f"BOM; say --encoding {encoding}-le or {encoding}-be"):
        read_corpus([path], encoding=encoding)


def test_missing_files_and_empty_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"nowhere\.txt: no such file"):
        read_corpus([tmp_path / "nowhere.txt"])
    with pytest.raises(CorpusError, match="no files in"):
        read_corpus([tmp_path])


def test_music_and_text_do_not_mix(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "b.mid").write_bytes(next(TUNES.glob("*.mid")).read_bytes())
    with pytest.raises(CorpusError, match=r"both music .*b\.mid.* and text .*a\.txt"):
        read_corpus([tmp_path])
    assert len(read_corpus([tmp_path], kind="music").documents) == 1
    assert len(read_corpus([tmp_path], kind="text").documents) == 1


def test_unreadable_music_is_skipped_and_listed(tmp_path: Path) -> None:
    (tmp_path / "good.mid").write_bytes(next(TUNES.glob("*.mid")).read_bytes())
    (tmp_path / "bad.mid").write_bytes(b"not MIDI")
    read = read_corpus([tmp_path])
    assert [Path(d.name).name for d in read.documents] == ["good.mid"]
    ((file, reason),) = read.skipped
    assert file.endswith("bad.mid")
    assert reason
    with pytest.raises(CorpusError, match="none of 1 MIDI files can be read"):
        read_corpus([tmp_path / "bad.mid"])


@given(text=st.text(), encoding=st.sampled_from(["utf-8", "utf-16", "gb18030"]))
def test_text_is_read_in_stretches_without_loss(text: str, encoding: str) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus, "CHUNK_BYTES", 3)  # shorter than many a character
        path = Path(folder) / "a.txt"
        path.write_bytes(text.encode(encoding))
        assert "".join(text_chunks(path, encoding)) == text.removeprefix("\ufeff")


def test_a_bad_byte_is_found_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "CHUNK_BYTES", 3)
    (tmp_path / "a.txt").write_bytes("né né ".encode() + b"\xc3n")
    with pytest.raises(CorpusError, match="byte 0xc3 at offset 8"):
        list(text_chunks(tmp_path / "a.txt"))


def test_music_is_split_by_file() -> None:
    assert len(held_out_pieces(30, seed=1)) == 3
    assert held_out_pieces(30, seed=1) <= set(range(30))
    assert held_out_pieces(30, seed=1) != held_out_pieces(30, seed=2)
    assert held_out_pieces(1) == set()


def test_files_in_other_encodings_are_refused_by_byte() -> None:
    for file in sorted(data("text/encodings_not_utf8").iterdir()):
        if "Unicode" in file.name:
            continue  # Hungarian_Magyar-Unicode is within UTF-8 or marked; tested above
        with pytest.raises(CorpusError, match=r"not utf-8: byte 0x[0-9a-f]{2} at offset \d+"):
            read_corpus([file])
