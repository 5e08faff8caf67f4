"""A melody in terms that a model has learnt, and the model's voices around the original melody.

A model has learnt nothing about the token of a meter, a tempo, an instrument or a velocity that its
corpus never contained. Such values are therefore replaced by those that the model finds likeliest
before it reads the melody, and the replacement is undone in what it generates. The notes and their
times are never changed. This module must not know how voices are sampled.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from generative.music.piece import Meter, Note, Piece, Tempo, Track
from generative.tokenizers.music.vocabulary import (
    DRUM_PROGRAMS,
    OFFSETS,
    VALUES,
    meaning,
    program_number,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from generative.sampling import Stepper
    from generative.tokenizers.music.tokenizer import MusicTokenizer

# A value is unknown to a model that gives it less than this probability among the values of its
# token type.
MIN_KNOWN_PROBABILITY = 0.001
# The token types whose values may be replaced. Each occurs once in the opening of a melody, and
# "velocity" is the last of them.
_REPLACEABLE = ("beats", "unit", "tempo", "program", "velocity")


@dataclass(frozen=True)
class MelodySubstitution:
    """A melody, and the same notes with values that the model knows.

    Attributes:
        original: the melody in token form, one track.
        melody: its notes in a meter, a tempo, an instrument and velocities that the model knows.
        voices: for each instrument that was asked for the one that the model knows, in that order.
        asked: the instruments that were asked for; empty where the model chooses.
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
        return tuple(sorted((program_number(self.melody.tracks[0]), *self.voices)))

    def undone(self, piece: Piece) -> Piece:
        """The original melody, and the voices of a piece with the values that were asked for.

        piece: `melody` in its first track, and the model's voices in the others.
        """
        end_ticks = max(self.original.bar_lines[-1], self.original.duration_ticks)
        replacement, original = self.melody.tracks[0], self.original.tracks[0]
        velocity_change = round(_mean_velocity(original) - _mean_velocity(replacement))
        renamed = list(zip(self.voices, self.asked, strict=True))
        voices = []
        for track in piece.clipped(end_ticks).tracks[1:]:
            program = program_number(track)
            found = next((pair for pair in renamed if pair[0] == program), None)
            if found is not None:
                renamed.remove(found)
                program = found[1]
            elif program == program_number(replacement):
                program = program_number(original)  # the voice doubles the melody's instrument
            is_drum, number = divmod(program, DRUM_PROGRAMS)
            notes = tuple(_louder(note, velocity_change) for note in track.notes)
            voices.append(Track(program=number, is_drum=bool(is_drum), notes=notes))
        return replace(self.original, tracks=(original, *voices)).normalised()


def substitute_unknown(
    stepper: Stepper[Any],
    tokenizer: MusicTokenizer,
    melody: Piece,
    instruments: Sequence[int] = (),
) -> MelodySubstitution:
    """Replace what the model of a stepper does not know in a melody and in the instruments.

    Args:
        stepper: steps the model.
        tokenizer: the model's tokenizer.
        melody: one track with notes.
        instruments: programs of the other voices, 128 and up for drums.
    """
    original = tokenizer.normal_form(melody)
    without_keys = replace(original, keys=())  # The model need not know the key signature.
    ids = [tokenizer.start_id, *tokenizer.encode(without_keys)]
    logits, state = stepper.prefill(np.array(ids[:1]), stepper.initial_state(1))
    known: dict[str, int] = {}
    voices: tuple[int, ...] = ()
    for token in ids[1:]:
        type_name, value = meaning(token)
        if type_name in _REPLACEABLE:
            probabilities = _value_probabilities(logits[0], type_name)
            value = _known_value(probabilities, type_name, value)
            known[type_name] = value
            if type_name == "program":
                voices = tuple(
                    _known_value(probabilities, type_name, asked) for asked in instruments
                )
        if type_name == "velocity":
            break
        read = OFFSETS[type_name] + VALUES[type_name].index(value)
        logits, state = stepper.step(np.array([read]), state)
    return MelodySubstitution(
        original, _with_values(without_keys, known), voices, tuple(instruments)
    )


def _value_probabilities(logits: NDArray[np.float32], type_name: str) -> NDArray[np.float64]:
    """The probabilities of a token type's values, given that type. (V,) -> (values,)"""
    first = OFFSETS[type_name]
    own = logits[first : first + len(VALUES[type_name])].astype(np.float64)
    weights = np.exp(own - own.max())
    return np.asarray(weights / weights.sum())


def _known_value(probabilities: NDArray[np.float64], type_name: str, value: int) -> int:
    """The value, or the likeliest one of its type where the model does not know it.

    Drum kits are kept, since no pitched instrument can replace them, and replace no instrument.
    """
    is_drum = type_name == "program" and value >= DRUM_PROGRAMS
    if is_drum or probabilities[VALUES[type_name].index(value)] >= MIN_KNOWN_PROBABILITY:
        return value
    candidates = probabilities[:DRUM_PROGRAMS] if type_name == "program" else probabilities
    return VALUES[type_name][int(candidates.argmax())]


def _with_values(melody: Piece, known: dict[str, int]) -> Piece:
    """The same notes with the values of `known`, token type -> value, where they differ."""
    track, meter, tempo = melody.tracks[0], melody.meters[0], melody.tempos[0]
    changed = replace(melody)
    if (known["beats"], known["unit"]) != (meter.numerator, meter.denominator):
        only = Meter(at_ticks=0, numerator=known["beats"], denominator=known["unit"])
        changed = replace(changed, meters=(only,))
    if known["tempo"] != tempo.beats_per_minute:
        rate = float(known["tempo"])
        changed = replace(changed, tempos=(Tempo(at_ticks=0, beats_per_minute=rate),))
    notes = track.notes
    if known["velocity"] != notes[0].velocity:
        notes = tuple(replace(note, velocity=known["velocity"]) for note in notes)
    if not track.is_drum:
        track = replace(track, program=known["program"])
    return replace(changed, tracks=(replace(track, notes=notes),))


def _mean_velocity(track: Track) -> float:
    return fmean(note.velocity for note in track.notes)


def _louder(note: Note, change: int) -> Note:
    """The note with its velocity changed, within the range of MIDI."""
    return replace(note, velocity=min(max(note.velocity + change, 1), 127))
