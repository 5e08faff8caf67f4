"""Files written in one move and verified when they are read; models are not known here.

Text and bytes are in `writing`, JSON with a checksum in `sealed`, arrays in `arrays`. No file is a
pickle.
"""

from __future__ import annotations

from generative.files.arrays import Arrays, read_arrays, write_arrays
from generative.files.sealed import (
    CHECKSUM_KEY,
    is_sealed,
    json_bytes,
    read_file,
    read_json,
    sha256,
    write_sealed_json,
)
from generative.files.writing import (
    check_writable,
    is_special,
    make_folder,
    shown,
    sync_folder,
    write_bytes,
    write_text,
)

__all__ = [
    "CHECKSUM_KEY", "Arrays", "check_writable", "is_sealed", "is_special", "json_bytes",
    "make_folder", "read_arrays", "read_file", "read_json", "sha256", "shown", "sync_folder",
    "write_arrays", "write_bytes", "write_sealed_json", "write_text",
]  # fmt: skip
