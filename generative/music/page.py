"""A piece of music to one web page that plays and shows it, with nothing to fetch; knows no models.

The page itself, its player and its synthesizer, is `page.html`; here it is filled with the notes in
seconds, the timbres of `generative.music.sound`, and the MIDI file to download.
"""

from __future__ import annotations

import base64
import html
import json
import re
from importlib import resources
from itertools import cycle
from typing import TYPE_CHECKING, Any

from generative.files import write_text
from generative.music import midi
from generative.music.controls import bends, gains, pans
from generative.music.general_midi import drum_name, printable, track_names
from generative.music.pianoroll import COLOURS
from generative.music.piece import beat_ticks
from generative.music.sound import drums, synth, timbres, timing

if TYPE_CHECKING:
    from pathlib import Path

    from generative.music.controls import Curve
    from generative.music.piece import Piece, TempoMap, Track

DECIMALS = 4  # of seconds
PLACE = re.compile(r"\{\{(\w+)\}\}")


def write(piece: Piece, path: Path) -> None:
    """Write the page, named after the file, in one move."""
    write_text(path, page(piece, printable(path.stem)))


def page(piece: Piece, title: str) -> str:
    """The page as HTML. Whatever a title or a track is called, it stays text."""
    bars = "1 bar" if piece.bars == 1 else f"{piece.bars} bars"
    texts = {
        "title": title,
        "facts": f"{bars}, {piece.note_count} notes, {piece.seconds:.0f} s",
        "filename": f"{title}.mid",
        "midi": base64.b64encode(midi.to_bytes(piece)).decode("ascii"),
    }
    parts = {name: html.escape(text) for name, text in texts.items()}
    # in a script only "<" could end the data; as an escape it means the same to JSON
    parts["score"] = json.dumps(score(piece), separators=(",", ":")).replace("<", "\\u003c")
    template = resources.files("generative.music").joinpath("page.html").read_text(encoding="utf-8")
    # in one pass, so that what is put in is not read again
    return PLACE.sub(lambda place: parts[place[1]], template)


def score(piece: Piece) -> dict[str, Any]:
    """What the page's script needs to know of a piece, as JSON: all times in seconds."""
    clock = piece.tempo_map
    keys = {note.pitch for track in piece.tracks if track.is_drum for note in track.notes}
    lines = piece.bar_lines
    names = track_names(piece.tracks)
    return {
        "seconds": round(piece.seconds, DECIMALS),
        "bars": [round(clock.seconds_at(line), DECIMALS) for line in lines[:-1] or lines],
        "beats": [round(clock.seconds_at(tick), DECIMALS) for tick in beat_ticks(piece, lines)],
        "drums": {key: _drum(key) for key in sorted(keys)},
        "tracks": [
            {
                "name": name,
                "colour": colour,
                "drum": track.is_drum,
                "levels": _steps(gains(track), clock),
                "pans": _steps(pans(track) or [(0, place)], clock),
                "bends": _steps([(at, 100 * bend) for at, bend in bends(track)], clock),
                "timbre": {} if track.is_drum else _timbre(track.program),
                "notes": _notes(track, clock),
            }
            for track, name, place, colour in zip(
                piece.tracks, names, synth.places(piece.tracks), cycle(COLOURS), strict=False
            )
        ],
    }


def _notes(track: Track, clock: TempoMap) -> list[list[float]]:
    """Begin, end, pitch and velocity; and where a pedal holds the note, when it falls silent."""
    written = timing.spans(track, clock).round(DECIMALS).tolist()
    heard = timing.sounding(track, clock).round(DECIMALS).tolist()
    return [
        [begin, end, note.pitch, note.velocity, *([silent] if silent > end else [])]
        for note, (begin, end), (_, silent) in zip(track.notes, written, heard, strict=True)
    ]


def _steps(curve: Curve, clock: TempoMap) -> list[list[float]]:
    """From which second on a control has which value."""
    return [[round(clock.seconds_at(at), DECIMALS), round(value, 4)] for at, value in curve]


def _timbre(program: int) -> dict[str, Any]:
    timbre = timbres.timbre_of(program)
    return {
        "levels": [round(level, 4) for level in timbre.partials.levels],
        "ratios": [round(ratio, 4) for ratio in timbre.partials.ratios],
        "attack": timbre.attack_seconds,
        "decay": timbre.decay_per_second,
        "hold": timbre.hold,
        "release": timbre.release_seconds,
        "detune": timbre.detune_cents,
        "level": timbre.level,
    }


def _drum(key: int) -> dict[str, Any]:
    drum = drums.drum_of(key)
    return {
        "name": drum_name(key),
        "hertz": drum.hertz,
        "fall": drum.fall,
        "tone": drum.tone,
        "toneSeconds": drum.tone_seconds,
        "noise": drum.noise,
        "noiseSeconds": drum.noise_seconds,
        "metal": drum.metal,
        "band": list(drum.band_hertz),
        "strokes": drum.strokes,
        "pan": drum.pan,
    }
