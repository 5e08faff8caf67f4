"""The music tokenizer: a piece of music to ids and back.

The ids are listed in `vocabulary`, their order in `grammar`, what a piece loses on the way in
`form`, and how events are written and read in `codec`: `decode(encode(piece))` is the piece in
token form, exactly. The module does not know files or models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from generative.music.piece import HIGHEST_PITCH, PITCH_BEND, SUSTAIN_PEDAL
from generative.music.quantise import (
    PERFORMANCE,
    SCORE,
    STEPS_PER_BEAT,
    STEPS_PER_SECOND,
    grid_of,
    in_time,
)
from generative.tokenizers.music import codec, context
from generative.tokenizers.music.form import EncodeReport, in_token_form
from generative.tokenizers.music.state import State
from generative.tokenizers.music.vocabulary import (
    IDS,
    OFFSETS,
    TOKEN_TYPES,
    VALUES,
    VOCAB_SIZE,
    describe,
    transposed_key,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from generative.context.records import Tables
    from generative.music.piece import Piece

VERSION = 2  # The version of the vocabulary, which rises when an id changes its meaning.
# Types whose ids rise with their values, so that a piece stays whole when they are shifted.
AUGMENTATION_AXES = {
    name: range(OFFSETS[name], OFFSETS[name] + len(VALUES[name]))
    for name in ("pitch", "velocity", "tempo")
}


class MusicTokenizer:
    """A tokenizer of time, meter, key, tempo, instruments, pedals and notes.

    On the score grid time is bars and positions, on the performance grid it is shifts of 10 ms.
    Both grids share one vocabulary.

    Example:
        tokenizer = MusicTokenizer()
        ids = tokenizer.encode(piece)
        [tokenizer.describe(i) for i in ids]
        # bar, position 0, beats 4, unit 4, tempo 120,
        # track 0, program 0, velocity 82, pitch 60, duration 24
        tokenizer.decode(ids) == tokenizer.normal_form(piece)    # True
    """

    name = "music"
    start_id = codec.START_ID
    vocab_size = VOCAB_SIZE
    augmentation_axes = AUGMENTATION_AXES
    default_features = context.DEFAULT_FEATURES

    def __init__(self, grid: str = SCORE, controls: Iterable[int] = ()) -> None:
        """`controls`: numbers of those that are kept beside the sustain pedal.

        Raises:
            ValueError: no such grid or control, or controls on the score grid, which has none.
        """
        self.grid = grid
        self.controls = tuple(sorted(set(controls) - {SUSTAIN_PEDAL}))
        if grid not in (SCORE, PERFORMANCE):
            raise ValueError(f"grid must be {SCORE!r} or {PERFORMANCE!r}, not {grid!r:.30}")
        if self.controls and grid == SCORE:
            raise ValueError("controls are kept on the performance grid only")
        if not set(self.controls) <= set(VALUES["control"]):
            raise ValueError(
                f"controls must be in 0..{PITCH_BEND}, not {list(self.controls)!r:.50}"
            )

    @classmethod
    def train(
        cls,
        pieces: Iterable[Piece],
        vocab_size: int | None = None,  # noqa: ARG003 - the vocabulary is fixed
        grid: str | None = None,
    ) -> MusicTokenizer:
        """The tokenizer on `grid`, or on the grid that suits the pieces (`quantise.grid_of`)."""
        return cls(grid or grid_of(pieces))

    def encode(self, piece: Piece) -> list[int]:
        """The piece's ids, with no start token at either end; none for a piece without notes."""
        return self.encode_with_report(piece)[0]

    def encode_with_report(self, piece: Piece) -> tuple[list[int], EncodeReport]:
        """The ids of `encode`, and what they leave out.

        Raises:
            ValueError: a piece longer than there are tokens for.
        """
        form, report = in_token_form(piece, self.grid, self.controls)
        return (codec.encoded(form, self.grid) if form.tracks else []), report

    def encode_array(self, piece: Piece) -> NDArray[np.int32]:
        """The ids of `encode` as an array. -> (T,)"""
        return np.array(self.encode(piece), dtype=np.int32)

    def decode(self, ids: Sequence[int]) -> Piece:
        """The piece of these ids, with 24 ticks a beat, or 960 from the performance grid.

        Start tokens at either end, and a note that is incomplete at the end, are left out.

        Raises:
            ValueError: a token that may not stand where it does.
        """
        return self.read(ids)[1]

    def read(self, ids: Sequence[int]) -> tuple[State, Piece]:
        """The state of the grammar after the ids, and their piece as `decode` gives it."""
        state, stepped = codec.decoded(ids, State(grid=self.grid, controls=self.controls))
        return state, stepped if self.grid == SCORE else in_time(stepped)

    def normal_form(self, piece: Piece) -> Piece:
        """The piece that `decode(encode(piece))` gives."""
        form = in_token_form(piece, self.grid, self.controls)[0]
        return form if self.grid == SCORE else in_time(form)

    def describe(self, token: int) -> str:
        """A token in words: "bar", "pitch 60"."""
        return describe(token)

    def with_bars(self, ids: Sequence[int], bars: int) -> list[int]:
        """A piece's ids, followed by empty bars until the piece has at least `bars`.

        The last bar is complete, so that whatever comes next begins at the bar line after it. A
        performance has no bars, and its ids stay as they are.
        """
        if self.grid == PERFORMANCE:
            return list(ids)
        state, piece = self.read(ids)
        bar = state.bar
        parts = bar.parts - 1 - bar.part + bar.parts * max(0, bars - piece.bars)
        return [*ids, *[codec.BAR_ID] * parts]

    def notes_in(self, ids: Sequence[int] | NDArray[np.integer[Any]]) -> int:
        """How many complete notes the ids have."""
        durations = np.asarray(ids) - OFFSETS["duration"]
        return int(((durations >= 0) & (durations < len(VALUES["duration"]))).sum())

    def pitch_range(self, ids: NDArray[np.integer[Any]]) -> tuple[int, int] | None:
        """The lowest and highest pitch, without drums; None if there is no pitch."""
        pitches = ids[_is_on("pitch", ids)] - OFFSETS["pitch"]
        return (int(pitches.min()), int(pitches.max())) if pitches.size else None

    def transpose(self, ids: NDArray[np.integer[Any]], semitones: int) -> NDArray[np.integer[Any]]:
        """The ids with every pitch and key moved, and drums as they were. (T,) -> (T,)

        A change between keys of equal pitches, such as seven sharps and five flats, becomes the
        repetition of one key, which `decode` refuses.

        Raises:
            ValueError: a pitch would leave 0..127.
        """
        span = self.pitch_range(ids)
        if span and not 0 <= span[0] + semitones <= span[1] + semitones <= HIGHEST_PITCH:
            raise ValueError(f"pitches {span[0]}..{span[1]} cannot move by {semitones} semitones")
        moved = np.where(_is_on("pitch", ids), ids + semitones, ids).astype(ids.dtype)
        for value, token in IDS["key"].items():
            moved[ids == token] = IDS["key"][transposed_key(value, semitones)]
        return moved

    def shifted(
        self, ids: NDArray[np.integer[Any]], axis: str, offset: int
    ) -> NDArray[np.integer[Any]]:
        """A piece's ids moved along an augmentation axis. (T,) -> (T,)

        Args:
            ids: of a piece.
            axis: "pitch" transposes the piece, keys included; "velocity" and "tempo" are the rest.
            offset: how far, in ids.

        Raises:
            ValueError: a pitch would leave 0..127.
        """
        if axis == "pitch":
            return self.transpose(ids, offset)
        return np.where(_is_on(axis, ids), ids + offset, ids).astype(ids.dtype)

    def context_tables(self, names: Sequence[str]) -> Tables:
        """What each id means to the context features of these names.

        Raises:
            OptionError: there is no feature of a name.
        """
        return context.context_tables(names)

    def to_config(self) -> dict[str, Any]:
        """The contents of `tokenizer.json`, by which a change in the meaning of ids is noticed."""
        return {
            "type": self.name,
            "version": VERSION,
            "grid": self.grid,
            "steps_per_beat": STEPS_PER_BEAT,
            "steps_per_second": STEPS_PER_SECOND,
            "controls": list(self.controls),
            "blocks": {one.name: len(one.values) for one in TOKEN_TYPES},
        }

    @classmethod
    def from_config(
        cls,
        config: Mapping[str, Any],
        files: Mapping[str, bytes] | None = None,  # noqa: ARG003
    ) -> MusicTokenizer:
        """The tokenizer that `to_config` describes.

        Raises:
            ValueError: the ids meant something else when this was written.
        """
        grid, controls = config.get("grid", SCORE), config.get("controls", ())
        if not isinstance(controls, list | tuple) or not {type(c) for c in controls} <= {int}:
            raise ValueError(f"controls must be a list of numbers, not {controls!r:.30}")
        tokenizer = cls(str(grid), controls)
        for key, expected in tokenizer.to_config().items():
            if config.get(key) != expected:
                raise ValueError(
                    f"the model's music vocabulary differs in {key!r}: "
                    f"{config.get(key)!r:.100} there, {expected!r:.100} here"
                )
        return tokenizer

    def files(self) -> dict[str, bytes]:
        """The further files of the tokenizer: none."""
        return {}


def _is_on(axis: str, ids: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    """Which ids are of an augmentation axis. (T,) -> (T,)"""
    return (ids >= AUGMENTATION_AXES[axis].start) & (ids < AUGMENTATION_AXES[axis].stop)
