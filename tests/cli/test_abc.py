"""The option --abc: a tune of one voice, or an error and no file at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from generative.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path


def exit_code(*arguments: object) -> object:
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return stopped.value.code


def test_a_tune_is_written_beside_its_midi(tmp_path: Path) -> None:
    tune, abc = tmp_path / "a.mid", tmp_path / "a.abc"
    asked = "--bars", 2, "--seed", 1, "-o", tune, "--abc", abc
    assert exit_code("music", "-m", "folk", *asked) == 0
    text = abc.read_text(encoding="utf-8")
    assert text.startswith("%abc-2.1\nX:1\nT:a\nM:")
    music = text.split("\nK:")[1].split("\n", 1)[1]
    assert music.count("|") == 2
    assert music.endswith("|]\n")
    assert tune.exists()


@pytest.mark.parametrize("output", ["a.mid", "a.abc"])
def test_several_voices_are_an_error_and_nothing_is_written(
    output: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = "--bars", 1, "--seed", 1, "-o", tmp_path / output, "--abc", tmp_path / "b.abc"
    assert exit_code("music", "-m", "chorales", *asked) == 1
    message = (
        "ABC is written of one voice, not of 4 instruments: write MusicXML (.musicxml) instead"
    )
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
