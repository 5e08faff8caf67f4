"""Call and response over MIDI ports: knows ports, time and pieces, not how music is made.

Someone plays a phrase; when they pause, or their bars are over, it becomes a `Piece`; `answer`
turns it into another, which is played in time; then it listens again. Whatever happens, no note is
left hanging.

Example:
    model = generative.load("chorales")
    with ports.open_input("keyboard") as keys, ports.open_output("synth") as synth:
        jam(keys, synth, model.answer, Settings(beats_per_minute=100), rounds=4)
"""

from __future__ import annotations

from generative.music.jam.recording import Recording
from generative.music.jam.session import Clock, Settings, Turn, jam

__all__ = ["Clock", "Recording", "Settings", "Turn", "jam"]
