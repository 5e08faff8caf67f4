"""Drum parts of MusicXML: notes without pitch, at the places of a drum kit on the staff.

A reader knows the drums by `midi-unpitched` of an instrument for each, which notes name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from xml.etree.ElementTree import Element, SubElement

from generative.music.general_midi import drum_name
from generative.music.midi import DRUM_CHANNEL
from generative.music.theory import SEMITONES

if TYPE_CHECKING:
    from collections.abc import Iterable


class Place(NamedTuple):
    """Where a drum is written, as a pitch in a treble clef, and with what head."""

    step: str
    octave: int
    head: str = "normal"


# Source: N. Weinberg (1994), "Guidelines for Drumset Notation", Percussive Notes 32(3). The drums
# that it does not have stand where the high tom is, with a cross.
PLACES = {
    35: Place("F", 4), 36: Place("F", 4), 44: Place("D", 4, "x"), 41: Place("A", 4),
    43: Place("A", 4), 38: Place("C", 5), 40: Place("C", 5), 37: Place("C", 5, "x"),
    39: Place("C", 5, "x"), 45: Place("D", 5), 47: Place("D", 5), 48: Place("E", 5),
    50: Place("E", 5), 51: Place("F", 5, "x"), 53: Place("F", 5, "diamond"),
    59: Place("F", 5, "x"), 42: Place("G", 5, "x"), 46: Place("G", 5, "circle-x"),
    49: Place("A", 5, "x"), 57: Place("A", 5, "x"), 52: Place("B", 5, "x"), 55: Place("B", 5, "x"),
    56: Place("E", 5, "triangle"),
}  # fmt: skip
ELSEWHERE = Place("E", 5, "x")
# What stands before the instrument and before the head in a note, by the order of MusicXML.
BEFORE_INSTRUMENT = {"chord", "unpitched", "duration", "tie"}
BEFORE_HEAD = {
    *BEFORE_INSTRUMENT, "instrument", "voice", "type", "dot", "accidental", "time-modification",
    "stem",
}  # fmt: skip


def write_without_pitch(root: Element, numbers: Iterable[int]) -> None:
    """Rewrite the parts of a score with these numbers, counted from 0, in place.

    Args:
        root: A `score-partwise` whose parts have drum keys as pitches.
        numbers: The numbers of the drum parts.
    """
    for number in numbers:
        part = root.findall("part")[number]
        listed = root.findall("part-list/score-part")[number]
        keys = {_drum(note, listed.get("id", "")) for note in part.iter("note")} - {None}
        program = listed.findtext("midi-instrument/midi-program") or "1"
        for old in listed.findall("score-instrument") + listed.findall("midi-instrument"):
            listed.remove(old)
        known = sorted(key for key in keys if key is not None)
        for key in known:
            instrument = SubElement(listed, "score-instrument", id=_id(listed.get("id", ""), key))
            SubElement(instrument, "instrument-name").text = drum_name(key)
        for key in known:
            sound = SubElement(listed, "midi-instrument", id=_id(listed.get("id", ""), key))
            SubElement(sound, "midi-channel").text = str(DRUM_CHANNEL + 1)
            SubElement(sound, "midi-program").text = program
            SubElement(sound, "midi-unpitched").text = str(key + 1)


def _id(part: str, key: int) -> str:
    return f"{part}-drum{key}"


def _drum(note: Element, part: str) -> int | None:
    """Rewrite a note; its drum key, or None for a rest."""
    pitch = note.find("pitch")
    if pitch is None:
        return None
    step, alter, octave = (pitch.findtext(name) or "0" for name in ("step", "alter", "octave"))
    key = SEMITONES[step] + int(alter) + 12 * (int(octave) + 1)
    place = PLACES.get(key, ELSEWHERE)
    pitch.clear()
    pitch.tag = "unpitched"
    SubElement(pitch, "display-step").text = place.step
    SubElement(pitch, "display-octave").text = str(place.octave)
    for accidental in note.findall("accidental"):
        note.remove(accidental)
    _insert(note, Element("instrument", id=_id(part, key)), BEFORE_INSTRUMENT)
    if place.head != "normal":
        head = Element("notehead")
        head.text = place.head
        _insert(note, head, BEFORE_HEAD)
    return key


def _insert(note: Element, child: Element, before: set[str]) -> None:
    """Insert an element after the last of those that stand before it."""
    note.insert(max(i for i, other in enumerate(note, 1) if other.tag in before), child)
