"""What the tokens of music mean to context features.

It must not know what the features are computed from these meanings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from generative.context.features import PARALLEL_SLOTS, VOICES
from generative.context.reader import build_tables
from generative.context.records import BARS_AGO, KEYS, KINDS, LONGEST_BAR_STEPS, PITCHES
from generative.music.piece import HIGHEST_PITCH
from generative.tokenizers.music.vocabulary import (
    MAX_BAR_PART_STEPS,
    OFFSETS,
    VALUES,
    VOCAB_SIZE,
    bar_part_steps,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from generative.context.records import Tables

# The operations of context features know no vocabulary, but the same bounds.
assert LONGEST_BAR_STEPS == MAX_BAR_PART_STEPS
assert PITCHES == HIGHEST_PITCH + 1
assert len(VALUES["key"]) == KEYS

# The context features of a new model, where the user chooses none.
DEFAULT_FEATURES: tuple[str, ...] = (
    *("bar_position", "bar_length", "key"),
    *(f"voice_{number}" for number in range(VOICES)),
    *("next_voice", "next_voice_pitch", "next_voice_interval"),
    *(f"parallel_{number}" for number in range(PARALLEL_SLOTS)),
    *(f"remaining_{number}" for number in range(VOICES)),
    "next_end",
    *(
        f"{echo}_{i}"
        for echo in ("echo_onset", "echo_pitch", "echo_run")
        for i in range(len(BARS_AGO))
    ),
    *("match_kind", "match_value", "match_length"),
)
# The values of these types are their indices in the table of bars.
_INDEXED = ("beats", "unit")


def context_tables(names: Sequence[str]) -> Tables:
    """The tables of the features of these names.

    Raises:
        OptionError: there is no feature of a name.
    """
    kinds = np.zeros(VOCAB_SIZE, np.int8)
    values = np.zeros(VOCAB_SIZE, np.int32)
    for name, type_values in VALUES.items():
        ids = slice(OFFSETS[name], OFFSETS[name] + len(type_values))
        kinds[ids] = KINDS.get(name, KINDS["other"])
        values[ids] = range(len(type_values)) if name in _INDEXED else type_values
    bar_steps = np.array(
        [[bar_part_steps(beats, unit) for unit in VALUES["unit"]] for beats in VALUES["beats"]],
        np.int32,
    )
    return build_tables(kinds, values, bar_steps, names)
