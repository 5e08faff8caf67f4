"""What people call an instrument -> its number: knows names and numbers, no notes.

Numbers are programs as MIDI files hold them, from 0; the drum kit follows them as 128.
"""

from __future__ import annotations

import difflib
import re

from generative.errors import OptionError
from generative.music.general_midi import INSTRUMENTS

DRUMS = 128
# what people say for short -> the General MIDI name that they most often mean
SHORT = {
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
    **{short: INSTRUMENTS.index(name) for short, name in SHORT.items()},
    "drums": DRUMS,
    "drum kit": DRUMS,
}


def instrument_number(name: str) -> int:
    """The program of "violin", "church organ" or "19", from 0; 128 for "drums".

    Raises:
        OptionError: no such instrument; the message names the nearest.
    """
    wanted = " ".join(name.lower().split())
    if wanted in _NUMBERS:
        return _NUMBERS[wanted]
    if wanted.isdecimal() and int(wanted) <= DRUMS:
        return int(wanted)
    near = difflib.get_close_matches(wanted, _NUMBERS, n=1)
    parts = [full for full in _NUMBERS if wanted and wanted in re.split(r"[ ()-]+", full)]
    hint = f"; did you mean {(near or parts)[0]!r}?" if near or parts else ""
    raise OptionError(
        f"no instrument {name!r}: give a General MIDI name, a number 0..127, or drums{hint}"
    )
