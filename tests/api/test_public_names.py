"""The names that `import generative` offers: one list, loaded lazily and typed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import generative


def typed_names() -> dict[str, str]:
    """Public name -> module, as the imports for type checkers state it."""
    tree = ast.parse(Path(generative.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    return {
        alias.name: str(node.module)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_the_lists_of_public_names_agree() -> None:
    assert set(typed_names()) == set(generative.__all__) == set(generative._HOMES)
    for name, module in typed_names().items():
        home = f"{module}.{name}" if name in generative._MODULES else module
        assert generative._HOMES[name] == home
    assert set(generative.__all__) <= set(dir(generative))


@pytest.mark.parametrize("name", generative.__all__)
def test_a_public_name_is_loaded(name: str) -> None:
    assert getattr(generative, name) is not None


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import generative", ["torch", "numpy"]),
        ("generative.load('shakespeare', compiled=False)", ["torch", "mido"]),
        (
            "generative.load('shakespeare', compiled=False).generate('A', max_new_tokens=2)",
            ["torch", "mido", "generative.music"],
        ),
        ("generative.load('chorales', compiled=False).generate(max_new_tokens=2)", ["torch"]),
    ],
)
def test_what_is_not_needed_is_not_imported(code: str, absent: list[str]) -> None:
    script = f"import generative, sys; {code}; assert not set({absent}) & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
