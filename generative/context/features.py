"""The registry of context features: their names, their numbers of values, and what they mean.

A feature is an integer from 0 to below its size, a function of the tokens of the document up to the
present one. A new family is a row here and a function of the same name in
`operations._make_value`, which lists its functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from generative.context.records import (
    BARS_AGO,
    CLASSES,
    KEYS,
    KINDS,
    LARGEST_INTERVAL,
    LEVEL_BOUNDS,
    LONGEST_BAR_STEPS,
    PITCHES,
    SLOTS,
)
from generative.errors import OptionError

VOICES = 6  # The tracks of these numbers, from 0 on, have features of their own.
BARS_CYCLE = 16  # Bars are counted modulo this number.
PARALLEL_SLOTS = 4  # So many tracks, from 0 on, are looked at for parallel motion.
LEVELS = len(LEVEL_BOUNDS)
LONGEST_RUN = 15  # Longer runs count as this one.
_AGO = f"{', '.join(map(str, BARS_AGO[:-1]))} and {BARS_AGO[-1]} bars ago"


@dataclass(frozen=True)
class Family:
    """Features that differ only in an index, such as the number of a track.

    Attributes:
        name: of the only feature, or what precedes the index in the names of several.
        count: the number of features.
        size: the number of values of each.
        meaning: what a value tells.
    """

    name: str
    count: int
    size: int
    meaning: str


@dataclass(frozen=True)
class Feature:
    """One feature: its place in `FAMILIES` and in its family, its size, and its meaning."""

    family: int
    index: int
    size: int
    meaning: str


FAMILIES = (
    Family("bar_position", 1, 1 + LONGEST_BAR_STEPS, "steps from the bar line"),
    Family("bar_number", 1, 1 + BARS_CYCLE, f"bar tokens so far, modulo {BARS_CYCLE}"),
    Family("voice", VOICES, 1 + 2 * PITCHES, "last pitch of a track, and whether it still sounds"),
    Family("next_voice", 1, 1 + SLOTS, "track whose note comes next"),
    Family("next_voice_pitch", 1, 1 + PITCHES, "last pitch of that track"),
    Family("next_voice_interval", 1, 2 + 2 * LARGEST_INTERVAL, "last interval of that track"),
    Family("sounding_class", CLASSES, 2, "whether a pitch class sounds in any track but drums"),
    Family(
        "parallel",
        PARALLEL_SLOTS,
        1 + PITCHES,
        "pitch that would move in parallel fifths, octaves or unisons with another track",
    ),
    Family("age", VOICES, 1 + LEVELS, f"time since the last onset of a track, in {LEVELS} levels"),
    Family("next_end", 1, 2 + LONGEST_BAR_STEPS, "place in the bar at which a note ends next"),
    Family("remaining", VOICES, 1 + LEVELS, f"time until a track's note ends, in {LEVELS} levels"),
    Family(
        "echo_onset",
        len(BARS_AGO),
        2 + LONGEST_BAR_STEPS,
        f"place in the bar at which a note began next {_AGO}",
    ),
    Family(
        "echo_pitch",
        len(BARS_AGO),
        1 + 2 * PITCHES,
        f"pitch that the track whose note comes next played {_AGO}, and whether at this place",
    ),
    Family("echo_run", len(BARS_AGO), 1 + LONGEST_RUN, f"notes in a row that are as {_AGO}"),
    Family("key", 1, 1 + KEYS, "key signature and mode"),
    Family("bar_length", 1, 1 + LONGEST_BAR_STEPS, "steps of the bar"),
    Family(
        "class_age", CLASSES, 1 + LEVELS, f"time since a pitch class ceased, in {LEVELS} levels"
    ),
    Family("match_kind", 1, 1 + len(KINDS), "kind of the token after the longest match"),
    Family("match_value", 1, 2 + LONGEST_BAR_STEPS, "pitch, duration, ... of that token"),
    Family("match_length", 1, 1 + LEVELS, f"tokens of the longest match, in {LEVELS} levels"),
)
FEATURES = {
    family.name if family.count == 1 else f"{family.name}_{index}": Feature(
        number, index, family.size, family.meaning
    )
    for number, family in enumerate(FAMILIES)
    for index in range(family.count)
}
# What depends on matches (`generative.context.matches`).
MATCH_FAMILIES = frozenset({"match_kind", "match_value", "match_length"})

AUTO, NO_FEATURES = "auto", "none"  # These stand for the tokenizer's choice, and for no feature.


def parse_names(value: str | Sequence[str]) -> tuple[str, ...] | None:
    """The names of features in an option: names with commas between them, or several.

    Returns:
        The names; None for "auto".

    Raises:
        OptionError: an unknown name, one twice, or a value of another type.
    """
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, Sequence) or not all(isinstance(part, str) for part in parts):
        raise OptionError(f"context_features must be names, not {value!r:.50}")
    names = tuple(part.strip() for part in parts if part.strip())
    if names == (AUTO,):
        return None
    if names == (NO_FEATURES,):
        return ()
    check_names(names)
    return names


def check_names(names: tuple[str, ...]) -> None:
    """Refuse names of features that do not exist.

    Raises:
        OptionError: an unknown name, or one twice.
    """
    for name in names:
        if name not in FEATURES:
            known = ", ".join(
                f.name if f.count == 1 else f"{f.name}_0..{f.name}_{f.count - 1}" for f in FAMILIES
            )
            raise OptionError(f"unknown context feature {name!r:.50}; known: {known}")
    if len(set(names)) < len(names):
        raise OptionError(f"context features must differ from each other: {', '.join(names):.200}")
