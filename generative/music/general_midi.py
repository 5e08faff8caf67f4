"""General MIDI: the names and numbers of its instruments and drums, and the names of tracks.

Instruments are numbered from 0, as programs in MIDI files are. Source: General MIDI System Level 1
(1991); the drums below 35 and above 81 are those of Roland GS.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from generative.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from generative.music.piece import Track

INSTRUMENTS = (
    "Acoustic grand piano", "Bright acoustic piano", "Electric grand piano", "Honky-tonk piano",
    "Electric piano 1", "Electric piano 2", "Harpsichord", "Clavinet",
    "Celesta", "Glockenspiel", "Music box", "Vibraphone",
    "Marimba", "Xylophone", "Tubular bells", "Dulcimer",
    "Drawbar organ", "Percussive organ", "Rock organ", "Church organ",
    "Reed organ", "Accordion", "Harmonica", "Tango accordion",
    "Acoustic guitar (nylon)", "Acoustic guitar (steel)",
    "Electric guitar (jazz)", "Electric guitar (clean)",
    "Electric guitar (muted)", "Overdriven guitar", "Distortion guitar", "Guitar harmonics",
    "Acoustic bass", "Electric bass (finger)", "Electric bass (pick)", "Fretless bass",
    "Slap bass 1", "Slap bass 2", "Synth bass 1", "Synth bass 2",
    "Violin", "Viola", "Cello", "Contrabass",
    "Tremolo strings", "Pizzicato strings", "Orchestral harp", "Timpani",
    "String ensemble 1", "String ensemble 2", "Synth strings 1", "Synth strings 2",
    "Choir aahs", "Voice oohs", "Synth voice", "Orchestra hit",
    "Trumpet", "Trombone", "Tuba", "Muted trumpet",
    "French horn", "Brass section", "Synth brass 1", "Synth brass 2",
    "Soprano sax", "Alto sax", "Tenor sax", "Baritone sax",
    "Oboe", "English horn", "Bassoon", "Clarinet",
    "Piccolo", "Flute", "Recorder", "Pan flute",
    "Blown bottle", "Shakuhachi", "Whistle", "Ocarina",
    "Lead 1 (square)", "Lead 2 (sawtooth)", "Lead 3 (calliope)", "Lead 4 (chiff)",
    "Lead 5 (charang)", "Lead 6 (voice)", "Lead 7 (fifths)", "Lead 8 (bass + lead)",
    "Pad 1 (new age)", "Pad 2 (warm)", "Pad 3 (polysynth)", "Pad 4 (choir)",
    "Pad 5 (bowed)", "Pad 6 (metallic)", "Pad 7 (halo)", "Pad 8 (sweep)",
    "FX 1 (rain)", "FX 2 (soundtrack)", "FX 3 (crystal)", "FX 4 (atmosphere)",
    "FX 5 (brightness)", "FX 6 (goblins)", "FX 7 (echoes)", "FX 8 (sci-fi)",
    "Sitar", "Banjo", "Shamisen", "Koto",
    "Kalimba", "Bagpipe", "Fiddle", "Shanai",
    "Tinkle bell", "Agogo", "Steel drums", "Woodblock",
    "Taiko drum", "Melodic tom", "Synth drum", "Reverse cymbal",
    "Guitar fret noise", "Breath noise", "Seashore", "Bird tweet",
    "Telephone ring", "Helicopter", "Applause", "Gunshot",
)  # fmt: skip
FIRST_DRUM_KEY = 27
DRUM_NAMES = (
    "High Q", "Slap", "Scratch push", "Scratch pull", "Sticks", "Square click",
    "Metronome click", "Metronome bell", "Acoustic bass drum", "Bass drum", "Side stick",
    "Snare", "Hand clap", "Electric snare", "Low floor tom", "Closed hi-hat",
    "High floor tom", "Pedal hi-hat", "Low tom", "Open hi-hat", "Low-mid tom", "High-mid tom",
    "Crash cymbal 1", "High tom", "Ride cymbal 1", "Chinese cymbal", "Ride bell", "Tambourine",
    "Splash cymbal", "Cowbell", "Crash cymbal 2", "Vibraslap", "Ride cymbal 2", "High bongo",
    "Low bongo", "Muted high conga", "Open high conga", "Low conga", "High timbale",
    "Low timbale", "High agogo", "Low agogo", "Cabasa", "Maracas", "Short whistle",
    "Long whistle", "Short guiro", "Long guiro", "Claves", "High woodblock", "Low woodblock",
    "Muted cuica", "Open cuica", "Muted triangle", "Open triangle", "Shaker", "Jingle bell",
    "Belltree", "Castanets", "Muted surdo", "Open surdo",
)  # fmt: skip
DRUM_KIT = 128  # The number of the drum kit, which follows those of the instruments.
# Short names, each for the General MIDI name that it most often means.
SHORT_NAMES = {
    "piano": "Acoustic grand piano",
    "electric piano": "Electric piano 1",
    "organ": "Church organ",
    "guitar": "Acoustic guitar (nylon)",
    "electric guitar": "Electric guitar (clean)",
    "bass": "Acoustic bass",
    "electric bass": "Electric bass (finger)",
    "double bass": "Contrabass",
    "harp": "Orchestral harp",
    "strings": "String ensemble 1",
    "choir": "Choir aahs",
    "voice": "Voice oohs",
    "horn": "French horn",
    "brass": "Brass section",
    "sax": "Alto sax",
    "saxophone": "Alto sax",
    "cor anglais": "English horn",
    "synth": "Lead 2 (sawtooth)",
    "lead": "Lead 2 (sawtooth)",
    "pad": "Pad 2 (warm)",
}
_NUMBERS = {
    **{name.lower(): number for number, name in enumerate(INSTRUMENTS)},
    **{short: INSTRUMENTS.index(name) for short, name in SHORT_NAMES.items()},
    "drums": DRUM_KIT,
    "drum kit": DRUM_KIT,
}
_NO_CHARACTER = re.compile("[\x00-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def drum_name(key: int) -> str:
    """The drum of a key of the drum channel."""
    index = key - FIRST_DRUM_KEY
    return DRUM_NAMES[index] if 0 <= index < len(DRUM_NAMES) else f"Drum {key}"


def instrument_name(program: int, is_drum: bool) -> str:
    """The name of a program, "Violin", or "Drums" for a drum kit."""
    return "Drums" if is_drum else INSTRUMENTS[program]


def instrument_number(name: str) -> int:
    """The program of "violin", "church organ" or "19", from 0; 128 for "drums".

    Raises:
        OptionError: no such instrument; the message names the nearest.
    """
    wanted = " ".join(name.lower().split())
    if wanted in _NUMBERS:
        return _NUMBERS[wanted]
    if wanted.isdecimal() and int(wanted) <= DRUM_KIT:
        return int(wanted)
    near = difflib.get_close_matches(wanted, _NUMBERS, n=1)
    parts = [full for full in _NUMBERS if wanted and wanted in re.split(r"[ ()-]+", full)]
    hint = f"; did you mean {(near or parts)[0]!r}?" if near or parts else ""
    raise OptionError(
        f"no instrument {name!r}: give a General MIDI name, a number 0..127, or drums{hint}"
    )


def printable(name: str) -> str:
    """A name as pictures, pages and XML can hold it.

    Whitespace becomes spaces. Control characters and code points that are no characters are
    dropped. Half of a surrogate pair, which stands for a byte that is not UTF-8, becomes U+FFFD.
    """
    return _SURROGATE.sub("\ufffd", _NO_CHARACTER.sub("", re.sub(r"\s", " ", name)))


def track_names(tracks: Sequence[Track]) -> list[str]:
    """A name for each track: its own name with the instrument, or the instrument with a number."""
    instruments = [instrument_name(track.program, track.is_drum) for track in tracks]
    names = []
    for i, (track, instrument) in enumerate(zip(tracks, instruments, strict=True)):
        own = " ".join(printable(track.name).split())
        if own and own.casefold() != instrument.casefold():
            names.append(f"{own} ({instrument})")
        elif instruments.count(instrument) > 1:
            names.append(f"{instrument} {instruments[: i + 1].count(instrument)}")
        else:
            names.append(instrument)
    return names
