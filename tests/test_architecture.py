"""The house: which room may import which package and which other room. Keep the table current."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "generative"
# room -> packages and rooms it may import (the standard library, itself and `errors` always)
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "untrusted": set(),
    "files": {"numpy", "safetensors", "untrusted"},
    "piece": set(),
    "quantise": {"piece"},
    "midi_bytes": set(),
    "controls": {"piece"},
    "sounding": {"piece"},
    "midi_sounding": {"controls", "piece"},
    "midi_reading": {"controls", "midi_bytes", "midi_sounding", "piece"},
    "midi_channels": {"midi_bytes", "piece", "sounding"},
    "midi_writing": {"mido", "controls", "midi_bytes", "midi_channels", "piece", "sounding"},
    "midi": {"files", "midi_bytes", "midi_reading", "midi_writing", "piece"},
    "instruments": {"general_midi"},
    "keys": {"numpy", "piece"},
    "tokenizers": {"numpy", "sentencepiece", "controls", "instruments", "piece", "quantise"},
    "layout": set(),
    "stdin": set(),
    "decoding": set(),
    "corpus": {"decoding", "files", "layout", "midi", "numpy", "piece", "stdin"},
    "inspection": {
        "controls", "corpus", "general_midi", "layout", "midi", "piece", "quantise", "stdin",
        "tokenizers",
    },
    "likelihood": set(),
    "labels": {"numpy"},
    "recall": {"numpy"},
    "labelling": {"corpus", "files"},
    "compiled_cache": {"numba"},
    "compiling": {"numba", "numpy", "compiled_cache"},
    "threads": {"torch"},
    "model": {"llvmlite", "numba", "numpy", "torch", "compiling", "recall"},
    "scoring": {"torch", "numpy", "model", "recall", "threads"},
    "dynamic": {"torch", "numpy", "labels", "model", "scoring", "threads"},
    "sampling": {"numpy", "recall"},
    "engine": {"numpy", "numba", "llvmlite", "compiling", "model", "sampling"},
    "checkpoint": {"files", "layout", "model", "numpy", "tokenizers", "torch", "untrusted"},
    "store": {"files", "layout", "model", "numpy", "untrusted"},
    "ingest": {
        "checkpoint", "corpus", "files", "labelling", "loky", "midi", "numpy", "piece", "stdin",
        "store", "tokenizers", "tqdm", "untrusted",
    },
    "card": {"files", "checkpoint", "likelihood"},
    "training": {
        "torch", "numpy", "matplotlib", "tensorboardX", "tqdm", "wandb",
        "checkpoint", "dynamic", "engine", "files", "labels", "model", "recall", "sampling",
        "layout", "scoring", "store", "threads", "tokenizers", "untrusted",
    },
    "styles": {"numpy", "checkpoint"},
    "runtime": {
        "numpy", "checkpoint", "dynamic", "engine", "model", "sampling", "scoring", "styles",
        "threads",
    },
    "mixture": {"numpy", "checkpoint", "runtime", "sampling", "styles"},
    "generation": {"sampling"},
    "constraints": {"automata", "numpy"},
    "text_model": {
        "numpy", "checkpoint", "constraints", "generation", "likelihood", "runtime", "sampling",
        "styles", "tokenizers",
    },
    "harmonise": {"numpy", "piece", "sampling", "tokenizers"},
    "music_model": {
        "numpy", "checkpoint", "formats", "general_midi", "generation", "harmonise", "keys",
        "likelihood", "midi", "piece", "quantise", "runtime", "sampling", "styles", "tokenizers",
    },
    "general_midi": set(),
    "sound": {"numpy", "files", "controls", "midi", "piece", "sounding"},
    "pianoroll": {"matplotlib", "files", "general_midi", "piece"},
    "page": {"files", "controls", "general_midi", "midi", "pianoroll", "piece", "sound"},
    "notation": {"music21", "files", "midi", "pianoroll", "piece"},
    "formats": {"midi", "notation", "page", "pianoroll", "piece", "sound"},
    "jam": {"mido", "numpy", "midi", "piece", "quantise"},
    "copies": {"numpy", "piece"},
    "api": {"checkpoint", "mixture", "runtime", "styles", "text_model", "music_model"},
    "evaluation": {
        "numpy", "checkpoint", "files", "copies", "corpus", "likelihood", "store", "tokenizers",
    },
    "train": {
        "filelock", "api", "card", "checkpoint", "cli", "errors", "evaluation", "files", "ingest",
        "labels", "likelihood", "model", "store", "threads", "tokenizers", "training",
    },
    "terminal": {"click", "decoding", "files", "stdin"},
    "options": {"click", "terminal"},
    "cli": {
        "click", "options", "terminal", "api", "card", "checkpoint", "corpus", "evaluation",
        "formats", "generation", "inspection", "jam", "midi", "piece", "runtime", "sampling",
        "tokenizers", "train",
    },
}  # fmt: skip


def rooms() -> dict[str, list[Path]]:
    """Each file or folder right below the package, with its Python files."""
    found: dict[str, list[Path]] = {}
    for path in sorted(ROOT.rglob("*.py")):
        found.setdefault(path.relative_to(ROOT).parts[0].removesuffix(".py"), []).append(path)
    return found


def imports(path: Path) -> set[str]:
    """Packages, and rooms of ours, that a file imports anywhere in it."""
    import sys

    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "generative":
                names |= {f"generative.{alias.name}" for alias in node.names}
            else:
                names.add(node.module)
    result = set()
    for name in names:
        first, _, rest = name.partition(".")
        if first == "generative":
            result.add(rest.partition(".")[0])
        elif first not in sys.stdlib_module_names:
            result.add(first)
    return result - {""}


@pytest.mark.parametrize("room", sorted(set(rooms()) - {"__init__"}))
def test_a_room_imports_only_what_it_may(room: str) -> None:
    used = set().union(*map(imports, rooms()[room])) - {room, "errors"}
    assert used <= MAY_IMPORT[room], f"{room} also imports {used - MAY_IMPORT[room]}"


def test_the_table_names_no_room_that_is_gone() -> None:
    assert set(MAY_IMPORT) == set(rooms()) - {"__init__"}


def test_some_packages_have_one_home() -> None:
    homes = {
        "mido": {"jam", "midi_writing"},  # ports, files
        "sentencepiece": {"tokenizers"},
        "automata": {"constraints"},
    }
    for package, home in homes.items():
        users = {
            room for room, paths in rooms().items() if any(package in imports(p) for p in paths)
        }
        assert users == home


def test_there_is_no_pickle() -> None:
    for paths in rooms().values():
        for path in paths:
            assert "pickle" not in imports(path)
            assert "torch.load" not in path.read_text(encoding="utf-8")


def test_each_module_says_what_it_knows() -> None:
    for paths in rooms().values():
        for path in paths:
            docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
            assert docstring, f"{path} has no docstring"
