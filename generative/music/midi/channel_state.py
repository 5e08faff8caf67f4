"""The state of one MIDI channel while a track chunk is read: open notes, program and controls.

A note-off names a pitch, not a note; `Overlap` decides which note it ends.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeAlias

from generative.music.controls import MAX_PARAMETER_CONTROLS
from generative.music.piece import Note

if TYPE_CHECKING:
    from collections.abc import Iterator

    from generative.music.piece import Control

# the list that takes the note once its end is known, its onset and its velocity
OpenNote: TypeAlias = tuple[list[Note], int, int]
# the tick, the channel and the new program of a program change
ProgramChange: TypeAlias = tuple[int, int, int]


class Overlap:
    """Note-ons of one pitch, each while another note of that pitch sounds, and their note-offs.

    If each note has a note-off, the note that began first ends first. If note-offs are missing, so
    that the pitch is never silent again, a note without one ends at the next note-on or note-off of
    its pitch. The notes after it then are what they would be without it.
    """

    def __init__(self, first: OpenNote) -> None:
        self._events: list[OpenNote | int] = [first]  # A note-off is represented by its tick.
        self.open_count = 1  # notes without a note-off so far

    def note_on(self, note: OpenNote) -> None:
        """Add a note."""
        self._events.append(note)
        self.open_count += 1

    def note_off(self, ticks: int) -> None:
        """Add a note-off."""
        self._events.append(ticks)
        self.open_count -= 1

    def ends(self) -> Iterator[tuple[OpenNote, int | None, bool]]:
        """Each note, its end (None if it still sounds), and whether a note-off ended it."""
        unmatched: list[int] = []
        for i, event in enumerate(self._events):
            if isinstance(event, int):
                unmatched.pop()
            else:
                unmatched.append(i)
        without_note_off = set(unmatched)
        hanging: list[OpenNote] = []  # all have the same onset
        waiting: deque[OpenNote] = deque()
        for i, event in enumerate(self._events):
            ticks = event if isinstance(event, int) else event[1]
            if hanging and (isinstance(event, int) or hanging[0][1] < ticks):
                yield from ((note, ticks, False) for note in hanging)
                hanging = []
            if isinstance(event, int):
                yield waiting.popleft(), event, True
            elif i in without_note_off:
                hanging.append(event)
            else:
                waiting.append(event)
        yield from ((note, None, False) for note in hanging)


class ChannelState:
    """The state of one channel of one port within one track chunk.

    Attributes:
        port_channel: port * 16 + channel.
        program: The program in force.
        pending_change: The latest program change if no note has been played since, and whether it
            stands in this chunk.
        playing: The program of the last note; None before the first.
        notes: The notes of that program, which grow.
        sounding: Pitch -> the open note or notes.
        initial_controls: The controls before the first note.
        controls: Number -> the control in force.
        shared_controls: Those of `controls` that another chunk states.
        parameter_controls: The latest controls that set parameters, in order.
        parameter_count: How many parameter controls there were.
        known_controls: Program -> `controls` and `parameter_count` when it last played.
    """

    __slots__ = (
        "controls", "initial_controls", "known_controls", "notes", "parameter_controls",
        "parameter_count", "pending_change", "playing", "port_channel", "program",
        "shared_controls", "sounding",
    )  # fmt: skip

    def __init__(self, port_channel: int) -> None:
        self.port_channel = port_channel
        self.program = 0
        self.pending_change: tuple[ProgramChange, bool] | None = None
        self.playing: int | None = None
        self.notes: list[Note] = []
        self.sounding: dict[int, OpenNote | Overlap] = {}
        self.initial_controls: list[Control] = []
        self.controls: dict[int, Control] = {}
        self.shared_controls: dict[int, Control] = {}
        self.parameter_controls: deque[Control] = deque(maxlen=MAX_PARAMETER_CONTROLS)
        self.parameter_count = 0
        self.known_controls: dict[int, tuple[dict[int, Control], int]] = {}

    def changed_controls(self) -> list[Control]:
        """The controls that have changed since `program` last played, as it begins to play again.

        They are saved as those known to the program that played until now.
        """
        if self.playing is None:
            return self.initial_controls
        self.known_controls[self.playing] = dict(self.controls), self.parameter_count
        known, known_count = self.known_controls.get(self.program, ({}, 0))
        changed = [c for number, c in self.controls.items() if known.get(number) != c]
        parameters = list(self.parameter_controls)
        new_parameters = min(self.parameter_count - known_count, len(parameters))
        return changed + parameters[len(parameters) - new_parameters :]
