"""Tiny model folders in memory, of which one file is replaced by what a stranger might put there.

Checksums are made anew, since they are no hindrance to strangers.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors
import safetensors.numpy

from generative import checkpoint, engine, files, tokenizers
from generative.files.arrays import checksum as arrays_checksum
from generative.files.arrays import safetensors_bytes
from generative.files.sealed import checksum as sealed_json_checksum
from generative.model.config import ModelConfig
from generative.ngram.counting import count
from generative.ngram.model import CountModel
from generative.ngram.symbols import NO_AXIS, symbols_of
from generative.ngram.trie import build
from generative.tokenizers.byte import ByteTokenizer
from generative.tokenizers.char import CharTokenizer
from generative.tokenizers.music.tokenizer import MusicTokenizer
from generative.tokenizers.subword import SentencePieceTokenizer
from tests.fuzz.entropy import Entropy, changed

if TYPE_CHECKING:
    from collections.abc import Callable

    from generative.checkpoint import Checkpoint

MEMORY = Path("/dev/shm")
HIDDEN = 4
LENGTH_BYTES = 8
DETAILS: dict[str, Any] = {
    "corpus": {
        "kind": "text",
        "documents": 2,
        "names": ["a.txt", "b.txt"],
        "skipped": 0,
        "train_tokens": 90,
        "held_out_tokens": 10,
        "licence": "not stated",
    },
    "recipe": {
        "training": {"batch_size": 2, "learning_rate": 0.1, "schedule": "cosine", "patience": None},
        "precision": "float32",
        "budget": {"unit": "steps", "amount": 4},
        "reason": "a reason",
        "launch": None,
    },
    "scores": {
        "steps": 4,
        "seconds": 0.5,
        "validation_loss": 2.5,
        "held_out": {
            "nats": 25.0,
            "tokens": 10,
            "chars": 10,
            "bytes": 10,
            "notes": None,
            "seconds": None,
        },
    },
}
# tokenizer -> what else its model is
KINDS: dict[str, dict[str, Any]] = {
    "char": {"labels": ("old", "new"), "num_layers": 2},
    "byte": {"cell": "gru", "tied": True},
    "music": {},
    "sentencepiece": {},
}
opened: list[str] = []  # by Python, since it was cleared


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and isinstance(arguments[0], str | bytes):
        opened.append(os.fsdecode(arguments[0]))


sys.addaudithook(_note)


def temporary() -> Path:
    """A folder that is gone with the process, in memory where that is possible."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir=MEMORY if MEMORY.is_dir() else None))
    owner = os.getpid()

    def remove() -> None:
        if os.getpid() == owner:
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder


def arrays_of(config: ModelConfig) -> dict[str, Any]:
    """Random weights of a shape."""
    rng = np.random.default_rng(0)
    arrays = {n: rng.normal(size=s).astype(np.float32) for n, s in config.shapes().items()}
    if config.tied:
        arrays["output.weight"] = arrays["embedding.weight"]
    return arrays


def counts_of(tokenizer: Any) -> CountModel:
    """Counts of random tokens, in steps of pitch where the tokenizer has pitches."""
    rng = np.random.default_rng(0)
    start, size = tokenizer.start_id, tokenizer.vocab_size
    axis = getattr(tokenizer, "augmentation_axes", {}).get("pitch", NO_AXIS)
    some = rng.choice([token for token in range(size) if token != start], size=9)
    stream = np.array([start, *rng.choice([*some, *axis[:3]], size=60), start])
    counted = count(symbols_of(stream, start, axis, size), start, 3)
    return CountModel.untrained(build(counted, 1000), size, axis)


@cache
def folder_of(kind: str) -> Path:
    """The folder of a whole tiny model with the tokenizer of that name."""
    makers: dict[str, Callable[[], Any]] = {
        "char": lambda: CharTokenizer("éß\u2581"),
        "byte": ByteTokenizer,
        "music": lambda: MusicTokenizer("performance", [1, 7]),
        "sentencepiece": lambda: SentencePieceTokenizer.train(["ab abc bc cab " * 40], 270),
    }
    made = makers[kind]()
    config = ModelConfig(
        vocab_size=made.vocab_size, embedding_size=HIDDEN, hidden_size=HIDDEN, **KINDS[kind]
    )
    folder = temporary()
    arrays = arrays_of(config)
    checkpoint.save_description(folder, config, made, DETAILS)
    checkpoint.save_weights(folder, arrays)
    learnt = set(arrays) - ({"output.weight"} if config.tied else set())
    checkpoint.save_statistics(folder, {name: np.abs(arrays[name]) for name in learnt})
    checkpoint.save_counts(folder, counts_of(made))
    check(loaded(folder))
    return folder


@cache
def original(folder: Path, name: str) -> bytes:
    """A file of a folder as it was before anything was replaced."""
    return (folder / name).read_bytes()


def sealed(value: dict[str, Any]) -> dict[str, Any]:
    """With its checksum."""
    rest = {key: item for key, item in value.items() if key != files.CHECKSUM_KEY}
    return {**rest, files.CHECKSUM_KEY: sealed_json_checksum(rest)}


def sealed_json(base: bytes, entropy: Entropy) -> bytes:
    """Changed JSON with its checksum, or bytes that are none."""
    if entropy.byte() % 2:
        data = entropy.rest()
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            return data
    else:
        value = changed(json.loads(base), entropy)
    try:
        return json.dumps(sealed(value) if isinstance(value, dict) else value).encode()
    except ValueError:  # a number of too many digits
        return b'{"format": 1, "model": ' + b"9" * 5000 + b"}"


def sealed_arrays(base: bytes, entropy: Entropy) -> bytes:
    """A changed safetensors file with its checksum, if it can be read at all."""
    way = entropy.byte() % 5
    if way == 4:
        return _other_arrays(base, entropy)
    data = entropy.rest() if way == 1 else base
    header, content = parted(data)
    if header is None:
        return data
    if way in (0, 2):
        header = changed(header, entropy)
    if way in (2, 3):
        content = _changed_numbers(content, entropy)
    return joined(header, content)


def parted(data: bytes) -> tuple[Any, bytes]:
    """Header and content of a safetensors file; None where it has no such header."""
    end = LENGTH_BYTES + int.from_bytes(data[:LENGTH_BYTES], "little")
    try:
        return json.loads(data[LENGTH_BYTES:end]), data[end:]
    except (ValueError, RecursionError):
        return None, b""


def joined(header: Any, content: bytes) -> bytes:
    """A safetensors file, sealed if it can be read."""
    try:
        text = json.dumps(header).encode()
    except ValueError:  # a number of too many digits
        text = b"9" * 5000
    made = len(text).to_bytes(LENGTH_BYTES, "little") + text + content
    try:
        arrays = safetensors.numpy.load(made)
        notes = {k: v for k, v in header["__metadata__"].items() if k != files.CHECKSUM_KEY}
        header["__metadata__"][files.CHECKSUM_KEY] = arrays_checksum(arrays, notes)
    except (ValueError, KeyError, TypeError, AttributeError, safetensors.SafetensorError):
        return made
    text = json.dumps(header).encode()
    return len(text).to_bytes(LENGTH_BYTES, "little") + text + content


def _other_arrays(base: bytes, entropy: Entropy) -> bytes:
    """A sound file in which arrays have other names, shapes or types, or are gone, or are more."""
    arrays = dict(safetensors.numpy.load(base))
    notes = {k: v for k, v in parted(base)[0]["__metadata__"].items() if k != files.CHECKSUM_KEY}
    for _ in range(1 + entropy.below(2)):
        name = entropy.pick(sorted(arrays))
        array = arrays[name]
        action = entropy.below(7)
        if action == 0:
            del arrays[name]
        elif action == 1:
            arrays[entropy.pick(("more", "", "layers.9.bias", "../x", "é"))] = array
        elif action == 2:
            arrays[name] = array.astype(entropy.pick(("f2", "f8", "i4", "u1", "?", "f4")))
        elif action == 3:
            arrays[name] = array.reshape(entropy.pick(((-1,), (1, -1), array.shape[::-1])))
        elif action == 4:
            arrays[name] = np.atleast_1d(array)[..., : entropy.below(3)]
        elif action == 5:
            arrays[name] = np.zeros((0, 1 << 40), dtype="f4")
        else:
            other = entropy.pick(sorted(arrays))
            arrays[name], arrays[other] = arrays[other], array
    ordered = dict(sorted(arrays.items()))
    return safetensors_bytes(
        ordered, {**notes, files.CHECKSUM_KEY: arrays_checksum(ordered, notes)}
    )


def _changed_numbers(content: bytes, entropy: Entropy) -> bytes:
    """Odd numbers at a few places."""
    changing = bytearray(content)
    odd = np.array([np.nan, np.inf, -np.inf, 3e38, -1e30, 1e6, 1e-45, 0.0], "<f4")
    for _ in range(1 + entropy.below(3)):
        at = 4 * (entropy.below(1 << 16) % max(1, len(content) // 4))
        changing[at : at + 4] = odd[entropy.below(len(odd))].tobytes()[: len(changing) - at]
    return bytes(changing)


def check_opened(folder: Path) -> None:
    """Assert that every file that was opened since `opened` was cleared lies in the folder."""
    root = os.path.realpath(folder)
    for path in opened:
        if not path.endswith((".py", ".pyc", ".so")):
            assert os.path.realpath(path).startswith(root), f"{path} is not in the folder"


@cache
def loaded(folder: Path) -> Checkpoint:
    """A folder as it was before anything was replaced."""
    return checkpoint.load(folder)


def check(found: Checkpoint) -> None:
    """Assert that what was loaded works: finite logits, tokens there and back."""
    config = found.config
    assert {name: array.shape for name, array in found.weights.items()} == config.shapes()
    assert found.tokenizer.vocab_size == config.vocab_size
    if config.hidden_size * config.vocab_size < 1 << 20:
        stepper = engine.build(
            config, found.weights, compiled=False, counts=found.counts, context=found.context
        )
        tokens = np.arange(12) * 7 % config.vocab_size
        logits, state = stepper.prefill(np.tile(tokens, 2), stepper.initial_state(1))
        assert np.isfinite(logits).all()
        logits, _ = stepper.step(np.array([config.vocab_size - 1]), state)
        assert np.isfinite(logits).all()
    if tokenizers.kind_of(found.tokenizer.name) == "text":
        text = "né ▁ß abc"
        assert found.tokenizer.decode(found.tokenizer.encode(text)) == text  # type: ignore[arg-type]
