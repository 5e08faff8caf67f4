"""What MIDI controls mean: their names, where they rest, how loud, where and how high they make it.

Sources: MIDI 1.0 Detailed Specification; General MIDI Level 1 (the range of pitch bend) and Level 2
(how loud volume and expression are, where pan is); RP-015 (what "reset all controllers" resets).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeAlias

from generative.music.piece import NO_BEND, PITCH_BEND, SUSTAIN_PEDAL

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from generative.music.piece import Track

MODULATION, VOLUME, PAN, EXPRESSION = 1, 7, 10, 11
SOFT_PEDAL = 67
BANK_SELECTS = (0, 32)  # they choose a bank for the next program change
DATA_ENTRY, DATA_ENTRY_FINE = 6, 38  # what they set is the parameter that was last chosen
UNREGISTERED_PARAMETERS = (98, 99)
PARAMETER_FINE, PARAMETER = 100, 101
# these mean something in their order only
PARAMETER_CONTROLS = frozenset({DATA_ENTRY, DATA_ENTRY_FINE, *range(96, 102)})
RESET_CONTROLLERS = 121
RESET = frozenset({MODULATION, EXPRESSION, *range(SUSTAIN_PEDAL, SOFT_PEDAL + 1), PITCH_BEND})

CONTROL_NAMES = {
    MODULATION: "modulation",
    VOLUME: "volume",
    PAN: "pan",
    EXPRESSION: "expression",
    SUSTAIN_PEDAL: "sustain pedal",
    66: "sostenuto pedal",
    SOFT_PEDAL: "soft pedal",
    PITCH_BEND: "pitch bend",
}
RESTING_VALUES = {
    VOLUME: 100, 8: 64, PAN: 64, EXPRESSION: 127, **dict.fromkeys(range(71, 79), 64), 91: 40,
    PITCH_BEND: NO_BEND,
}  # fmt: skip
BEND_SEMITONES = 2.0  # at either end of the wheel, unless registered parameter 0 says otherwise
# chooses that parameter, sets it to 2 semitones and 0 cents, and chooses none
USUAL_PARAMETERS = (
    (PARAMETER, 0), (PARAMETER_FINE, 0), (DATA_ENTRY, 2), (DATA_ENTRY_FINE, 0),
    (PARAMETER, 127), (PARAMETER_FINE, 127),
)  # fmt: skip
MAX_STANDING_PARAMETERS = 64  # parameter controls, the latest, that are remembered

# from which tick on something has which value
Curve: TypeAlias = list[tuple[int, float]]


def control_name(number: int) -> str:
    """A control in words; those without a name of their own by their number."""
    return CONTROL_NAMES.get(number, f"controller {number}")


def resting_value(number: int) -> int:
    """Where a control stands that nobody has turned."""
    return RESTING_VALUES.get(number, 0)


class Standing:
    """How the controls of a channel stand, while they are turned one after another."""

    def __init__(self) -> None:
        self._values: dict[int, int] = {}
        self._parameters: deque[tuple[int, int]] = deque(maxlen=MAX_STANDING_PARAMETERS)

    def turn(self, number: int, value: int) -> None:
        """Turn a control."""
        if number in PARAMETER_CONTROLS:
            self._parameters.append((number, value))
        elif number == RESET_CONTROLLERS:
            self._values = {n: v for n, v in self._values.items() if n not in RESET}
        else:
            self._values[number] = value

    def value(self, number: int) -> int:
        """Where a control stands, which is none of a parameter's."""
        return self._values.get(number, resting_value(number))

    def missing(self, wanted: Standing) -> list[tuple[int, int]]:
        """What must be turned, number and value, so that all stands as `wanted`."""
        turns: list[tuple[int, int]] = []
        if self._parameters != wanted._parameters:
            turns += wanted._parameters or USUAL_PARAMETERS
        numbers = sorted(self._values.keys() | wanted._values.keys())
        return turns + [(n, wanted.value(n)) for n in numbers if self.value(n) != wanted.value(n)]

    def become(self, wanted: Standing) -> None:
        """Stand as `wanted` does."""
        self._values = dict(wanted._values)
        self._parameters = wanted._parameters.copy()


def gains(track: Track) -> Curve:
    """How loud volume and expression make a track: 1 where nobody turned them.

    Each is 40 log10(value / 127) dB, that is, an amplitude of (value / 127) ** 2; 0 is silence.
    """
    standing = Standing()

    def gain() -> float:
        volume = standing.value(VOLUME) / resting_value(VOLUME)
        return (volume * standing.value(EXPRESSION) / resting_value(EXPRESSION)) ** 2

    return _curve(track, {VOLUME, EXPRESSION, RESET_CONTROLLERS}, standing, gain)


def pans(track: Track) -> Curve | None:
    """Where pan places a track, -1 left to 1 right; None where nobody turned it.

    0 and 1 are both at the very left, 64 is the middle, 127 the very right.
    """
    if all(control.number != PAN for control in track.controls):
        return None
    standing = Standing()
    return _curve(track, {PAN}, standing, lambda: max(standing.value(PAN) - 1, 0) / 63 - 1)


def bends(track: Track) -> Curve:
    """How many semitones higher the notes of a track sound: pitch bend, in the range it is given.

    The range is what data entry sets while registered parameter 0 is chosen, in semitones and
    cents.
    """
    standing = Standing()
    chosen: dict[int, int] = {}
    reach = {DATA_ENTRY: BEND_SEMITONES, DATA_ENTRY_FINE: 0.0}

    def bend() -> float:
        wheel = (standing.value(PITCH_BEND) - NO_BEND) / NO_BEND
        return wheel * (reach[DATA_ENTRY] + reach[DATA_ENTRY_FINE] / 100)

    curve: Curve = [(0, 0.0)]
    for control in track.controls:
        number = control.number
        if number in (PARAMETER, PARAMETER_FINE):
            chosen[number] = control.value
        elif number in UNREGISTERED_PARAMETERS:
            chosen.clear()
        elif number in reach and chosen == {PARAMETER: 0, PARAMETER_FINE: 0}:
            reach[number] = float(control.value)
        elif number not in (PITCH_BEND, RESET_CONTROLLERS):
            continue
        standing.turn(number, control.value)
        _add(curve, control.at_ticks, bend())
    return curve


def _curve(
    track: Track, numbers: Collection[int], standing: Standing, value: Callable[[], float]
) -> Curve:
    curve: Curve = [(0, value())]
    for control in track.controls:
        if control.number in numbers:
            standing.turn(control.number, control.value)
            _add(curve, control.at_ticks, value())
    return curve


def _add(curve: Curve, ticks: int, value: float) -> None:
    """From a tick on a new value, if it is one; of several at one tick the last."""
    if curve[-1][0] == ticks:
        curve[-1] = ticks, value
    elif curve[-1][1] != value:
        curve.append((ticks, value))
