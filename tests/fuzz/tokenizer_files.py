"""tokenizer.json and the sentencepiece model beside it, under checksums that match."""

from __future__ import annotations

import contextlib
import json

from generative import checkpoint, files
from generative.checkpoint import CheckpointError
from tests.fuzz import folders
from tests.fuzz.entropy import Entropy, changed

KINDS = ("char", "music", "byte", "sentencepiece")
MODEL = "tokenizer.model"


def seeds() -> list[bytes]:
    """Changes by number, and the whole files."""
    numbers = [bytes([n, 0, 0, *range(n, n + 12)]) for n in range(0, 240, 17)]
    found = [(n, folders.folder_of(kind)) for n, kind in enumerate(KINDS)]
    whole = [
        bytes([n, 0, 1]) + folders.original(folder, checkpoint.TOKENIZER_FILE)
        for n, folder in found
    ]
    return [*numbers, *whole, bytes([3, 1]) + folders.original(found[3][1], MODEL)]


def run(data: bytes) -> None:
    """Replace a file, make the config's checksums fit, and load the folder."""
    entropy = Entropy(data)
    folder = folders.folder_of(entropy.pick(KINDS))
    names = [checkpoint.TOKENIZER_FILE, *([MODEL] if (folder / MODEL).is_file() else [])]
    contents = {name: folders.original(folder, name) for name in names}
    if entropy.byte() % 2 and MODEL in contents:
        contents[MODEL] = _changed_model(contents[MODEL], entropy)
    else:
        contents[names[0]] = _json(contents[names[0]], entropy)
    config = json.loads(folders.original(folder, checkpoint.CONFIG_FILE))
    for name, content in contents.items():
        (folder / name).write_bytes(content)
        config["files"][name] = files.sha256(content)
    text = json.dumps(folders.sealed(config))
    (folder / checkpoint.CONFIG_FILE).write_text(text, encoding="utf-8")
    folders.opened.clear()
    with contextlib.suppress(CheckpointError):
        folders.check(checkpoint.load(folder))
    folders.check_opened(folder)


def _json(base: bytes, entropy: Entropy) -> bytes:
    if entropy.byte() % 2:
        return entropy.rest()
    try:
        return json.dumps(changed(json.loads(base), entropy)).encode()
    except (RecursionError, ValueError):
        return b"[" * 3000


def _changed_model(base: bytes, entropy: Entropy) -> bytes:
    """The input itself if it is long, else the model with parts cut, doubled or overwritten."""
    rest = entropy.rest()
    if len(rest) > 200:
        return rest
    data = bytearray(base)
    for _ in range(1 + entropy.below(4)):
        at = entropy.below(1 << 16) % max(1, len(data))
        size = entropy.below(32)
        kind = entropy.below(4)
        if kind == 0:
            del data[at : at + size]
        elif kind == 1:
            data[at:at] = data[at : at + size]
        elif kind == 2:
            data[at : at + 1] = bytes([entropy.byte()])
        else:
            data[at:at] = bytes([entropy.byte()]) * size
    return bytes(data)
