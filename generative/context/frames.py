"""What a token of a piano roll does to the memory of context features.

It must not know networks or ids.

A frame is its pitches in rising order, each a token of the kind "frame_pitch", and a token of the
kind "frame". Time is counted in frames. The pitches of a frame are taken for the notes of the
tracks 0, 1, ... from below, so that what features say about tracks they say about voices of a roll.
A track has the pitch of the frame before until its pitch of the current frame comes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from generative.context.records import (
    CLASS_END,
    CLASSES,
    CLOCK,
    END,
    KINDS,
    LAST,
    NEXT_VOICE,
    NOTHING,
    ONSET,
    PREVIOUS,
    SLOTS,
    TRACK,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from generative.context.records import Inner

_FRAME = KINDS["frame"]


def make_advance(inner: Inner) -> Callable[..., Any]:
    """Build the function (m, kind, value), which reads a token of a roll into the memory."""

    @inner
    def end_frame(m: Any) -> None:
        for slot in range(m[TRACK] + 1, SLOTS):  # The frame had no pitches of these tracks.
            m[LAST + slot] = NOTHING
        m[CLOCK] += 1
        m[TRACK] = NOTHING

    @inner
    def read_pitch(m: Any, pitch: Any) -> None:
        m[TRACK] += 1
        slot, end = m[TRACK], m[CLOCK] + 1
        m[CLASS_END + pitch % CLASSES] = end
        if slot >= SLOTS:
            return
        if m[LAST + slot] != pitch:
            m[ONSET + slot] = m[CLOCK]
        m[PREVIOUS + slot] = m[LAST + slot]
        m[LAST + slot] = pitch
        m[END + slot] = end

    @inner
    def advance(m: Any, kind: Any, value: Any) -> None:
        if kind == _FRAME:
            end_frame(m)
        else:
            read_pitch(m, value)
        m[NEXT_VOICE] = m[TRACK] + 1 if m[TRACK] + 1 < SLOTS else NOTHING

    return advance
