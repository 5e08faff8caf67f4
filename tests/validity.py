"""What any sample must be: within the grammar, playable, and the same when it is read back.

    python -m tests.validity --count 1000

draws so many pieces from each model of music that ships, at temperatures from 0.5 to 2, and stops
at the first that is not valid; the tests do it with a few.
"""

from __future__ import annotations

import argparse
import io
import time
from typing import TYPE_CHECKING

import mido
import numpy as np

import generative
from generative import checkpoint
from generative.api.music_model import MusicModel
from generative.music import midi
from generative.tokenizers.music.constraint import MusicGrammar

if TYPE_CHECKING:
    from generative.api.tune import TuneSequence

BARS = 4
BATCH = 50
LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.5, 2.0


def check(model: MusicModel, sequence: TuneSequence, bars: int) -> None:
    """Raise where a sample of so many bars is not what it must be."""
    grammar = MusicGrammar(model.tokenizer, bars=bars)
    state = grammar.start()
    for token in sequence.tokens:
        assert grammar.allowed(state)[token], f"{model.tokenizer.describe(token)} may not come"
        state = grammar.advance(state, token)
    piece = sequence.piece
    assert piece.bars == bars
    assert piece.note_count > 0
    assert piece.duration_ticks <= piece.bar_lines[-1]
    notes = [note for track in piece.tracks for note in track.notes]
    assert all(note.duration_ticks >= 1 and 0 <= note.pitch <= 127 for note in notes)

    data = midi.to_bytes(piece)
    again, report = midi.read_with_report(data)
    assert again == piece, "another piece was read back"
    assert not report.repairs, f"had to be mended: {report.repairs}"
    assert model.tokenizer.normal_form(piece) == piece, "its tokens say another piece"
    for track in mido.MidiFile(file=io.BytesIO(data)).tracks:
        begun = sum(message.type == "note_on" for message in track)
        assert begun == sum(message.type == "note_off" for message in track)


def check_model(name: str, count: int, seed: int = 0, bars: int = BARS) -> int:
    """Draw and check so many samples, at temperatures evenly from 0.5 to 2. Returns their notes."""
    model = generative.load(name)
    assert isinstance(model, MusicModel)
    batches = -(-count // BATCH)
    notes = 0
    for i, temperature in enumerate(
        np.linspace(LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE, max(batches, 2))[:batches].tolist()
    ):
        size = min(BATCH, count - i * BATCH)
        made = model.generate(
            bars=bars, temperature=temperature, num_return_sequences=size, seed=seed + i
        )
        assert len(made.sequences) == size
        for number, sequence in enumerate(made.sequences):
            try:
                check(model, sequence, bars)
            except AssertionError as error:
                which = f"temperature {temperature:.2f}, seed {seed + i}, sample {number}"
                raise AssertionError(f"{name}, {which}: {error}") from error
            notes += sequence.piece.note_count
    return notes


def main() -> None:
    """Do it often and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", help="Names or folders. [those that ship]")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    shipped = [n for n in checkpoint.shipped_models() if generative.load(n).kind == "music"]
    for name in arguments.models or shipped:
        began = time.perf_counter()
        notes = check_model(name, arguments.count, arguments.seed)
        seconds = time.perf_counter() - began
        print(f"{name}: {arguments.count} samples, {notes:,} notes, all valid ({seconds:.0f} s)")


if __name__ == "__main__":
    main()
