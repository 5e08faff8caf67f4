"""Files are written whole, or where they lead; what was changed on the disk is noticed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
import safetensors.numpy

from generative import files
from generative.errors import FileError

if TYPE_CHECKING:
    from pathlib import Path

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")


def test_arrays_come_back_bit_for_bit(tmp_path: Path) -> None:
    arrays: files.Arrays = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": np.array([1, 2], dtype=np.uint8),
        "half": np.array([0.5], dtype=np.float16),
    }
    files.write_arrays(tmp_path / "x.safetensors", arrays, {"note": "né"})
    again, notes = files.read_arrays(tmp_path / "x.safetensors")
    assert notes == {"note": "né"}
    for name, array in arrays.items():
        assert again[name].dtype == array.dtype
        np.testing.assert_array_equal(again[name], array)


def test_every_flipped_byte_and_every_cut_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    files.write_arrays(path, {"a": np.arange(20, dtype=np.float32)}, {"n": "1"})
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for at in rng.choice(len(whole), 100, replace=False).tolist():
        damaged = bytearray(whole)
        damaged[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(damaged))
        with pytest.raises(FileError, match="damaged"):
            files.read_arrays(path)
    for length in rng.choice(len(whole), 30, replace=False).tolist():
        path.write_bytes(whole[:length])
        with pytest.raises(FileError, match="damaged"):
            files.read_arrays(path)


def test_a_file_is_replaced_in_one_move(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    with pytest.raises(TypeError):
        files.write_bytes(path, "text, not bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    files.write_bytes(path, b"new")
    assert path.read_bytes() == b"new"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_files_have_the_mode_that_the_umask_gives(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        files.write_bytes(tmp_path / "file", b"")
    finally:
        os.umask(old)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_equal_arrays_and_notes_make_equal_files(tmp_path: Path) -> None:
    arrays: files.Arrays = {
        "bytes": np.array([1, 2, 3], dtype=np.uint8),
        "none": np.zeros((0, 4), dtype=np.float32),
        "scalar": np.array(2.5),
        "other order": np.arange(6, dtype=">i4").reshape(2, 3).T,
    }
    notes = {f"note {n}": "é" * n for n in range(20)}
    one, other = tmp_path / "one", tmp_path / "other"
    files.write_arrays(one, arrays, notes)
    files.write_arrays(
        other, dict(reversed(arrays.items())), dict(sorted(notes.items(), reverse=True))
    )
    assert one.read_bytes() == other.read_bytes()
    for name, array in safetensors.numpy.load(one.read_bytes()).items():
        np.testing.assert_array_equal(array, arrays[name])
        assert array.shape == arrays[name].shape
    assert files.read_arrays(one)[1] == notes


def test_arrays_without_a_type_of_the_format_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="x: safetensors has no type complex"):
        files.write_arrays(tmp_path / "x", {"x": np.zeros(1, dtype=complex)})


def test_json_is_sealed_whatever_the_names_in_it(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    files.write_sealed_json(path, {"names": ["caf\udce9.txt", "né"], "number": 0.1})
    values = files.read_json(path)
    assert files.is_sealed(values)
    assert values["names"] == ["caf\ufffd.txt", "né"]
    assert not files.is_sealed({**values, "number": 0.2})


@posix
def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    files.check_writable(pipe)
    files.write_bytes(pipe, b"data")
    reader.join(10)
    assert got == [b"data"]
    assert pipe.is_fifo()


@posix
def test_a_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "here").mkdir()
    real, link = tmp_path / "there" / "real", tmp_path / "here" / "link"
    link.symlink_to("../there/real")
    for data in (b"new", b"old"):  # the first makes the target
        files.check_writable(link)
        files.write_bytes(link, data)
        assert link.is_symlink()
        assert real.read_bytes() == data
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["here", "link", "real", "there"]
    (tmp_path / "loop").symlink_to("loop")
    for write in (files.check_writable, lambda path: files.write_bytes(path, b"")):
        with pytest.raises(FileError, match="loop: cannot be written: Too many levels"):
            write(tmp_path / "loop")


@posix
def test_a_file_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o600)
    files.write_bytes(path, b"new")
    assert path.stat().st_mode & 0o777 == 0o600


@posix
def test_a_file_in_a_closed_folder_is_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "file"
    path.write_bytes(b"a longer one")
    monkeypatch.setattr("tempfile.mkstemp", refuse)  # root may write to any folder
    files.write_bytes(path, b"new")
    assert path.read_bytes() == b"new"
    with pytest.raises(FileError, match="other: cannot be written: Permission denied"):
        files.write_bytes(tmp_path / "other", b"")


@posix
def test_the_standard_streams_are_written_to(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from generative import files\n"
        "for name in sys.argv[1:]: files.write_bytes(Path(name), b'data ')"
    )
    places = ["/dev/stdout", "/dev/fd/1", "/dev/null", "/dev/stderr"]
    out = tmp_path / "out"
    with out.open("wb") as file:  # a file that others write to as well is not moved away
        file.write(b"before ")
        file.flush()
        done = subprocess.run(
            [sys.executable, "-c", script, *places, str(out)],
            stdout=file, stderr=subprocess.PIPE, check=True,
        )  # fmt: skip
    assert out.read_bytes() == b"before data data data "
    assert done.stderr == b"data "


def test_what_cannot_be_written_is_refused_before(tmp_path: Path) -> None:
    for path, message in [
        (tmp_path, "is a folder"),
        (tmp_path / "no" / "file", "there is no folder"),
    ]:
        with pytest.raises(FileError, match=message):
            files.check_writable(path)


def test_names_that_are_long_leave_room_for_the_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 250)
    files.write_bytes(path, b"data")
    assert path.read_bytes() == b"data"
