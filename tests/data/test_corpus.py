"""Files to documents and parts, on files made here, good and bad."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generative.data import corpus
from generative.data.corpus import read_corpus, text_chunks
from generative.data.sources import find_files
from generative.data.split import held_out_pieces
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


def made(folder: Path, **links: str) -> Path:
    """A folder with a text and links in it."""
    folder.mkdir(parents=True)
    (folder / "a.txt").write_text(f"a text in {folder}")
    for name, target in links.items():
        (folder / name).symlink_to(target)
    return folder


def test_links_are_followed_and_each_real_file_comes_once(tmp_path: Path) -> None:
    made(tmp_path / "real")
    here = made(tmp_path / "c", linked="../real", a0="a.txt", gone="nowhere", loop="loop")
    inside = [here / "a.txt", here / "linked" / "a.txt"]
    assert find_files([here]) == inside
    assert find_files([f"{here}/**/*.txt"]) == inside
    assert find_files([f"{here}/**"]) == inside
    assert find_files([here, here / "a0", here / "a.txt", tmp_path / "real"]) == inside
    assert find_files([here / "a0", here / "a.txt"]) == [here / "a0"]  # the first that was named
    (here / "b.txt").hardlink_to(here / "a.txt")
    assert find_files([here]) == inside


def test_links_that_lead_back_end(tmp_path: Path) -> None:
    here = made(tmp_path / "c", up="..", self=".", again=".")
    inner = made(here / "inner", top="../..")
    for source in (str(here), f"{here}/**/*.txt", f"{here}/**/**/*.txt", f"{tmp_path}/*/**/*.txt"):
        assert sorted(find_files([source])) == [here / "a.txt", inner / "a.txt"]


def test_a_model_folder_is_no_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = made(tmp_path / "c")
    contents = {
        "whole": ["config.json", "model.safetensors", "README.md", "tokens/train.ids"],
        "begun": ["config.json", "tokenizer.json", "tokens/store.json", "tokens/train.ids"],
        "resume": ["step-000000002.safetensors", "step.txt"],
        "sub/tokens": ["store.json", "note.txt"],
    }
    for folder, names in contents.items():
        for name in names:
            (here / folder / name).parent.mkdir(parents=True, exist_ok=True)
            (here / folder / name).write_text(f"{folder} {name}")
    monkeypatch.chdir(here)
    for source in (".", "**", "*", "**/*", "**/*.*", "*.txt", here, f"{here}/**/*"):
        assert [file.name for file in find_files([source])] == ["a.txt"]
    with pytest.raises(CorpusError, match="no glob matches"):
        find_files(["*/*.txt"])
    with pytest.raises(CorpusError, match="no files in whole; a model folder is no corpus"):
        find_files(["whole"])
    with pytest.raises(CorpusError, match="no files in resume, sub/tokens; a model folder"):
        find_files(["resume", "sub/tokens"])
    assert find_files(["whole/README.md", "whole/*.json"]) == [
        Path("whole/README.md"), Path("whole/config.json"),
    ]  # fmt: skip
    (here / "whole" / "mine.txt").write_text("what one trains on beside the model")
    assert find_files(["whole"]) == [Path("whole/mine.txt")]


def test_folders_named_like_ours_are_a_corpus(tmp_path: Path) -> None:
    for name in ("resume/cv.txt", "tokens/coins.txt", "sub/config.json"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(name)
    assert len(find_files([tmp_path])) == 3


def test_marks_in_the_middle_go(tmp_path: Path) -> None:
    path = tmp_path / "joined.txt"
    path.write_bytes("\ufeffone\n\ufefftwo".encode())
    assert corpus.read_text(path) == "one\ntwo"


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("text", ["to be, or not to be\n", "быть, или не быть: 12\n"])
def test_wide_text_without_a_mark_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, encoding: str, text: str
) -> None:
    path = tmp_path / "wide.txt"
    path.write_bytes((text * 9).encode(encoding))
    for _ in range(2):  # it is read several times, and said once
        corpus.read_text(path)
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: looks like {encoding}: if it is, say so with --encoding {encoding}"
    ]
    caplog.clear()
    assert corpus.read_text(path, encoding) == text * 9
    assert not caplog.records
    path.write_bytes(("né " * 9).encode(encoding))
    with pytest.raises(CorpusError, match=f"it looks like {encoding}: say so with --encoding"):
        corpus.read_text(path)


@pytest.mark.parametrize("content", [b"a\0b\0\0c\0\0d" * 9, b"name\0other\0third\0" * 9, b"\0"])
def test_other_text_with_zeros_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    assert corpus.read_text(tmp_path / "a.txt").encode() == content
    assert not caplog.records


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        (gzip.compress(b"text", mtime=0), "compressed (gzip): unpack it into a pipe: zcat"),
        (bz2.compress(b"text"), "compressed (bzip2): unpack it into a pipe: bzcat"),
        (bz2.compress(b""), "bzcat"),
        (lzma.compress(b"text"), "compressed (xz): unpack it into a pipe: xzcat"),
        (b"PK\x03\x04 and more", "unzip -p"),
        (bytes.fromhex("28b52ffd") + b"more", "zstdcat"),
    ],
    ids=["gzip", "bzip2", "empty bzip2", "xz", "zip", "zstd"],  # gzip holds the time
)
def test_compressed_text_is_refused_with_what_unpacks_it(
    tmp_path: Path, content: bytes, advice: str
) -> None:
    path = tmp_path / "a b"
    path.write_bytes(content)
    with pytest.raises(CorpusError) as refused:
        read_corpus([path], encoding="latin-1")
    assert f"{path}: compressed" in str(refused.value)
    assert advice in str(refused.value)
    assert f" '{path}' | generate train -" in str(refused.value)


def test_text_that_begins_like_a_compressed_file_is_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("BZh9 is how bzip2 begins; PK, too, is no zip")
    assert corpus.read_text(tmp_path / "a.txt").startswith("BZh9")


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
        assert "".join(text_chunks(path, encoding)) == text.replace("\ufeff", "")


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
