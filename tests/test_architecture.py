"""What each package may import, and that imports form no cycle. Keep the table current."""

from __future__ import annotations

import ast
import graphlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "generative"
# package -> what it may import: libraries and other packages of ours (the standard library, itself
# and `errors` always)
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "files": {"numpy", "safetensors"},
    "machine": {"numba", "numpy", "torch"},
    "music": {"files", "matplotlib", "mido", "music21", "numpy"},
    "context": {"machine", "numpy"},
    "tokenizers": {"context", "music", "numpy", "sentencepiece"},
    "model": {"context", "llvmlite", "machine", "numba", "numpy", "torch"},
    "ngram": {"machine", "numpy"},
    "checkpoint": {"context", "files", "model", "ngram", "numpy", "tokenizers", "torch"},
    "data": {"checkpoint", "files", "loky", "model", "music", "numpy", "tokenizers", "tqdm"},
    "scoring": {"context", "data", "machine", "model", "music", "ngram", "numpy", "torch"},
    "sampling": {"numpy"},
    "constraints": {"automata", "numpy"},
    "engine": {"context", "llvmlite", "machine", "model", "ngram", "numba", "numpy", "sampling"},
    "training": {
        "checkpoint", "context", "data", "engine", "filelock", "files", "machine", "matplotlib",
        "model", "ngram", "numpy", "sampling", "scoring", "tensorboardX", "tokenizers", "torch",
        "tqdm", "wandb",
    },
    "api": {
        "checkpoint", "constraints", "context", "data", "engine", "files", "machine", "model",
        "music", "ngram", "numpy", "sampling", "scoring", "tokenizers", "training",
    },
    "cli": {"api", "click", "files"},
    "train": {"cli"},
}  # fmt: skip


def packages() -> dict[str, list[Path]]:
    """Each file or folder directly in the package, with its Python files."""
    found: dict[str, list[Path]] = {}
    for path in sorted(ROOT.rglob("*.py")):
        found.setdefault(path.relative_to(ROOT).parts[0].removesuffix(".py"), []).append(path)
    return found


def module_name(path: Path) -> str:
    """The dotted name of a file of ours, "generative" included."""
    parts = ("generative", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in ROOT.rglob("*.py")}


def imported(path: Path) -> set[str]:
    """Dotted names of all modules that a file imports anywhere in it, also for types only."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                names.add(full if full in MODULES else node.module)
    return names


def imported_packages(path: Path) -> set[str]:
    """Libraries and packages of ours that a file imports."""
    result = set()
    for name in imported(path):
        first, _, rest = name.partition(".")
        if first == "generative":
            result.add(rest.partition(".")[0])
        elif first not in sys.stdlib_module_names:
            result.add(first)
    return result - {""}


@pytest.mark.parametrize("package", sorted(set(packages()) - {"__init__"}))
def test_a_package_imports_only_what_it_may(package: str) -> None:
    used = set().union(*map(imported_packages, packages()[package])) - {package, "errors"}
    assert used == MAY_IMPORT[package]


def test_the_table_names_all_packages() -> None:
    assert set(MAY_IMPORT) == set(packages()) - {"__init__"}


def test_imports_form_no_cycle() -> None:
    graph = {
        name: {other for other in imported(path) if other in MODULES and other != name}
        for name, path in MODULES.items()
    }
    del graph["generative"]  # it imports lazily, and for types only
    order = graphlib.TopologicalSorter(
        {name: others - {"generative"} for name, others in graph.items()}
    )
    order.prepare()  # raises CycleError, which names the cycle


def test_the_package_has_few_entries() -> None:
    entries = {p.name for p in ROOT.iterdir()} - {"__pycache__"}
    assert len(entries) <= 20


@pytest.mark.parametrize("folder", ["generative", "tests", "benchmarks"])
def test_files_are_readable_in_one_sitting(folder: str) -> None:
    long = {"generative/engine/kernels.py"}
    for path in (ROOT.parent / folder).rglob("*.py"):
        lines = path.read_text(encoding="utf-8").count("\n")
        assert lines <= 450 or str(path.relative_to(ROOT.parent)) in long, f"{path}: {lines} lines"


def test_some_libraries_have_one_home() -> None:
    homes = {
        "mido": {"generative.music.jam", "generative.music.midi.writing"},
        "sentencepiece": {"generative.tokenizers"},
        "automata": {"generative.constraints"},
        "music21": {"generative.music.notation"},
    }
    for library, home in homes.items():
        for name, path in MODULES.items():
            if library in imported_packages(path):
                assert any(name == one or name.startswith(one + ".") for one in home), name


def test_there_is_no_pickle() -> None:
    for path in MODULES.values():
        assert "pickle" not in imported(path)
        assert "torch.load" not in path.read_text(encoding="utf-8")


def test_each_module_says_what_it_contains() -> None:
    for path in MODULES.values():
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        assert docstring, f"{path} has no docstring"
