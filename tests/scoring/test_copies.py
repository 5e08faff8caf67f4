"""What is copied is found: by hand, by the slow way, in every key, and by the command."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generative.cli import main
from generative.music import midi
from generative.music.piece import Piece, Track
from generative.scoring import copies
from tests.pieces import note, piece_of

if TYPE_CHECKING:
    from pathlib import Path

few_letters = st.text(st.sampled_from("ab"), max_size=12)


def slowly(text: str, corpus: list[str]) -> int:
    """The longest run by trying every one."""
    runs = {text[i:j] for i in range(len(text)) for j in range(i + 1, len(text) + 1)}
    return max((len(run) for run in runs if any(run in other for other in corpus)), default=0)


@given(st.lists(few_letters, min_size=1, max_size=3), st.lists(few_letters, min_size=1, max_size=3))
def test_the_longest_run_is_the_one_that_trying_all_finds(
    texts: list[str], corpus: list[str]
) -> None:
    found = copies.longest_copies(
        [copies.of_text(text) for text in texts], [copies.of_text(text) for text in corpus]
    )
    for text, copied in zip(texts, found, strict=True):
        assert copied.length == slowly(text, corpus)
        assert copied.size == len(text)
        if copied.source is None:
            assert copied.length == 0
        else:
            assert text[copied.start : copied.start + copied.length] in corpus[copied.source]


def test_characters_beyond_latin_are_one_each() -> None:
    (copied,) = copies.longest_copies([copies.of_text("x🎵éy")], [copies.of_text("🎵é")])
    assert (copied.length, copied.start) == (2, 1)
    with pytest.raises(ValueError, match="no corpus"):
        copies.longest_copies([copies.of_text("x")], [])


TUNE = [note(24 * i, 12 + i, pitch) for i, pitch in enumerate([60, 64, 62, 67, 65, 72, 59])]


def run(one: Piece, other: Piece) -> int:
    (copied,) = copies.longest_copies([copies.of_piece(one)], [copies.of_piece(other)])
    return copied.length


def test_a_copy_counts_in_any_key_at_any_velocity_and_place() -> None:
    moved = [
        replace(n, pitch=n.pitch + 5, velocity=99, onset_ticks=n.onset_ticks + 48) for n in TUNE
    ]
    assert run(piece_of(*moved), piece_of(*TUNE)) == 7


def test_a_run_ends_where_pitch_time_or_duration_differ() -> None:
    other_pitch = [*TUNE[:4], replace(TUNE[4], pitch=66), *TUNE[5:]]
    assert run(piece_of(*other_pitch), piece_of(*TUNE)) == 4
    late = [*TUNE[:4], *(replace(n, onset_ticks=n.onset_ticks + 1) for n in TUNE[4:])]
    assert run(piece_of(*late), piece_of(*TUNE)) == 4
    longer = [*TUNE[:4], replace(TUNE[4], duration_ticks=5), *TUNE[5:]]
    assert run(piece_of(*longer), piece_of(*TUNE)) == 5  # of the last only where it begins


def test_a_part_is_found_in_another_texture_and_drums_are_nobodys() -> None:
    melody = Track(notes=tuple(TUNE))
    bass = Track(notes=tuple(note(36 * i, 30, 40 - i) for i in range(4)))
    drums = Track(is_drum=True, notes=tuple(note(6 * i, 3, 36) for i in range(40)))
    both = Piece(ticks_per_beat=24, tracks=(bass, melody, drums)).normalised()
    assert run(both, piece_of(*TUNE)) == 7
    assert run(Piece(ticks_per_beat=24, tracks=(drums,)), both) == 0


def command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(list(arguments))
    return int(exit_.value.code or 0)


def test_the_command_looks_in_the_tokens_that_training_left(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("Zebra! 17 bottles stand upon the wall, XX", encoding="utf-8")
    assert command("score", str(file), "-m", str(trained), "--copies", "--json") == 0
    found = json.loads(capsys.readouterr().out)["copies"]
    assert found["unit"] == "chars"
    assert found["corpus_documents"] == 1
    (row,) = found["documents"]
    assert row["text"] == "17 bottles stand upon the wall, "
    assert found["longest"] == row["longest"] == len(row["text"])


def test_a_model_without_its_tokens_wants_the_corpus(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "tune.mid"
    midi.write(piece_of(*TUNE, ticks_per_beat=24), file)
    assert command("score", str(file), "--copies") == 1
    assert "--corpus PATH" in capsys.readouterr().err
    assert command("score", str(file), "--corpus", str(file)) == 2
    assert "--copies" in capsys.readouterr().err
    assert command("score", str(file), "--copies", "--corpus", str(file)) == 0
    assert f"copies 7 of 7 notes: {file}, as in {file}" in capsys.readouterr().out
