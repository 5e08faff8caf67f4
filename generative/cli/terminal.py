"""Reading and printing: streams, prompts, TOML, JSON and reports; uses no model."""

from __future__ import annotations

import codecs
import contextlib
import io
import json
import math
import os
import re
import stat
import sys
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from generative.errors import FileError

if TYPE_CHECKING:
    from generative.api.reports import Report

STDIO = "-"
# The name of the codec error handler that prints bytes that are not UTF-8.
REPLACE = "generative.replace"
# letter after a backslash -> character; x, u and U are followed by 2, 4 and 8 hexadecimal digits
_LETTERS = {
    "0": "\0", "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
    "\\": "\\",
}  # fmt: skip
_ESCAPE = re.compile(r"\\(?:([0abfnrtv\\])|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))")
# Names and model cards come from files, so control characters are escaped before printing.
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
SURROGATE = re.compile("[\ud800-\udfff]")


def seconds_since_start() -> float:
    """The age of this process; 0 where the system does not report it."""
    try:
        fields = Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        started = int(fields[19]) / os.sysconf("SC_CLK_TCK")  # the 22nd field, starttime
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started)
    except (OSError, ValueError, IndexError, AttributeError):
        return 0.0


def open_streams() -> None:
    """Make stdout and stderr UTF-8 in every locale, and replace streams that are closed.

    A path with bytes that are not UTF-8 is printed with U+FFFD for each of these bytes. The file
    descriptor of a closed stream is opened, so that no file of the program gets its number. What is
    then written to stderr is lost; reading stdin and writing stdout raise `FileError`.
    """
    codecs.register_error(REPLACE, _replacement)
    for descriptor, mode in enumerate((os.O_WRONLY, os.O_RDONLY, os.O_RDWR)):
        _open_if_closed(descriptor, mode)
    if sys.stdout is None:
        sys.stdout = io.TextIOWrapper(_ClosedOutput(), write_through=True)
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 - it stays open
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors=REPLACE)


def _replacement(error: UnicodeError) -> tuple[bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "\ufffd".encode() * (error.end - error.start), error.end


def _open_if_closed(descriptor: int, mode: int) -> None:
    """Open the null device as a file descriptor, if that is closed."""
    try:
        os.fstat(descriptor)
    except OSError:
        opened = os.open(os.devnull, mode)
        if opened != descriptor:
            os.dup2(opened, descriptor)
            os.close(opened)


class _ClosedOutput(io.RawIOBase):
    """The stream in place of a stdout that is closed."""

    def writable(self) -> bool:
        """Return True, so that `write` is called."""
        return True

    def write(self, _: object) -> int:
        """Refuse to write.

        Raises:
            FileError: always.
        """
        raise FileError("stdout is closed: nothing can be printed; write to a file with -o")


def check_stdout() -> None:
    """Check, before any work is done, that stdout is open.

    Raises:
        FileError: stdout is closed.
    """
    if isinstance(getattr(sys.stdout, "buffer", None), _ClosedOutput):
        sys.stdout.write(" ")


def discard_unprinted() -> None:
    """Discard what stdout refuses; otherwise Python would try to print it again at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def unescape(text: str) -> str:
    r"""Replace \n, \t, \\, \x41, \u00e9 ... by their characters; other escapes are kept."""

    def read(match: re.Match[str]) -> str:
        letter, *numbers = match.groups()
        if letter is not None:
            return _LETTERS[letter]
        number = int("".join(filter(None, numbers)), 16)
        is_character = number <= sys.maxunicode and not 0xD800 <= number <= 0xDFFF
        return chr(number) if is_character else match[0]

    return _ESCAPE.sub(read, text)


def check_stdin(**places: object) -> None:
    """Check that at most one of several values is "-".

    places: name of an argument or option -> its value.

    Raises:
        click.UsageError: two of them are.
    """
    named = [name for name, value in places.items() if str(value) == STDIO]
    if len(named) > 1:
        raise click.UsageError(
            f"stdin can be read only once: {STDIO} stands for both {named[0]} and {named[1]}"
        )


def read_prompt(prompt: str | None, *, stdin: bool = True) -> str:
    """The prompt; it is read from stdin for "-", and for None if something is piped in.

    stdin: whether a prompt of None may read stdin.
    """
    from generative.files.decoding import decode_text
    from generative.files.stdin import NAME, standard_input

    if prompt == STDIO or (prompt is None and stdin and not is_stdin_empty()):
        with standard_input().open("the prompt") as file:
            return decode_text(file.read(), "utf-8", NAME)
    return decode_text(os.fsencode(prompt or ""), "utf-8", "PROMPT")


def is_stdin_empty() -> bool:
    """Whether stdin is closed, a terminal, or neither a pipe nor a file."""
    try:
        if sys.stdin is None or sys.stdin.closed or sys.stdin.isatty():
            return True
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError):
        return True
    return not (stat.S_ISFIFO(mode) or stat.S_ISREG(mode))


def read_toml(path: Path) -> dict[str, Any]:
    """Options from a TOML file, by their long names; the names of its tables have no meaning."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise click.BadParameter(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise click.BadParameter(f"{path}: not TOML: {error}") from error
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= value if isinstance(value, dict) else {key: value}
    return {key.replace("-", "_"): value for key, value in flat.items()}


def finite(value: Any) -> Any:
    """A value for JSON, which has no infinity: figures that are not finite become None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    return [finite(v) for v in value] if isinstance(value, list) else value


def to_json_text(value: Any) -> str:
    """A value as JSON."""
    return json.dumps(finite(value), ensure_ascii=False, indent=2)


def print_json(value: Any) -> None:
    """Print one JSON value on stdout."""
    # `json` escapes the control characters below 32; those from 127 on are escaped here.
    click.echo(CONTROL.sub(lambda char: f"\\u{ord(char[0]):04x}", to_json_text(value)))


def print_report(report: Report, *, as_json: bool) -> None:
    """Print a report on stdout, as JSON or as text for people."""
    if as_json:
        print_json(report.to_json())
        return
    for line in report.to_lines():
        print_line(line)


def numbered_paths(path: Path, count: int) -> list[Path]:
    """One path a sequence: out.mid, or out-1.mid, out-2.mid ...; a pipe or device is repeated."""
    from generative.files import is_special

    if count == 1 or is_special(path):
        return [path] * count
    return [path.with_name(f"{path.stem}-{i + 1}{path.suffix}") for i in range(count)]


def check_outputs(*paths: Path | None) -> None:
    """Check, before any work is done, that files can be written; "-" is stdout.

    Raises:
        FileError: one cannot; the message says why.
    """
    from generative.files import check_writable

    for path in paths:
        if path is not None and str(path) == STDIO:
            check_stdout()
        elif path is not None:
            check_writable(path)


def check_files(**paths: Path | None) -> None:
    """Check that files can be written; "-" is refused. paths: name of an option -> its path.

    Raises:
        click.UsageError: a path is "-".
        FileError: a file cannot be written; the message says why.
    """
    for option, path in paths.items():
        if path is not None and str(path) == STDIO:
            raise click.UsageError(f"{option} - : give it the name of a file; stdout is taken")
        check_outputs(path)


def write_text(text: str) -> None:
    """Write text to stdout as UTF-8 in every locale, and flush it."""
    sys.stdout.buffer.write(text.encode("utf-8"))
    sys.stdout.buffer.flush()


def write_output(text: str, output: Path | None) -> None:
    """Write a finished text to a file, atomically, or to stdout for None and "-"."""
    if output is None or str(output) == STDIO:
        write_text(text)
        return
    from generative.files import write_text as write_file

    write_file(output, text)
    log(f"wrote {output}")


def log_seed(seed: int, chosen: int | None) -> None:
    """Log a seed that was drawn because none was chosen."""
    if chosen is None:
        log(f"seed {seed}")


def escape(text: str) -> str:
    """Replace control characters, except tab and newline, by escapes.

    A byte that is not UTF-8, which Python holds as a lone surrogate, becomes U+FFFD.

    Example:
        escape("Bass\x07")    # "Bass\\x07"
    """
    shown = CONTROL.sub(lambda char: f"\\x{ord(char[0]):02x}", text)
    return SURROGATE.sub("\ufffd", shown)


def print_line(text: str) -> None:
    """Print text for people on stdout; control characters are escaped."""
    click.echo(escape(text))


def show_error(error: click.ClickException) -> None:
    """Print a usage error on stderr in click's format."""
    shown = io.StringIO()
    error.show(shown)
    click.echo(escape(shown.getvalue()), err=True, nl=False)


def log(line: str) -> None:
    """Print one line on stderr; an error in doing so is ignored, so that it stops no work."""
    with contextlib.suppress(OSError):
        click.echo(escape(line), err=True)
