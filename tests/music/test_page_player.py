"""The page's player in Node, with a context that writes down what it is told: no browser needed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import Any

import pytest

from generative.music import page
from generative.music.controls import EXPRESSION, PAN, VOLUME
from generative.music.piece import PITCH_BEND, Control, Piece, Tempo, Track
from tests.pieces import note

NODE = shutil.which("node")
# Everything exists, does nothing and answers itself; parameters keep what is scheduled on them.
STAGE = """
const anything = () => new Proxy(function () {}, {
  get: (_, name) => name === Symbol.toPrimitive ? () => 100 : name === "value" ? 100 : anything(),
  set: () => true, apply: () => anything(),
});
const log = [];
let made = 0;
class Parameter {
  constructor(node, name) { this.node = node; this.name = name; }
  set value(value) { log.push([this.node, this.name, "is", value]); }
  get value() { return 0; }
  setValueAtTime(value, at) { log.push([this.node, this.name, "set", value, at]); }
  linearRampToValueAtTime(value, at) { log.push([this.node, this.name, "ramp", value, at]); }
  setTargetAtTime() {}
}
class Node {
  constructor(kind) {
    this.id = `${kind}${made++}`;
    const names = "gain pan offset detune frequency threshold ratio attack";
    for (const name of names.split(" ")) this[name] = new Parameter(this.id, name);
  }
  connect(to) { log.push([this.id, "to", to.id ?? `${to.node}.${to.name}`]); return to; }
  disconnect() {}
  start(at) {}
  stop(at) {}
  setPeriodicWave() {}
}
class AudioContext {
  currentTime = 10; sampleRate = 44100; destination = new Node("destination");
  resume() {}
  createBuffer() { return { getChannelData: () => new Float32Array(1) }; }
  createPeriodicWave() { return {}; }
}
for (const kind of ["Gain", "DynamicsCompressor", "Convolver", "StereoPanner", "BiquadFilter",
                    "Oscillator", "BufferSource", "ConstantSource"])
  AudioContext.prototype[`create${kind}`] = () => new Node(kind);
const elements = { score: { textContent: SCORE } };
globalThis.document = new Proxy({}, { get: (_, name) =>
  name === "getElementById" ? (id) => elements[id] ?? anything() : anything() });
globalThis.window = anything();
globalThis.matchMedia = anything();
globalThis.getComputedStyle = anything();
globalThis.requestAnimationFrame = () => 0;
globalThis.setInterval = () => 0;
globalThis.AudioContext = AudioContext;
"""


def played(piece: Piece, anchor: float = 0.0) -> list[list[Any]]:
    """What the player tells the sound, from a second of the music on."""
    assert NODE is not None
    data, script = re.findall(r"<script[^>]*>(.*?)</script>", page.page(piece, "t"), re.DOTALL)
    program = f"{STAGE.replace('SCORE', json.dumps(data))}\n{script}\n"
    program += f"player.anchor = {anchor}; player.play(); console.log(JSON.stringify(log));"
    done = subprocess.run(
        [NODE, "-"], input=program, capture_output=True, text=True, check=False, timeout=60
    )
    assert not done.returncode, done.stderr
    return list(json.loads(done.stdout))


def turned(*controls: tuple[int, int, int]) -> Piece:
    """Two beats of a flute, a beat a second, with controls: tick, number, value."""
    made = tuple(Control(at_ticks=at, number=n, value=value) for at, n, value in controls)
    track = Track(program=73, notes=(note(0, 48),), controls=made)
    tempo = Tempo(at_ticks=0, beats_per_minute=60.0)
    return Piece(ticks_per_beat=24, tracks=(track,), tempos=(tempo,)).normalised()


@pytest.mark.skipif(NODE is None, reason="no Node")
def test_the_player_follows_volume_pan_and_bend() -> None:
    piece = turned((0, VOLUME, 50), (24, EXPRESSION, 0), (24, PAN, 127), (12, PITCH_BEND, 0))
    log = played(piece)
    begin = 10.06  # the music begins so soon after the context's time
    assert [event[1:] for event in log if event[1] == "pan"][:4] == [
        ["pan", "is", 0], ["pan", "set", 0, 10],
        ["pan", "set", 0, begin + 0.99], ["pan", "ramp", 1, begin + 1],
    ]  # fmt: skip
    faders = [e for e in log if e[1:3] == ["gain", "is"] and e[3] == 0.25]
    fader = faders[-1][0]  # the first is of the echo
    assert [e[2:] for e in log if e[0] == fader and e[1] == "gain"][-1] == ["ramp", 0, begin + 1]
    wheel = next(e[0] for e in log if e[1] == "offset")
    ramp = [e[3:] for e in log if e[0] == wheel and e[2] == "ramp"]
    assert ramp == [[-200, pytest.approx(begin + 0.5)]]
    assert any(e[0] == wheel and str(e[2]).endswith(".detune") for e in log if e[1] == "to")


@pytest.mark.skipif(NODE is None, reason="no Node")
def test_in_the_middle_controls_stand_as_they_were_turned() -> None:
    log = played(turned((0, VOLUME, 50), (24, PAN, 127), (24, VOLUME, 0)), anchor=1.5)
    assert ["pan", "is", 1] in [event[1:] for event in log]
    assert ["gain", "ramp", 0, pytest.approx(10.56)] not in [event[1:] for event in log]
    assert not [event for event in log if event[1] == "offset"]
