"""Voices around a melody: knows how a model is made to hear a melody, and what that makes of it.

A model that never met a melody's meter, tempo or instrument has learnt nothing about their tokens.
It therefore hears the melody as it would have put it (in its own meter, tempo, instrument and
loudness), and what it adds is given back in the melody's; notes and their times are never changed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from generative.music.piece import Meter, Note, Piece, Tempo, Track
from generative.tokenizers.music.vocabulary import DRUM_PROGRAMS, OFFSETS, VALUES, meaning

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from generative.sampling import Stepper
    from generative.tokenizers.music.tokenizer import MusicTokenizer

# A token that gets less than this of the probability of its kind is unknown to the model.
KNOWN_SHARE = 0.001
_SAID_ONCE = ("beats", "unit", "tempo", "program", "velocity")  # in a melody's opening


@dataclass(frozen=True)
class Heard:
    """A melody as a model hears it.

    Attributes:
        original: one track, in token form.
        melody: the same notes in a meter, a tempo, an instrument and velocities that it knows.
        voices: of each instrument asked for the one that it knows instead, in the same order.
        asked: the instruments asked for; empty where the model chooses.
    """

    original: Piece
    melody: Piece
    voices: tuple[int, ...] = ()
    asked: tuple[int, ...] = ()

    @property
    def instruments(self) -> tuple[int, ...] | None:
        """All that may play, the melody's own included; None where the model chooses."""
        if not self.asked:
            return None
        return tuple(sorted((_program(self.melody.tracks[0]), *self.voices)))

    def given_back(self, piece: Piece) -> Piece:
        """The original melody, and the voices that a model put around what it heard.

        piece: the melody as heard in its first track, and the voices in the others.
        """
        end_ticks = max(self.original.bar_lines[-1], self.original.duration_ticks)
        before, now = self.melody.tracks[0], self.original.tracks[0]
        louder = round(_mean_velocity(now) - _mean_velocity(before))
        renamed = list(zip(self.voices, self.asked, strict=True))
        voices = []
        for track in piece.clipped(end_ticks).tracks[1:]:
            program = _program(track)
            found = next((pair for pair in renamed if pair[0] == program), None)
            if found is not None:
                renamed.remove(found)
                program = found[1]
            elif program == _program(before):
                program = _program(now)  # they played the same instrument, and still do
            is_drum, number = divmod(program, DRUM_PROGRAMS)
            notes = tuple(_louder(note, louder) for note in track.notes)
            voices.append(Track(program=number, is_drum=bool(is_drum), notes=notes))
        return replace(self.original, tracks=(now, *voices)).normalised()


def hear(
    stepper: Stepper[Any],
    tokenizer: MusicTokenizer,
    melody: Piece,
    instruments: Sequence[int] = (),
) -> Heard:
    """A melody as the model of that stepper hears it.

    melody: one track with notes. instruments: programs of the other voices, 128 and up for drums.
    """
    original = tokenizer.normal_form(melody)
    bare = replace(original, keys=())  # a key signature is for the reader's eyes
    ids = [tokenizer.start_id, *tokenizer.encode(bare)]
    logits, state = stepper.prefill(np.array(ids[:1]), stepper.initial_state(1))
    heard: dict[str, int] = {}
    voices: tuple[int, ...] = ()
    for token in ids[1:]:
        kind, value = meaning(token)
        if kind in _SAID_ONCE:
            shares = _shares(logits[0], kind)
            value = _known(shares, kind, value)
            heard[kind] = value
            if kind == "program":
                voices = tuple(_known(shares, kind, asked) for asked in instruments)
        if kind == "velocity":
            break
        token = OFFSETS[kind] + VALUES[kind].index(value)  # noqa: PLW2901
        logits, state = stepper.step(np.array([token]), state)
    return Heard(original, _as(bare, heard), voices, tuple(instruments))


def _shares(logits: NDArray[np.float32], kind: str) -> NDArray[np.float64]:
    """How the probability of a kind falls on its values. (V,) -> (values,)"""
    own = logits[OFFSETS[kind] : OFFSETS[kind] + len(VALUES[kind])].astype(np.float64)
    weights = np.exp(own - own.max())
    return np.asarray(weights / weights.sum())


def _known(shares: NDArray[np.float64], kind: str, value: int) -> int:
    """The value, or the likeliest of its kind where the model does not know it."""
    is_drum = kind == "program" and value >= DRUM_PROGRAMS  # nothing stands in for drums
    if is_drum or shares[VALUES[kind].index(value)] >= KNOWN_SHARE:
        return value
    pitched = shares[:DRUM_PROGRAMS] if kind == "program" else shares
    return VALUES[kind][int(pitched.argmax())]


def _as(original: Piece, heard: dict[str, int]) -> Piece:
    """The same notes, with everything replaced that was heard as something else."""
    track, meter, tempo = original.tracks[0], original.meters[0], original.tempos[0]
    changed = replace(original)
    if (heard["beats"], heard["unit"]) != (meter.numerator, meter.denominator):
        only = Meter(at_ticks=0, numerator=heard["beats"], denominator=heard["unit"])
        changed = replace(changed, meters=(only,))
    if heard["tempo"] != tempo.beats_per_minute:
        rate = float(heard["tempo"])
        changed = replace(changed, tempos=(Tempo(at_ticks=0, beats_per_minute=rate),))
    notes = track.notes
    if heard["velocity"] != notes[0].velocity:
        notes = tuple(replace(note, velocity=heard["velocity"]) for note in notes)
    if not track.is_drum:
        track = replace(track, program=heard["program"])
    return replace(changed, tracks=(replace(track, notes=notes),))


def _program(track: Track) -> int:
    return track.program + DRUM_PROGRAMS * track.is_drum


def _mean_velocity(track: Track) -> float:
    return fmean(note.velocity for note in track.notes)


def _louder(note: Note, by: int) -> Note:
    return replace(note, velocity=min(max(note.velocity + by, 1), 127))
