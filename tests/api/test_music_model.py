"""Music in, music out: always valid, and of the length asked for."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import generative
from generative.api.jam import JamSession
from generative.api.music_model import MusicModel
from generative.music import midi
from generative.music.piece import Control, Note, Piece, Tempo, Track
from tests.conftest import TUNES
from tests.pieces import note, piece_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def chorales() -> MusicModel:
    loaded = generative.load("chorales")
    assert isinstance(loaded, MusicModel)
    return loaded


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_every_sample_is_a_valid_file(chorales: MusicModel, temperature: float) -> None:
    made = chorales.generate(
        max_new_tokens=150, temperature=temperature, num_return_sequences=8, seed=1
    )
    for sequence in made.sequences:
        again = midi.read(io.BytesIO(midi.to_bytes(sequence.piece)))
        assert again == sequence.piece
        assert again.note_count > 0


def test_a_chorale_has_four_voices(chorales: MusicModel) -> None:
    piece = chorales.generate(bars=4, temperature=0.8, seed=2).piece
    assert len(piece.tracks) == 4
    assert piece.bars == 4
    assert all(40 <= note.pitch <= 90 for track in piece.tracks for note in track.notes)


def test_a_score_counts_the_notes_that_tokens_tell(chorales: MusicModel) -> None:
    twice = Piece(
        ticks_per_beat=24, tracks=(Track(notes=(note(0, 24), note(0, 24), note(24, 24))),)
    )
    assert twice.note_count == 3
    assert chorales.score(twice).notes == 2


def test_a_score_is_what_sampling_reported(chorales: MusicModel) -> None:
    rows = chorales.generate(temperature=0.8, seed=5, max_new_tokens=900, num_return_sequences=4)
    ended = [made for made in rows.sequences if made.finish_reason == "end"]
    # where the last bar cuts a note short, the piece has other tokens than were drawn
    whole = [m for m in ended if chorales.tokenizer.encode(m.piece) == list(m.tokens)]
    assert whole
    for made in whole:
        scored = chorales.score(made.piece, protocol="cached")
        assert scored.tokens == len(made.tokens)
        assert scored.nats == pytest.approx(made.nats, rel=1e-3)
        assert scored.notes == made.piece.note_count


def test_lengths_are_kept(chorales: MusicModel) -> None:
    primer = midi.read(TUNES / "annas_cradle_song.mid")
    longer = chorales.generate(primer, bars=2, seed=1).piece
    assert longer.bars == primer.bars + 2
    old = {
        (n.onset_ticks, n.pitch)
        for t in chorales.tokenizer.normal_form(primer).tracks
        for n in t.notes
    }
    new = {(n.onset_ticks, n.pitch) for t in longer.tracks for n in t.notes}
    assert old <= new
    assert chorales.generate(seconds=5, seed=1).piece.seconds <= 5 + 1 / 24
    with pytest.raises(ValueError, match="bars must be at least 1"):
        chorales.generate(bars=0)
    with pytest.raises(ValueError, match="seconds must be a positive"):
        chorales.generate(seconds=float("inf"))


def test_the_same_seed_gives_the_same_music(chorales: MusicModel) -> None:
    two = chorales.generate(bars=2, seed=4, num_return_sequences=2).sequences
    assert chorales.generate(bars=2, seed=4).piece == two[0].piece
    assert two[0].piece != two[1].piece


def test_beams_obey_the_grammar(chorales: MusicModel) -> None:
    made = chorales.generate(max_new_tokens=40, num_beams=3, num_return_sequences=3)
    assert all(sequence.piece.note_count for sequence in made.sequences)


def test_bar_lines_follow_the_meter() -> None:
    assert piece_of(note(0, 24)).bar_lines == (0, 96)
    assert piece_of(note(96, 24)).bar_lines == (0, 96, 192)
    assert Piece(ticks_per_beat=24).bar_lines == (0,)
    piece = midi.read(TUNES / "annas_cradle_song.mid")
    assert len(piece.bar_lines) - 1 == piece.bars == 32


def played(seed: int) -> Piece:
    """Notes that keep to no beat, under a pedal that goes up and down."""
    rng = np.random.default_rng(seed)
    onsets = np.cumsum(rng.integers(20, 400, 200)).tolist()
    pitches = rng.integers(48, 84, 200).tolist()
    notes = [
        Note(onset_ticks=onset, duration_ticks=90, pitch=pitch, velocity=70)
        for onset, pitch in zip(onsets, pitches, strict=True)
    ]
    pedal = [
        Control(at_ticks=onset + 7, number=64, value=127 * (i % 2))
        for i, onset in enumerate(onsets[::9])
    ]
    track = Track(notes=tuple(notes), controls=tuple(pedal))
    return Piece(ticks_per_beat=480, tracks=(track,))


def test_a_performance_is_learnt_and_played(tmp_path: Path) -> None:
    for i in range(4):
        midi.write(played(i), tmp_path / f"{i}.mid")
    generative.train(tmp_path, tmp_path / "m", steps=40, hidden=32, layers=1, batch_size=4)
    model = generative.load(tmp_path / "m")
    assert isinstance(model, MusicModel)
    assert model.tokenizer.grid == "performance"
    primer = played(9).clipped(4000)
    made = model.generate(primer, seconds=4, seed=1, pitch_range="C3-C6").piece
    assert primer.seconds + 2 < made.seconds < primer.seconds + 4.01
    assert midi.read(midi.to_bytes(made)) == made
    assert any(control.number == 64 for track in made.tracks for control in track.controls)
    assert 1 < model.generate(seed=2).piece.seconds < 20.01
    with pytest.raises(ValueError, match="say how many seconds"):
        model.generate(bars=4)
    JamSession.warm_up(model)


@pytest.mark.parametrize("beats_per_minute", [97.25, 120.0, 127.75])
def test_an_answer_has_the_tempo_of_its_phrase_to_the_microsecond(
    chorales: MusicModel, beats_per_minute: float
) -> None:
    tempo = Tempo(at_ticks=0, beats_per_minute=beats_per_minute)
    phrase = replace(piece_of(note(0, 24), note(24, 24, 64)), tempos=(tempo,))
    assert chorales.answer(phrase, bars=1, seed=1).tempos == phrase.normalised().tempos


def test_a_long_primer_makes_a_long_request(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    model = generative.load("chorales", compiled=False)
    assert isinstance(model, MusicModel)
    steppers = type(model.runtime).stepper_for

    def stepper_for(runtime: Any, tokens: int) -> Any:
        asked.append(tokens)
        return steppers(runtime, tokens)

    monkeypatch.setattr(type(model.runtime), "stepper_for", stepper_for)
    primer = midi.read(TUNES / "slow_tide.mid")
    length = len(model.tokenizer.encode(primer))
    model.generate(primer, max_new_tokens=2, seed=1)
    model.generate(primer, max_new_tokens=2, num_return_sequences=3, seed=1)
    assert asked == [length + 2, length + 6]
