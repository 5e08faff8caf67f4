"""A folder of tokens: a store whose every id and count can be used, or none at all."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from generative.data import store
from generative.data.labels import Labels
from tests.fuzz import folders
from tests.fuzz.entropy import Entropy, changed

if TYPE_CHECKING:
    from pathlib import Path

VOCAB_SIZE, START_ID = 300, 256


@cache
def whole(labelled: bool) -> tuple[Path, dict[str, bytes]]:
    """A store and its files."""
    folder = folders.temporary()
    labels = ("new", "old") if labelled else ()
    with store.StoreWriter(
        folder, vocab_size=VOCAB_SIZE, start_id=START_ID, key="k", labels=labels
    ) as writer:
        for part, ids, label in (("train", [1, 2, 1], "new"), ("train", [299], None)):
            writer.append(
                part, np.array(ids), begins_document=True, label=label if labelled else None
            )
        writer.append("held_out", np.array([7, 7]), begins_document=True)
        writer.close({"kind": "text"})
    return folder, {path.name: path.read_bytes() for path in folder.iterdir()}


def seeds() -> list[bytes]:
    """Changes by number, and the whole descriptions."""
    numbers = [bytes([n % 2, n, n, *range(n, n + 12)]) for n in range(0, 250, 9)]
    return [*numbers, *(bytes([n, 0, 1]) + whole(bool(n))[1]["store.json"] for n in (0, 1))]


def run(data: bytes) -> None:
    """Replace the files and use all that the store offers."""
    entropy = Entropy(data)
    folder, files = whole(bool(entropy.byte() % 2))
    contents = dict(files)
    if entropy.byte() % 3 == 2:  # other ids, with their checksum, under changed or right counts
        _change_ids(contents, entropy)
    else:
        contents["store.json"] = folders.sealed_json(files["store.json"], entropy)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    folders.opened.clear()
    found = store.open_store(folder)
    folders.check_opened(folder)
    if found is None:
        return
    for name, part in found.parts.items():
        documents = list(found.documents(name))
        assert len(documents) == part.documents
        assert sum(map(len, documents)) == part.tokens
        assert found.counts(name, found.largest_id + 1).sum() == part.tokens
        assert all(ids.max(initial=0) <= found.largest_id for ids in documents)
        if found.labels and part.documents:
            labels = Labels.of_documents(found.stream(name), found.start_id, part.labels)
            assert labels.at(np.arange(labels.length - 1)).max() <= len(found.labels)


def _change_ids(contents: dict[str, bytes], entropy: Entropy) -> None:
    ids = bytearray(contents["train.ids"])
    for _ in range(1 + entropy.below(3)):
        at = entropy.below(256) % (len(ids) + 1)
        ids[at : at + entropy.below(3)] = bytes([entropy.byte()]) * entropy.below(3)
    contents["train.ids"] = bytes(ids)
    values: dict[str, Any] = json.loads(contents["store.json"])
    values["parts"]["train"]["sha256"] = hashlib.sha256(ids).hexdigest()
    if entropy.byte() % 2:
        values["parts"]["train"] = changed(values["parts"]["train"], entropy)
    try:
        contents["store.json"] = json.dumps(folders.sealed(values)).encode()
    except ValueError:  # a number of too many digits
        contents["store.json"] = b"9" * 5000
