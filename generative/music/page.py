"""A piece as a web page that shows and plays it without loading anything else.

The template `page.html` holds the player and its synthesizer. It is filled here with the notes in
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
PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")


def write(piece: Piece, path: Path) -> None:
    """Write the page in one move; its title is the name of the file.

    Raises:
        FileError: The file cannot be written.
    """
    write_text(path, page(piece, printable(path.stem)))


def page(piece: Piece, title: str) -> str:
    """The page as HTML. The title and the names of tracks are escaped."""
    bars = "1 bar" if piece.bars == 1 else f"{piece.bars} bars"
    texts = {
        "title": title,
        "facts": f"{bars}, {piece.note_count} notes, {piece.seconds:.0f} s",
        "filename": f"{title}.mid",
        "midi": base64.b64encode(midi.to_bytes(piece)).decode("ascii"),
    }
    parts = {name: html.escape(text) for name, text in texts.items()}
    # Only "<" could end the script that holds the data; JSON permits to escape it.
    parts["score"] = json.dumps(score(piece), separators=(",", ":")).replace("<", "\\u003c")
    template = resources.files("generative.music").joinpath("page.html").read_text(encoding="utf-8")
    # All placeholders are replaced in one pass, so that inserted text is not searched again.
    return PLACEHOLDER.sub(lambda match: parts[match[1]], template)


def score(piece: Piece) -> dict[str, Any]:
    """The data of a piece for the script of the page, as JSON values; all times are in seconds."""
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
                piece.tracks, names, synth.default_pans(piece.tracks), cycle(COLOURS), strict=False
            )
        ],
    }


def _notes(track: Track, clock: TempoMap) -> list[list[float]]:
    """[begin, end, pitch, velocity] of each note, then the end of its sound if a pedal holds it."""
    written = timing.spans(track, clock).round(DECIMALS).tolist()
    sounding = timing.sounding(track, clock).round(DECIMALS).tolist()
    return [
        [begin, end, note.pitch, note.velocity, *([silent] if silent > end else [])]
        for note, (begin, end), (_, silent) in zip(track.notes, written, sounding, strict=True)
    ]


def _steps(curve: Curve, clock: TempoMap) -> list[list[float]]:
    """[seconds, the value from then on] for each change of a control."""
    return [[round(clock.seconds_at(at), DECIMALS), round(value, 4)] for at, value in curve]


def _timbre(program: int) -> dict[str, Any]:
    timbre = timbres.timbre_of(program)
    return {
        "levels": [round(level, 4) for level in timbre.partials.levels],
        "ratios": [round(ratio, 4) for ratio in timbre.partials.ratios],
        "attack": timbre.attack_seconds,
        "decay": timbre.decay_per_second,
        "hold": timbre.sustain,
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
