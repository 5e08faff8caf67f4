"""Writing text and bytes to files in one move, and checking beforehand that it can be done.

A regular file is replaced in one move, so that it is whole at any moment. A pipe, a device or a
standard stream is written to. A link stays as it is: its target is replaced. What is written is of
no concern here.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import tempfile
from pathlib import Path

from generative.errors import FileError

STREAMS = (1, 2)  # file descriptors of stdout and stderr
# A file that cannot be replaced for one of these reasons may still be open to writing.
_IRREPLACEABLE = (errno.EACCES, errno.EPERM, errno.EBUSY, errno.EROFS)
_SURROGATES = re.compile("[\ud800-\udfff]")
_NAME_CHARS = 32  # A temporary file's name begins with so many characters of the file's name.


def shown(text: str | os.PathLike[str]) -> str:
    """A text or path that can be printed and encoded: each lone surrogate becomes U+FFFD.

    Python represents bytes of a file name that are not UTF-8 as lone surrogates.
    """
    return _SURROGATES.sub("\ufffd", os.fspath(text))


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8 with `write_bytes`; each lone surrogate becomes U+FFFD.

    Raises:
        FileError: The file cannot be written.
    """
    write_bytes(path, shown(text).encode("utf-8"))


def write_bytes(path: Path, data: bytes) -> None:
    """Replace a file in one move, so that either the old or the new contents are always there.

    The data is on the disk before the move. A new file has the mode that the umask gives; an
    existing one keeps its mode. The target of a link is replaced, or created. A path that is not a
    regular file, or is open as stdout or stderr, is written to. A writable file in a folder that is
    not writable is overwritten in place, which is not one move.

    Raises:
        FileError: The data cannot be written, for example because the disk is full.
        BrokenPipeError: `path` is stdout or stderr, and its reader has closed it.
    """
    note = ""
    try:
        about = _stat(path)
        if about is not None and (stream := _stream(about)) is not None:
            _write_all(os.dup(stream), data)
        elif about is not None and not stat.S_ISREG(about.st_mode):
            _write_all(os.open(path, os.O_WRONLY), data)
        else:
            target = Path(os.path.realpath(path))
            note = "; what was there before is as it was"
            try:
                _replace(target, data, about)
            except OSError as error:
                if about is None or error.errno not in _IRREPLACEABLE:
                    raise
                descriptor = os.open(target, os.O_WRONLY)
                note = "; what was there before is lost"
                os.ftruncate(descriptor, 0)
                _write_all(descriptor, data)
    except OSError as error:
        if isinstance(error, BrokenPipeError) and about is not None and _stream(about) is not None:
            raise
        raise FileError(f"{shown(path)}: cannot be written: {error.strerror}{note}") from error


def check_writable(path: Path) -> None:
    """Refuse, before any work is done, a path that `write_bytes` could not write.

    Raises:
        FileError: The path is a folder, its folder is missing, or neither is writable.
    """
    name = shown(path)
    try:
        about = _stat(path)
    except OSError as error:
        raise FileError(f"{name}: cannot be written: {error.strerror}") from error
    if about is not None and stat.S_ISDIR(about.st_mode):
        raise FileError(f"{name}: is a folder; name a file")
    if about is not None and os.access(path, os.W_OK):
        return
    if about is not None and not stat.S_ISREG(about.st_mode):
        raise FileError(f"{name}: cannot be written to")
    folder = (Path(os.path.realpath(path)) if path.is_symlink() else path).parent
    if not folder.is_dir():
        raise FileError(f"{name}: there is no folder {shown(folder)}; make it first")
    if not os.access(folder, os.W_OK):
        raise FileError(f"{name}: the folder {shown(folder)} cannot be written to")


def is_special(path: Path) -> bool:
    """Whether a path is a pipe, a device or a socket, which is written to and never replaced."""
    about = _stat(path)
    return about is not None and not stat.S_ISREG(about.st_mode) and not stat.S_ISDIR(about.st_mode)


def _stat(path: Path) -> os.stat_result | None:
    """The status of the file behind all links of a path; None if it does not exist."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _stream(about: os.stat_result) -> int | None:
    """The descriptor of the standard stream that is this file; None if none is."""
    for descriptor in STREAMS:
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), about):
                return descriptor
    return None


def _write_all(descriptor: int, data: bytes) -> None:
    """Write to an open file and close it."""
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


def _replace(path: Path, data: bytes, old: os.stat_result | None) -> None:
    """Write to a temporary file and rename it to `path`; `old` is the status of the old file."""
    prefix = f".{path.name[:_NAME_CHARS]}."
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=prefix)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        mode = 0o666 & ~_umask() if old is None else stat.S_IMODE(old.st_mode)
        Path(temporary).chmod(mode)  # mkstemp makes it readable by its owner only
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make renames within a folder survive a power cut, where the system supports it."""
    if os.name == "nt":
        return  # Windows has no such call, and its renames are journalled
    with contextlib.suppress(
        OSError
    ):  # The folder may be unreadable, or its file system have no sync.
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _umask() -> int:
    """The umask of the process; it can only be read by setting it for a moment."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def make_folder(path: Path) -> None:
    """Create a folder and its parents unless it exists; for a link, the folder that it names.

    Raises:
        FileError: The folder cannot be created or is not writable.
    """
    try:
        Path(os.path.realpath(path)).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"{shown(path)}: cannot be made: {error.strerror}") from error
    if not os.access(path, os.W_OK):
        raise FileError(f"{shown(path)}: cannot be written to; name another folder with -o")
