"""Files a second from MIDI to ids, ours beside MidiTok's REMI: knows both, and that files are real.

    pip install miditok
    python benchmarks/ingest.py ../shared/data/midi/nottingham ../shared/data/midi/multitrack/pop909

Both read each file from disk and end with a list of ids, on one core, in turns, so that what else
the machine does disturbs both alike. REMI has its defaults, which leave out tempo, meter and
instruments, and a second line has them, as ours always does.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generative.music import midi
from generative.music.quantise import PERFORMANCE, SCORE
from generative.tokenizers.music.tokenizer import MusicTokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROUNDS = 3


def contestants() -> dict[str, Callable[[Path], Any]]:
    """Name -> a file to its ids.

    Raises:
        SystemExit: MidiTok is not installed.
    """
    try:
        import miditok
    except ImportError:
        sys.exit("this benchmark compares with MidiTok: pip install miditok")
    full = miditok.TokenizerConfig(use_programs=True, use_tempos=True, use_time_signatures=True)
    remi, remi_full = miditok.REMI(), miditok.REMI(full)
    score, performance = MusicTokenizer(SCORE), MusicTokenizer(PERFORMANCE)
    return {
        "ours, score grid": lambda file: score.encode(midi.read(file)),
        "ours, performance grid": lambda file: performance.encode(midi.read(file)),
        "REMI, defaults": remi,
        "REMI, tempo, meter and programs": remi_full,
    }


def files_per_second(files: Sequence[Path]) -> dict[str, float]:
    """The fastest of some rounds for each, in seconds of one core's time."""
    fastest: dict[str, float] = {}
    methods = contestants()
    for _ in range(ROUNDS):
        for name, encode in methods.items():
            began = time.process_time()
            for file in files:
                encode(file)
            seconds = time.process_time() - began
            fastest[name] = min(seconds, fastest.get(name, seconds))
    return {name: len(files) / seconds for name, seconds in fastest.items()}


def main() -> None:
    """Print a line a folder and method."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--files", type=int, default=200, help="of each folder, evenly spaced")
    arguments = parser.parse_args()
    for folder in arguments.folders:
        found = sorted(folder.rglob("*.mid"))
        files = found[:: -(-len(found) // arguments.files)]
        rates = files_per_second(files)
        print(f"{folder.name}: {len(files)} files")
        for name, rate in rates.items():
            ratio = rate / rates["REMI, defaults"]
            print(f"  {name:<32} {rate:8,.0f} files/s   {ratio:.2f} of REMI's")


if __name__ == "__main__":
    main()
