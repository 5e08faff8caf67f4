"""MIDI bytes -> Piece -> tokens -> Piece -> MIDI: refused, or the same piece on every way."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from generative.music import midi
from generative.music.piece import Control, Key, Meter, Note, Piece, Tempo, Track
from generative.music.quantise import PERFORMANCE, SCORE
from generative.tokenizers.music.tokenizer import MusicTokenizer
from tests.fuzz.entropy import Entropy

HEADER = "4d546864 00000006 0001 0001 0018"
EVENTS = (  # of a track, in hexadecimal
    "00 90 3c 40 18 80 3c 00",
    "00 c0 28 00 90 3c 40 00 3e 40 18 3c 00 00 3e 00",
    "00 ff 51 03 07 a1 20 00 ff 58 04 06 03 18 08 00 ff 59 02 fd 01 00 99 24 7f 30 24 00",
    "00 b0 40 7f 00 e0 00 50 00 90 40 50 81 00 90 40 00 00 b0 40 00",
    "00 f0 03 01 02 f7 00 90 40 50 00 ff 01 02 68 69 00 b0 7b 00",
    "00 ff 21 01 01 00 ff 03 02 c3 a9 80 80 00 91 40 50 ff 7f 40 00",
)
END = "00 ff 2f 00"


@cache
def tokenizers() -> tuple[MusicTokenizer, ...]:
    """One for each grid, and one that keeps controls."""
    return MusicTokenizer(SCORE), MusicTokenizer(PERFORMANCE), MusicTokenizer(PERFORMANCE, [1, 7])


def _piece() -> Piece:
    notes = tuple(
        Note(onset_ticks=12 * n, duration_ticks=10 + n, pitch=60 + n, velocity=40 + n)
        for n in range(5)
    )
    controls = (Control(at_ticks=3, number=64, value=127), Control(at_ticks=9, number=7, value=90))
    tracks = [Track(program=n, notes=notes, controls=controls, name="é") for n in (0, 40)]
    return Piece(
        ticks_per_beat=24,
        tracks=(*tracks, Track(is_drum=True, notes=notes)),
        tempos=(Tempo(at_ticks=0, beats_per_minute=90.0),),
        meters=(Meter(at_ticks=0, numerator=3, denominator=4),),
        keys=(Key(at_ticks=48, sharps=-2, is_minor=True),),
    ).normalised()


def seeds() -> list[bytes]:
    """Whole files: hand-made tracks, some of type 2 or in SMPTE time, and one with many tracks."""
    files = []
    for header in (HEADER, HEADER.replace("0001 0001", "0002 0001"), HEADER[:-4] + "e728"):
        for events in EVENTS:
            track = bytes.fromhex(events + END)
            files.append(bytes.fromhex(header) + b"MTrk" + len(track).to_bytes(4) + track)
    return [*(b"\x00" + file for file in files), b"\x01" + midi.to_bytes(_piece())]


def run(data: bytes) -> None:
    """Read it and take it there and back."""
    entropy = Entropy(data)
    choice = entropy.byte()
    try:
        piece, report = midi.read_with_report(entropy.rest())
    except midi.MidiError as error:
        assert "\n" not in str(error)
        return
    assert piece.note_count and piece.normalised() == piece
    assert all(count > 0 for count in (*report.repairs.values(), *report.dropped.values()))
    assert midi.read(midi.to_bytes(piece)) == piece
    tokenizer = tokenizers()[choice % 3]
    try:
        ids = tokenizer.encode(piece)
    except ValueError as error:
        assert "tokens reach" in str(error), error
        return
    form = tokenizer.decode(ids)
    assert form == tokenizer.normal_form(piece)
    assert tokenizer.encode(form) == ids
    heard = replace(form, tracks=tuple(track for track in form.tracks if track.notes))
    assert midi.read(midi.to_bytes(heard)) == heard
