"""How a channel of a MIDI file stands while it is read: what sounds on it, how its controls are.

A note-off names a pitch, not a note; `Overlap` says which note it ends.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeAlias

from generative.music.controls import MAX_STANDING_PARAMETERS
from generative.music.piece import Note

if TYPE_CHECKING:
    from collections.abc import Iterator

    from generative.music.piece import Control

# where a note goes once its end is known, its onset and its velocity
Stroke: TypeAlias = tuple[list[Note], int, int]
# when, on which channel and to which program a channel was set
ProgramChange: TypeAlias = tuple[int, int, int]


class Overlap:
    """Strokes of one pitch, each begun while another sounded, and the note-offs among them.

    With a note-off for each, the oldest ends first. A stroke that lacks one, in that the pitch is
    never silent again, ends where the pitch is struck again or where the next note-off stands, so
    that those after it are what they would be without it.
    """

    def __init__(self, first: Stroke) -> None:
        self._events: list[Stroke | int] = [first]  # a note-off is its tick
        self.open = 1  # strokes without a note-off yet

    def begin(self, stroke: Stroke) -> None:
        """One more stroke."""
        self._events.append(stroke)
        self.open += 1

    def end(self, ticks: int) -> None:
        """A note-off."""
        self._events.append(ticks)
        self.open -= 1

    def ends(self) -> Iterator[tuple[Stroke, int | None, bool]]:
        """Each stroke, where it ends (None: it sounds still), and whether a note-off says so."""
        unmatched: list[int] = []
        for i, event in enumerate(self._events):
            if isinstance(event, int):
                unmatched.pop()
            else:
                unmatched.append(i)
        lacking = set(unmatched)
        hanging: list[Stroke] = []  # of one tick
        waiting: deque[Stroke] = deque()
        for i, event in enumerate(self._events):
            at = event if isinstance(event, int) else event[1]
            if hanging and (isinstance(event, int) or hanging[0][1] < at):
                yield from ((stroke, at, False) for stroke in hanging)
                hanging = []
            if isinstance(event, int):
                yield waiting.popleft(), event, True
            elif i in lacking:
                hanging.append(event)
            else:
                waiting.append(event)
        yield from ((stroke, None, False) for stroke in hanging)


class ChannelState:
    """How one channel of one port stands, as one chunk hears it."""

    __slots__ = (
        "foreign", "known", "line", "parameters", "playing", "program", "settings", "sounding",
        "standing", "turned", "unplayed", "voice",
    )  # fmt: skip

    def __init__(self, line: int) -> None:
        self.line = line  # port * 16 + channel
        self.program = 0
        self.standing: tuple[ProgramChange, bool] | None = None  # not yet played; is it our own
        self.playing: int | None = None  # the program of the last note
        self.voice: list[Note] = []  # the notes of that instrument
        self.sounding: dict[int, Stroke | Overlap] = {}  # by pitch
        self.unplayed: list[Control] = []  # those before the first note
        self.settings: dict[int, Control] = {}  # number -> how it stands
        self.foreign: dict[int, Control] = {}  # those of them that another chunk stated
        self.parameters: deque[Control] = deque(maxlen=MAX_STANDING_PARAMETERS)
        self.turned = 0  # parameter controls so far
        # program -> the settings and the number of parameters when it last played
        self.known: dict[int, tuple[dict[int, Control], int]] = {}

    def news(self) -> list[Control]:
        """What the program that takes over does not know of how the controls stand."""
        if self.playing is None:
            return self.unplayed
        self.known[self.playing] = dict(self.settings), self.turned
        known, heard = self.known.get(self.program, ({}, 0))
        changed = [c for number, c in self.settings.items() if known.get(number) != c]
        unheard = min(self.turned - heard, len(self.parameters))
        return changed + list(self.parameters)[len(self.parameters) - unheard :]
