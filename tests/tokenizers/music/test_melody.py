"""Voices to a melody: whatever is drawn, the melody is there note by note, in full bars."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import generative
from generative.api.harmonise import substitute_unknown
from generative.api.music_model import MusicModel
from generative.music import midi
from generative.music.piece import Meter, Piece, Tempo, Track
from generative.tokenizers.music.limits import MusicLimits
from generative.tokenizers.music.melody import MelodyGrammar
from generative.tokenizers.music.tokenizer import MusicTokenizer
from generative.tokenizers.music.vocabulary import OFFSETS, VOCAB_SIZE, token_id
from tests.api.test_music_control import onsets, programs, walk
from tests.chain import ChainStepper
from tests.conftest import TUNES
from tests.pieces import note, piece_of, real_files

TOKENIZER = MusicTokenizer()
melody_notes = st.builds(
    note, st.integers(0, 700), st.integers(1, 200), st.integers(58, 62), st.integers(1, 127)
)
melodies = st.builds(
    Piece,
    ticks_per_beat=st.just(24),
    tracks=st.builds(
        Track,
        program=st.integers(0, 127),
        is_drum=st.booleans(),
        notes=st.lists(melody_notes, min_size=1, max_size=9).map(tuple),
    ).map(lambda track: (track,)),
    tempos=st.lists(
        st.builds(Tempo, at_ticks=st.integers(0, 500), beats_per_minute=st.sampled_from([60, 90])),
        max_size=3,
    ).map(tuple),
    meters=st.lists(
        st.builds(
            Meter,
            at_ticks=st.integers(0, 500),
            numerator=st.sampled_from([3, 4, 7, 12]),
            denominator=st.sampled_from([4, 8]),
        ),
        max_size=3,
    ).map(tuple),
)


@settings(max_examples=60, deadline=None)
@given(melodies, st.none() | st.lists(st.integers(0, 255), min_size=1, max_size=3), st.integers())
def test_no_draw_touches_the_melody(melody: Piece, cast: list[int] | None, seed: int) -> None:
    form = TOKENIZER.normal_form(melody)
    (track,) = form.tracks
    own = track.program + 128 * track.is_drum
    limits = None
    if cast is not None:  # the melody is free of the range
        limits = MusicLimits(pitch_range=(40, 50), instruments=tuple(sorted([own, *cast])))
    grammar = MelodyGrammar(TOKENIZER, melody, limits)
    ids = walk(grammar, grammar.start(), np.random.default_rng(abs(seed)), at_most=20_000)
    piece = TOKENIZER.decode(ids)
    assert piece.tracks[0] == track
    assert piece.tempos == form.tempos
    assert piece.meters == form.meters
    last = max(track.notes[-1].onset_ticks, piece.tempos[-1].at_ticks, piece.meters[-1].at_ticks)
    assert piece.bars == replace(form, tracks=(Track(notes=(note(last, 1),)),)).bars
    if limits is not None and limits.instruments is not None:
        assert sorted(programs(piece).elements()) == sorted(limits.instruments)
        others = [n.pitch for t in piece.tracks[1:] if not t.is_drum for n in t.notes]
        assert all(40 <= pitch <= 50 for pitch in others)


def test_only_the_melody_may_come_where_it_moves() -> None:
    melody = piece_of(note(24, 120, 67, velocity=82), note(144, 24, 65, velocity=82))
    grammar = MelodyGrammar(TOKENIZER, melody)
    state = grammar.start()
    opening = [("bar", 0), ("position", 0), ("beats", 4), ("unit", 4), ("tempo", 120)]
    entry = [("position", 24), ("track", 0), ("program", 0), ("velocity", 82), ("pitch", 67)]
    for name, value in (*opening, *entry, ("long", 96), ("duration", 24)):
        allowed = grammar.allowed(state)
        assert allowed[token_id(name, value)]
        if name == "position" and value == 24:  # before the melody others may move, not after
            places = np.flatnonzero(allowed[OFFSETS["position"] : OFFSETS["beats"]])
            assert places.tolist() == list(range(1, 25))
            assert not allowed[token_id("bar")]
        elif name not in {"position", "bar"}:
            assert allowed.sum() == 1
        state = grammar.advance(state, token_id(name, value))
    free = grammar.allowed(state)
    assert free[token_id("bar")]
    assert free[token_id("track", 1)]
    assert not free[token_id("track", 0)]
    assert not free[token_id("pitch", 70)]
    assert not free[token_id("start")]
    with pytest.raises(ValueError, match="cannot come here"):
        grammar.advance(state, token_id("start"))
    assert grammar.progress(state) == 2 / 3  # of the steps 0, 24 and 144


def test_a_melody_is_one_track_and_sets_its_pace() -> None:
    tune = midi.read(TUNES / "slow_tide.mid")
    with pytest.raises(ValueError, match="one track with notes"):
        MelodyGrammar(TOKENIZER, tune)
    with pytest.raises(ValueError, match="the melody sets meter, tempo and pace"):
        MelodyGrammar(TOKENIZER, piece_of(note(0, 1)), MusicLimits(tempo=90))


def test_a_model_reads_only_what_it_knows() -> None:
    """One that knows only 4/4 at 76, played by an organ, and a viola."""
    known = {
        "beats": (4,), "unit": (4,), "tempo": (76,), "program": (19, 41), "velocity": (78,),
    }  # fmt: skip
    chain = np.full((VOCAB_SIZE, VOCAB_SIZE), 1e-9)
    for kind, values in known.items():
        for value in values:
            chain[:, token_id(kind, value)] = 0.2
    chain[:, token_id("program", 19)] = 0.4
    melody = replace(
        piece_of(note(12, 24, 60, velocity=30), note(60, 24, 62, velocity=50)),
        tempos=(Tempo(at_ticks=0, beats_per_minute=120.0),),
        meters=(Meter(at_ticks=0, numerator=3, denominator=4),),
    )
    found = substitute_unknown(ChainStepper(chain), TOKENIZER, melody, (41, 42, 128))
    (track,) = found.melody.tracks
    assert [(n.onset_ticks, n.pitch, n.velocity) for n in track.notes] == [
        (12, 60, 78), (60, 62, 78),
    ]  # fmt: skip
    assert track.program == 19
    assert found.voices == (41, 19, 128)
    assert found.instruments == (19, 19, 41, 128)
    assert found.melody.meters[0].numerator == 4
    assert found.melody.tempos[0].beats_per_minute == 76

    voices = tuple(
        Track(program=p % 128, is_drum=p > 127, notes=(note(0, 200, 50, velocity=78),))
        for p in (19, 41, 128)
    )
    back = found.undone(replace(found.melody, tracks=(track, *voices)))
    assert back.tracks[0] == found.original.tracks[0]
    assert [t.program + 128 * t.is_drum for t in back.tracks] == [0, 42, 41, 128]
    assert {n.velocity for t in back.tracks[1:] for n in t.notes} == {40}
    assert {n.end_ticks for t in back.tracks[1:] for n in t.notes} == {84}  # with the melody
    assert (back.tempos, back.meters) == (found.original.tempos, found.original.meters)


@pytest.fixture(scope="module")
def chorales() -> MusicModel:
    loaded = generative.load("chorales")
    assert isinstance(loaded, MusicModel)
    return loaded


def test_a_chorale_melody_gets_three_voices(chorales: MusicModel) -> None:
    tune = midi.read(TUNES / "slow_tide.mid").excerpt(1, 4)
    made = chorales.harmonise(tune, seed=1, temperature=0.8, num_return_sequences=2)
    form = chorales.tokenizer.normal_form(replace(tune, tracks=tune.tracks[:1]))
    for sequence in made.sequences:
        piece = sequence.piece
        assert piece.tracks[0] == form.tracks[0]
        assert (piece.tempos, piece.meters, piece.bars) == (form.tempos, form.meters, form.bars)
        assert len(piece.tracks) == 4
    assert chorales.harmonise(tune, seed=1, temperature=0.8).piece == made.piece


def test_voices_and_limits_that_were_asked_for(chorales: MusicModel) -> None:
    tune = midi.read(TUNES / "slow_tide.mid").excerpt(1, 2)
    piece = chorales.harmonise(
        tune, instruments="viola,cello", key="melody", pitch_range="C2-C4", num_beams=2
    ).piece
    own = tune.tracks[0].program
    assert [t.program for t in piece.tracks] == [own, 41, 42]
    assert all(36 <= n.pitch <= 60 for t in piece.tracks[1:] for n in t.notes)
    for wrong in (0, 9):
        with pytest.raises(ValueError, match=f"tracks with notes, and none is {wrong}"):
            chorales.harmonise(tune, melody_track=wrong)
    with pytest.raises(ValueError, match="did not fit in 5 tokens"):
        chorales.harmonise(tune, max_new_tokens=5)


@pytest.mark.parametrize("path", real_files("nottingham", at_most=2))
def test_a_folk_tune_keeps_its_own_meter(chorales: MusicModel, path: object) -> None:
    tune = midi.read(path).excerpt(1, 3)  # type: ignore[arg-type]
    piece = chorales.harmonise(tune, seed=1, temperature=0.8, num_beams=2).piece
    form = chorales.tokenizer.normal_form(replace(tune, tracks=tune.tracks[:1]))
    assert piece.tracks[0] == form.tracks[0]
    assert (piece.tempos, piece.meters) == (form.tempos, form.meters)
    assert len(piece.tracks) > 2
    assert onsets(piece)[-1] < form.bar_lines[-1]
