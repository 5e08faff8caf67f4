"""The track chunks of a MIDI file read together into the tracks of a piece.

A program or a control belongs to a channel, not to a chunk: what one chunk states applies to the
notes that other chunks play on that channel (of that port), in the order of time. So a chunk that
plays on a channel on which others state something is read once more, with their events merged in.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple

from generative.music.midi.event_parser import (
    CONTROLLER,
    DRUM_CHANNEL,
    NUM_CHANNELS,
    PROGRAM_CHANGE,
    SILENT_PORT,
    Event,
)
from generative.music.midi.track_chunk import (
    SHARED,
    control_setting,
    program_change,
    read_track_chunk,
)
from generative.music.piece import NO_BEND, PITCH_BEND, Piece, Tempo, Track

if TYPE_CHECKING:
    from collections.abc import Sequence

    from generative.music.midi.channel_state import ProgramChange
    from generative.music.midi.event_parser import Header
    from generative.music.midi.track_chunk import TrackChunk

MAX_SHARED_EVENTS = 100_000  # events of one channel that are merged into other chunks


class Change(NamedTuple):
    """A program change, controller or bend, and the index of the chunk that states it."""

    ticks: int
    chunk: int
    event: Event

    @property
    def target(self) -> tuple[int, int]:
        """What is set: of several changes of one target at one tick only one can hold."""
        return self.event.status, self.event.data[0] if self.event.status == CONTROLLER else 0


def read_track_chunks(data: Sequence[bytes], header: Header) -> list[TrackChunk]:
    """Read track chunks that sound together, each with the changes that the others state."""
    chunks = [read_track_chunk(one, header) for one in data]
    changes = _changes_by_channel(chunks)
    for i, chunk in enumerate(chunks):
        shared = [
            (port_channel, change)
            for port_channel in chunk.first_notes
            for change in changes.get(port_channel, ())
            if change.chunk != i
        ]
        if not shared:
            continue
        if _all_hold_at_first_note(chunk, shared):
            chunk.used_programs.update(
                program_change(change.event)
                for _, change in shared
                if change.event.status == PROGRAM_CHANGE
            )
        else:
            chunks[i] = read_track_chunk(data[i], header, _in_order_of_time(chunk, i, shared))
    used: set[ProgramChange] = set().union(*(chunk.used_programs for chunk in chunks))
    for chunk in chunks:
        if unused := sum(change not in used for change in chunk.unused_programs):
            chunk.dropped["program change without effect"] += unused
    return chunks


def piece_of(chunks: Sequence[TrackChunk], header: Header) -> Piece:
    """The piece that track chunks make up together."""
    tempos = [tempo for chunk in chunks for tempo in chunk.tempos]
    if header.fixed_beats_per_minute is not None:
        tempos = [Tempo(at_ticks=0, beats_per_minute=header.fixed_beats_per_minute)]
    return Piece(
        ticks_per_beat=header.ticks_per_beat,
        tracks=tuple(track for chunk in chunks for track in _tracks(chunk)),
        tempos=tuple(tempos),
        meters=tuple(meter for chunk in chunks for meter in chunk.meters),
        keys=tuple(key for chunk in chunks for key in chunk.keys),
    ).normalised()


def _tracks(chunk: TrackChunk) -> list[Track]:
    """The instruments of a chunk, in the order in which they begin."""
    return [
        Track(
            program=program,
            is_drum=port_channel % NUM_CHANNELS == DRUM_CHANNEL,
            notes=tuple(notes),
            controls=tuple(chunk.controls.get((port_channel, program), ())),
            name=chunk.name,
        )
        for (port_channel, program), notes in chunk.notes.items()
    ]


def _changes_by_channel(chunks: Sequence[TrackChunk]) -> dict[int, list[Change]]:
    """Port_channel -> what all chunks state on it, as far as it is shared."""
    changes: defaultdict[int, list[Change]] = defaultdict(list)
    ports = {port_channel // NUM_CHANNELS for chunk in chunks for port_channel in chunk.first_notes}
    # Where all notes are on one port, changes on port 0 apply to it.
    only_port = next(iter(ports)) if len(ports) == 1 else 0
    for i, chunk in enumerate(chunks):
        for port_channel, events in chunk.changes.items():
            offset = only_port * NUM_CHANNELS if port_channel < NUM_CHANNELS else 0
            changes[port_channel + offset] += [Change(event.ticks, i, event) for event in events]
    players = Counter(port_channel for chunk in chunks for port_channel in chunk.first_notes)
    for port_channel, stated in changes.items():
        if port_channel // NUM_CHANNELS != SILENT_PORT or players[port_channel]:
            _limit(stated, players[port_channel], chunks)
    return changes


def _limit(changes: list[Change], players: int, chunks: Sequence[TrackChunk]) -> None:
    """Remove the changes beyond the limit, or all without players, and count lost controls."""
    kept = MAX_SHARED_EVENTS // players if players else 0
    for _, i, event in changes[kept:]:
        if event.status != PROGRAM_CHANGE and (not players or len(chunks) > 1):
            chunks[i].dropped["controller of no instrument"] += 1
    del changes[kept:]


def _all_hold_at_first_note(chunk: TrackChunk, shared: Sequence[tuple[int, Change]]) -> bool:
    """Whether all shared changes precede the first note of their channel and change nothing."""
    for port_channel, (ticks, _, event) in shared:
        first_note = chunk.first_notes[port_channel]
        if event.status == PROGRAM_CHANGE:
            holds = event.data[0] == first_note.program
        else:
            number, value = control_setting(event)
            default = NO_BEND if number == PITCH_BEND else None
            holds = first_note.control_values.get(number, default) == value
        if ticks > first_note.ticks or not holds:
            return False
    return True


def _in_order_of_time(
    chunk: TrackChunk, index: int, shared: Sequence[tuple[int, Change]]
) -> list[Event]:
    """Shared changes as `read_track_chunk` takes them, for the chunk of that index in the file.

    A shared change comes before all events of the chunk at its tick. But if the chunk changes the
    same target there, the order of the chunks decides.
    """
    own = {
        (port_channel, event.ticks, Change(event.ticks, index, event).target)
        for port_channel, events in chunk.changes.items()
        for event in events
    }
    placed = [
        (
            change.ticks,
            change.chunk > index and (port_channel, change.ticks, change.target) in own,
            change.chunk,
            port_channel,
            change.event,
        )
        for port_channel, change in shared
    ]
    placed.sort(key=lambda row: row[:3])
    # An event that is half a tick later comes after the chunk's own events of its tick.
    return [
        Event(2 * ticks + is_after, SHARED | event.status, port_channel, event.data)
        for ticks, is_after, _, port_channel, event in placed
    ]
