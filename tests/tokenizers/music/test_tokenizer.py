from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from generative.music import midi
from generative.music.piece import PITCH_BEND, Control, Key, Meter, Piece, Tempo, Track
from generative.music.quantise import PERFORMANCE
from generative.tokenizers.music.constraint import MusicGrammar
from generative.tokenizers.music.grammar import LAST_STEPS
from generative.tokenizers.music.tokenizer import MusicTokenizer
from generative.tokenizers.music.vocabulary import TOKEN_TYPES, VOCAB_SIZE, bar_part_steps
from tests.pieces import note, piece_of, pieces, real_files

if TYPE_CHECKING:
    from pathlib import Path

TOKENIZER = MusicTokenizer()
PLAYED = MusicTokenizer(PERFORMANCE)
BENT = MusicTokenizer(PERFORMANCE, [1, 64, PITCH_BEND])
tokenizers = st.sampled_from([TOKENIZER, PLAYED, BENT])
OPENING = ["bar", "position 0", "beats 4", "unit 4", "tempo 120"]


def ids_of(*words: str) -> list[int]:
    """`ids_of("bar", "position 0")`: the inverse of `describe`."""
    known = {TOKENIZER.describe(token): token for token in range(VOCAB_SIZE)}
    return [known[word] for word in words]


def words_of(piece: Piece) -> list[str]:
    return [TOKENIZER.describe(token) for token in TOKENIZER.encode(piece)]


def meter(at_ticks: int, numerator: int, denominator: int) -> Meter:
    return Meter(at_ticks=at_ticks, numerator=numerator, denominator=denominator)


NOTE = ["track 0", "program 0", "velocity 62", "pitch 60", "duration 24"]


def test_a_note_in_words() -> None:
    assert words_of(piece_of(note(0, 480), ticks_per_beat=480)) == [
        *OPENING, "track 0", "program 0", "velocity 62", "pitch 60", "duration 24",
    ]  # fmt: skip


def test_only_what_changes_is_said() -> None:
    flute = Track(program=73, notes=(note(0, 24, 72), note(24, 24, 74), note(24, 24, 77)))
    drums = Track(is_drum=True, notes=(note(24, 6, 36, velocity=100), note(120, 6, 38)))
    piece = Piece(
        ticks_per_beat=24,
        tracks=(flute, drums),
        tempos=(Tempo(at_ticks=24, beats_per_minute=90),),
    )
    assert words_of(piece) == [
        *OPENING, "track 0", "program 73", "velocity 62", "pitch 72", "duration 24",
        "position 24", "tempo 90", "pitch 74", "duration 24", "pitch 77", "duration 24",
        "track 1", "program 128", "velocity 98", "drum 36", "duration 6",
        "bar", "position 24", "velocity 62", "drum 38", "duration 6",
    ]  # fmt: skip


def test_a_long_note_and_empty_bars() -> None:
    assert words_of(piece_of(note(0, 200), note(300, 96)))[5:] == [
        "track 0", "program 0", "velocity 62", "pitch 60", "long", "long", "duration 8",
        "bar", "bar", "bar", "position 12", "pitch 60", "duration 96",
    ]  # fmt: skip


def test_a_meter_starts_a_bar_where_it_stands() -> None:
    tracks = (Track(notes=(note(48, 24), note(72, 24), note(120, 24))),)
    piece = Piece(ticks_per_beat=24, tracks=tracks, meters=(meter(48, 3, 4),))
    assert words_of(piece)[5:] == [
        "position 48", "beats 3", "unit 4",
        "track 0", "program 0", "velocity 62", "pitch 60", "duration 24",
        "position 24", "pitch 60", "duration 24",
        "bar", "position 0", "pitch 60", "duration 24",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("numerator", "denominator", "steps"),
    [(4, 4, 96), (6, 8, 72), (8, 4, 192), (12, 4, 144), (3, 64, 5), (1, 64, 2), (64, 1, 192)],
)
def test_bar_parts_are_of_equal_steps(numerator: int, denominator: int, steps: int) -> None:
    assert bar_part_steps(numerator, denominator) == steps


def test_every_bar_part_fits_the_positions() -> None:
    lengths = [bar_part_steps(n, d) for n in range(1, 65) for d in (1, 2, 4, 8, 16, 32, 64)]
    assert 1 <= min(lengths) <= max(lengths) <= 192


@given(pieces, tokenizers)
def test_a_piece_comes_back_in_token_form(piece: Piece, tokenizer: MusicTokenizer) -> None:
    assume(piece.normalised().seconds < 5 * 3600)  # where tokens end
    ids, report = tokenizer.encode_with_report(piece)
    decoded = tokenizer.decode(ids)
    assert decoded == tokenizer.normal_form(piece) == tokenizer.normal_form(decoded)
    assert tokenizer.encode(decoded) == ids
    assert report.notes_in == piece.note_count
    assert report.notes_in == report.notes_out + report.notes_merged + report.notes_dropped
    assert tokenizer.notes_in(ids) == decoded.note_count == report.notes_out


def test_what_tokens_cannot_say_is_counted() -> None:
    piece = Piece(
        ticks_per_beat=24,
        tracks=(
            *(Track(program=i, notes=(note(i, 1),)) for i in range(70)),
            Track(program=0, notes=(note(0, 9), note(1, 10_000))),
        ),
        tempos=(Tempo(at_ticks=5, beats_per_minute=1000), Tempo(at_ticks=6, beats_per_minute=99.5)),
        meters=(meter(0, 65, 4), meter(3, 3, 128)),
    )
    ids, report = TOKENIZER.encode_with_report(piece)
    assert (report.notes_in, report.notes_out) == (72, 65)
    assert (report.notes_merged, report.notes_dropped) == (1, 6)
    assert report.losses == {
        "note longer than tokens say": 1,
        "tempo rounded": 1,
        "tempo slower or faster than tokens say": 1,
        "meter without tokens": 2,
        "velocity rounded": 66,
    }
    rates = [tempo.beats_per_minute for tempo in TOKENIZER.decode(ids).tempos]
    assert rates == [120, 320, 100]


def test_a_piece_without_notes_has_no_tokens() -> None:
    assert TOKENIZER.encode(Piece(ticks_per_beat=480)) == []
    assert TOKENIZER.decode([]).note_count == 0


def test_a_piece_without_end_is_refused() -> None:
    with pytest.raises(ValueError, match="tokens reach to"):
        TOKENIZER.encode(piece_of(note(LAST_STEPS["score"] + 1, 1)))


def test_start_tokens_and_a_broken_note_are_passed_over() -> None:
    ids = TOKENIZER.encode(piece_of(note(0, 24)))
    assert TOKENIZER.decode([0, *ids, 0]) == TOKENIZER.decode(ids)
    unfinished = ids_of("bar", "position 0", "pitch 61", "long")
    assert TOKENIZER.decode([*ids, *unfinished]) == TOKENIZER.decode(ids)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pitch 60"], "token 0: 'pitch 60' cannot come here; expected bar"),
        (["bar", "bar"], "token 1: 'bar' cannot come here; expected position 0"),
        ([*OPENING, "track 3", "velocity 62"], "expected program 0..255"),
        (
            [*OPENING, "track 3", "program 128", "velocity 62", "pitch 60"],
            r"expected drum 0\.\.127",
        ),
        ([*OPENING, "tempo 90"], "expected track 0..63 or position 1..95 or bar"),
        ([*OPENING, "position 0"], "'position 0' cannot come here"),
        ([*OPENING, "bar", "start", "bar"], "'start' cannot come here"),
        ([*OPENING, *NOTE, "pitch 60"], r"expected track 1\.\.63 .* or pitch 61\.\.127"),
        ([*OPENING, *NOTE, "position 24", "track 0"], "'track 0' cannot come here"),
        ([*OPENING, *NOTE, "velocity 62"], "'velocity 62' cannot come here"),
        ([*OPENING, *NOTE, "position 24", "tempo 120"], "'tempo 120' cannot come here"),
        ([*OPENING, *NOTE, "position 24", "beats 4", "unit 4"], "'unit 4' cannot come here"),
        ([*OPENING, *NOTE[:-1], *["long"] * 64], "expected duration 1..96"),
    ],
)
def test_what_is_not_grammatical_is_named(words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TOKENIZER.decode(ids_of(*words))


@pytest.mark.parametrize("token", [-1, VOCAB_SIZE])
def test_ids_out_of_range_are_named(token: int) -> None:
    with pytest.raises(ValueError, match=f"not {token}"):
        TOKENIZER.decode([token])
    with pytest.raises(ValueError, match=f"not {token}"):
        TOKENIZER.describe(token)


def test_every_token_has_words_of_its_own() -> None:
    words = {TOKENIZER.describe(token) for token in range(TOKENIZER.vocab_size)}
    assert len(words) == TOKENIZER.vocab_size == sum(len(one.values) for one in TOKEN_TYPES)


def test_transposing_moves_pitches_and_leaves_drums() -> None:
    tracks = (
        Track(notes=(note(0, 4, 60), note(0, 4, 72))),
        Track(is_drum=True, notes=(note(0, 4),)),
    )
    piece = Piece(ticks_per_beat=24, tracks=tracks).normalised()
    ids = TOKENIZER.encode_array(piece)
    assert TOKENIZER.pitch_range(ids) == (60, 72)
    up = TOKENIZER.transpose(ids, 5)
    assert up.dtype == ids.dtype == np.int32
    higher = Track(notes=(note(0, 4, 65), note(0, 4, 77)))
    expected = TOKENIZER.normal_form(replace(piece, tracks=(higher, tracks[1])))
    assert TOKENIZER.decode(up.tolist()) == expected
    assert TOKENIZER.transpose(up, -5).tolist() == ids.tolist()
    with pytest.raises(ValueError, match="cannot move by 56"):
        TOKENIZER.transpose(ids, 56)


def test_drums_alone_have_no_pitch_range() -> None:
    piece = Piece(ticks_per_beat=24, tracks=(Track(is_drum=True, notes=(note(0, 4),)),))
    assert TOKENIZER.pitch_range(TOKENIZER.encode_array(piece)) is None


def test_config_goes_through_json_and_another_vocabulary_is_refused() -> None:
    config = json.loads(json.dumps(TOKENIZER.to_config()))
    assert config["type"] == "music"
    assert MusicTokenizer.from_config(config, TOKENIZER.files()).vocab_size == VOCAB_SIZE
    again = MusicTokenizer.from_config(json.loads(json.dumps(BENT.to_config())))
    assert (again.grid, again.controls) == (BENT.grid, BENT.controls)
    config["blocks"]["tempo"] = 5
    with pytest.raises(ValueError, match="differs in 'blocks'"):
        MusicTokenizer.from_config(config)


def test_a_performance_in_words() -> None:
    pedal = (
        Control(at_ticks=0, number=64, value=100),
        Control(at_ticks=24, number=64, value=101),
        Control(at_ticks=48, number=64, value=3),
        Control(at_ticks=48, number=PITCH_BEND, value=0x2000),
    )
    track = Track(notes=(note(0, 24), note(0, 120, 64), note(149, 24)), controls=pedal)
    piece = Piece(
        ticks_per_beat=24,
        tracks=(track,),
        keys=(Key(at_ticks=0, sharps=-1), Key(at_ticks=48, sharps=2, is_minor=True)),
    )
    expected = [
        "beats 4", "unit 4", "key 6", "tempo 120", "track 0", "program 0", "pedal 127",
        "velocity 62", "pitch 60", "duration 50", "pitch 64", "long", "long", "duration 58",
        "shift 100", "key 24", "pedal 0",
        "shift 100", "shift 100", "shift 10", "pitch 60", "duration 50",
    ]  # fmt: skip
    assert [PLAYED.describe(token) for token in PLAYED.encode(piece)] == expected
    bent = [BENT.describe(token) for token in BENT.encode(piece)]
    at = bent.index("pedal 0") + 1
    assert bent[at : at + 2] == ["control 128", "value 64"]
    assert bent[:at] + bent[at + 2 :] == expected
    losses = PLAYED.encode_with_report(piece)[1].losses
    assert losses == {
        "note: onset rounded": 1,
        "pitch bend": 1,
        "sustain pedal: no change": 1,
        "sustain pedal: value rounded": 3,
        "velocity rounded": 3,
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("beats",), "'score' or 'performance', not 'beats'"),
        (("score", [7]), "on the performance grid only"),
        ((PERFORMANCE, [129]), r"controls must be in 0\.\.128"),
    ],
)
def test_a_grid_that_is_none_is_refused(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MusicTokenizer(*arguments)


@pytest.mark.parametrize(
    ("sharps", "is_minor", "semitones", "expected"),
    [(0, False, 2, 2), (0, True, 2, 2), (-3, False, 2, -1), (0, False, -1, 5), (7, True, 12, 7)],
)  # C to D, A minor to B minor, Eb to F, C to B, A# minor an octave up
def test_transposing_moves_the_key(
    sharps: int, is_minor: bool, semitones: int, expected: int
) -> None:
    key = Key(at_ticks=0, sharps=sharps, is_minor=is_minor)
    piece = replace(piece_of(note(0, 24)), keys=(key,))
    moved = TOKENIZER.decode(TOKENIZER.transpose(TOKENIZER.encode_array(piece), semitones).tolist())
    assert moved.keys == (Key(at_ticks=0, sharps=expected, is_minor=is_minor),)
    assert moved.tracks[0].notes[0].pitch == 60 + semitones


@pytest.mark.parametrize("tokenizer", [TOKENIZER, BENT], ids=["score", "performance"])
@pytest.mark.parametrize("path", real_files(".", "[!o]*/**/*.mid", at_most=12))
def test_real_files_come_back(path: Path, tokenizer: MusicTokenizer) -> None:
    piece = midi.read(path)
    ids, report = tokenizer.encode_with_report(piece)
    decoded = tokenizer.decode(ids)
    assert decoded == tokenizer.normal_form(piece)
    assert midi.read(midi.to_bytes(decoded)) == decoded
    assert tokenizer.encode(decoded) == ids
    assert report.notes_in == report.notes_out + report.notes_merged + report.notes_dropped
    assert MusicGrammar(tokenizer).allowed(MusicGrammar(tokenizer).resume(ids))[0]
