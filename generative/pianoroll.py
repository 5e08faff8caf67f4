"""A piece of music to a picture: a piano roll with bars and pitch names; knows no models."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from generative.checkpoint import write_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from generative.piece import Piece

NAMES = ("C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B")
MAX_BAR_LABELS = 24
INCHES_PER_BAR = 0.9


def pitch_name(pitch: int) -> str:
    """Scientific pitch notation: 60 is C4."""
    return f"{NAMES[pitch % 12]}{pitch // 12 - 1}"


def draw(piece: Piece, path: Path) -> None:
    """Write a PNG: time in bars across, pitch upwards, tracks by colour, velocity by shade."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.collections import PolyCollection
    from matplotlib.figure import Figure

    lines = piece.bar_lines
    pitches = [note.pitch for track in piece.tracks for note in track.notes] or [60]
    low, high = min(pitches) - 2, max(pitches) + 2
    width = min(30.0, max(7.0, 1.5 + INCHES_PER_BAR * len(lines)))
    figure = Figure(figsize=(width, max(3.5, 0.11 * (high - low) + 1.2)), layout="constrained")
    axes = figure.subplots()
    colours = mpl.colormaps["tab10"]
    for i, track in enumerate(piece.tracks):
        boxes = [
            [
                (note.onset_ticks, note.pitch - 0.42),
                (note.end_ticks, note.pitch - 0.42),
                (note.end_ticks, note.pitch + 0.42),
                (note.onset_ticks, note.pitch + 0.42),
            ]
            for note in track.notes
        ]
        shades = [(*colours(i % 10)[:3], 0.35 + 0.65 * note.velocity / 127) for note in track.notes]
        kind = "drums" if track.is_drum else f"program {track.program}"
        label = track.name or f"track {i + 1} ({kind})"
        axes.add_collection(
            PolyCollection(
                boxes, facecolors=shades, edgecolors="white", linewidths=0.4, label=label
            )
        )
    for pitch in range(low, high + 1):
        if pitch % 12 in {1, 3, 6, 8, 10}:  # the black keys
            axes.axhspan(pitch - 0.5, pitch + 0.5, color="0.95", zorder=0)
    for line in lines:
        axes.axvline(line, color="0.75", linewidth=0.8, zorder=0.5)
    every = -(-len(lines) // MAX_BAR_LABELS)
    axes.set_xticks(
        lines[:-1:every] or lines, [str(i + 1) for i in range(0, max(1, len(lines) - 1), every)]
    )
    named = [pitch for pitch in range(low, high + 1) if pitch % 12 in {0, 4, 7}]
    axes.set_yticks(named, [pitch_name(pitch) for pitch in named])
    axes.set(
        xlim=(0, max(lines[-1], piece.duration_ticks, 1)),
        ylim=(low, high),
        xlabel="bar",
        ylabel="pitch",
    )
    if piece.tracks:
        figure.legend(loc="outside upper center", ncols=4, frameon=False)
    data = io.BytesIO()
    FigureCanvasAgg(figure).print_png(data)
    write_bytes(path, data.getvalue())
