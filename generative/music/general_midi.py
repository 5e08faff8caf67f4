"""What General MIDI calls its instruments and drums: tables of names; knows no notes, no sound.

Source: General MIDI System Level 1 (1991), counted from 0; the drums below 35 and above 81 are
Roland GS's.
"""

from __future__ import annotations

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
DRUMS = (
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

PITCH_CLASSES = ("C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B")
BLACK_KEYS = frozenset({1, 3, 6, 8, 10})


def pitch_name(pitch: int) -> str:
    """Scientific pitch notation: 60 is C4."""
    return f"{PITCH_CLASSES[pitch % 12]}{pitch // 12 - 1}"


def drum_name(key: int) -> str:
    """What a key of the drum channel strikes."""
    place = key - FIRST_DRUM_KEY
    return DRUMS[place] if 0 <= place < len(DRUMS) else f"Drum {key}"


def instrument_name(program: int, is_drum: bool) -> str:
    """What plays a track: "Violin", or "Drums"."""
    return "Drums" if is_drum else INSTRUMENTS[program]
