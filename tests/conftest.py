"""What tests share: where real data lies, if it does, and a model small enough to train at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Two processes run the tests (pyproject.toml): with a thread each they do not get in each other's
# way. Read when NumPy and torch are imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import generative
from generative.api.text_model import TextModel

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
TUNES = Path(__file__).resolve().parents[1] / "corpora" / "tunes"
# For other processes that train: with one thread each they come to the same numbers.
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}

settings.register_profile(
    "hermetic",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("hermetic")


def data(relative: str) -> Path:
    """A file or folder of real data; the test is skipped where there is none."""
    path = DATA / relative
    if not path.exists():
        pytest.skip(f"real data not found: {relative}")
    return path


@pytest.fixture(scope="session")
def rhyme(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text with something to learn."""
    path = tmp_path_factory.mktemp("corpus") / "rhyme.txt"
    lines = [f"{n} bottles stand upon the wall, and {n} is what we count.\n" for n in range(400)]
    path.write_text("".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def trained(rhyme: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder, trained for a moment."""
    folder = tmp_path_factory.mktemp("models") / "rhyme"
    generative.train(rhyme, folder, steps=150, hidden=64, batch_size=4, sequence_length=32)
    return folder


@pytest.fixture(scope="session")
def model(trained: Path) -> TextModel:
    """That model, loaded."""
    loaded = generative.load(trained)
    assert isinstance(loaded, TextModel)
    return loaded


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let groups begin first: each is one worker's, and they take longest."""
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)
