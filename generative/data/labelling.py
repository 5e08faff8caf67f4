"""The label of each file of a corpus, by the folder that it is in or by a table of paths."""

from __future__ import annotations

import csv
import difflib
import io
from pathlib import Path
from typing import TYPE_CHECKING

from generative.data.corpus import read_text
from generative.data.sources import expand, find_files
from generative.errors import CorpusError
from generative.files import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

FOLDERS = "folders"
HEADER = ["path", "label"]


def labels_of(
    files: Sequence[Path],
    sources: Sequence[str | Path],
    styles: str | Path | Mapping[str, str],
) -> dict[Path, str]:
    """File -> label, for the files of a corpus that have one.

    Args:
        files: The files that `sources.find_files` found for `sources`.
        sources: The arguments that the user gave.
        styles: "folders": each file is labelled by its folder directly below the folder that was
            named, or by the named folder itself if that has no folders. Otherwise a table
            path -> label of files and folders, or a CSV file with such a table, whose paths are
            relative to the folder of that file.

    Raises:
        CorpusError: The table cannot be read, a path in it is not in the corpus, or no file has a
            label.
    """
    if styles == FOLDERS:
        found = dict(_by_folders(sources))
    elif isinstance(styles, str | Path):
        found = _by_table(files, _read_table(Path(styles)), str(styles))
    else:
        found = _by_table(files, [(Path(p), label) for p, label in styles.items()], "styles")
    labels = {file: found[file] for file in files if file in found}
    if not labels:
        raise CorpusError(
            "no file has a style: put them into folders named after it, below the folder that you "
            "name, or write a table path,label and give --styles FILE.csv"
        )
    return labels


def _by_folders(sources: Sequence[str | Path]) -> Iterator[tuple[Path, str]]:
    for source in sources:
        for folder in (Path(p) for p in expand(source)):
            if not folder.is_dir():
                continue
            files = find_files([folder])
            below = [file for file in files if len(file.relative_to(folder).parts) > 1]
            for file in below or files:
                name = file.relative_to(folder).parts[0] if below else folder.resolve().name
                yield file, shown(name)


def _read_table(path: Path) -> list[tuple[Path, str]]:
    if not path.is_file():
        raise CorpusError(f'{path}: no such table; styles are a CSV file\'s, or "{FOLDERS}"')
    rows = csv.reader(io.StringIO(read_text(path), newline=""))
    table = []
    for row in rows:
        cells = [cell.strip() for cell in row]
        if not any(cells) or cells == HEADER:
            continue
        if len(cells) != len(HEADER) or not all(cells):
            raise CorpusError(
                f"{path}: line {rows.line_num}: must be path,label, not {','.join(row)!r}"
            )
        table.append((path.parent / cells[0], cells[1]))
    return table


def _by_table(
    files: Sequence[Path], table: Sequence[tuple[Path, str]], name: str
) -> dict[Path, str]:
    """File -> label by a table; later rows win, so that a file may differ from its folder."""
    places = {file.resolve(): file for file in files}
    found: dict[Path, str] = {}
    for path, label in table:
        place = path.resolve()
        inside = [file for at, file in places.items() if at == place or place in at.parents]
        if not inside:
            near = difflib.get_close_matches(str(place), map(str, places), n=1)
            hint = f"; did you mean {places[Path(near[0])]}?" if near else ""
            raise CorpusError(f"{name}: {path} is no file or folder of the corpus{hint}")
        found |= dict.fromkeys(inside, label)
    return found
