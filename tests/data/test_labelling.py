"""Where labels come from: folders, tables, and what is wrong with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from generative.data.labelling import labels_of
from generative.data.sources import find_files
from generative.errors import CorpusError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    for name in ("bach/a.mid", "bach/late/b.mid", "folk/c.mid", "d.mid"):
        path = tmp_path / "corpus" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path / "corpus"


def named(sources: list[Path | str], styles: object) -> dict[str, str]:
    labels = labels_of(find_files(sources), sources, styles)  # type: ignore[arg-type]
    return {path.name: label for path, label in labels.items()}


def test_folders_right_below_are_labels(corpus: Path) -> None:
    labels = {"a.mid": "bach", "b.mid": "bach", "c.mid": "folk"}
    assert named([corpus], "folders") == labels


def test_a_folder_of_files_alone_is_its_own_label(corpus: Path) -> None:
    assert named([corpus / "folk", corpus / "d.mid"], "folders") == {"c.mid": "folk"}
    assert named([f"{corpus}/fo*"], "folders") == {"c.mid": "folk"}


def test_a_table_names_files_and_folders(corpus: Path) -> None:
    table = corpus / "styles.csv"
    table.write_text('path,label\nbach,"Bach, J. S."\nbach/late,old\n\nd.mid , new\n', "utf-8")
    expected = {"a.mid": "Bach, J. S.", "b.mid": "old", "d.mid": "new"}
    assert named([corpus], table) == expected
    assert named([corpus], {str(corpus / "folk"): "x"}) == {"c.mid": "x"}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("corpus\n", r"styles.csv: line 1: must be path,label, not 'corpus'"),
        ("corpus,b\ncorpus/bach,\n", r"line 2: must be path,label"),
        (
            "corpus/bach/aa.mid,x\n",
            r"aa.mid is no file or folder of the corpus; did you mean .*/a.mid\?",
        ),
        ("path,label\n", "no file has a style: put them into folders"),
    ],
)
def test_tables_that_are_wrong(corpus: Path, rows: str, message: str) -> None:
    table = corpus.parent / "styles.csv"
    table.write_text(rows, "utf-8")
    with pytest.raises(CorpusError, match=message):
        named([corpus], table)


def test_no_folders_no_labels(corpus: Path) -> None:
    with pytest.raises(CorpusError, match=r"write a table path,label and give --styles FILE.csv"):
        named([corpus / "d.mid"], "folders")
    with pytest.raises(
        CorpusError, match=r"none.csv: no such table; styles are a CSV file's, or .folders."
    ):
        named([corpus], corpus / "none.csv")
