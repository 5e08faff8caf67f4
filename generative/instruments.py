"""The instruments of General MIDI by name: knows names and numbers, no notes.

Numbers are programs as MIDI files hold them, from 0; the drum kit follows them as 128. Names are
those of the General MIDI 1 sound set (MIDI Manufacturers Association, 1991).
"""

from __future__ import annotations

import difflib
import re

_NAMES = """
    acoustic grand piano, bright acoustic piano, electric grand piano, honky-tonk piano,
    electric piano 1, electric piano 2, harpsichord, clavinet,
    celesta, glockenspiel, music box, vibraphone, marimba, xylophone, tubular bells, dulcimer,
    drawbar organ, percussive organ, rock organ, church organ, reed organ, accordion, harmonica,
    tango accordion,
    acoustic guitar (nylon), acoustic guitar (steel), electric guitar (jazz),
    electric guitar (clean), electric guitar (muted), overdriven guitar, distortion guitar,
    guitar harmonics,
    acoustic bass, electric bass (finger), electric bass (pick), fretless bass, slap bass 1,
    slap bass 2, synth bass 1, synth bass 2,
    violin, viola, cello, contrabass, tremolo strings, pizzicato strings, orchestral harp, timpani,
    string ensemble 1, string ensemble 2, synth strings 1, synth strings 2, choir aahs, voice oohs,
    synth voice, orchestra hit,
    trumpet, trombone, tuba, muted trumpet, french horn, brass section, synth brass 1,
    synth brass 2,
    soprano sax, alto sax, tenor sax, baritone sax, oboe, english horn, bassoon, clarinet,
    piccolo, flute, recorder, pan flute, blown bottle, shakuhachi, whistle, ocarina,
    lead 1 (square), lead 2 (sawtooth), lead 3 (calliope), lead 4 (chiff), lead 5 (charang),
    lead 6 (voice), lead 7 (fifths), lead 8 (bass + lead),
    pad 1 (new age), pad 2 (warm), pad 3 (polysynth), pad 4 (choir), pad 5 (bowed),
    pad 6 (metallic), pad 7 (halo), pad 8 (sweep),
    fx 1 (rain), fx 2 (soundtrack), fx 3 (crystal), fx 4 (atmosphere), fx 5 (brightness),
    fx 6 (goblins), fx 7 (echoes), fx 8 (sci-fi),
    sitar, banjo, shamisen, koto, kalimba, bagpipe, fiddle, shanai,
    tinkle bell, agogo, steel drums, woodblock, taiko drum, melodic tom, synth drum,
    reverse cymbal,
    guitar fret noise, breath noise, seashore, bird tweet, telephone ring, helicopter, applause,
    gunshot
"""
PROGRAMS = tuple(" ".join(name.split()) for name in _NAMES.split(","))
DRUMS = 128
# what people say for short -> the General MIDI name that they most often mean
SHORT = {
    "piano": "acoustic grand piano",
    "electric piano": "electric piano 1",
    "organ": "church organ",
    "guitar": "acoustic guitar (nylon)",
    "electric guitar": "electric guitar (clean)",
    "bass": "acoustic bass",
    "electric bass": "electric bass (finger)",
    "double bass": "contrabass",
    "harp": "orchestral harp",
    "strings": "string ensemble 1",
    "choir": "choir aahs",
    "voice": "voice oohs",
    "horn": "french horn",
    "brass": "brass section",
    "sax": "alto sax",
    "saxophone": "alto sax",
    "cor anglais": "english horn",
    "synth": "lead 2 (sawtooth)",
    "lead": "lead 2 (sawtooth)",
    "pad": "pad 2 (warm)",
}
_NUMBERS = {
    **{name: number for number, name in enumerate(PROGRAMS)},
    **{short: PROGRAMS.index(name) for short, name in SHORT.items()},
    "drums": DRUMS,
    "drum kit": DRUMS,
}


def instrument_number(name: str) -> int:
    """The program of "violin", "church organ" or "19", from 0; 128 for "drums".

    Raises:
        ValueError: no such instrument; the message names the nearest.
    """
    wanted = " ".join(name.lower().split())
    if wanted in _NUMBERS:
        return _NUMBERS[wanted]
    if wanted.isdecimal() and int(wanted) <= DRUMS:
        return int(wanted)
    near = difflib.get_close_matches(wanted, _NUMBERS, n=1)
    parts = [full for full in _NUMBERS if wanted and wanted in re.split(r"[ ()-]+", full)]
    hint = f"; did you mean {(near or parts)[0]!r}?" if near or parts else ""
    raise ValueError(
        f"no instrument {name!r}: give a General MIDI name, a number 0..127, or drums{hint}"
    )


def instrument_name(number: int) -> str:
    """The inverse of `instrument_number`: the full name."""
    return "drums" if number >= DRUMS else PROGRAMS[number]
