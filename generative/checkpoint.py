"""A model folder: knows its files and that they are whole, not how models learn or speak.

A folder holds `config.json` (shape, corpus, recipe, scores), `model.safetensors`,
`tokenizer.json` (with sentencepiece's `.model` beside it), `README.md`, the model card, and, where
training left it, `gradients.safetensors`, the gradients' RMS for learning while reading. Every file
is replaced in one move and verified by checksum, so a folder is whole at any moment. No pickle.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from generative import tokenizers
from generative.model.config import ModelConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from generative.model.language_model import LanguageModel

FORMAT_VERSION = 1
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
TOKENIZER_FILE = "tokenizer.json"
CARD_FILE = "README.md"
STATISTICS_FILE = "gradients.safetensors"
CHECKSUM_KEY = "sha256"
# Installed from a wheel the models lie in the package, in a source tree beside it.
SHIPPED_FOLDERS = (
    Path(__file__).parent / "checkpoints",
    Path(__file__).parent.parent / "checkpoints",
)

Arrays = dict[str, NDArray[Any]]


class CheckpointError(ValueError):
    """A model folder is missing, damaged or of another version; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a model folder holds.

    Attributes:
        name: how the user named the model.
        path: where it lies.
        config: the model's shape.
        tokenizer: text or music to ids and back.
        weights: parameter name -> float32 array.
        details: what training noted: "corpus", "recipe", "scores" (plain JSON values).
    """

    name: str
    path: Path
    config: ModelConfig
    tokenizer: tokenizers.Tokenizer
    weights: Arrays
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """ "text" or "music"."""
        return tokenizers.kind_of(self.tokenizer.name)

    @property
    def boosts(self) -> NDArray[Any] | None:
        """Of recall, by `recall.fit`; None where there are none."""
        found = self.weights.get("recall_boosts")
        return found if found is not None and found.any() else None

    def statistics(self) -> Arrays | None:
        """The RMS of each weight's gradient in training; None where the folder has none.

        Raises:
            CheckpointError: the file is damaged.
        """
        path = self.path / STATISTICS_FILE
        return read_arrays(path)[0] if path.is_file() else None

    def build(self, device: str = "cpu") -> LanguageModel:
        """The torch model with these weights, in evaluation mode."""
        import torch

        from generative.model.language_model import LanguageModel

        model = LanguageModel(self.config)
        try:
            model.load_state_dict({k: torch.from_numpy(v) for k, v in self.weights.items()})
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise CheckpointError(
                f"{self.path}: weights do not fit the config: {reason}"
            ) from error
        return model.to(device).eval()


def shipped_models() -> dict[str, Path]:
    """The models that come with the package, by name."""
    for folder in SHIPPED_FOLDERS:
        if folder.is_dir():
            found = {p.parent.name: p.parent for p in sorted(folder.glob(f"*/{CONFIG_FILE}"))}
            if found:
                return found
    return {}


def find(name: str | os.PathLike[str]) -> Path:
    """The folder of a model named by a path or by a shipped name.

    Raises:
        CheckpointError: there is none; the message lists what there is and the nearest name.
    """
    path = Path(name)
    if (path / CONFIG_FILE).is_file():
        return path
    shipped = shipped_models()
    if str(name) in shipped:
        return shipped[str(name)]
    if path.is_dir():
        raise CheckpointError(f"{path}: a folder without {CONFIG_FILE}; is it a model?")
    near = difflib.get_close_matches(str(name), shipped, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise CheckpointError(
        f"no model {str(name)!r}: {hint}give a folder or one of: {', '.join(shipped) or 'none'}"
    )


def load(name: str | os.PathLike[str]) -> Checkpoint:
    """Read and verify a model folder.

    Raises:
        CheckpointError: missing, damaged, or written by a later version.
    """
    path = find(name)
    config, details = read_config(path)
    tokenizer = load_tokenizer(path)
    if tokenizer.vocab_size != config.vocab_size:
        raise CheckpointError(
            f"{path}: the tokenizer has {tokenizer.vocab_size} tokens, "
            f"the model {config.vocab_size}; files of two models are mixed"
        )
    return Checkpoint(
        name=str(name),
        path=path,
        config=config,
        tokenizer=tokenizer,
        weights={k: v.astype(np.float32) for k, v in read_arrays(path / WEIGHTS_FILE)[0].items()},
        details=details,
    )


def read_config(path: Path) -> tuple[ModelConfig, dict[str, Any]]:
    """The shape of the model in a folder and training's notes on it.

    Raises:
        CheckpointError: damaged, or written by a later version.
    """
    values = _read_json(path / CONFIG_FILE)
    version = values.get("format")
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{path / CONFIG_FILE}: format {version!r}, this version reads {FORMAT_VERSION}; "
            "upgrade generative or train the model anew"
        )
    if not is_sealed(values):
        raise CheckpointError(
            f"{path / CONFIG_FILE}: damaged or edited: the checksum does not match its contents"
        )
    values = {k: v for k, v in values.items() if k not in ("format", "files", CHECKSUM_KEY)}
    try:
        return ModelConfig.from_dict(values.pop("model")), values
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path / CONFIG_FILE}: {error}") from error


def load_tokenizer(path: Path) -> tokenizers.Tokenizer:
    """The tokenizer in a model folder, its files verified by the config's checksums.

    Raises:
        CheckpointError: missing or damaged.
    """
    checksums = _read_json(path / CONFIG_FILE).get("files", {})
    contents: dict[str, bytes] = {}
    for name in (TOKENIZER_FILE, *(p.name for p in path.glob("*.model"))):
        try:
            contents[name] = (path / name).read_bytes()
        except OSError as error:
            raise CheckpointError(f"{path / name}: cannot be read: {error.strerror}") from error
        if hashlib.sha256(contents[name]).hexdigest() != checksums.get(name):
            raise CheckpointError(
                f"{path / name}: damaged: the checksum in {CONFIG_FILE} does not match its contents"
            )
    try:
        return tokenizers.from_config(json.loads(contents.pop(TOKENIZER_FILE)), contents)
    except ValueError as error:
        raise CheckpointError(f"{path / TOKENIZER_FILE}: {error}") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise CheckpointError(f"{path}: damaged: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: damaged: not a JSON object")
    return value


def save_description(
    path: Path, config: ModelConfig, tokenizer: tokenizers.Tokenizer, details: dict[str, Any]
) -> None:
    """Write all of a model folder but weights and card; `details` are plain JSON values."""
    make_folder(path)
    files = {**tokenizer.files(), TOKENIZER_FILE: _json_bytes(tokenizer.to_config())}
    for name, data in files.items():
        write_bytes(path / name, data)
    checksums = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    values = {"format": FORMAT_VERSION, "model": config.to_dict(), **details, "files": checksums}
    write_sealed_json(path / CONFIG_FILE, values)


def write_sealed_json(path: Path, values: dict[str, Any]) -> None:
    """Write a JSON object with a checksum of all else in it, in one move."""
    values = json.loads(json.dumps(values))  # as it will be read
    write_json(path, {**values, CHECKSUM_KEY: _json_checksum(values)})


def is_sealed(values: dict[str, Any]) -> bool:
    """Whether a JSON object is as `write_sealed_json` wrote it."""
    rest = {key: value for key, value in values.items() if key != CHECKSUM_KEY}
    return bool(values.get(CHECKSUM_KEY) == _json_checksum(rest))


def _json_checksum(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def make_folder(path: Path) -> None:
    """Make a folder and those above it, if it is not there.

    Raises:
        CheckpointError: it cannot be made or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be made: {error.strerror}") from error
    if not os.access(path, os.W_OK):
        raise CheckpointError(f"{path}: cannot be written to; name another folder with -o")


def save_weights(
    path: Path, weights: Mapping[str, NDArray[Any]], notes: Mapping[str, str] | None = None
) -> None:
    """Write the weights of a model folder; `notes` lie in the same file."""
    write_arrays(path / WEIGHTS_FILE, dict(weights), notes)


def save_statistics(path: Path, statistics: Mapping[str, NDArray[Any]]) -> None:
    """Write the gradients' RMS of a model folder, in half precision."""
    write_arrays(path / STATISTICS_FILE, {k: v.astype(np.float16) for k, v in statistics.items()})


def write_arrays(path: Path, arrays: Arrays, notes: Mapping[str, str] | None = None) -> None:
    """Write arrays as safetensors with their checksum, in one move."""
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    metadata = {**(notes or {})}
    metadata[CHECKSUM_KEY] = _checksum(arrays, metadata)
    write_bytes(path, safetensors.numpy.save(arrays, metadata=metadata))


def read_arrays(path: Path) -> tuple[Arrays, dict[str, str]]:
    """Read and verify what `write_arrays` wrote: the arrays and the notes.

    Raises:
        CheckpointError: missing, cut short, or any byte changed.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            notes = dict(file.metadata() or {})
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file") from error
    except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path}: damaged: {error}") from error
    if notes.pop(CHECKSUM_KEY, None) != _checksum(arrays, notes):
        raise CheckpointError(f"{path}: damaged: the checksum does not match its contents")
    return arrays, notes


def _checksum(arrays: Arrays, notes: Mapping[str, str]) -> str:
    """SHA-256 over notes and every array's name, type, shape and bytes."""
    digest = hashlib.sha256(json.dumps(sorted(notes.items())).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write JSON for people and programs, in one move."""
    write_bytes(path, _json_bytes(value))


def _json_bytes(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode("utf-8")


def write_bytes(path: Path, data: bytes) -> None:
    """Replace a file in one move: whatever happens, either the old or the new one is there.

    The data is on the disk before the move, and the new file has the mode that the umask gives.

    Raises:
        CheckpointError: the disk is full, the folder is closed to us ...; the old file is there.
    """
    try:
        _replace(path, data)
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be written: {error.strerror}; what was there before is as it was"
        ) from error


def _replace(path: Path, data: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o666 & ~_umask())  # mkstemp makes it private
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make renames within a folder survive a power cut, where the system can."""
    if os.name == "nt":
        return  # Windows has no such call, and its renames are journalled
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    """The process's umask; reading it means setting it for a moment."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
