"""A corpus larger than one would hold in memory: speed of tokenising and counting, and memory.

    python benchmarks/scale.py --megabytes 1024

writes a small and a large text of the same kind, trains on each for a few steps in a process of its
own, and prints how fast each was tokenised and counted, and how much more memory the large one
took, with that of all the processes that helped. A process's own memory stands apart from the pages
of files that it maps: the system takes those back where memory is short, without writing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

MEGABYTE = 1_000_000
WORDS = "the sea and a light in rain über naïve — wind over harbour stones, 1851; " * 40
CHILD = """
import sys, time
import generative
from generative.data import ingest
began = time.monotonic()
def timed(name, inner):
    def call(*arguments, **options):
        began = time.monotonic()
        made = inner(*arguments, **options)
        print(f"{name} {time.monotonic() - began:.3f}", flush=True)
        return made
    return call
import generative.api.training
from generative.training import run
sys.modules["generative.api.training"].ingest = timed("tokenised", ingest.ingest)
run.count_corpus = timed("counted", run.count_corpus)
generative.train(sys.argv[1], sys.argv[2], steps=60, hidden=128)
"""


def write_text(path: Path, size: int) -> None:
    """Words in a random order, a few of them beyond ASCII, `size` bytes of UTF-8."""
    rng = np.random.default_rng(0)
    words = WORDS.split(" ")
    left = size
    with path.open("w", encoding="utf-8") as file:
        while left > 0:
            block = " ".join(words[i] for i in rng.integers(len(words), size=200_000)) + "\n"
            file.write(block)
            left -= len(block.encode("utf-8"))


def resident_bytes(process: int) -> tuple[int, int]:
    """Own memory and pages of files, of a process and all its children, at this moment."""
    resident, of_files, found = 0, 0, [process]
    while found:
        one = found.pop()
        try:
            status = Path(f"/proc/{one}/statm").read_text(encoding="ascii").split()
            children = Path(f"/proc/{one}/task/{one}/children").read_text(encoding="ascii")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
        resident += int(status[1]) * os.sysconf("SC_PAGE_SIZE")
        of_files += int(status[2]) * os.sysconf("SC_PAGE_SIZE")
        found += [int(child) for child in children.split()]
    return resident - of_files, of_files


def measure(corpus: Path, folder: Path) -> tuple[float, float, float, float, float]:
    """Seconds of tokenising, counting and the whole run; peak megabytes, own and of files."""
    began = time.monotonic()
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(corpus), str(folder)], stdout=subprocess.PIPE, text=True
    )
    own_peak, file_peak = 0, 0
    done = threading.Event()

    def watch() -> None:
        nonlocal own_peak, file_peak
        while not done.wait(0.02):
            own, of_files = resident_bytes(child.pid)
            own_peak, file_peak = max(own_peak, own), max(file_peak, of_files)

    watcher = threading.Thread(target=watch)
    watcher.start()
    output, _ = child.communicate()
    done.set()
    watcher.join()
    if child.returncode:
        raise SystemExit("the training failed")
    tokenised, counted = (float(line.split()[1]) for line in output.splitlines())
    seconds = time.monotonic() - began
    return tokenised, counted, seconds, own_peak / MEGABYTE, file_peak / MEGABYTE


def main() -> None:
    """Measure both and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--megabytes", type=int, default=1024)
    arguments = parser.parse_args()
    own_peaks = []
    for size in (1, arguments.megabytes):
        with tempfile.TemporaryDirectory() as name:
            corpus = Path(name) / "corpus.txt"
            write_text(corpus, size * MEGABYTE)
            seconds, counting, whole, own, of_files = measure(corpus, Path(name) / "model")
            own_peaks.append(own)
            print(
                f"{size:>6} MB: tokenised in {seconds:.1f} s, {size / seconds:.0f} MB/s; "
                f"counted in {counting:.1f} s, {size / counting:.0f} MB/s; "
                f"whole run {whole:.1f} s; peaks {own:.0f} MB of its own and {of_files:.0f} MB of "
                "files, helpers included",
                flush=True,
            )
    print(f"the larger text took {own_peaks[1] - own_peaks[0]:.0f} MB more memory of its own")


if __name__ == "__main__":
    main()
