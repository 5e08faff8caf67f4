"""The command where streams are closed, full, redirected or of another encoding."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import generative
from generative.cli import terminal
from generative.cli.main import main
from generative.music import midi
from tests.conftest import TUNES

COMMAND = f"'{sys.executable}' -c 'from generative.cli.main import main; main()'"
posix = pytest.mark.skipif(os.name == "nt", reason="the shell and the names are of POSIX")
ONE_LINE = "generate: stdout is closed: nothing can be printed; write to a file with -o\n"


def shell(command: str, **environment: str) -> tuple[int, bytes, str]:
    """A line for bash, where `generate` is the command: exit code, stdout, stderr."""
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; generate() {{ {COMMAND} \"$@\"; }}; {command}"],
        env={**os.environ, **environment}, capture_output=True, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert b"Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr.decode("utf-8")


def call(*arguments: object) -> int:
    """The command in this process; its exit code."""
    with pytest.raises(SystemExit) as stopped:
        main([os.fspath(a) if isinstance(a, Path) else str(a) for a in arguments])
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


def give_stdin(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


@posix
@pytest.mark.parametrize(
    "command", ["text A -n 9", "music -o -", "info", "info --json", "--help", "text A -o -"]
)
def test_a_closed_stdout_is_a_line_and_fails(command: str) -> None:
    assert shell(f"generate {command} >&-") == (1, b"", ONE_LINE)


@posix
def test_what_needs_no_stdout_does_without(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert shell(f"generate text A -m '{trained}' -n 9 --seed 1 -o '{out}' >&- <&-")[0] == 0
    assert len(out.read_text()) == 11
    code, _, errors = shell(f"generate text A -m '{trained}' -o /dev/stdout >&-")
    assert (code, "cannot be written" in errors) == (1, True)


@posix
def test_training_without_stderr_goes_on(rhyme: Path, tmp_path: Path) -> None:
    options = "--steps 2 --hidden 16 --batch-size 4 --sequence-length 16"
    assert shell(f"generate train '{rhyme}' -o '{tmp_path}/m' {options} 2>&-") == (0, b"", "")
    assert (tmp_path / "m" / "model.safetensors").is_file()


@posix
def test_a_closed_stdin_is_empty_unless_it_is_asked_for(trained: Path) -> None:
    command = f"generate text -m '{trained}' -n 3 --seed 1"
    assert shell(f"{command} <&-")[:2] == shell(command)[:2]
    assert shell(f"{command} - <&-") == (
        1, b"", "generate: stdin is closed: there is nothing to read\n",
    )  # fmt: skip


@posix
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("command", ["info", "text A -n 9 --seed 1", "music --bars 1 -o -"])
def test_a_full_stdout_is_a_line_and_fails(command: str) -> None:
    code, _, errors = shell(f"generate {command} > /dev/full")
    assert (code, errors) == (1, "generate: [Errno 28] No space left on device\n")


@posix
def test_a_reader_that_goes_away_ends_it_quietly(trained: Path) -> None:
    for command in ("text A -n 3000 --seed 1", "text A -n 9 --seed 1 -o /dev/stdout"):
        code, _, errors = shell(f"generate {command} -m '{trained}' | head -c 1")
        assert code in (0, 141)
        assert errors in ("", "wrote /dev/stdout\n")


@posix
@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_all_is_printed_as_utf_8(trained: Path, tmp_path: Path, encoding: str) -> None:
    folder = tmp_path / "модель"
    shutil.copytree(trained, folder)
    code, out, _ = shell(f"generate info '{folder}' --json", PYTHONIOENCODING=encoding)
    assert code == 0
    assert json.loads(out)["path"] == str(folder)
    code, out, _ = shell(f"generate info '{folder}'", PYTHONIOENCODING=encoding, LC_ALL="C")
    assert (code, "# модель" in out.decode()) == (0, True)
    assert shell("generate info нет", PYTHONIOENCODING=encoding)[2].startswith(
        "generate: no model 'нет'"
    )


@posix
def test_names_that_are_not_utf_8(tmp_path: Path, capfdbinary: Any) -> None:
    def place(name: bytes) -> Path:
        return tmp_path / os.fsdecode(name)

    shown, folder = "caf\ufffd", place(b"caf\xe9")
    text = place(b"caf\xe9.txt")
    text.write_text("so it goes, and goes on.\n" * 40)
    generative.train(
        text, folder, steps=2, hidden=16, batch_size=2, sequence_length=8, styles={str(text): "a"}
    )
    assert generative.load(folder).checkpoint.details["corpus"]["names"] == [f"{shown}.txt"]
    generative.train(text, folder, resume=True, steps=3, styles={str(text): "a"})
    assert (folder / "README.md").read_text(encoding="utf-8").startswith(f"# {shown}\n")
    assert call("info", folder) == 0
    assert call("info", folder, "--json") == 0
    tokens, out = place(b"t\xe9.jsonl"), place(b"o\xe9.txt")
    score = ("score", text, "-m", folder, "--per-token", tokens, "--copies", "--corpus", text)
    assert call(*score) == 0
    assert json.loads(tokens.read_text(encoding="utf-8").splitlines()[0])["document"].endswith(
        f"{shown}.txt"
    )
    assert call("text", "so", "-m", folder, "-n", 3, "-o", out) == 0
    names = {k: place(b"m\xe9." + k.encode()) for k in ("mid", "wav", "png", "html")}
    also = ("--wav", names["wav"], "--plot", names["png"], "--html", names["html"])
    assert call("music", "--bars", 1, "-o", names["mid"], *also, "--json") == 0
    assert all(path.is_file() for path in names.values())
    assert "<title>m\ufffd</title>" in names["html"].read_text(encoding="utf-8")
    assert call("info", names["mid"]) == 0
    assert call("score", place(b"none\xe9.txt")) == 1
    assert call("music", "--primer", place(b"none\xe9.mid"), "-o", names["mid"]) == 1
    errors = capfdbinary.readouterr().err.decode("utf-8")
    assert "none\ufffd.txt: no such file" in errors


def test_a_mark_before_toml_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "bom.toml"
    path.write_bytes(b"\xef\xbb\xbfhidden = 16\n")
    assert terminal.read_toml(path) == {"hidden": 16}


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (r"\n\n", "\n\n"),
        (r"a\tb\r\0", "a\tb\r\0"),
        (r"\\n", r"\n"),
        (r"\\\n", "\\\n"),
        (r"\x41\u00e9\U0001F600", "Aé😀"),
        (r"\q \x4 \ud800 \UFFFFFFFF", r"\q \x4 \ud800 \UFFFFFFFF"),
        ("at the end \\", "at the end \\"),
        ("né\n", "né\n"),
    ],
)
def test_escapes(given: str, read: str) -> None:
    assert terminal.unescape(given) == read


def test_escapes_on_the_command_line(trained: Path, capfdbinary: Any) -> None:
    model = ("-m", trained, "--seed", 1, "-n", 200)
    assert call("text", "7", *model, "--stop", r"\n") == 0
    assert capfdbinary.readouterr().out.count(b"\n") == 1
    assert call("text", "", *model, "--choice", r"a\tb") == 0
    assert capfdbinary.readouterr().out == b"a\tb\n"
    assert call("text", "7", *model, "--forbid", r"\n") == 0
    assert capfdbinary.readouterr().out.count(b"\n") == 1


def test_stdin_is_scored_inspected_continued_and_harmonised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: Any
) -> None:
    tune = midi.to_bytes(midi.read(TUNES / "slow_tide.mid").excerpt(1, 2))
    out = tmp_path / "out.mid"
    for command in (
        ("score", "-", "--json"),
        ("info", "-", "--json"),
        ("music", "--primer", "-", "--bars", 1, "-o", out),
        ("music", "--harmonise", "-", "--num-beams", 2, "-o", out),
    ):
        give_stdin(monkeypatch, tune)
        assert call(*command) == 0
    assert midi.read(out).bars == 2
    printed = capfdbinary.readouterr().out.decode()
    scored, end = json.JSONDecoder().raw_decode(printed)
    assert (scored["model"], scored["documents"]) == ("chorales", 1)
    assert json.loads(printed[end:])["notes"] == scored["notes"]
    give_stdin(monkeypatch, b"no music")
    assert call("music", "--primer", "-", "-o", out) == 1
    assert "stdin: not a MIDI file" in capfdbinary.readouterr().err.decode()


def test_stdin_is_learnt_from_first(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: Any
) -> None:
    text = "12 bottles of another kind\n" * 3
    (tmp_path / "a.txt").write_text(text)
    command = ("text", "7", "-m", trained, "--seed", 1, "-n", 9, "--adapt")
    give_stdin(monkeypatch, text.encode())
    assert call(*command, "-") == 0
    first = capfdbinary.readouterr().out
    assert call(*command, tmp_path / "a.txt") == 0
    assert capfdbinary.readouterr().out == first


@pytest.mark.parametrize(
    "command", [("text", "-", "--adapt", "-"), ("score", "-", "-"), ("train", "-", "-", "-o", "m")]
)
def test_stdin_cannot_be_read_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: Any, command: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    give_stdin(monkeypatch, b"text")
    assert call(*command) == 2
    assert "stdin can be read only once" in capfdbinary.readouterr().err.decode()


def test_a_stderr_that_nobody_reads_stops_no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(sys, "stderr", Gone())
    terminal.log("a line")


@posix
def test_several_pieces_go_to_one_pipe_or_device(tmp_path: Path) -> None:
    assert terminal.numbered_paths(Path(os.devnull), 2) == [Path(os.devnull)] * 2
    assert terminal.numbered_paths(tmp_path / "a.mid", 2) == [
        tmp_path / "a-1.mid",
        tmp_path / "a-2.mid",
    ]
