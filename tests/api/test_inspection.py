from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from generative.api import inspection
from generative.cli.main import main
from generative.music import midi
from generative.music.piece import Control, Key, Piece, Track
from tests.pieces import note

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound file, one with hanging notes and lyrics, and one that is no music."""
    pedal = Control(at_ticks=10, number=64, value=127)
    track = Track(program=3, notes=(note(11, 240, 60), note(480, 240, 62)), controls=(pedal,))
    piece = Piece(ticks_per_beat=480, tracks=(track,), keys=(Key(at_ticks=0, sharps=-1),))
    midi.write(piece, tmp_path / "a.mid")
    (tmp_path / "b.mid").write_bytes(
        bytes.fromhex("4d 54 68 64 00 00 00 06 00 00 00 01 00 60 4d 54 72 6b 00 00 00 0d")
        + bytes.fromhex("00 ff 05 01 6c 00 90 3c 40 60 ff 2f 00")
    )
    (tmp_path / "c.mid").write_bytes(b"no music")
    return tmp_path


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as done:
        main(["info", *arguments])
    return int(done.value.code or 0)


def test_a_report_accounts_for_what_each_grid_loses(folder: Path) -> None:
    (report,) = inspection.inspect_files([str(folder / "a.mid")])
    assert report["mended"] == report["dropped"] == {}
    assert report["tracks"] == [
        {"name": "", "program": 3, "drums": False, "notes": 2, "controls": {"sustain pedal": 1}}
    ]
    assert report["keys"] == [{"sharps": -1, "minor": False}]
    score, performance = report["grids"]["score"], report["grids"]["performance"]
    # 480 ticks a beat are 20 a step: 11 ticks go to 20; at 120 a minute 9.6 ticks are 10 ms
    assert score["lost"] == {"note: onset rounded": 1, "sustain pedal": 1, "velocity rounded": 2}
    assert score["max_onset_error"] == pytest.approx(0.45)
    assert performance["lost"] == {"note: onset rounded": 1, "velocity rounded": 2}
    assert performance["max_onset_error"] == pytest.approx(1000 * (11 / 960 - 0.01), abs=1e-3)
    assert performance["max_duration_error"] == 0


def test_info_tells_what_was_mended(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(folder)) == 0
    out = capsys.readouterr().out
    assert "1 hanging note closed" in out
    assert "1 lyric" in out
    assert f"{folder / 'c.mid'}: not a MIDI file" in out


def test_info_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(folder / "b.mid"), "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["mended"], report["dropped"]) == ({"hanging note closed": 1}, {"lyric": 1})
    assert run(str(folder), "--json") == 0
    assert [one["file"][-5:] for one in json.loads(capsys.readouterr().out)] == [
        "a.mid", "b.mid", "c.mid",
    ]  # fmt: skip


def test_info_fails_where_nothing_can_be_read(folder: Path) -> None:
    assert run(str(folder / "c.mid")) == 1


def test_two_models_are_one_too_many(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("shakespeare", "chorales") == 2
    assert "name one model, or MIDI files" in capsys.readouterr().err


def test_what_would_steer_a_terminal_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "Bass\x07\x1b[31mred\x9b2J\nfile"
    path = tmp_path / "a\x1b[2Jb.mid"
    midi.write(Piece(ticks_per_beat=24, tracks=(Track(name=name, notes=(note(0, 24),)),)), path)
    assert run(str(path)) == 0
    out = capsys.readouterr().out
    assert r"1 notes  Bass\x07\x1b[31mred\x9b2J file" in out
    assert r"a\x1b[2Jb.mid" in out
    assert run(str(path), "--json") == 0
    out += (shown := capsys.readouterr().out)
    assert json.loads(shown)["tracks"][0]["name"] == name
    assert run(str(tmp_path / "no\x1b[2J.mid")) == 1
    assert run("--no\x1b[2J") == 2
    err = capsys.readouterr().err
    assert err.count(r"no\x1b[2J") == 2
    assert not set(out + err) & {
        chr(code) for code in (*range(9), *range(11, 32), *range(127, 160))
    }
