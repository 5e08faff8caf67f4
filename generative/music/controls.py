"""MIDI controls: their names, defaults and state, and their effect on loudness, pan and pitch.

Sources: MIDI 1.0 Detailed Specification; General MIDI Level 1 (the range of pitch bend) and Level 2
(the meaning of volume, expression and pan); RP-015 (the effect of "reset all controllers").
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
BANK_SELECTS = (0, 32)  # choose the bank of the next program change
DATA_ENTRY, DATA_ENTRY_FINE = 6, 38  # set the parameter that was chosen last
UNREGISTERED_PARAMETERS = (98, 99)
PARAMETER_FINE, PARAMETER = 100, 101
# controls that choose and set parameters, so that their order matters
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
DEFAULT_VALUES = {
    VOLUME: 100, 8: 64, PAN: 64, EXPRESSION: 127, **dict.fromkeys(range(71, 79), 64), 91: 40,
    PITCH_BEND: NO_BEND,
}  # fmt: skip
BEND_SEMITONES = 2.0  # the range of pitch bend unless registered parameter 0 sets another
# Choose registered parameter 0, set it to 2 semitones and 0 cents, and choose no parameter.
DEFAULT_PARAMETERS = (
    (PARAMETER, 0), (PARAMETER_FINE, 0), (DATA_ENTRY, 2), (DATA_ENTRY_FINE, 0),
    (PARAMETER, 127), (PARAMETER_FINE, 127),
)  # fmt: skip
MAX_PARAMETER_CONTROLS = 64  # the number of latest parameter controls that are remembered

# (tick, the value from that tick on), in order
Curve: TypeAlias = list[tuple[int, float]]


def control_name(number: int) -> str:
    """The name of a control, or "controller" and its number."""
    return CONTROL_NAMES.get(number, f"controller {number}")


def default_value(number: int) -> int:
    """The value of a control that has not been set."""
    return DEFAULT_VALUES.get(number, 0)


class ControlState:
    """The values of the controls of a channel, as they are set one after another."""

    def __init__(self) -> None:
        self._values: dict[int, int] = {}
        self._parameters: deque[tuple[int, int]] = deque(maxlen=MAX_PARAMETER_CONTROLS)

    def set(self, number: int, value: int) -> None:
        """Set a control."""
        if number in PARAMETER_CONTROLS:
            self._parameters.append((number, value))
        elif number == RESET_CONTROLLERS:
            self._values = {n: v for n, v in self._values.items() if n not in RESET}
        else:
            self._values[number] = value

    def value(self, number: int) -> int:
        """The value of a control other than a parameter control."""
        return self._values.get(number, default_value(number))

    def differences(self, wanted: ControlState) -> list[tuple[int, int]]:
        """(number, value) of the controls that turn this state into `wanted`."""
        settings: list[tuple[int, int]] = []
        if self._parameters != wanted._parameters:
            settings += wanted._parameters or DEFAULT_PARAMETERS
        numbers = sorted(self._values.keys() | wanted._values.keys())
        return settings + [
            (n, wanted.value(n)) for n in numbers if self.value(n) != wanted.value(n)
        ]

    def copy_from(self, other: ControlState) -> None:
        """Take over all values of another state."""
        self._values = dict(other._values)
        self._parameters = other._parameters.copy()


def gains(track: Track) -> Curve:
    """The gain of a track by volume and expression, relative to their defaults.

    Each is 40 log10(value / 127) dB, that is, an amplitude of (value / 127) ** 2; 0 is silence.
    """
    state = ControlState()

    def gain() -> float:
        volume = state.value(VOLUME) / default_value(VOLUME)
        return (volume * state.value(EXPRESSION) / default_value(EXPRESSION)) ** 2

    return _curve(track, {VOLUME, EXPRESSION, RESET_CONTROLLERS}, state, gain)


def pans(track: Track) -> Curve | None:
    """The pan of a track, from -1 (left) to 1 (right); None if it is never set.

    The values 0 and 1 are both hard left, 64 is the centre, and 127 is hard right.
    """
    if all(control.number != PAN for control in track.controls):
        return None
    state = ControlState()
    return _curve(track, {PAN}, state, lambda: max(state.value(PAN) - 1, 0) / 63 - 1)


def bends(track: Track) -> Curve:
    """The pitch bend of a track in semitones.

    Its range is set by data entry while registered parameter 0 is chosen, in semitones and cents.
    """
    state = ControlState()
    chosen_parameter: dict[int, int] = {}
    bend_range = {DATA_ENTRY: BEND_SEMITONES, DATA_ENTRY_FINE: 0.0}

    def bend() -> float:
        position = (state.value(PITCH_BEND) - NO_BEND) / NO_BEND
        return position * (bend_range[DATA_ENTRY] + bend_range[DATA_ENTRY_FINE] / 100)

    curve: Curve = [(0, 0.0)]
    for control in track.controls:
        number = control.number
        if number in (PARAMETER, PARAMETER_FINE):
            chosen_parameter[number] = control.value
        elif number in UNREGISTERED_PARAMETERS:
            chosen_parameter.clear()
        elif number in bend_range and chosen_parameter == {PARAMETER: 0, PARAMETER_FINE: 0}:
            bend_range[number] = float(control.value)
        elif number not in (PITCH_BEND, RESET_CONTROLLERS):
            continue
        state.set(number, control.value)
        _add(curve, control.at_ticks, bend())
    return curve


def _curve(
    track: Track, numbers: Collection[int], state: ControlState, value: Callable[[], float]
) -> Curve:
    curve: Curve = [(0, value())]
    for control in track.controls:
        if control.number in numbers:
            state.set(control.number, control.value)
            _add(curve, control.at_ticks, value())
    return curve


def _add(curve: Curve, ticks: int, value: float) -> None:
    """Append a value unless it repeats the last one; of several at one tick the last is kept."""
    if curve[-1][0] == ticks:
        curve[-1] = ticks, value
    elif curve[-1][1] != value:
        curve.append((ticks, value))
