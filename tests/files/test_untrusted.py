"""A model folder from a stranger, with checksums that match, can at worst be refused."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from generative import checkpoint, engine, files
from generative.checkpoint import CheckpointError
from generative.errors import FileError
from generative.files import untrusted
from generative.model.cell_specs import CELL_SPECS
from generative.model.cells import CELLS
from generative.model.config import MAX_PARAMETERS, ModelConfig
from generative.model.language_model import LanguageModel
from generative.tokenizers.byte import ByteTokenizer
from generative.tokenizers.char import CharTokenizer
from generative.tokenizers.subword import SentencePieceTokenizer
from tests.conftest import ONE_THREAD

CONFIG = ModelConfig(vocab_size=257, embedding_size=3, hidden_size=3, tied=True)
if TYPE_CHECKING:
    from pathlib import Path

RUN = "import sys; from generative.cli.main import main; main(sys.argv[1:])"
Change = dict[str, Any]


def weights(config: ModelConfig = CONFIG) -> files.Arrays:
    rng = np.random.default_rng(0)
    arrays = {n: rng.normal(size=s).astype(np.float32) for n, s in config.shapes().items()}
    arrays["output.weight"] = arrays["embedding.weight"]
    return arrays


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "model"
    checkpoint.save_description(path, CONFIG, ByteTokenizer(), {"corpus": {"documents": 1}})
    checkpoint.save_weights(path, weights())
    checkpoint.load(path)
    return path


def change_config(folder: Path, change: Change) -> None:
    """Replace values of config.json, one inside "model" by "model.name", and seal it."""
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    del values[files.CHECKSUM_KEY]
    for key, value in change.items():
        outer, _, inner = key.partition(".")
        if inner:
            values[outer][inner] = value
        else:
            values[outer] = value
    files.write_sealed_json(folder / "config.json", values)


def replace_file(folder: Path, name: str, data: bytes) -> None:
    """Replace a file that config.json has the checksum of, with its checksum."""
    (folder / name).write_bytes(data)
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    change_config(folder, {"files": {**values["files"], name: files.sha256(data)}})


@pytest.mark.parametrize(
    ("cell", "tied", "labels"),
    list(itertools.product(CELL_SPECS, [False, True], [(), ("a", "b")])),
)
def test_shapes_are_those_of_the_torch_model(
    cell: str, tied: bool, labels: tuple[str, ...]
) -> None:
    config = ModelConfig(
        vocab_size=9,
        cell=cell,
        embedding_size=3,
        hidden_size=3 if tied else 4,
        num_layers=2,
        tied=tied,
        labels=labels,
    )
    state = LanguageModel(config).state_dict()
    assert config.shapes() == {name: tuple(tensor.shape) for name, tensor in state.items()}
    assert set(CELL_SPECS) == set(CELLS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model.vocab_size": 1 << 40}, "vocab_size must be at most"),
        ({"model.vocab_size": 10**4000}, "vocab_size must be at most"),
        ({"model.vocab_size": 257.0}, "vocab_size must be of type int"),
        ({"model.vocab_size": True}, "vocab_size must be of type int"),
        ({"model.hidden_size": 1 << 20}, "hidden_size must be at most"),
        ({"model.num_layers": 10**6}, "num_layers must be at most"),
        ({"model.dropout": float("nan")}, "dropout must be in"),
        ({"model.tied": 1}, "tied must be of type bool"),
        ({"model.labels": [1]}, "labels must be names"),
        ({"model.labels": "ab"}, "labels must be of type"),
        ({"model.labels": [str(n) for n in range(70_000)]}, "at most 65,536 labels"),
        ({"model.cell": "mystery"}, "unknown cell"),
        ({"model.hidden_size": 4, "model.tied": False}, "has the shape"),
        ({"model": [1]}, "model"),
        ({"files": ["tokenizer.json"]}, "no checksum of tokenizer.json"),
        ({"files": {}}, "no checksum of tokenizer.json"),
        ({"corpus": {"documents": "many"}}, "'corpus' is nothing that training notes"),
        ({"scores": {"held_out": {"nats": 1.0}}}, "'scores' is nothing"),
        ({"recipe": {"budget": {"unit": "steps"}}}, "'recipe' is nothing"),
        ({"path": "/etc"}, "'path' is nothing"),
    ],
)
def test_a_config_that_asks_for_too_much_or_nonsense(
    folder: Path, change: Change, message: str
) -> None:
    change_config(folder, change)
    with pytest.raises(CheckpointError, match=message) as caught:
        checkpoint.load(folder)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_models_parameters_are_bounded_together() -> None:
    with pytest.raises(ValueError, match=f"at most {MAX_PARAMETERS:,} are possible"):
        ModelConfig(vocab_size=1 << 20, embedding_size=1 << 12)


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/hostname", "a/../../secret", "..", "a\\b", ".hidden", "C:x", ""]
)
def test_no_name_of_a_file_leads_out_of_the_folder(folder: Path, name: str) -> None:
    (folder.parent / "secret").write_bytes(b"secret")
    files_ = json.loads((folder / "config.json").read_text(encoding="utf-8"))["files"]
    change_config(folder, {"files": {**files_, name: files.sha256(b"secret")}})
    with pytest.raises(CheckpointError, match="is no name of a file in the folder"):
        checkpoint.load(folder)


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
@pytest.mark.parametrize(
    "name", ["tokenizer.model", "README.md", "model.safetensors", "tokens", "resume/step-1"]
)
def test_no_link_leads_out_of_the_folder(folder: Path, name: str) -> None:
    (folder.parent / "secret").write_bytes(b"secret")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to("../secret" if "/" not in name else "../../secret")
    for read in (checkpoint.load, checkpoint.read_config, checkpoint.load_tokenizer):
        with pytest.raises(CheckpointError, match=f"{name} is a link that leads out"):
            read(folder)


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_links_within_a_folder_and_to_it_are_followed(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "best.safetensors")
    (folder / "model.safetensors").symlink_to("best.safetensors")
    (folder.parent / "alias").symlink_to(folder)
    assert checkpoint.load(folder.parent / "alias").config == CONFIG


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
@pytest.mark.parametrize("name", ["tokenizer.json", "model.safetensors"])
def test_a_pipe_is_not_waited_for(folder: Path, name: str) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(CheckpointError, match="not a regular file"):
        checkpoint.load(folder)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"[" * 100_000, "nested deeper than 32"),
        (b'{"a":' * 33 + b"1" + b"}" * 33, "nested deeper than 32"),
        (b'{"a": [' + b"[]," * 100_000 + b"[]]}", "more than 100,000 lists"),
        (b'{"a": "\\ud800"}', "lone surrogate"),
        (b'{"a": ' + b"9" * 5000 + b"}", "Exceeds the limit"),
        (b"\xff", "utf-8"),
        (b"[]", "not a JSON object"),
        (b"", "Expecting value"),
    ],
)
def test_json_is_bounded_before_it_is_parsed(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(data)
    with pytest.raises(FileError, match=message):
        files.read_json(path)


def test_json_up_to_the_bounds_is_read(tmp_path: Path) -> None:
    brackets = '["[[[[{{{{" ]\\" }\\\\'
    assert untrusted.parse_json(json.dumps({"a": brackets * 50}).encode()) == {"a": brackets * 50}
    deep = b'{"a":' * 32 + b"1" + b"}" * 32
    assert list(untrusted.parse_json(deep)) == ["a"]
    path = tmp_path / "large.json"
    path.write_bytes(b" " * 100)
    with pytest.raises(FileError, match="100 bytes; at most 99 are read"):
        files.read_json(path, 99)


def test_the_scan_takes_no_longer_than_the_file() -> None:
    with pytest.raises(ValueError, match="Unterminated"):
        untrusted.parse_json(b'"' + b'\\"' * 1_000_000)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers.0.bias": None}, "arrays that are missing: layers.0.bias"),
        ({"more": np.zeros(2, "f4")}, "arrays that are not known: more"),
        ({"layers.0.bias": np.zeros((12, 1), "f4")}, r"shape \(12, 1\), not \(12,\)"),
        ({"layers.0.bias": np.zeros(12, "f8")}, "type F64, not F32 or F16"),
        ({"layers.0.bias": np.zeros(12, "i4")}, "type I32"),
        ({"layers.0.bias": np.full(12, np.nan, "f4")}, "not finite in layers.0.bias"),
        ({"layers.0.bias": np.full(12, -np.inf, "f2")}, "not finite in layers.0.bias"),
        ({"layers.0.bias": np.full(12, -1e7, "f4")}, "a number beyond 1,000,000"),
        ({"output.weight": np.zeros((257, 3), "f4")}, "tied matrices of the model differ"),
    ],
)
def test_weights_are_those_that_the_config_asks_for(
    folder: Path, change: Change, message: str
) -> None:
    arrays = {k: v for k, v in {**weights(), **change}.items() if v is not None}
    checkpoint.save_weights(folder, arrays)
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(folder)


@pytest.mark.parametrize("length", [1 << 60, (1 << 64) - 1, 17 << 20, 10_000])
def test_a_headers_length_is_checked_before_it_is_read(folder: Path, length: int) -> None:
    (folder / "model.safetensors").write_bytes(length.to_bytes(8, "little") + b"{}")
    with pytest.raises(CheckpointError, match=f"a header of {length:,} bytes"):
        checkpoint.load(folder)


def test_the_largest_weights_give_finite_logits_without_a_warning(folder: Path) -> None:
    largest = {n: np.full_like(a, checkpoint.MAX_WEIGHT) for n, a in weights().items()}
    checkpoint.save_weights(folder, largest)
    found = checkpoint.load(folder)
    for precision in ("float32", "int8"):
        stepper = engine.build(CONFIG, found.weights, precision=precision)
        logits, _ = stepper.step(np.array([1]), stepper.initial_state(1))
        assert np.isfinite(logits).all()
    halves = {n: a.astype(np.float16) for n, a in weights().items()}
    checkpoint.save_weights(folder, halves)
    assert checkpoint.load(folder).weights["output.bias"].dtype == np.float32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers.0.bias": np.zeros(3, "f4")}, "shape"),
        ({"output.weight": np.zeros((257, 3), "f4")}, "not known: output.weight"),
        ({"layers.0.bias": -np.ones(12, "f4")}, "below 0"),
        ({"layers.0.bias": np.full(12, np.inf, "f4")}, "not finite"),
    ],
)
def test_statistics_are_of_the_model(folder: Path, change: Change, message: str) -> None:
    whole = {n: np.abs(a) for n, a in weights().items() if n != "output.weight"}
    checkpoint.save_statistics(folder, whole)
    found = checkpoint.load(folder)
    assert found.statistics() is not None
    checkpoint.save_statistics(folder, {**whole, **change})
    with pytest.raises(CheckpointError, match=message):
        found.statistics()


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ([], "not a JSON object"),
        ({"type": "char", "chars": ["é"]}, "chars must be a text"),
        ({"type": "char", "chars": "éé"}, "distinct"),
        ({"type": "char"}, "incomplete"),
        ({"type": "sentencepiece", "model_file": "../tokenizer.model"}, "model_file must be"),
        ({"type": "sentencepiece", "model_file": ["a"]}, "model_file must be"),
        ({"type": "music", "controls": 3}, "controls must be"),
        ({"type": "music", "controls": [[1]]}, "controls must be"),
        ({"type": "music", "grid": {}}, "grid must be"),
        ({"type": "x" * 1000}, "unknown tokenizer 'xxx"),
    ],
)
def test_a_tokenizers_description_is_checked(folder: Path, description: Any, message: str) -> None:
    replace_file(folder, "tokenizer.json", json.dumps(description).encode())
    with pytest.raises(CheckpointError, match=message) as caught:
        checkpoint.load(folder)
    assert len(str(caught.value)) < 500


def test_characters_may_be_any_number(folder: Path) -> None:
    tokenizer = CharTokenizer("".join(map(chr, range(0xA0, 0x3000))))
    replace_file(folder, "tokenizer.json", files.json_bytes(tokenizer.to_config()))
    assert checkpoint.load_tokenizer(folder).vocab_size == tokenizer.vocab_size


@pytest.fixture(scope="module")
def sentencepiece_model() -> bytes:
    made = SentencePieceTokenizer.train(["some words and more words. " * 100], vocab_size=290)
    return made.files()["tokenizer.model"]


def test_a_sentencepiece_model_is_written_anew_and_means_the_same(
    sentencepiece_model: bytes,
) -> None:
    import sentencepiece

    from generative.tokenizers.sentencepiece_model import read, rebuilt

    anew = rebuilt(sentencepiece_model)
    assert rebuilt(anew) == anew
    theirs, ours = (
        sentencepiece.SentencePieceProcessor(model_proto=model)
        for model in (sentencepiece_model, anew)
    )
    assert [p.text for p in read(sentencepiece_model)] == [
        theirs.id_to_piece(i) for i in range(theirs.vocab_size())
    ]
    text = "some more  words, é and\tsword\n"
    assert theirs.encode(text) == ours.encode(text)
    assert (ours.bos_id(), ours.unk_id(), ours.vocab_size()) == (1, 0, theirs.vocab_size())


@pytest.mark.parametrize(
    ("addition", "message"),
    [
        (b"\x0a\x03\x0a\x01\xff", "utf-8"),  # a piece that is no text
        (b"\x0a\x00", "a piece twice, or an empty one"),
        (b"\x0a\x05\x0a\x03<s>", "a piece twice"),
        (b"\x0a\x06\x0a\x04zz\x00z", "a piece with a NUL"),
        (b"\x0a\x05\x0a\x01a\x18\x04", "no other special ones"),  # user-defined
        (b"\x0a\x09\x0a\x02zz\x15\x00\x00\xc0\x7f", "a score that is no number"),
        (b"\x1a\x03\x12\x01x", "other settings"),  # a character map, which is native code's
        (b"\x1a\x02\x20\x01", "other settings"),  # spaces are squeezed
        (b"\x12\x02\x18\x01", "other settings"),  # a unigram model
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "breaks off"),
        (b"\x0a\x80", "breaks off"),
        (b"\xff" * 20, "breaks off"),
        (b"\x0b", "not a sentencepiece model"),
        (b"\x0a\x00" * (1 << 18), "more than 262,144 pieces"),
        (b"\x00" * (9 << 20), "more than 8,388,608 bytes"),
    ],
)
def test_a_sentencepiece_model_that_was_not_made_here(
    sentencepiece_model: bytes, addition: bytes, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        SentencePieceTokenizer(sentencepiece_model + addition)


def test_garbage_is_no_sentencepiece_model(sentencepiece_model: bytes) -> None:
    for data in (b"", b"\x00", sentencepiece_model[7:], sentencepiece_model[:-9], bytes(1000)):
        with pytest.raises(ValueError, match="sentencepiece model"):
            SentencePieceTokenizer(data)


def test_the_command_refuses_a_folder_in_one_line(folder: Path) -> None:
    change_config(folder, {"model.vocab_size": 1 << 40})
    done = subprocess.run(
        [sys.executable, "-c", RUN, "text", "A", "-m", str(folder)],
        check=False,
        capture_output=True,
        text=True,
        env=ONE_THREAD,
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "vocab_size must be at most" in done.stderr
