"""Tokens on disk: what was written is read, and what is damaged or stale is not."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import sys
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from generative import checkpoint, files
from generative.checkpoint import CheckpointError
from generative.data import ingest, parallel, store
from generative.data.request import Request, make_request
from generative.data.store import StoreWriter, documents_of, open_store
from generative.errors import CorpusError, FileError
from generative.model.config import ModelConfig
from tests.conftest import TUNES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

START = 300


def written(folder: Path, **parts: list[list[int]]) -> store.TokenStore:
    with StoreWriter(folder, vocab_size=301, start_id=START, key="k") as writer:
        for part, documents in parts.items():
            for document in documents:
                half = len(document) // 2
                writer.append(part, np.array(document[:half], dtype=int), begins_document=True)
                writer.append(part, np.array(document[half:], dtype=int), begins_document=False)
        return writer.close({"who": "test"})


def test_documents_come_back_with_start_tokens_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "CHUNK_TOKENS", 2)
    written(tmp_path, train=[[1, 2, 3], [4]], held_out=[[5, 5]])
    found = open_store(tmp_path, "k")
    assert found is not None
    assert found.stream("train").tolist() == [START, 1, 2, 3, START, 4, START]
    assert [d.tolist() for d in found.documents("train")] == [[1, 2, 3], [4]]
    assert found.stream("train").dtype == np.uint16
    assert found.parts["held_out"].tokens == 2
    assert found.counts("held_out", 301)[5] == 2
    assert found.notes == {"who": "test"}
    assert list(documents_of(np.zeros(0, dtype=int), START)) == []


def test_an_empty_part_is_an_empty_stream(tmp_path: Path) -> None:
    assert written(tmp_path, train=[[1]]).stream("held_out").shape == (0,)


@pytest.mark.parametrize("file", ["train.ids", "held_out.ids", "store.json"])
def test_a_store_that_is_not_whole_is_none(tmp_path: Path, file: str) -> None:
    written(tmp_path, train=[[1, 2]], held_out=[[3]])
    assert open_store(tmp_path, "another key") is None
    data = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(data.replace(b"1", b"2", 1) if b"1" in data else data[:-1])
    assert open_store(tmp_path) is None
    (tmp_path / file).unlink()
    assert open_store(tmp_path) is None


def test_a_store_that_says_other_than_its_ids_is_none(tmp_path: Path) -> None:
    folder = tmp_path / "tokens"
    path = folder / "store.json"

    def opened(change: Callable[[dict[str, Any]], object]) -> store.TokenStore | None:
        written(folder, train=[[1, 2], [2]], held_out=[[3]])
        values = files.read_json(path)
        del values[files.CHECKSUM_KEY]
        change(values)
        files.write_sealed_json(path, values)
        return open_store(folder)

    def set_(name: str, value: object) -> store.TokenStore | None:
        return opened(lambda values: values.update({name: value}))

    def of_train(name: str, value: object) -> store.TokenStore | None:
        return opened(lambda values: values["parts"]["train"].update({name: value}))

    assert opened(lambda _: None) is not None
    for dtype in ("|O", "O", "<u4", "<f2", "S2", "<u9", ""):
        assert set_("dtype", dtype) is None
    for start in (-1, 2, 1 << 62, 299, "300", None, True):
        assert set_("start_id", start) is None
    for name, value in (("labels", "ab"), ("labels", [1]), ("notes", []), ("key", 1), ("more", 1)):
        assert set_(name, value) is None
    for count in (0, 1, 3, -1, 1 << 53, (1 << 63) - 1, 2.0, "2"):
        assert of_train("documents", count) is None
    for counts in ({"1": 1, "2": 1}, {"1": 1, "2": 2, "-1": 1}, {"1": 1, "2": 2, str(1 << 40): 1}):
        assert of_train("counts", counts) is None
    assert of_train("tokens", 4) is None
    assert of_train("labels", [0, 0]) is None  # the store has none
    secret = {"documents": 0, "tokens": 0, "counts": {}, "sha256": hashlib.sha256().hexdigest()}
    assert opened(lambda values: values["parts"].update({"../secret": secret})) is None
    assert opened(lambda values: values["parts"].pop("train")) is None


def test_ids_beyond_the_tokenizer_are_not_used(tmp_path: Path, rhyme: Path) -> None:
    folder = tmp_path / "model"
    asked = make_request(
        [rhyme], tokenizer="byte", vocab_size=None, encoding="utf-8", held_out=(), seed=0
    )
    made, _ = ingest.ingest(asked, folder, use_tokenizer=False)
    checkpoint.save_description(folder, ModelConfig(vocab_size=made.vocab_size), made, {})
    found = open_store(folder / "tokens")
    assert found is not None
    with StoreWriter(folder / "tokens", vocab_size=999, start_id=256, key=found.key) as writer:
        writer.append("train", np.array([998]), begins_document=True)
        writer.close(found.notes)
    _, tokens = ingest.ingest(asked, folder, use_tokenizer=True)
    assert tokens.largest_id == 256  # read anew
    with StoreWriter(folder / "tokens", vocab_size=257, start_id=256, key=found.key) as writer:
        writer.append("train", np.array([65]), begins_document=True)
        writer.close({"tokenizer": found.notes["tokenizer"]})  # the other notes are missing
    _, tokens = ingest.ingest(asked, folder, use_tokenizer=True)
    assert tokens.notes == found.notes


def test_a_run_that_ended_before_its_config_was_written_begins_anew(
    tmp_path: Path, rhyme: Path
) -> None:
    folder = tmp_path / "model"
    asked = make_request(
        [rhyme], tokenizer="char", vocab_size=None, encoding="utf-8", held_out=(), seed=0
    )
    made, tokens = ingest.ingest(asked, folder, use_tokenizer=False)
    (folder / "tokenizer.json").write_bytes(files.json_bytes(made.to_config()))
    again, found = ingest.ingest(asked, folder, use_tokenizer=False)
    assert again.to_config() == made.to_config()
    assert found.parts == tokens.parts


def test_a_writer_that_fails_leaves_no_store(tmp_path: Path) -> None:
    written(tmp_path, train=[[1]])
    with (
        pytest.raises(FileError, match="cannot be written: No space"),
        StoreWriter(tmp_path, vocab_size=3, start_id=0, key="k"),
    ):
        raise OSError(28, "No space left on device")
    assert open_store(tmp_path) is None


def asked(*files: Path, **changes: Any) -> Request:
    options: dict[str, Any] = {
        "tokenizer": "auto",
        "vocab_size": None,
        "encoding": "utf-8",
        "held_out": (),
        "seed": 0,
    }
    return make_request(files, **{**options, **changes})


def test_the_last_tenth_of_the_characters_is_held_out(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("née " * 20, encoding="utf-8")
    (tmp_path / "b.txt").write_text("été " * 5, encoding="utf-8")
    request = asked(tmp_path / "a.txt", tmp_path / "b.txt")
    tokenizer, found = ingest.ingest(request, tmp_path / "model", use_tokenizer=False)
    train, held_out = (
        [tokenizer.decode(d.tolist()) for d in found.documents(part)] for part in store.PARTS
    )
    assert train == ["née " * 20, "été " * 2 + "ét"]
    assert held_out == ["é " + "été " * 2]


def test_stretches_and_processes_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "one ünt two 🎵 three\n" * 50
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    request = asked(tmp_path / "a.txt")
    _, whole = ingest.ingest(request, tmp_path / "whole", use_tokenizer=False)
    monkeypatch.setattr("generative.data.corpus.CHUNK_BYTES", 7)
    monkeypatch.setattr(ingest, "PARALLEL_CHARS", 1)
    monkeypatch.setattr(parallel, "available_cores", lambda: 2)
    tokenizer, parts = ingest.ingest(request, tmp_path / "parts", use_tokenizer=False)
    assert parts.parts == whole.parts
    assert (
        "".join(str(tokenizer.decode(d.tolist())) for p in store.PARTS for d in parts.documents(p))
        == text
    )


def test_unchanged_files_are_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from generative import checkpoint
    from generative.model.config import ModelConfig

    file, folder = tmp_path / "a.txt", tmp_path / "model"
    file.write_text("some text " * 10)
    tokenizer, first = ingest.ingest(asked(file), folder, use_tokenizer=False)
    config = ModelConfig(vocab_size=tokenizer.vocab_size)
    checkpoint.save_description(folder, config, tokenizer, {})
    with monkeypatch.context() as patch:
        patch.setattr("generative.data.corpus.text_chunks", None)  # any reading would fail
        _, again = ingest.ingest(asked(file), folder, use_tokenizer=False)
    assert again == first
    file.write_text("other text " * 10)
    _, other = ingest.ingest(asked(file), folder, use_tokenizer=False)
    assert other.parts != first.parts
    assert ingest.load_ingested(folder)[1] == other
    shutil.rmtree(folder / store.FOLDER)
    with pytest.raises(CheckpointError, match="all processes of a run must see one folder"):
        ingest.load_ingested(folder)


def test_music_is_read_by_files_and_what_cannot_be_is_noted(tmp_path: Path) -> None:
    (tmp_path / "bad.mid").write_bytes(b"no music")
    request = asked(TUNES, tmp_path / "bad.mid")
    _, found = ingest.ingest(request, tmp_path / "model", use_tokenizer=False)
    assert found.parts["train"].documents + found.parts["held_out"].documents == 12
    ((file, reason),) = found.notes["skipped"]
    assert file.endswith("bad.mid")
    assert "MIDI" in reason
    with pytest.raises(CorpusError, match="none of 1 MIDI files can be read"):
        ingest.ingest(asked(tmp_path / "bad.mid"), tmp_path / "none", use_tokenizer=False)


def test_stdin_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("né ".encode() * 10)))
    tokenizer, found = ingest.ingest(
        make_request(
            ["-"], tokenizer="auto", vocab_size=None, encoding="utf-8", held_out=(), seed=0
        ),
        tmp_path / "model",
        use_tokenizer=False,
    )
    assert tokenizer.decode(next(found.documents("train")).tolist()) == "né " * 9


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such pipes")
def test_pipes_of_one_name_keep_their_texts_and_labels(tmp_path: Path) -> None:
    pipes = [tmp_path / folder / "pipe" for folder in "ab"]
    for pipe in pipes:
        pipe.parent.mkdir()
        os.mkfifo(pipe)
    writers = [
        threading.Thread(target=pipe.write_text, args=(pipe.parent.name * 50,)) for pipe in pipes
    ]
    for writer in writers:
        writer.start()
    asked = make_request(
        pipes, tokenizer="char", vocab_size=None, encoding="utf-8", held_out=(), seed=0,
        styles={str(pipe): pipe.parent.name for pipe in pipes},
    )  # fmt: skip
    made, tokens = ingest.ingest(asked, tmp_path / "m", use_tokenizer=False)
    assert [str(made.decode(ids.tolist()))[:1] for ids in tokens.documents("train")] == ["a", "b"]
    assert (tokens.labels, tokens.parts["train"].labels) == (("a", "b"), (1, 2))


def test_a_file_reads_stretches_of_the_stream(tmp_path: Path) -> None:
    with StoreWriter(tmp_path, vocab_size=300, start_id=0, key="") as writer:
        writer.append("train", np.arange(1, 200), begins_document=True)
        writer.append("train", np.arange(200, 300), begins_document=True)
        tokens = writer.close(notes={})
    stream, file = tokens.stream("train"), tokens.file("train")
    assert len(file) == len(stream) == 302
    for stretch in (slice(0, 1), slice(7, 250), slice(290, 400), slice(302, 400), slice(None)):
        assert np.array_equal(file[stretch], stream[stretch])
        assert file[stretch].dtype == stream.dtype
