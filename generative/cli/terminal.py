"""How the command reads and prints: streams, prompts, TOML and JSON; knows no models."""

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
from typing import Any

import click

from generative.errors import FileError

STDIO = "-"
SHOWN = "generative.shown"  # the name of how bytes that were not UTF-8 are printed
# what a backslash and a letter stand for; x, u and U have 2, 4 and 8 digits of a character's number
_LETTERS = {
    "0": "\0", "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
    "\\": "\\",
}  # fmt: skip
_ESCAPE = re.compile(r"\\(?:([0abfnrtv\\])|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))")
# Names and cards come from files: what would steer the terminal is shown and not sent to it.
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
SURROGATE = re.compile("[\ud800-\udfff]")


def seconds_since_start() -> float:
    """How long this process has existed; 0 where the system does not tell."""
    try:
        fields = Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        started = int(fields[19]) / os.sysconf("SC_CLK_TCK")  # the 22nd field, starttime
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started)
    except (OSError, ValueError, IndexError, AttributeError):
        return 0.0


def open_streams() -> None:
    """Make stdout and stderr UTF-8, whatever the locale says, and have all three streams there.

    A path with bytes that are not UTF-8 is printed with U+FFFD for each. Where a stream is closed,
    its number is taken, so that no file of ours gets it: what is said on stderr is lost, and what
    is read or printed raises `FileError`.
    """
    codecs.register_error(SHOWN, _replacement)
    for number, mode in enumerate((os.O_WRONLY, os.O_RDONLY, os.O_RDWR)):
        _take_number(number, mode)
    if sys.stdout is None:
        sys.stdout = io.TextIOWrapper(_ClosedOutput(), write_through=True)
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 - a number, for good
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors=SHOWN)


def _replacement(error: UnicodeError) -> tuple[bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "\ufffd".encode() * (error.end - error.start), error.end


def _take_number(number: int, mode: int) -> None:
    """Open the null device as a file descriptor that is closed."""
    try:
        os.fstat(number)
    except OSError:
        opened = os.open(os.devnull, mode)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)


class _ClosedOutput(io.RawIOBase):
    """What stands for a stdout that is closed."""

    def writable(self) -> bool:
        """It says so, to be asked."""
        return True

    def write(self, _: object) -> int:
        """Refuse.

        Raises:
            FileError: always.
        """
        raise FileError("stdout is closed: nothing can be printed; write to a file with -o")


def check_stdout() -> None:
    """Refuse, before any work is done, to print where stdout is closed.

    Raises:
        FileError: it is.
    """
    if isinstance(getattr(sys.stdout, "buffer", None), _ClosedOutput):
        sys.stdout.write(" ")


def drop_unprinted() -> None:
    """Forget what stdout does not take, which would be tried again, and fail, at the end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def given(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were set; what is None or () was not."""
    return {name: value for name, value in options.items() if value is not None and value != ()}


def unescaped(text: str) -> str:
    r"""A text with \n, \t, \\, \x41, \u00e9 ... read; other escapes stay as they are."""

    def read(match: re.Match[str]) -> str:
        letter, *numbers = match.groups()
        if letter is not None:
            return _LETTERS[letter]
        number = int("".join(filter(None, numbers)), 16)
        is_character = number <= sys.maxunicode and not 0xD800 <= number <= 0xDFFF
        return chr(number) if is_character else match[0]

    return _ESCAPE.sub(read, text)


def check_stdin(**places: object) -> None:
    """Refuse to read stdin for more than one of the places that were given, by name.

    Raises:
        UsageError: naming two.
    """
    named = [name for name, value in places.items() if str(value) == STDIO]
    if len(named) > 1:
        raise click.UsageError(
            f"stdin can be read only once: {STDIO} stands for both {named[0]} and {named[1]}"
        )


def read_prompt(prompt: str | None, *, stdin: bool = True) -> str:
    """PROMPT itself, or stdin for "-" or where something is piped in and no PROMPT is given.

    stdin: False leaves it to another option.
    """
    from generative.files.decoding import decode_text
    from generative.files.stdin import NAME, standard_input

    if prompt == STDIO or (prompt is None and stdin and not quiet_stdin()):
        with standard_input().open("the prompt") as file:
            return decode_text(file.read(), "utf-8", NAME)
    return decode_text(os.fsencode(prompt or ""), "utf-8", "PROMPT")


def quiet_stdin() -> bool:
    """Whether stdin has nothing to say: closed, a terminal, or neither a pipe nor a file."""
    try:
        if sys.stdin is None or sys.stdin.closed or sys.stdin.isatty():
            return True
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError):
        return True
    return not (stat.S_ISFIFO(mode) or stat.S_ISREG(mode))


def read_toml(path: Path) -> dict[str, Any]:
    """Options from TOML, by their long names; tables are only for order."""
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


def sequence_json(sequence: Any) -> dict[str, Any]:
    """The figures of a generated sequence that text and music share."""
    logprobs = {"logprobs": [token_json(t) for t in sequence.logprobs]} if sequence.logprobs else {}
    return {
        "tokens": len(sequence.tokens),
        "nats": sequence.nats,
        "perplexity": sequence.perplexity,
        "finish_reason": sequence.finish_reason,
        "score": sequence.score,
        **logprobs,
    }


def token_json(token: Any) -> dict[str, Any]:
    """One token's log-probabilities, with the alternatives to it."""
    names = ("token", "text", "logprob", "processed_logprob")
    top = {"top": [token_json(t) for t in token.top]} if token.top else {}
    return {**{name: getattr(token, name) for name in names}, **top}


def likelihood_json(likelihood: Any) -> dict[str, Any]:
    """The figures of a likelihood that apply to its medium."""
    names = ["tokens", "nats", "perplexity", "bits_per_token"]
    names += (
        ["bits_per_char", "bits_per_byte", "chars", "bytes"]
        if likelihood.notes is None
        else ["bits_per_note", "notes", "seconds"]
    )
    return {name: getattr(likelihood, name) for name in names}


def finite(value: Any) -> Any:
    """JSON has no infinity: such a figure becomes null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    return [finite(v) for v in value] if isinstance(value, list) else value


def print_json(value: Any) -> None:
    """One JSON value on stdout."""
    text = json.dumps(finite(value), ensure_ascii=False, indent=2)
    # JSON escapes what is below 32 by itself; the others that steer a terminal are in strings too
    click.echo(CONTROL.sub(lambda char: f"\\u{ord(char[0]):04x}", text))


def numbered(path: Path, count: int) -> list[Path]:
    """One path a sequence: out.mid, or out-1.mid, out-2.mid ...; a pipe or device takes all."""
    from generative.files import is_special

    if count == 1 or is_special(path):
        return [path] * count
    return [path.with_name(f"{path.stem}-{i + 1}{path.suffix}") for i in range(count)]


def check_outputs(*paths: Path | None) -> None:
    """Refuse, before any work is done, what cannot be written; "-" is stdout.

    Raises:
        FileError: saying why.
    """
    from generative.files import check_writable

    for path in paths:
        if path is not None and str(path) == STDIO:
            check_stdout()
        elif path is not None:
            check_writable(path)


def check_files(**paths: Path | None) -> None:
    """The same for options that write files only: option -> path.

    Raises:
        click.UsageError: "-", which is no file.
        FileError: saying why it cannot be written.
    """
    for option, path in paths.items():
        if path is not None and str(path) == STDIO:
            raise click.UsageError(f"{option} - : give it the name of a file; stdout is taken")
        check_outputs(path)


def write_text(text: str) -> None:
    """Text to stdout as UTF-8, whatever the locale, at once."""
    sys.stdout.buffer.write(text.encode("utf-8"))
    sys.stdout.buffer.flush()


def emit(text: str, output: Path | None) -> None:
    """A finished text to a file, in one move, or to stdout."""
    if output is None or str(output) == STDIO:
        write_text(text)
        return
    from generative.files import write_text as write_file

    write_file(output, text)
    say(f"wrote {output}")


def note_seed(seed: int, asked: int | None) -> None:
    """Say which seed was drawn, where none was asked for."""
    if asked is None:
        say(f"seed {seed}")


def escaped(text: str) -> str:
    """A text with its control characters, save tab and newline, shown as escapes.

    A byte that is not UTF-8, half a surrogate pair to Python, is shown by a replacement character.

    Example:
        escaped("Bass\x07")    # "Bass\\x07"
    """
    shown = CONTROL.sub(lambda char: f"\\x{ord(char[0]):02x}", text)
    return SURROGATE.sub("\ufffd", shown)


def show(text: str) -> None:
    """Text about files on stdout, for human eyes."""
    click.echo(escaped(text))


def show_error(error: click.ClickException) -> None:
    """A usage error on stderr, as click words it."""
    shown = io.StringIO()
    error.show(shown)
    click.echo(escaped(shown.getvalue()), err=True, nl=False)


def say(line: str) -> None:
    """One line on stderr, if anybody still reads it: what is said there stops no work."""
    with contextlib.suppress(OSError):
        click.echo(escaped(line), err=True)
