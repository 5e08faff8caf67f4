from __future__ import annotations

import io
import math
import resource
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import mido
import pytest
from hypothesis import given
from hypothesis import strategies as st

from generative.music import midi
from generative.music.midi.event_parser import EventReader
from generative.music.piece import PITCH_BEND, Control, Key, Meter, Piece, Tempo, Track
from tests.pieces import note, piece_of, pieces, real_files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HEADER = "4d 54 68 64  00 00 00 06  00 00  00 01  00 60"  # MThd, 6 bytes: type 0, 1 track, 96 ticks
END = "00 ff 2f 00"
C4 = "00 90 3c 40  60 80 3c 00"  # middle C for 96 ticks


def chunk(*events: str, tag: bytes = b"MTrk", size: int | None = None) -> bytes:
    data = bytes.fromhex(" ".join(events))
    return tag + (len(data) if size is None else size).to_bytes(4) + data


def file(*events: str) -> bytes:
    """A type 0 file of one track, written out by hand."""
    return bytes.fromhex(HEADER) + chunk(*events, END)


def notes_of(data: bytes) -> list[tuple[int, int, int, int]]:
    return [
        (n.onset_ticks, n.duration_ticks, n.pitch, n.velocity)
        for track in midi.read(data).tracks
        for n in track.notes
    ]


def repairs_of(data: bytes) -> dict[str, int]:
    return dict(midi.read_with_report(data)[1].repairs)


def test_a_note_by_hand() -> None:
    assert midi.read(file(C4)) == Piece(ticks_per_beat=96, tracks=(Track(notes=(note(0, 96),)),))


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ("00 90 3c 40  60 3c 00", [(0, 96, 60, 64)]),  # velocity 0 ends a note; running status
        ("00 90 3c 40  81 00 3c 00", [(0, 128, 60, 64)]),  # a delta time of two bytes
        # two at once on one pitch: the older ends first
        ("00 90 3c 01  05 90 3c 02  02 80 3c 00  03 80 3c 00", [(0, 7, 60, 1), (5, 5, 60, 2)]),
        ("00 90 3c 40  00 80 3c 00  60 ff 01 00", [(0, 1, 60, 64)]),  # no length becomes a tick
        ("00 90 3c 40  60 ff 01 00", [(0, 96, 60, 64)]),  # left hanging: ends with the track
        ("00 90 3c 40  10 b0 7b 00  10 80 3c 00", [(0, 16, 60, 64)]),  # all notes off
        ("00 90 3c 40  00 f0 03 7e 01 f7  60 3c 00", [(0, 96, 60, 64)]),  # status outlives sysex
        ("00 90 3c ff  60 80 3c 00", [(0, 96, 60, 127)]),  # a data byte above 127
        ("00 f2 01 02  00 fe  " + C4, [(0, 96, 60, 64)]),  # messages that no file may hold
        (C4 + " " + END + " " + C4, [(0, 96, 60, 64)]),  # nothing sounds after the end
    ],
)
def test_events_by_hand(events: str, expected: list[tuple[int, int, int, int]]) -> None:
    assert notes_of(file(events)) == expected


@pytest.mark.parametrize(
    ("events", "repair"),
    [
        (C4 + " 00 80 3c 00", "stray note-off"),
        ("00 90 3c 40 60 ff 01 00", "hanging note closed"),
        ("00 90 3c 40 00 80 3c 00", "note of no length"),
        ("00 90 3c ff 60 80 3c 00", "data byte above 127"),
        (C4 + " 00 f4", "illegal message skipped"),
        (C4 + " 00 ff 51 03 00 00 00", "impossible tempo"),
        (C4 + " 00 ff 58 04 00 02 18 08", "impossible meter"),
        (C4 + " 00 ff 58 04 04 09 18 08", "impossible meter"),
        (C4 + " ff ff ff 7f 90 3c 40", "impossible delta time"),
        (C4 + " 00 ff 01 ff ff ff 7f", "track cut short"),  # a text of 268 million bytes
        (C4 + " ff ff ff ff ff 7f", "track cut short"),  # a number that does not end
    ],
)
def test_repairs_are_counted_and_the_rest_is_read(events: str, repair: str) -> None:
    assert repairs_of(file(events)) == {repair: 1}
    assert notes_of(file(events))[0][0] == 0


def test_what_is_left_out_is_counted() -> None:
    data = file(
        "00 a0 3c 40", "00 b0 7e 01", "00 ff 05 02 6c 61", "00 ff 51 03 07 a1 20",
        "05 ff 51 03 07 a1 20", "00 b1 07 64", "00 c0 05", "00 c0 06", "00 90 3c 40 60 80 3c 20",
    )  # fmt: skip
    piece, report = midi.read_with_report(data)
    assert report.repairs == {}
    assert report.dropped == {
        "aftertouch": 1,
        "channel mode": 1,
        "lyric": 1,
        "tempo that changes nothing": 1,
        "controller of no instrument": 1,
        "program change without effect": 1,
        "release velocity": 1,
    }
    assert (piece.note_count, piece.tracks[0].program) == (1, 6)


def control(at_ticks: int, number: int, value: int) -> Control:
    return Control(at_ticks=at_ticks, number=number, value=value)


def test_controls_belong_to_the_instruments_of_their_channel() -> None:
    piece = midi.read(file("00 b0 40 7f", "00 e0 00 40", C4, "00 b0 40 00", "00 c0 05", C4))
    bend, up = control(0, PITCH_BEND, 0x2000), control(96, 64, 0)
    assert piece.tracks[0].controls == (control(0, 64, 127), bend, up)
    assert piece.tracks[1].controls == (bend, up)  # as they stand when it begins


def test_a_channel_is_set_up_in_another_track() -> None:
    header = bytes.fromhex(HEADER.replace("00 00  00 01", "00 01  00 02"))
    piece = midi.read(header + chunk("00 b0 07 50", END) + chunk(C4, END))
    assert piece.tracks[0].controls == (control(0, 7, 80),)


def test_a_key_signature_is_kept() -> None:
    piece = midi.read(file("00 ff 59 02 fd 01", C4))
    assert piece.keys == (Key(at_ticks=0, sharps=-3, is_minor=True),)
    assert midi.read(midi.to_bytes(piece)) == piece
    assert repairs_of(file("00 ff 59 02 09 00", C4)) == {"impossible key": 1}


@pytest.mark.parametrize("is_minor", [False, True])
@pytest.mark.parametrize("sharps", range(-7, 8))
def test_every_key_is_written_and_read(sharps: int, is_minor: bool) -> None:
    piece = replace(
        piece_of(note(0, 24)), keys=(Key(at_ticks=3, sharps=sharps, is_minor=is_minor),)
    )
    assert midi.read(midi.to_bytes(piece)) == piece


def test_tempo_meter_and_name() -> None:
    piece = midi.read(
        file("00 ff 03 02 48 69", "00 ff 51 03 07 0a e2", "00 ff 58 04 06 03 18 08", C4)
    )
    assert piece.tracks[0].name == "Hi"
    assert piece.tempos == (Tempo(at_ticks=0, beats_per_minute=130.0),)  # 461,538 microseconds
    assert piece.meters == (Meter(at_ticks=0, numerator=6, denominator=8),)


def test_an_instrument_is_a_channel_and_a_program() -> None:
    tracks = midi.read(
        file("00 c0 05", C4, "00 c0 06", C4, "00 99 24 40 60 24 00", "00 c0 05", C4)
    ).tracks
    kinds = [(track.program, track.is_drum, len(track.notes)) for track in tracks]
    assert kinds == [(5, False, 2), (6, False, 1), (0, True, 1)]


def test_chunks_that_are_not_as_they_should_be() -> None:
    header, track = bytes.fromhex(HEADER), chunk(C4, END)
    expected = midi.read(header + track)
    assert midi.read(header + chunk("01 02", tag=b"XFIH") + track) == expected
    assert midi.read(header + chunk(C4, END, size=2**32 - 1)) == expected
    assert midi.read(header + chunk(C4, END, size=3)) == expected
    assert midi.read(header + chunk(C4, END, tag=b"mTrk")) == expected
    assert midi.read(header + track + b"*") == expected
    assert midi.read(b"RIFF\0\0\0\0RMIDdata\0\0\0\0" + header + track) == expected
    assert midi.read((header + track)[:-4]) == expected
    too_long_a_header = header[:4] + b"\x00\x00\x00\xff" + header[8:]
    assert midi.read(too_long_a_header + track) == expected


def test_the_tracks_of_a_type_2_file_sound_in_turn() -> None:
    data = bytes.fromhex(HEADER.replace("00 00  00 01", "00 02  00 02")) + 2 * chunk(C4, END)
    assert notes_of(data) == [(0, 96, 60, 64), (96, 96, 60, 64)]


def test_time_in_film_frames() -> None:
    data = bytes.fromhex(HEADER[:-5] + "e7 28") + chunk(C4, END)  # 25 frames of 40 ticks a second
    assert midi.read(data).seconds == pytest.approx(0.096)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no MThd"),
        (b"RIFF but no music", "no MThd"),
        (b"MThd\0\0", "cut short"),
        (bytes.fromhex(HEADER), "no notes"),
        (file(), "no notes"),
        (bytes.fromhex(HEADER[:-5] + "00 00") + chunk(C4, END), "zero"),
        (bytes.fromhex(HEADER[:-5] + "ff ff") + chunk(C4, END), "time division 0xffff"),
        (b"MThd" + bytes(midi.MAX_FILE_BYTES), "larger than 4 MB"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(data: bytes, reason: str) -> None:
    with pytest.raises(midi.MidiError, match=f"^MIDI data: .*{reason}") as caught:
        midi.read(data)
    assert "\n" not in str(caught.value)


def test_a_refusal_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "silence.mid"
    path.write_bytes(file())
    for source in (path, str(path), path.open("rb")):
        with pytest.raises(midi.MidiError, match=r"silence\.mid: no notes"):
            midi.read(source)
        if isinstance(source, io.BufferedReader):
            source.close()


def test_bytes_of_a_piece() -> None:
    data = midi.to_bytes(piece_of(note(0, 24), note(24, 24)))
    assert data.hex(" ") == (
        "4d 54 68 64 00 00 00 06 00 01 00 02 00 18 "  # type 1, 2 tracks, 24 ticks a beat
        "4d 54 72 6b 00 00 00 13 "
        "00 ff 51 03 07 a1 20 00 ff 58 04 04 02 18 08 00 ff 2f 00 "  # 120 a minute, 4/4
        "4d 54 72 6b 00 00 00 16 "
        "00 c0 00 00 90 3c 40 18 80 3c 00 00 90 3c 40 18 80 3c 00 00 ff 2f 00"
    ).replace("00 00 00 16", "00 00 00 17")


def test_the_sixteenth_melodic_track_takes_another_port() -> None:
    tracks = tuple(Track(program=i, notes=(note(i, 1),)) for i in range(17))
    drums = Track(is_drum=True, program=8, notes=(note(0, 1, pitch=36),))
    piece = Piece(ticks_per_beat=24, tracks=(*tracks, drums)).normalised()
    written = mido.MidiFile(file=io.BytesIO(midi.to_bytes(piece)))
    channels = [next(m.channel for m in t if m.type == "note_on") for t in written.tracks[1:]]
    ports = [[m.port for m in t if m.type == "midi_port"] for t in written.tracks[1:]]
    assert channels == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 0, 1, 9]
    assert ports == [[]] * 15 + [[1], [1], []]
    assert midi.read(midi.to_bytes(piece)) == piece


@given(pieces)
def test_a_piece_comes_back_from_its_bytes(piece: Piece) -> None:
    if piece.normalised().duration_ticks <= midi.MAX_BEATS * piece.ticks_per_beat:
        assert midi.read(midi.to_bytes(piece)) == piece.normalised()


def test_writing_to_a_path_and_to_a_file(tmp_path: Path) -> None:
    piece, buffer = piece_of(note(0, 24)), io.BytesIO()
    path = tmp_path / "out.mid"
    path.write_text("an older file")
    midi.write(piece, path)
    midi.write(piece, buffer)
    assert path.read_bytes() == buffer.getvalue() == midi.to_bytes(piece)
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(OSError, match="cannot be written: No such file"):
        midi.write(piece, tmp_path / "no folder" / "out.mid")


def read_or_refused(source: Path | bytes) -> Piece | None:
    """What is read, or None for a refusal in one line that names the source."""
    try:
        return midi.read(source)
    except midi.MidiError as error:
        reason = str(error)
    name = "MIDI data" if isinstance(source, bytes) else source.name
    assert name in reason
    assert "\n" not in reason
    return None


@given(st.binary(max_size=300))
def test_any_bytes_of_a_track_are_read_or_refused(data: bytes) -> None:
    read_or_refused(bytes.fromhex(HEADER) + b"MTrk" + len(data).to_bytes(4) + data)


@given(pieces, st.integers(0, 2000), st.integers(0, 255), st.integers(0, 2000))
def test_damaged_files_are_read_or_refused(piece: Piece, at: int, byte: int, end: int) -> None:
    data = bytearray(midi.to_bytes(piece))
    data[at % len(data)] = byte
    if damaged := read_or_refused(bytes(data[: max(end, 20)])):
        assert midi.read(midi.to_bytes(damaged)) == damaged


def check_reading_time(data: Callable[[int], bytes], size: int) -> None:
    """Check that reading takes less than 2 s, and hardly longer than the growth of the file."""
    contents = data(size // 4), data(size)
    seconds = [math.inf, math.inf]
    for _ in range(3):  # the best of three, which the collection of garbage does not disturb
        for place, content in enumerate(contents):
            begin = time.process_time()
            midi.read(content)
            seconds[place] = min(seconds[place], time.process_time() - begin)
    assert seconds[1] < 2
    assert seconds[1] < 10 * seconds[0]  # four times the size, whose square is 16


@pytest.mark.parametrize("events", ["00 b0 7b 00", "00 f4", "00 80 3c 00", "00 90 3c 40"])
def test_the_time_that_reading_takes_grows_with_the_file_and_no_faster(events: str) -> None:
    hanging = " ".join(f"00 91 {pitch:02x} 40" for pitch in range(128))
    check_reading_time(lambda size: file(hanging, events * size), 20_000)


@pytest.mark.parametrize("file_type", ["00 01", "00 02"])
def test_thousands_of_tracks_take_no_longer_than_their_bytes(file_type: str) -> None:
    header = bytes.fromhex(HEADER.replace("00 00  00 01", file_type + " ff ff"))
    assert len(midi.read(header + 3000 * chunk(C4, END)).tracks) == 3000
    check_reading_time(lambda size: header + size * chunk(C4, END), 3000)


def test_events_have_absolute_times() -> None:
    reader = EventReader(bytes.fromhex("0a 90 3c 40  0a 3c 00" + END), max_ticks=1000)
    assert [(e.ticks, e.status, e.data) for e in reader] == [
        (10, 0x90, b"\x3c\x40"),
        (20, 0x90, b"\x3c\x00"),
        (20, 0xFF, b""),
    ]


@pytest.mark.parametrize("path", real_files("odd", "*/*", at_most=100))
def test_odd_files_are_read_or_refused_fast(path: Path) -> None:
    before_kb, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    if piece := read_or_refused(path):
        assert midi.read(midi.to_bytes(piece)) == piece
    assert time.process_time() - begin < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 300 * 1024


@pytest.mark.parametrize("path", real_files(".", "[!o]*/**/*.mid", at_most=12))
def test_real_files_hold_what_mido_finds_in_them(path: Path) -> None:
    theirs = [
        message
        for track in mido.MidiFile(path).tracks
        for message in track
        if message.type == "note_on" and message.velocity
    ]
    ours = [n for track in midi.read(path).tracks for n in track.notes]
    pairs = [(m.note, m.velocity) for m in theirs]
    assert sorted(pairs) == sorted((n.pitch, n.velocity) for n in ours)
    piece = midi.read(path)
    assert midi.read(midi.to_bytes(piece)) == piece
