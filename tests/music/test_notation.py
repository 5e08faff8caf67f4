"""Notation that music21 reads back has the notes, bars, signs and instruments of the piece."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter, defaultdict
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest

from generative.music import bars, midi, notation
from generative.music.piece import Key, Meter, Piece, Tempo, Track
from tests.pieces import note, piece_of, real_files

if TYPE_CHECKING:
    from pathlib import Path


def parsed(piece: Piece, folder: Path) -> Any:
    converter = pytest.importorskip("music21.converter", exc_type=ImportError)
    notation.write(piece, folder / "tune.musicxml")
    return converter.parse(folder / "tune.musicxml", forceSource=True)


def onsets_and_lengths(part: Any) -> tuple[Counter[tuple[Fraction, int]], dict[int, Fraction]]:
    """How often each (onset, pitch) begins, and how long each pitch sounds in all."""
    onsets: Counter[tuple[Fraction, int]] = Counter()
    lengths: defaultdict[int, Fraction] = defaultdict(Fraction)
    for item in part.flatten().notes:
        for single in item.notes if item.isChord else [item]:
            tie = single.tie.type if single.tie else "start"
            lengths[single.pitch.midi] += Fraction(item.quarterLength).limit_denominator(48)
            if tie == "start":
                onset = Fraction(item.offset).limit_denominator(48)
                onsets[onset, single.pitch.midi] += 1
    return onsets, dict(lengths)


def expected(track: Track, ticks_per_beat: int) -> tuple[Counter[Any], dict[int, Fraction]]:
    onsets: Counter[tuple[Fraction, int]] = Counter()
    lengths: defaultdict[int, Fraction] = defaultdict(Fraction)
    for sound in track.notes:
        begin, end = bars.written_span(sound, ticks_per_beat)
        onsets[begin, sound.pitch] += 1
        lengths[sound.pitch] += end - begin
    return onsets, dict(lengths)


def test_times_are_written_simply() -> None:
    assert bars.written(480, 480) == 1
    assert bars.written(161, 480) == Fraction(1, 3)
    assert bars.written(59, 480) == Fraction(1, 8)
    assert bars.written_span(note(0, 1), 480) == (Fraction(0), Fraction(1, 8))


@pytest.mark.parametrize(
    "path", [*real_files("jsb", at_most=1), *real_files("nottingham", at_most=2)]
)
def test_notes_come_back(path: Path, tmp_path: Path) -> None:
    piece = midi.read(path)
    score = parsed(piece, tmp_path)
    assert len(score.parts) == len(piece.tracks)
    for part, track in zip(score.parts, piece.tracks, strict=True):
        assert onsets_and_lengths(part) == expected(track, piece.ticks_per_beat)
        assert len(part.getElementsByClass("Measure")) >= piece.bars


def test_voices_that_overlap_are_kept_and_tied_over_bar_lines(tmp_path: Path) -> None:
    held = note(48, 24 * 9, 48)
    above = [note(24 * i, 24 if i % 2 else 36, 60 + i) for i in range(10)]
    piece = piece_of(held, *above, note(0, 8, 72), note(8, 8, 74), note(16, 8, 76))
    score = parsed(piece, tmp_path)
    assert onsets_and_lengths(score.parts[0]) == expected(piece.tracks[0], 24)


def test_meters_tempos_and_instruments_come_back(tmp_path: Path) -> None:
    piece = Piece(
        ticks_per_beat=24,
        tracks=(
            Track(program=73, notes=(note(0, 72, 72), note(72, 36, 74), note(108, 24, 76))),
            Track(program=4, notes=(note(0, 72, 48),)),
            Track(is_drum=True, notes=(note(0, 12, 36), note(24, 12, 38))),
        ),
        tempos=(
            Tempo(at_ticks=0, beats_per_minute=90.0),
            Tempo(at_ticks=72, beats_per_minute=132.0),
        ),
        meters=(
            Meter(at_ticks=0, numerator=3, denominator=4),
            Meter(at_ticks=72, numerator=6, denominator=8),
        ),
        keys=(Key(at_ticks=0, sharps=-3, is_minor=True),),
    ).normalised()
    score = parsed(piece, tmp_path)
    flute = score.parts[0].flatten()
    meters = [(m.offset, m.ratioString) for m in flute.getElementsByClass("TimeSignature")]
    assert meters == [(0.0, "3/4"), (3.0, "6/8")]
    assert [k.sharps for k in flute.getElementsByClass("KeySignature")] == [-3]
    tempos = [(m.offset, m.number) for m in flute.getElementsByClass("MetronomeMark")]
    assert tempos == [(0.0, 90), (3.0, 132)]
    assert [part.partName for part in score.parts] == ["Flute", "Electric piano 1", "Drums"]
    root = ET.parse(tmp_path / "tune.musicxml").getroot()
    assert [int(e.text or 0) for e in root.iter("midi-program")][:2] == [74, 5]  # from 1
    assert [int(e.text or 0) for e in root.iter("midi-channel")][2] == 10
    assert root.find(".//movement-title") is not None or root.find(".//work-title") is not None


def test_silence_is_a_bar_of_rest(tmp_path: Path) -> None:
    piece = Piece(ticks_per_beat=24, tracks=(Track(notes=()),))
    score = parsed(piece, tmp_path)
    assert not list(score.flatten().notes)


def test_without_music21_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match=r"pip install '.\[notation\]'"):
        notation.check()


def measures(piece: Piece, path: Path) -> list[tuple[Fraction, Fraction]]:
    """How long each measure of each part is, and how long its meter says, in quarter notes."""
    pytest.importorskip("music21", exc_type=ImportError)
    notation.write(piece, path)
    lengths = []
    for part in ET.parse(path).getroot().iter("part"):
        divisions, meter = 1, Fraction(0)
        for measure in part.iter("measure"):
            divisions = int(measure.findtext("attributes/divisions") or divisions)
            if (beats := measure.findtext("attributes/time/beats")) is not None:
                unit = int(measure.findtext("attributes/time/beat-type") or 0)
                meter = Fraction(4 * int(beats), unit)
            at = end = Fraction(0)
            for item in measure:
                ticks = Fraction(item.findtext("duration") or 0) / divisions
                if item.tag == "backup":
                    at -= ticks
                elif item.find("chord") is None:
                    at += ticks
                end = max(end, at)
            lengths.append((end, meter))
    return lengths


@pytest.mark.parametrize(
    ("numerator", "denominator", "ticks_per_beat"),
    [
        (5, 64, 480),
        (1, 64, 480),
        (7, 128, 480),
        (5, 64, 24),
        (3, 32, 96),
        (5, 8, 480),
        (255, 16, 24),
    ],
)
def test_bar_lines_are_where_the_meter_says(
    numerator: int, denominator: int, ticks_per_beat: int, tmp_path: Path
) -> None:
    notes = [note(i * ticks_per_beat // 3, ticks_per_beat // 4, 60 + i) for i in range(9)]
    meter = Meter(at_ticks=0, numerator=numerator, denominator=denominator)
    piece = replace(piece_of(*notes, ticks_per_beat=ticks_per_beat), meters=(meter,))
    lengths = measures(piece, tmp_path / "a.musicxml")
    assert len(lengths) >= piece.bars
    assert all(length == said == Fraction(4 * numerator, denominator) for length, said in lengths)


def test_a_pickup_and_a_bar_that_a_meter_cuts_short(tmp_path: Path) -> None:
    notes = [note(24 * i, 24, 60 + i) for i in range(12)]
    meters = [(0, 1, 4), (24, 4, 4), (24 * 7, 3, 4)]  # a beat; a bar, and half of one; two bars
    piece = replace(
        piece_of(*notes),
        meters=tuple(Meter(at_ticks=at, numerator=n, denominator=d) for at, n, d in meters),
    )
    lengths = [length for length, _ in measures(piece, tmp_path / "a.musicxml")]
    assert lengths == [1, 4, 2, 3, 3]


def test_a_mode_is_written(tmp_path: Path) -> None:
    keys = tuple(Key(at_ticks=96 * i, sharps=-3, is_minor=i == 1) for i in range(3))
    measures(replace(piece_of(note(0, 288)), keys=keys), tmp_path / "a.musicxml")
    modes = [e.text for e in ET.parse(tmp_path / "a.musicxml").getroot().iter("mode")]
    assert modes == ["major", "minor", "major"]


@pytest.mark.parametrize(
    "name", ["Strings\0\0", "\x1b[31m\x07", "a\ufffeb\uffff", "<&>\x85\x0b]]>"]
)
def test_any_name_is_well_formed_xml(name: str, tmp_path: Path) -> None:
    piece = Piece(ticks_per_beat=24, tracks=(Track(name=name, notes=(note(0, 24),)),))
    measures(piece, tmp_path / "a\x01\udce9.musicxml")  # reads what was written
    root = ET.parse(tmp_path / "a\x01\udce9.musicxml").getroot()
    assert (root.findtext("movement-title") or root.findtext("work/work-title")) == "a\ufffd"
    assert "(Acoustic grand piano)" in (root.findtext(".//part-name") or "") or "[31m" in name


# ---- what is seen in a score ---------------------------------------------------------------------


def written(piece: Piece, folder: Path) -> ET.Element:
    pytest.importorskip("music21", exc_type=ImportError)
    notation.write(piece, folder / "tune.musicxml")
    return ET.parse(folder / "tune.musicxml").getroot()


def texts(root: ET.Element, path: str) -> list[str | None]:
    return [element.text for element in root.findall(path)]


def test_a_low_part_has_a_bass_clef(tmp_path: Path) -> None:
    low, high = Track(notes=(note(0, 96, 45),)), Track(notes=(note(0, 96, 69),))
    root = written(Piece(ticks_per_beat=24, tracks=(high, low)), tmp_path)
    assert texts(root, ".//clef/sign") == ["G", "F"]


def test_the_last_bar_line_is_double_and_no_composer_is_named(tmp_path: Path) -> None:
    root = written(piece_of(note(0, 96), note(96, 96)), tmp_path)
    assert texts(root, ".//bar-style") == ["light-heavy"]
    assert texts(root, ".//creator") == []


def test_pitches_are_spelled_in_the_key(tmp_path: Path) -> None:
    scale = [note(24 * i, 24, pitch) for i, pitch in enumerate((61, 63, 66, 70))]
    for sharps, alters in ((6, ["1"] * 4), (-5, ["-1"] * 4)):
        piece = replace(piece_of(*scale), keys=(Key(at_ticks=0, sharps=sharps),))
        assert texts(written(piece, tmp_path), ".//pitch/alter") == alters


def test_a_piece_without_a_key_has_the_one_that_is_heard(tmp_path: Path) -> None:
    scale = [note(24 * i, 24, 62 + step) for i, step in enumerate((0, 2, 4, 5, 7, 9, 11, 12, 7, 0))]
    root = written(piece_of(*scale), tmp_path)
    assert (texts(root, ".//fifths"), texts(root, ".//mode")) == (["2"], ["major"])
    assert not texts(root, ".//accidental")


def test_no_note_and_no_rest_has_two_dots(tmp_path: Path) -> None:
    """3 1/2 beats are a half and a dotted quarter, tied; 2 1/2 beats of rest end with the bar."""
    root = written(piece_of(note(0, 84), note(96, 36, 62)), tmp_path)
    heads = [
        (item.find("rest") is None, item.findtext("type"), len(item.findall("dot")))
        for item in root.iter("note")
    ]
    assert heads == [
        (True, "half", 0), (True, "quarter", 1), (False, "eighth", 0),
        (True, "quarter", 1), (False, "eighth", 0), (False, "half", 0),
    ]  # fmt: skip
    assert [tie.get("type") for tie in root.iter("tie")] == ["start", "stop"]


def test_a_tempo_stands_above_the_staff(tmp_path: Path) -> None:
    root = written(piece_of(note(0, 96)), tmp_path)
    assert [direction.get("placement") for direction in root.iter("direction")] == ["above"]


def test_many_staves_are_small_enough_for_a_page(tmp_path: Path) -> None:
    """15 spaces a staff, in an A4 page's 297 mm less its margins."""
    for count in (1, 20):
        tracks = tuple(Track(program=i, notes=(note(0, 96),)) for i in range(count))
        root = written(Piece(ticks_per_beat=24, tracks=tracks), tmp_path)
        scale = [
            float(root.findtext(f".//scaling/{name}") or 0) for name in ("millimeters", "tenths")
        ]
        assert 10 * scale[0] / scale[1] * 15 * count < 260
        assert 10 * scale[0] / scale[1] == pytest.approx(1.75 if count == 1 else 0.83, abs=0.01)


def test_parts_of_one_instrument_have_numbers_also_where_they_are_abbreviated(
    tmp_path: Path,
) -> None:
    tracks = tuple(Track(program=19, notes=(note(0, 96, 60 + i),)) for i in range(2))
    root = written(Piece(ticks_per_beat=24, tracks=tracks), tmp_path)
    short = texts(root, ".//part-abbreviation")
    assert [name and name[-2:] for name in short] == [" 1", " 2"]


def test_drums_are_written_without_pitch(tmp_path: Path) -> None:
    """Bass drum, snare, closed hi-hat with the bass drum, and a drum that the source lacks."""
    struck = (
        note(0, 24, 36),
        note(24, 24, 38),
        note(48, 24, 42),
        note(48, 24, 36),
        note(72, 24, 75),
    )
    piece = Piece(
        ticks_per_beat=24,
        tracks=(Track(is_drum=True, notes=struck), Track(notes=(note(0, 96, 36),))),
        keys=(Key(at_ticks=0, sharps=2),),
    ).normalised()
    root = written(piece, tmp_path)
    drums, piano = root.findall("part")
    assert texts(drums, ".//clef/sign") == ["percussion"]
    assert not drums.findall(".//key")
    assert not drums.findall(".//pitch")
    assert not drums.findall(".//accidental")
    assert len(piano.findall(".//pitch")) == 1
    steps = zip(texts(drums, ".//display-step"), texts(drums, ".//display-octave"), strict=True)
    assert [f"{step}{octave}" for step, octave in steps] == ["F4", "C5", "F4", "G5", "E5"]
    assert texts(drums, ".//notehead") == ["x", "x"]
    unpitched = {
        sound.get("id"): int(sound.findtext("midi-unpitched") or 0) - 1
        for sound in root.findall("part-list/score-part/midi-instrument")
    }
    named = [unpitched[item.get("id")] for item in drums.findall(".//note/instrument")]
    assert named == [36, 38, 36, 42, 75]
    listed = root.findall("part-list/score-part")[0].findall("score-instrument/instrument-name")
    assert [name.text for name in listed] == ["Bass drum", "Snare", "Closed hi-hat", "Claves"]
    for item in drums.iter("note"):  # The order of MusicXML's schema.
        order = [
            "chord", "unpitched", "duration", "tie", "instrument", "voice", "type", "dot",
            "time-modification", "stem", "notehead", "staff", "beam", "notations",
        ]  # fmt: skip
        places = [order.index(child.tag) for child in item]
        assert places == sorted(places)
