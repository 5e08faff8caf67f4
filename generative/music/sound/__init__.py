"""A piece rendered as sound and written as WAV.

`render` is an additive synthesizer that needs nothing installed; `fluidsynth.render` plays the same
piece with a soundfont. `write_wav` uses one or the other.
"""

from __future__ import annotations

from generative.music.sound.synth import render
from generative.music.sound.wav import PEAK, SAMPLE_RATE
from generative.music.sound.write import check, write_wav

__all__ = ["PEAK", "SAMPLE_RATE", "check", "render", "write_wav"]
