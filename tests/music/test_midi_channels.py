"""A channel is one instrument in every track of a file, read and written, whatever the port."""

from __future__ import annotations

import io
import logging
from collections import Counter
from dataclasses import replace

import mido
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generative.music import midi
from generative.music.controls import EXPRESSION, VOLUME, ControlState, bends
from generative.music.piece import PITCH_BEND, SUSTAIN_PEDAL, Control, Piece, Track
from tests.pieces import note, notes, pieces, tracks

END = "00 ff 2f 00"
C4 = "00 90 3c 40  60 80 3c 00"  # middle C for 96 ticks
REST = "60 ff 01 00"  # a beat of nothing


def file(*chunks: str) -> bytes:
    """A type 1 file with a chunk for each row of events, 96 ticks a beat."""
    head = "4d 54 68 64  00 00 00 06  00 01"
    data = bytes.fromhex(head) + len(chunks).to_bytes(2) + (96).to_bytes(2)
    for events in chunks:
        track = bytes.fromhex(f"{events} {END}")
        data += b"MTrk" + len(track).to_bytes(4) + track
    return data


def kinds(data: bytes) -> list[tuple[int, int]]:
    """The program of each track, and how many notes it has."""
    return [(track.program, len(track.notes)) for track in midi.read(data).tracks]


def control(at_ticks: int, number: int, value: int) -> Control:
    return Control(at_ticks=at_ticks, number=number, value=value)


# ---- reading -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        # a set-up track before or after the others
        (["00 c0 28 00 c1 49", C4, "00 91 3c 40 60 81 3c 00"], [(40, 1), (73, 1)]),
        ([C4 + C4, "00 c0 28"], [(40, 2)]),
        # both hands of a pianist; the right one changes for both
        ([f"00 c0 06 {C4} 00 c0 05 {C4}", C4 + C4], [(6, 1), (5, 1), (6, 1), (5, 1)]),
        # a change in another track, after notes, in the middle of one, and after all
        ([C4 + C4, f"{REST} 00 c0 05"], [(0, 1), (5, 1)]),
        ([C4 + C4, "30 c0 05"], [(0, 1), (5, 1)]),
        ([C4 + C4, f"{REST} {REST} 00 c0 05"], [(0, 2)]),
        # what a track says at that tick itself, it says after the tracks before it
        (["00 c0 05", f"00 c0 06 {C4}"], [(6, 1)]),
        ([f"00 c0 06 {C4} {C4}", "00 c0 05"], [(6, 1), (5, 1)]),
        # ports are apart: 0 is the one of a track that names none
        (["00 c0 05", f"00 ff 21 01 01 {C4}", C4], [(0, 1), (5, 1)]),
        (["00 ff 21 01 01 00 c0 05", f"00 ff 21 01 01 {C4}", C4], [(5, 1), (0, 1)]),
        # but where all play on one port, it separates nothing
        (["00 c0 05", f"00 ff 21 01 01 {C4}"], [(5, 1)]),
        # several channels, and several ports, in one track
        (["00 c1 05", "00 90 3c 40 00 91 3c 40 60 80 3c 00 00 81 3c 00"], [(0, 1), (5, 1)]),
        ([f"00 c0 07 {C4} 00 ff 21 01 01 {C4} 00 ff 21 01 00 {C4}"], [(7, 2), (0, 1)]),
    ],
)  # fmt: skip
def test_a_program_holds_in_every_track(chunks: list[str], expected: list[tuple[int, int]]) -> None:
    assert kinds(file(*chunks)) == expected
    piece = midi.read(file(*chunks))
    assert midi.read(midi.to_bytes(piece)) == piece


def test_a_program_that_another_track_plays_is_not_without_effect() -> None:
    for setup, dropped in (
        ("00 c0 05", 0),
        ("00 c0 00", 0),
        ("00 c1 05", 1),
        (f"{C4} {C4} 00 c0 05", 1),
    ):
        _, report = midi.read_with_report(file(setup, C4))
        expected = {"program change without effect": dropped} if dropped else {}
        assert report.dropped == expected


def test_controls_hold_in_every_track() -> None:
    pedalled = f"00 b0 40 7f {C4} 00 b0 40 00 {C4}"
    hands = midi.read(file(pedalled, C4 + C4)).tracks
    assert hands[0].controls == hands[1].controls == (control(0, 64, 127), control(96, 64, 0))


def test_what_several_tracks_state_alike_stands_once() -> None:
    same = f"00 b0 07 50 00 e0 00 40 {C4}"
    for track in midi.read(file(same, same, same)).tracks:
        assert track.controls == (control(0, 7, 80), control(0, PITCH_BEND, 0x2000))


def test_the_next_instrument_of_a_channel_has_the_range_of_its_bends() -> None:
    reach = "00 b0 65 00 00 64 00 00 06 0c 00 65 7f 00 64 7f"  # 12 semitones
    piece = midi.read(file(f"{reach} {C4} 00 c0 05 00 e0 7f 7f {C4}"))
    assert bends(piece.tracks[1])[-1][1] == pytest.approx(12, abs=0.01)


def test_thousands_of_tracks_on_one_channel_take_no_time_for_ever() -> None:
    rows = [f"00 c0 05 00 b0 07 50 {C4} 00 b0 07 51"] * 2000
    assert len(midi.read(file(*rows)).tracks) == 2000


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        # struck again without a note-off; and what follows is as if nothing had been
        ("00 90 3c 40 60 3c 40 60 80 3c 00", [(0, 96), (96, 96)]),
        ("00 90 3c 40 60 3c 40 30 80 3c 00" + C4 + C4, [(0, 96), (96, 48), (144, 96), (240, 96)]),
        # the note-off that is missing stands in the middle
        (C4 + "00 90 3c 40 60 3c 40 30 80 3c 00" + C4, [(0, 96), (96, 96), (192, 48), (240, 96)]),
        # two are missing
        ("00 90 3c 40 60 3c 40 60 3c 40 30 80 3c 00" + C4,
         [(0, 96), (96, 96), (192, 48), (240, 96)]),
        # a double stroke with one note-off: it ends both
        ("00 90 3c 40 00 3c 40 60 80 3c 00" + C4, [(0, 96), (0, 96), (96, 96)]),
        # the last one hangs, and the others do not
        (C4 + C4 + "00 90 3c 40 60 ff 01 00", [(0, 96), (96, 96), (192, 96)]),
        # with a note-off for each, the older ends first, and a third is no one's
        ("00 90 3c 40 10 3c 40 10 80 3c 00 10 3c 00 10 3c 00" + C4, [(0, 32), (16, 32), (64, 96)]),
        ("00 90 3c 40 60 3c 40 60 b0 7b 00" + C4, [(0, 96), (96, 96), (192, 96)]),
    ],
)  # fmt: skip
def test_a_missing_note_off_costs_one_note(events: str, expected: list[tuple[int, int]]) -> None:
    (track,) = midi.read(file(events)).tracks
    assert [(n.onset_ticks, n.duration_ticks) for n in track.notes] == expected


@pytest.mark.parametrize("delta", ["80 60", "80 80 80 60", "80 80 80 80 60", "80 " * 40 + "60"])
def test_leading_bytes_of_a_number_that_add_nothing(delta: str) -> None:
    plain = "00 90 3c 40 60 80 3c 00 00 ff 01 01 41"
    padded = f"00 90 3c 40 {delta} 80 3c 00 00 ff 01 80 80 80 80 01 41"
    assert midi.read_with_report(file(padded + C4)) == midi.read_with_report(file(plain + C4))


# ---- writing -----------------------------------------------------------------------------------


def heard(data: bytes) -> Counter[tuple[object, ...]]:
    """What a player that knows no ports plays: onset, drum or not, program, pitch, and controls."""
    now, programs = 0, [0] * 16
    states = [ControlState() for _ in range(16)]
    played: Counter[tuple[object, ...]] = Counter()
    for message in mido.merge_tracks(mido.MidiFile(file=io.BytesIO(data)).tracks):
        now += message.time
        if message.type == "program_change":
            programs[message.channel] = message.program
        elif message.type == "control_change":
            states[message.channel].set(message.control, message.value)
        elif message.type == "pitchwheel":
            states[message.channel].set(PITCH_BEND, message.pitch + 0x2000)
        elif message.type == "note_on":
            state = states[message.channel]
            controls = tuple(state.value(number) for number in NUMBERS)
            is_drum = message.channel == 9
            played[now, is_drum, programs[message.channel], message.note, controls] += 1
    return played


NUMBERS = (1, VOLUME, EXPRESSION, SUSTAIN_PEDAL, 67, PITCH_BEND)


def written(piece: Piece) -> Counter[tuple[object, ...]]:
    """What should be played: each note by its own instrument and with its controls."""
    expected: Counter[tuple[object, ...]] = Counter()
    for track in piece.tracks:
        for sound in track.notes:
            state = ControlState()
            for turned in track.controls:
                if turned.at_ticks <= sound.onset_ticks:
                    state.set(turned.number, turned.value)
            controls = tuple(state.value(number) for number in NUMBERS)
            key = sound.onset_ticks, track.is_drum, track.program, sound.pitch, controls
            expected[key] += 1
    return expected


def in_turns(count: int, *, is_drum: bool = False, length: int = 24) -> Piece:
    """Instruments that play two notes each, one instrument after the other, with a volume each."""
    played = (
        Track(
            program=i,
            is_drum=is_drum,
            notes=(note(24 * i, length), note(24 * (count + i), length)),
            controls=(control(0, VOLUME, 127 - i), control(24 * i + 1, SUSTAIN_PEDAL, 20 + i)),
            name=f"player {i}",
        )
        for i in range(count)
    )
    return Piece(ticks_per_beat=24, tracks=tuple(played)).normalised()


@pytest.mark.parametrize(
    "piece",
    [in_turns(40), in_turns(17), in_turns(40, length=23), in_turns(5, is_drum=True),
     replace(in_turns(40), tracks=in_turns(40).tracks[::-1])],
)  # fmt: skip
def test_instruments_in_turn_share_channels(piece: Piece, caplog: pytest.LogCaptureFixture) -> None:
    data = midi.to_bytes(piece)
    assert heard(data) == written(piece)
    again, report = midi.read_with_report(data)
    assert again == piece
    assert (report.repairs, report.dropped) == ({}, {})
    assert not caplog.records


def test_what_is_turned_in_silence_does_not_touch_what_sounds() -> None:
    """The 16th instrument shares the first one's channel, and turns its volume during a note."""
    piece = in_turns(16)
    turned = (*piece.tracks[15].controls, control(12, VOLUME, 1), control(12, PITCH_BEND, 0))
    late = replace(piece.tracks[15], controls=turned)
    piece = replace(piece, tracks=(*piece.tracks[:15], late)).normalised()
    data = midi.to_bytes(piece)
    assert midi.read(data) == piece
    assert heard(data) == written(piece)
    state, now = ControlState(), 0
    for message in mido.merge_tracks(mido.MidiFile(file=io.BytesIO(data)).tracks):
        now += message.time
        if now > 12:
            break
        if message.type == "control_change" and not message.channel:
            state.set(message.control, message.value)
        elif message.type == "pitchwheel" and not message.channel:
            state.set(PITCH_BEND, message.pitch + 0x2000)
    assert (state.value(VOLUME), state.value(PITCH_BEND)) == (127, 0x2000)


def test_a_channel_is_free_again_for_what_has_no_other() -> None:
    """15 play in turn, and one plays all the time: two channels would do."""
    drone = Track(program=99, notes=(note(0, 24 * 40, 36),))
    piece = replace(in_turns(15), tracks=(*in_turns(15).tracks, drone)).normalised()
    assert heard(midi.to_bytes(piece)) == written(piece)


def test_two_kits_at_once_each_strike_their_own(caplog: pytest.LogCaptureFixture) -> None:
    strokes = tuple(note(12 * i, 6, 36) for i in range(8))
    kits = tuple(Track(is_drum=True, program=kit, notes=strokes) for kit in (0, 25))
    piece = Piece(ticks_per_beat=24, tracks=kits).normalised()
    assert heard(midi.to_bytes(piece)) == written(piece)
    assert midi.read(midi.to_bytes(piece)) == piece
    assert not caplog.records


def test_more_than_15_at_once_are_a_loss_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    crowd = tuple(
        Track(program=i, notes=(note(i, 99),), controls=(control(0, VOLUME, 100 - i),))
        for i in range(17)
    )
    piece = Piece(ticks_per_beat=24, tracks=crowd).normalised()
    with caplog.at_level(logging.WARNING):
        data = midi.to_bytes(piece)
    assert ["more than 15 instruments sound at once" in r.message for r in caplog.records] == [True]
    assert midi.read(data) == piece
    programs = [key[:4] for key in heard(data).elements()]
    assert sorted(programs) == sorted(key[:4] for key in written(piece).elements())


@settings(max_examples=40)
@given(pieces, st.lists(st.lists(notes, min_size=1, max_size=2), min_size=12, max_size=20))
def test_any_crowd_comes_back_and_each_note_has_its_program(
    piece: Piece, more: list[list[object]]
) -> None:
    players = tuple(Track(program=i, notes=tuple(n)) for i, n in enumerate(more))  # type: ignore[arg-type]
    crowd = replace(piece, tracks=piece.tracks + players).normalised()
    if crowd.duration_ticks > midi.MAX_BEATS * crowd.ticks_per_beat:
        return
    data = midi.to_bytes(crowd)
    assert midi.read(data) == crowd
    assert heard(data) == written(crowd)


@settings(max_examples=40)
@given(st.lists(tracks.filter(lambda t: bool(t.notes)), min_size=2, max_size=6))
def test_any_kits_come_back_and_strike_as_they_should(kits: list[Track]) -> None:
    drums = tuple(replace(track, is_drum=True) for track in kits)
    piece = Piece(ticks_per_beat=480, tracks=drums).normalised()
    assert midi.read(midi.to_bytes(piece)) == piece
    assert heard(midi.to_bytes(piece)) == written(piece)


def test_a_bank_takes_effect_with_a_program_change() -> None:
    track = Track(program=5, notes=(note(0, 24), note(48, 24)), controls=(control(48, 0, 8),))
    piece = Piece(ticks_per_beat=24, tracks=(track,)).normalised()
    (_, written_track) = mido.MidiFile(file=io.BytesIO(midi.to_bytes(piece))).tracks
    kinds_in_order = [m.type for m in written_track if not m.is_meta]
    assert kinds_in_order[3:6] == ["control_change", "program_change", "note_on"]
    assert midi.read(midi.to_bytes(piece)) == piece
