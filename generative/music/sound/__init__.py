"""A piece of music to sound, with nothing installed: knows notes and seconds, no models.

`render` is the additive synthesizer that comes with the package; `fluidsynth.render` plays the same
piece through the user's soundfont. `write_wav` is the door to both.
"""

from __future__ import annotations

from generative.music.sound.synth import render
from generative.music.sound.wav import PEAK, SAMPLE_RATE
from generative.music.sound.write import check, write_wav

__all__ = ["PEAK", "SAMPLE_RATE", "check", "render", "write_wav"]
