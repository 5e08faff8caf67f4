"""The command as users and scripts meet it: streams, exit codes, JSON keys, errors in a line."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from generative.cli.main import main
from generative.music import midi
from tests.conftest import TUNES

if TYPE_CHECKING:
    from pathlib import Path


class Result:
    """What one call printed and how it ended."""

    def __init__(self, code: int, out: bytes, err: str) -> None:
        self.code, self.bytes, self.err = code, out, err

    @property
    def out(self) -> str:
        return self.bytes.decode("utf-8")

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def generate(capfdbinary: pytest.CaptureFixture[bytes]) -> Any:
    def call(*arguments: object) -> Result:
        capfdbinary.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        captured = capfdbinary.readouterr()
        assert isinstance(stopped.value.code, int)
        return Result(stopped.value.code, captured.out, captured.err.decode())

    return call


def test_text_streams_the_prompt_and_what_follows(generate: Any, trained: Path) -> None:
    result = generate("text", "7 bott", "-m", trained, "-n", 30, "--seed", 1)
    assert result.code == 0
    assert result.out.startswith("7 bott")
    whole = generate("text", "7 bott", "-m", trained, "-n", 30, "--seed", 1, "--no-stream")
    assert whole.out == result.out
    assert result.err == ""


@pytest.mark.parametrize("option", ["--wav", "--plot", "--html", "--musicxml", "--abc"])
def test_what_is_only_written_to_files_is_no_dash(
    generate: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = generate("music", "--bars", 1, option, "-")
    assert result.code == 2
    assert f"{option} - : give it the name of a file" in result.err
    assert list(tmp_path.iterdir()) == []


def test_text_json(generate: Any, trained: Path) -> None:
    result = generate(
        "text", "7", "-m", trained, "-n", 9, "--seed", 4, "--num-return-sequences", 2, "--json"
    )
    assert set(result.json) == {"model", "seed", "sequences"}
    assert result.json["seed"] == 4
    assert len(result.json["sequences"]) == 2
    for sequence in result.json["sequences"]:
        assert set(sequence) == {"text", "tokens", "nats", "perplexity", "finish_reason", "score"}
        assert sequence["tokens"] == 9


def test_text_json_tells_each_tokens_alternatives(generate: Any) -> None:
    result = generate("text", "ROMEO:", "-n", 4, "--seed", 4, "--top-logprobs", 2, "--json")
    (sequence,) = result.json["sequences"]
    assert "".join(token["text"] for token in sequence["logprobs"]) == sequence["text"]
    assert sum(token["logprob"] for token in sequence["logprobs"]) == pytest.approx(
        -sequence["nats"]
    )
    for token in sequence["logprobs"]:
        assert set(token) == {"token", "text", "logprob", "processed_logprob", "top"}
        assert len(token["top"]) == 2
    greedy = generate("text", "A", "-n", 2, "--temperature", 0, "--top-logprobs", 2, "--json")
    (sequence,) = greedy.json["sequences"]
    assert [t["processed_logprob"] for t in sequence["logprobs"][0]["top"]] == [0.0, None]


def test_text_under_constraints(generate: Any) -> None:
    seed = ("--seed", 1, "-n", 30)
    result = generate("text", "ROMEO:", *seed, "--pattern", r" [a-z]+(, [a-z]+)*\.")
    assert re.fullmatch(r"ROMEO: [a-z]+(, [a-z]+)*\.\n", result.out)
    assert generate("text", "", *seed, "--choice", "yes", "--choice", "né").out in ("yes\n", "né\n")
    assert "e" not in generate("text", "A", *seed, "--forbid", "e").out
    refused = generate("text", "A", "-n", 2, "--pattern", "abc")
    assert refused.code == 1
    assert "the shortest such text has 3" in refused.err
    assert generate("text", "A", "--pattern", "(").code == 1


def test_the_chain_on_the_command_line(generate: Any) -> None:
    chain = [
        "--temperature", "1.2,0.6", "--mirostat-tau", 3, "--xtc-probability", 0.2,
        "--epsilon-cutoff", 0.001, "--eta-cutoff", 0.001, "--top-n-sigma", 3,
        "--presence-penalty", 0.1, "--frequency-penalty", 0.01, "--dry-multiplier", 0.8,
        "--dry-allowed-length", 6, "--logit-bias", "101=-20", "--logit-bias", "32=1",
        "--banned-tokens", "97,98", "--min-new-tokens", 3, "--samplers", "top_n_sigma,temperature",
    ]  # fmt: skip
    result = generate("text", "O", "-n", 40, "--seed", 1, *chain)
    assert result.code == 0
    assert not set("abe") & set(result.out)
    for wrong in (
        ("--temperature", "warm"),
        ("--temperature", "1,-1"),
        ("--logit-bias", "101"),
        ("--banned-tokens", "a"),
        ("--beam-method", "wild"),
    ):
        assert generate("text", "O", *wrong).code == 2
    assert generate("text", "O", "--samplers", "heat").code == 2
    assert generate("text", "O", "--top-logprobs", 2).code == 2


def test_beams_on_the_command_line(generate: Any) -> None:
    for more in (
        ("--num-beam-groups", 2, "--diversity-penalty", 1),
        ("--beam-method", "sample"),
        ("--beam-method", "stochastic"),
    ):
        result = generate(
            "text", "O", "-n", 5, "--num-beams", 4, "--num-return-sequences", 3, "--json", *more
        )
        texts = [sequence["text"] for sequence in result.json["sequences"]]
        assert len(set(texts)) == 3


def test_music_under_limits(generate: Any, tmp_path: Path) -> None:
    out = tmp_path / "a.mid"
    limits = ("--key", "D minor", "--range", "C3-C6", "--meter", "3/4")
    assert generate("music", "--bars", 1, "--seed", 1, *limits, "-o", out).code == 0
    piece = midi.read(out)
    assert [(m.numerator, m.denominator) for m in piece.meters] == [(3, 4)]
    pitches = {note.pitch for track in piece.tracks for note in track.notes}
    assert {pitch % 12 for pitch in pitches} <= {2, 4, 5, 7, 9, 10, 0}
    assert generate("music", "--key", "H").code == 2


def test_music_to_measure(generate: Any, tmp_path: Path) -> None:
    out = tmp_path / "a.mid"
    asked = ("--tempo", 100, "--instruments", "violin,cello", "--density", 2)
    assert generate("music", "--bars", 1, "--seed", 1, *asked, "-o", out).code == 0
    piece = midi.read(out)
    assert [t.beats_per_minute for t in piece.tempos] == [100]
    assert sorted(t.program for t in piece.tracks) == [40, 42]
    primer = ("--primer", TUNES / "slow_tide.mid", "--primer-bars", "5-6", "--key", "primer")
    assert generate("music", *primer, "--bars", 1, "--seed", 1, "-o", out).code == 0
    assert midi.read(out).bars == 3
    result = generate("music", "--instruments", "violn", "-o", out)
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "did you mean 'violin'" in result.err


def test_harmonise(generate: Any, tmp_path: Path) -> None:
    tune, out = tmp_path / "tune.mid", tmp_path / "out.mid"
    midi.write(midi.read(TUNES / "slow_tide.mid").excerpt(1, 2), tune)
    voices = ("--melody-track", 1, "--num-beams", 2)
    assert generate("music", "--harmonise", tune, *voices, "-o", out).code == 0
    assert midi.read(out).bars == 2
    assert len(midi.read(out).tracks) == 4
    wrong = generate("music", "--harmonise", tune, "--tempo", 90, "-o", out)
    assert (wrong.code, "leave out --tempo" in wrong.err) == (2, True)
    wrong = generate("music", "--harmonise", tune, "--density", 2, "--bars", 1, "-o", out)
    assert "leave out --bars" in wrong.err  # the first in the order of the help
    lost = generate("music", "--melody-track", 2, "-o", out)
    assert (lost.code, "--harmonise FILE" in lost.err) == (2, True)


def test_stdin_is_a_prompt(trained: Path) -> None:
    command = [sys.executable, "-c", "from generative.cli.main import main; main()", "text"]
    for extra in ([], ["-"]):
        done = subprocess.run(
            [*command, *extra, "-m", str(trained), "-n", "5", "--seed", "1"],
            input=b"12 bottles",
            capture_output=True,
            check=True,
        )
        assert done.stdout.startswith(b"12 bottles")


def test_stop_and_output(generate: Any, trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.txt"
    result = generate("text", "7", "-m", trained, "-n", 200, "--stop", "\n", "-o", out)
    assert result.code == 0
    assert result.out == ""
    assert out.read_text(encoding="utf-8").count("\n") == 1  # the one that ends the file


def test_music_writes_a_file_and_says_so(
    generate: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = generate("music", "--bars", 2, "--seed", 1)
    assert result.code == 0
    assert result.err.startswith("music.mid: 2 bars, ")
    assert midi.read(tmp_path / "music.mid").bars == 2


def test_music_json_sound_picture_and_page(generate: Any, tmp_path: Path) -> None:
    mid, wav, png, html = (tmp_path / f"a.{suffix}" for suffix in ("mid", "wav", "png", "html"))
    also = "--wav", wav, "--plot", png, "--html", html
    result = generate("music", "--bars", 2, "-o", mid, *also, "--json")
    (sequence,) = result.json["sequences"]
    assert sequence["file"] == str(mid)
    assert sequence["notes"] == midi.read(mid).note_count
    assert sequence["bars"] == 2
    assert sequence["seconds"] == pytest.approx(midi.read(mid).seconds, abs=1e-3)
    assert wav.read_bytes().startswith(b"RIFF")
    assert png.read_bytes().startswith(b"\x89PNG")
    assert html.read_bytes().startswith(b"<!DOCTYPE html>")


def test_several_pieces_each_have_their_files(generate: Any, tmp_path: Path) -> None:
    several = "--num-return-sequences", 2, "--seed", 1, "--bars", 1
    assert (
        generate("music", *several, "-o", tmp_path / "a.html", "--plot", tmp_path / "b").code == 0
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a-1.html", "a-2.html", "b-1", "b-2",
    ]  # fmt: skip


def test_music_to_a_pipe_and_after_a_primer(generate: Any) -> None:
    primer = TUNES / "slow_tide.mid"
    result = generate("music", "--primer", primer, "--bars", 1, "--seed", 2, "-o", "-")
    piece = midi.read(io.BytesIO(result.bytes))
    assert piece.bars == midi.read(primer).bars + 1


def test_adaptive_scores_stand_beside(generate: Any, trained: Path, tmp_path: Path) -> None:
    text = tmp_path / "twice.txt"
    text.write_text("Zebras like quiz shows, and foxes dig.\n" * 8, encoding="utf-8")
    plain = generate("score", text, "-m", trained, "--json").json
    both = generate("score", text, "-m", trained, "--adaptive", "--dynamic", "--json").json
    dynamic = generate("score", text, "-m", trained, "--dynamic", "--json").json
    assert both["static"] == plain["static"]
    assert both["adaptive"]["nats"] < 0.6 * plain["nats"]
    assert both["dynamic"]["nats"] < dynamic["dynamic"]["nats"]
    lines = generate("score", text, "-m", trained, "--adaptive").out
    assert "adaptive perplexity" in lines


SCORE_KEYS = ["tokens", "nats", "perplexity", "bits_per_token"]


def test_score_text(generate: Any, trained: Path, rhyme: Path, tmp_path: Path) -> None:
    lines = tmp_path / "tokens.jsonl"
    result = generate("score", rhyme, "-m", trained, "--per-token", lines, "--json")
    assert set(result.json) == {
        "model", "documents", *SCORE_KEYS, "bits_per_char", "bits_per_byte", "chars", "bytes",
        "protocol", "static", "adaptive", "dynamic",
    }  # fmt: skip
    assert result.json["adaptive"] is None
    assert result.json["chars"] == len(rhyme.read_text(encoding="utf-8"))
    assert result.json["protocol"] == "stream"
    rows = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == result.json["tokens"]
    assert sum(row["nats"] for row in rows) == pytest.approx(result.json["nats"])
    assert result.json["dynamic"] is None
    both = generate("score", rhyme, "-m", trained, "--dynamic", "--json").json
    assert both["static"]["nats"] == pytest.approx(result.json["nats"])
    assert both["dynamic"]["nats"] < both["static"]["nats"]
    cold = generate("score", rhyme, "-m", trained, "--reset-every", 16, "--json")
    assert cold.json["nats"] > result.json["nats"]
    assert "reset" in cold.json["protocol"]


def test_score_music_with_the_model_that_ships(generate: Any) -> None:
    result = generate("score", TUNES / "slow_tide.mid", "--json")
    assert result.json["model"] == "chorales"
    assert {"notes", "bits_per_note", "seconds"} < set(result.json)
    assert "chars" not in result.json
    assert result.json["notes"] == midi.read(TUNES / "slow_tide.mid").note_count


def test_train_with_a_config_then_info(generate: Any, rhyme: Path, tmp_path: Path) -> None:
    config = tmp_path / "recipe.toml"
    config.write_text("hidden = 16\nbatch-size = 4\n[schedule]\nsequence_length = 16\n")
    folder = tmp_path / "model"
    result = generate("train", rhyme, "-o", folder, "--steps", 2, "--config", config, "--json")
    assert result.code == 0
    assert result.json["steps"] == 2
    about = generate("info", folder, "--json").json
    assert about["config"]["hidden_size"] == 16
    assert about["recipe"]["training"]["batch_size"] == 4
    assert generate("info", folder).out.startswith("1x16 lstm")


def test_info_lists_the_models_at_hand(generate: Any) -> None:
    assert {entry["model"] for entry in generate("info", "--json").json} >= {
        "shakespeare",
        "chorales",
    }
    assert "shakespeare" in generate("info").out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["txt"], 2, "Did you mean 'text'?"),
        (["text", "--temprature", "1"], 2, "temperature"),
        (["text", "--top-p", "7"], 2, "top_p must be in (0, 1], not 7.0"),
        (["text", "-m", "shakespear"], 1, "did you mean shakespeare?"),
        (["text", "-m", "chorales"], 1, "a model of music: use `generate music`"),
        (["music", "-m", "shakespeare"], 1, "a model of text: use `generate text`"),
        (["music", "--seconds", "-1", "-o", "x.mid"], 2, "seconds must be a positive number"),
        (["music", "--primer", "none.mid"], 1, "none.mid"),
        (["score", "none.txt"], 1, "none.txt: no such file or folder"),
        (["train", "none.txt", "-o", "out"], 1, "none.txt: no such file or folder"),
        (["train", "x", "-o", "out", "--config", "none.toml"], 2, "none.toml: cannot be read"),
        (["train", "x"], 2, "--output"),
        (["train", "x", "-o", "out", "--cell", "lstn"], 2, "'lstn' is not one of 'lstm', 'gru'"),
        (["train", "x", "-o", "out", "--schedule", "sine"], 2, "'sine' is not one of"),
        (["train", "x", "-o", "out", "--init", "zeros"], 2, "'zeros' is not one of"),
        (["score", "x", "--corpus", "y"], 2, "add --copies"),
        (
            ["text", "x", "-o", "no/such/folder/out.txt"],
            1,
            "there is no folder no/such/folder; make it first",
        ),
        (["music", "--bars", "1", "-o", "."], 1, "is a folder; name a file"),
        (
            ["text", "x", "--temperature", "nan"],
            2,
            "temperature must be finite and at least 0, not nan",
        ),
        (["music", "-o", "a.ogg"], 1, "nothing is written as .ogg; use one of .mid, .wav"),
        (["music", "--soundfont", "a.sf2"], 2, "--soundfont is how --wav sounds"),
        (["music", "--soundfont", "no.sf2", "--wav", "a.wav"], 1, "no.sf2: cannot be read"),
        (["train", "/dev/null", "-o", "out"], 1, "nothing to read"),
    ],
)
def test_mistakes_get_a_line_and_no_traceback(
    generate: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    result = generate(*arguments)
    assert result.code == code
    assert message in result.err
    assert "Traceback" not in result.err
    assert result.out == ""
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_the_traceback() -> None:
    with pytest.raises(ValueError, match="no model 'none'"):
        main(["--debug", "text", "-m", "none"])
    with pytest.raises(ValueError, match="no model 'none'"):
        main(["text", "-m", "none", "--debug"])


def test_the_environment_names_the_model(
    generate: Any, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENERATIVE_MODEL", str(trained))
    assert generate("text", "7", "-n", 3, "--json").json["model"] == str(trained)


def test_a_reader_that_goes_away_is_no_error(trained: Path) -> None:
    code = "from generative.cli.main import main; main()"
    command = f'"{sys.executable}" -c "{code}" text -m "{trained}" -n 3000 a | head -c 5'
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, check=False
    )
    assert done.returncode in (0, 141)
    assert b"Traceback" not in done.stderr


def test_version_and_help_import_no_torch() -> None:
    code = """
import sys
import time
from generative.cli.main import main
import generative
commands = ([], ["text"], ["music"], ["train"], ["score"], ["info"], ["jam"])
for arguments in (["--version"], *([*name, "--help"] for name in commands)):
    try:
        main(arguments)
    except SystemExit as stopped:
        assert not stopped.code
assert not {"torch", "numpy", "mido"} & set(sys.modules)
"""
    environment = {**os.environ, "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, env=environment
    )
    assert b"generate text" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_training_saves_and_exits_when_told_to_stop(
    rhyme: Path, tmp_path: Path, number: signal.Signals
) -> None:
    command = [
        sys.executable,
        "-c",
        # A shell has the jobs of a script that it runs in the background ignore SIGINT.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from generative.cli.main import main; main()",
        "train",
        str(rhyme),
    ]
    options = [
        "-o",
        str(tmp_path / "m"),
        "--steps",
        "100000",
        "--hidden",
        "16",
        "--batch-size",
        "4",
    ]
    with subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any("tokens to learn from" in line for line in process.stderr)
        time.sleep(1.0)  # into the loop, where signals are held back until a step is done
        process.send_signal(number)
        rest = process.stderr.read()
    assert process.returncode == 128 + number
    assert "--resume" in rest
    assert "Traceback" not in rest
    assert list((tmp_path / "m" / "resume").iterdir())
