"""Call and response over MIDI ports; how an answer is made is not known here.

Someone plays a phrase. After a pause, or a number of bars, the phrase becomes a `Piece`, `answer`
makes another piece from it, and that is played in time. Then the next phrase is awaited. Every note
is ended, also after an error or an interrupt.

Example:
    model = generative.load("chorales")
    with ports.open_input("keyboard") as keys, ports.open_output("synth") as synth:
        jam(keys, synth, model.answer, Settings(beats_per_minute=100), rounds=4)
"""

from __future__ import annotations

from generative.music.jam.clock import Clock
from generative.music.jam.recording import Recording
from generative.music.jam.session import Settings, Turn, jam

__all__ = ["Clock", "Recording", "Settings", "Turn", "jam"]
