"""How the command reads and prints: streams, prompts, TOML and JSON; knows no models."""

from __future__ import annotations

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

STDIO = "-"
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


def given(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were set; what is None or () was not."""
    return {name: value for name, value in options.items() if value is not None and value != ()}


def read_prompt(prompt: str | None) -> str:
    """PROMPT itself, or stdin for "-" or where something is piped in and no PROMPT is given."""
    from generative.corpus import decode_text

    if prompt == STDIO or (prompt is None and not quiet_stdin()):
        return decode_text(sys.stdin.buffer.read(), "utf-8", "stdin")
    try:
        (prompt or "").encode("utf-8")
    except UnicodeEncodeError:  # bytes that were not UTF-8 reach us as surrogates
        return decode_text(os.fsencode(prompt or ""), "utf-8", "PROMPT")
    return prompt or ""


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
        values = tomllib.loads(path.read_text(encoding="utf-8"))
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
    """One path a sequence: out.mid, or out-1.mid, out-2.mid ..."""
    if count == 1:
        return [path]
    return [path.with_name(f"{path.stem}-{i + 1}{path.suffix}") for i in range(count)]


def check_outputs(*paths: Path | None) -> None:
    """Refuse, before any work is done, a file that cannot be written.

    Raises:
        ValueError: its folder is missing or closed to us, or it is a folder itself.
    """
    for path in paths:
        if path is None or str(path) == STDIO:
            continue
        if path.is_dir():
            raise ValueError(f"{path}: is a folder; name a file")
        if not path.parent.is_dir():
            raise ValueError(f"{path}: there is no folder {path.parent}; make it first")
        if not os.access(path.parent, os.W_OK):
            raise ValueError(f"{path}: the folder {path.parent} cannot be written to")


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
    """One line on stderr."""
    click.echo(escaped(line), err=True)
