"""A model folder: its files, written whole and read verified.

It must not know how models are trained or sampled.

A folder holds `config.json` (shape, corpus, recipe, scores), `model.safetensors`,
`tokenizer.json` (with sentencepiece's `.model` beside it), `README.md`, the model card, and, where
training left them, `ngram.safetensors`, the count models, and `gradients.safetensors`, the
gradients' RMS for dynamic evaluation. `files` writes them in one move each and verifies them by
checksum, so a folder is whole at any moment.

`config.json` has the number of its format. Folders of earlier versions may hold a match model;
`MATCH_MODELS` says how it is left out as they are read.
"""

from __future__ import annotations

import contextlib
import difflib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from generative import tokenizers
from generative.context.reader import reader_for, tables_for
from generative.errors import FileError
from generative.files import (
    CHECKSUM_KEY,
    Arrays,
    is_sealed,
    json_bytes,
    layout,
    make_folder,
    read_arrays,
    read_file,
    read_json,
    sha256,
    shown,
    untrusted,
    write_arrays,
    write_bytes,
    write_sealed_json,
)
from generative.model.config import ModelConfig, Shapes

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from generative.context.records import Tables
    from generative.model.language_model import LanguageModel
    from generative.ngram.model import CountModel

FORMAT_VERSION = 2
READABLE_FORMATS = (1, 2)
# Earlier versions had a match model. Format -> the name of its setting, and the name of its array
# among the weights, which is there where the setting is not 0. Both are read and dropped.
MATCH_MODELS = {1: ("recall_length", "recall_boosts"), 2: ("match_length", "match_biases")}
MATCH_MODEL_SHAPE = (30,)
CONFIG_FILE = layout.CONFIG_FILE
WEIGHTS_FILE = layout.WEIGHTS_FILE
TOKENIZER_FILE = layout.TOKENIZER_FILE
CARD_FILE = layout.CARD_FILE
STATISTICS_FILE = layout.STATISTICS_FILE
COUNTS_FILE = layout.COUNTS_FILE
MAX_TOKENIZER_BYTES = untrusted.MAX_JSON_BYTES  # The limit holds for each of its files.
MAX_WEIGHT = 1e6  # Sums of products of weights below this do not overflow.
_FILE_NAME = re.compile(r"[\w-][\w.-]*", re.ASCII)
WEIGHT_TYPES, STATISTICS_TYPES = ("F32", "F16"), ("F16",)
COUNTS_TYPES = ("F32", "U8", "U16", "I32")
_NUMBER = (int, float)
_COUNT = (int, type(None))
_LIKELIHOOD = (
    type(None),
    {
        "nats": _NUMBER,
        "tokens": int,
        "chars": _COUNT,
        "bytes": _COUNT,
        "notes": _COUNT,
        "seconds": (*_NUMBER, type(None)),
    },
)
# The types of what training notes in config.json. Any of it may be absent, and more may be there.
DETAILS: dict[str, Any] = {
    "corpus": {
        "kind": str,
        "documents": int,
        "names": [str],
        "skipped": int,
        "train_tokens": int,
        "held_out_tokens": int,
        "licence": str,
    },
    "recipe": {
        "training": dict,
        "precision": str,
        "budget": {"unit": str, "amount": _NUMBER},
        "reason": str,
        "shards": int,
        "tokens_per_second": (*_NUMBER, type(None)),
        "launch": (str, type(None)),
    },
    "scores": {
        "steps": int,
        "seconds": _NUMBER,
        "validation_loss": _NUMBER,
        "held_out": _LIKELIHOOD,
        "adaptive": _LIKELIHOOD,
    },
    # How commands sample where the user does not say.
    "sampling": {"temperature": _NUMBER},
}
# A wheel holds the models in the package, a source tree beside it.
SHIPPED_FOLDERS = (
    Path(__file__).parent / "checkpoints",
    Path(__file__).parent.parent / "checkpoints",
)


class CheckpointError(ValueError):
    """A model folder is missing, damaged or of another version; the message says what to do."""


@contextlib.contextmanager
def _of_a_model() -> Iterator[None]:
    """Raise a `FileError` of the block as a `CheckpointError`."""
    try:
        yield
    except FileError as error:
        raise CheckpointError(str(error)) from error


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a model folder holds.

    Attributes:
        name: the name or path by which the user asked for the model.
        path: the folder.
        config: the model's shape.
        tokenizer: text or music to ids and back.
        weights: parameter name -> float32 array.
        details: training's notes: "corpus", "recipe", "scores" (plain JSON values).
        counts: the count models that the network is mixed with; None for the network alone.
    """

    name: str
    path: Path
    config: ModelConfig
    tokenizer: tokenizers.Tokenizer
    weights: Arrays
    details: dict[str, Any] = field(default_factory=dict)
    counts: CountModel | None = None

    @property
    def kind(self) -> str:
        """ "text" or "music"."""
        return tokenizers.kind_of(self.tokenizer.name)

    @property
    def context(self) -> Tables:
        """The tables of the model's context features, which are off where it has none."""
        return tables_for(self.tokenizer, self.config.features)

    def statistics(self) -> Arrays | None:
        """The RMS of each weight's gradient in training; None where the folder has none.

        Raises:
            CheckpointError: the file is damaged, or of another model.
        """
        path = self.path / STATISTICS_FILE
        if not path.is_file():
            return None
        # `self.config` may lack the labels of the folder, where a style is folded into the weights.
        shapes = read_config(self.path)[0].shapes()
        if self.config.tied:
            del shapes["output.weight"]  # The tied matrix has the embedding's name.
        with _of_a_model():
            statistics = read_arrays(path, shapes, STATISTICS_TYPES)[0]
        if min(array.min() for array in statistics.values()) < 0:
            raise CheckpointError(f"{shown(path)}: a root mean square below 0")
        return statistics

    def build(self, device: str = "cpu") -> LanguageModel:
        """The torch model with these weights, in evaluation mode."""
        import torch

        from generative.model.language_model import LanguageModel

        model = LanguageModel(self.config, reader_for(self.tokenizer, self.config.features))
        try:
            model.load_state_dict({k: torch.from_numpy(v) for k, v in self.weights.items()})
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise CheckpointError(
                f"{self.path}: weights do not fit the config: {reason}"
            ) from error
        return model.to(device).eval()


def shipped_models() -> dict[str, Path]:
    """The folders of the models that ship with the package, by name."""
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
    _check_features(path, config, tokenizer)
    return Checkpoint(
        name=shown(name),
        path=path,
        config=config,
        tokenizer=tokenizer,
        weights={k: v.astype(np.float32) for k, v in load_weights(path, config)[0].items()},
        details=details,
        counts=load_counts(path, config),
    )


def _check_features(path: Path, config: ModelConfig, tokenizer: tokenizers.Tokenizer) -> None:
    """Raise a CheckpointError where this version's context features are not those of the model."""
    try:
        sizes = tuple(tables_for(tokenizer, config.features).sizes.tolist())
    except ValueError as error:
        raise CheckpointError(f"{shown(path)}: {error}") from error
    for name, theirs, ours in zip(config.features, config.feature_sizes, sizes, strict=True):
        if theirs != ours:
            raise CheckpointError(
                f"{shown(path)}: the context feature {name} has {theirs} values there and {ours} "
                "in this version; train the model anew"
            )


def read_config(path: Path) -> tuple[ModelConfig, dict[str, Any]]:
    """The shape of the model in a folder and training's notes on it.

    Raises:
        CheckpointError: damaged, or written by a later version.
    """
    with _of_a_model():
        values = _read_config_file(path)
    version = _known_format(path, values)
    if not is_sealed(values):
        raise CheckpointError(
            f"{shown(path / CONFIG_FILE)}: damaged or edited: "
            "the checksum does not match its contents"
        )
    values = {k: v for k, v in values.items() if k not in ("format", "files", CHECKSUM_KEY)}
    try:
        settings, (removed, _) = values.pop("model"), MATCH_MODELS[version]
        config = ModelConfig.from_dict({k: v for k, v in settings.items() if k != removed})
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        raise CheckpointError(f"{shown(path / CONFIG_FILE)}: {error}") from error
    for key, value in values.items():
        known = DETAILS.get(key, {})
        is_known = key in DETAILS and isinstance(value, dict)
        if not is_known or not all(untrusted.fits(value[k], known[k]) for k in value if k in known):
            raise CheckpointError(
                f"{shown(path / CONFIG_FILE)}: {key!r:.50} is nothing that training notes"
            )
    return config, values


def read_format(path: Path) -> int:
    """The number of the format of a model folder.

    Raises:
        CheckpointError: missing or damaged, or of another version.
    """
    with _of_a_model():
        return _known_format(path, _read_config_file(path))


def _known_format(path: Path, values: dict[str, Any]) -> int:
    version = values.get("format")
    if version not in READABLE_FORMATS or not isinstance(version, int):
        raise CheckpointError(
            f"{shown(path / CONFIG_FILE)}: format {version!r:.30}, this version reads "
            f"{' and '.join(map(str, READABLE_FORMATS))}; upgrade generative or train the model "
            "anew"
        )
    return version


def _match_model_shapes(path: Path) -> Shapes:
    """The array of a match model that the weights file of a folder holds, if it holds one."""
    with _of_a_model():
        values = _read_config_file(path)
    setting, array = MATCH_MODELS[_known_format(path, values)]
    return {array: MATCH_MODEL_SHAPE} if values["model"].get(setting) else {}


def load_tokenizer(path: Path) -> tokenizers.Tokenizer:
    """The tokenizer in a model folder, its files verified by the config's checksums.

    Raises:
        CheckpointError: missing or damaged, or a link that leads out of the folder.
    """
    contents: dict[str, bytes] = {}
    with _of_a_model():
        checksums = _read_config_file(path).get("files")
        if not isinstance(checksums, dict) or TOKENIZER_FILE not in checksums:
            raise CheckpointError(f"{shown(path / CONFIG_FILE)}: no checksum of {TOKENIZER_FILE}")
        for name, checksum in checksums.items():
            if not _FILE_NAME.fullmatch(name):
                raise CheckpointError(
                    f"{shown(path / CONFIG_FILE)}: {name!r:.50} is no name of a file in the folder"
                )
            contents[name] = read_file(path / name, MAX_TOKENIZER_BYTES)
            if sha256(contents[name]) != checksum:
                raise CheckpointError(
                    f"{shown(path / name)}: damaged: the checksum in {CONFIG_FILE} does not match "
                    "its contents"
                )
    try:
        description = untrusted.parse_json(contents.pop(TOKENIZER_FILE))
        return tokenizers.from_config(description, contents)
    except ValueError as error:
        raise CheckpointError(f"{shown(path / TOKENIZER_FILE)}: {error}") from error


def _read_config_file(path: Path) -> dict[str, Any]:
    """What config.json holds, in a folder from which no link leads out."""
    try:
        untrusted.check_links(path)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{shown(path)}: {getattr(error, 'strerror', error)}") from error
    return read_json(path / CONFIG_FILE)


def save_description(
    path: Path, config: ModelConfig, tokenizer: tokenizers.Tokenizer, details: dict[str, Any]
) -> None:
    """Write everything in a model folder but weights and card; `details` are plain JSON values.

    Raises:
        FileError: it cannot be written.
    """
    make_folder(path)
    files = {**tokenizer.files(), TOKENIZER_FILE: json_bytes(tokenizer.to_config())}
    for name, data in files.items():
        write_bytes(path / name, data)
    checksums = {name: sha256(data) for name, data in files.items()}
    values = {"format": FORMAT_VERSION, "model": config.to_dict(), **details, "files": checksums}
    write_sealed_json(path / CONFIG_FILE, values)


def save_weights(
    path: Path, weights: Mapping[str, NDArray[Any]], notes: Mapping[str, str] | None = None
) -> None:
    """Write the weights of a model folder, with `notes` in the same file."""
    write_arrays(path / WEIGHTS_FILE, weights, notes)


def load_weights(path: Path, config: ModelConfig | None = None) -> tuple[Arrays, dict[str, str]]:
    """The weights of a model folder as they are stored, and the notes.

    config: the model's, where it was read already.

    Raises:
        CheckpointError: missing or damaged, or not the weights of that model.
    """
    config = config or read_config(path)[0]
    file = path / WEIGHTS_FILE
    shapes = config.shapes()
    removed = _match_model_shapes(path)
    with _of_a_model():
        stored, notes = read_arrays(file, {**shapes, **removed}, WEIGHT_TYPES)
    weights = {name: array for name, array in stored.items() if name not in removed}
    for name, array in weights.items():
        if max(float(array.max()), -float(array.min())) > MAX_WEIGHT:
            raise CheckpointError(f"{shown(file)}: a number beyond {MAX_WEIGHT:,.0f} in {name}")
    if config.tied and not np.array_equal(weights["embedding.weight"], weights["output.weight"]):
        raise CheckpointError(f"{shown(file)}: the tied matrices of the model differ")
    return weights, notes


def save_statistics(path: Path, statistics: Mapping[str, NDArray[Any]]) -> None:
    """Write the gradients' RMS of a model folder, in half precision."""
    write_arrays(path / STATISTICS_FILE, {k: v.astype(np.float16) for k, v in statistics.items()})


def save_counts(path: Path, counts: CountModel) -> None:
    """Write the count models of a model folder."""
    write_arrays(path / COUNTS_FILE, counts.to_arrays())


def load_counts(path: Path, config: ModelConfig) -> CountModel | None:
    """The count models of a model folder; None where it has none.

    Raises:
        CheckpointError: the file is damaged, or of another model.
    """
    file = path / COUNTS_FILE
    if not file.is_file():
        return None
    from generative.ngram.model import CountModel

    with _of_a_model():
        arrays, _ = read_arrays(file, None, COUNTS_TYPES)
    try:
        return CountModel.from_arrays(arrays, config.vocab_size)
    except ValueError as error:
        raise CheckpointError(f"{shown(file)}: not the counts of this model: {error}") from error
