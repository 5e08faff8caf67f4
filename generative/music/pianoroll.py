"""A piece of music to a picture: a piano roll that a musician can read; knows no models."""

from __future__ import annotations

import io
import warnings
from itertools import cycle
from typing import TYPE_CHECKING, Any

from generative.files import write_bytes
from generative.music.general_midi import drum_name, track_names
from generative.music.piece import beat_ticks
from generative.music.theory import BLACK_KEYS, pitch_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from generative.music.piece import Note, Piece

# Colours that stay apart for the colour-blind, on white (after Okabe & Ito, 2008)
COLOURS = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a4fb5", "#8c564b",
    "#6b6b6b", "#a8a000",
)  # fmt: skip
DOTS_PER_INCH = 110
WIDTH_INCHES = 15.0
MARGIN_INCHES = 1.5  # of it, for the names of pitches and drums
BARS_PER_SYSTEM = 16  # a system is one line of the picture, as of a score
MAX_SYSTEMS = 8  # a longer piece has more bars to a system
INCHES_PER_PITCH = 0.12
PANEL_INCHES = (1.5, 4.5)  # at least and at most
INCHES_PER_DRUM = 0.17
INCHES_PER_NAME = 0.1  # rows lower than this name the Cs only
MARGIN_PITCHES = 2  # above and below what is played
INCHES_PER_BAR_NUMBER = 0.42
INCHES_FOR_BEATS = 0.5  # bars narrower than this show no beats
LEGEND_INCHES_PER_NAME = 2.4


def draw(piece: Piece, path: Path) -> None:
    """Write a PNG: line below line as in a score, bars across, pitch upwards, drums below.

    Tracks are told apart by colour, and loud notes from soft ones by shade.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    tracks = tuple(zip(piece.tracks, cycle(COLOURS), strict=False))
    pitches = sorted({n.pitch for t in piece.tracks if not t.is_drum for n in t.notes})
    keys = sorted({n.pitch for t in piece.tracks if t.is_drum for n in t.notes})
    if pitches or not keys:
        low, high = (pitches[0], pitches[-1]) if pitches else (60, 60)
        pitches = list(range(low - MARGIN_PITCHES, high + MARGIN_PITCHES + 1))
    heights = []
    if pitches:
        heights.append(min(max(INCHES_PER_PITCH * len(pitches), PANEL_INCHES[0]), PANEL_INCHES[1]))
    if keys:
        heights.append(max(INCHES_PER_DRUM * len(keys), 0.4))

    systems = _systems(piece)
    names = track_names(piece.tracks)
    columns = max(int((WIDTH_INCHES - 1) / LEGEND_INCHES_PER_NAME), 1)
    height = len(systems) * (sum(heights) + 0.7) + 0.3 + 0.2 * -(-len(names) // columns)
    figure = Figure(figsize=(WIDTH_INCHES, height), dpi=DOTS_PER_INCH, layout="constrained")
    for part, (first, lines) in zip(
        figure.subfigures(len(systems), squeeze=False).ravel(), systems, strict=True
    ):
        panels = part.subplots(
            len(heights), 1, sharex=True, squeeze=False, height_ratios=heights
        ).ravel()
        if pitches:
            _pitch_rows(panels[0], pitches, heights[0])
        if keys:
            _drum_rows(panels[-1], keys)
        for track, colour in tracks:
            notes = [n for n in track.notes if n.onset_ticks < lines[-1] and lines[0] < n.end_ticks]
            if track.is_drum:
                _add_strokes(panels[-1], notes, colour, keys, piece.ticks_per_beat)
            else:
                _add_notes(panels[0], notes, colour)
        _bars(panels, piece, first, lines)
    _legend(figure, names, columns)
    data = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing")  # then a box is drawn
        FigureCanvasAgg(figure).print_png(data)
    write_bytes(path, data.getvalue())


def _systems(piece: Piece) -> list[tuple[int, tuple[int, ...]]]:
    """The bars of each line of the picture: the number of its first, from 0, and its bar lines."""
    lines = piece.bar_lines
    if len(lines) == 1:  # silence
        return [(0, (0, 4 * piece.ticks_per_beat))]
    count = min(-(-piece.bars // BARS_PER_SYSTEM), MAX_SYSTEMS)
    each = -(-piece.bars // count)
    systems = [(i, lines[i : i + each + 1]) for i in range(0, piece.bars, each)]
    first, last = systems[-1]
    end = max(last[-1], piece.duration_ticks)  # the last notes may outlast their bar
    return [*systems[:-1], (first, (*last[:-1], end))]


def _add_notes(axes: Any, notes: Iterable[Note], colour: str) -> None:
    from matplotlib.collections import PolyCollection

    boxes, shades = [], []
    for note in sorted(notes, key=lambda note: note.velocity):  # the loud ones on top
        low, high = note.pitch - 0.43, note.pitch + 0.43
        begin, end = note.onset_ticks, note.end_ticks
        boxes.append([(begin, low), (end, low), (end, high), (begin, high)])
        shades.append(_shade(colour, note.velocity))
    axes.add_collection(
        PolyCollection(boxes, facecolors=shades, edgecolors=colour, linewidths=0.5), autolim=False
    )


def _add_strokes(
    axes: Any, notes: Iterable[Note], colour: str, keys: Sequence[int], ticks_per_beat: int
) -> None:
    """Drums have no length to speak of: a stroke is a wedge that points to its onset."""
    from matplotlib.collections import PolyCollection

    length = ticks_per_beat / 5
    wedges, shades = [], []
    for note in notes:
        row, begin = keys.index(note.pitch), note.onset_ticks
        wedges.append([(begin, row - 0.4), (begin + length, row), (begin, row + 0.4)])
        shades.append(_shade(colour, note.velocity))
    axes.add_collection(
        PolyCollection(wedges, facecolors=shades, edgecolors=colour, linewidths=0.4), autolim=False
    )


def _shade(colour: str, velocity: int) -> tuple[float, float, float]:
    """A colour for loud notes, mixed with white for soft ones."""
    from matplotlib.colors import to_rgb

    strength = 0.15 + 0.85 * velocity / 127
    red, green, blue = (1 - strength * (1 - channel) for channel in to_rgb(colour))
    return red, green, blue


def _pitch_rows(axes: Any, pitches: Sequence[int], height_inches: float) -> None:
    """Name every C and, where there is room, E and G; grey rows are the black keys."""
    for pitch in pitches:
        if pitch % 12 in BLACK_KEYS:
            axes.axhspan(pitch - 0.5, pitch + 0.5, color="0.955", zorder=0)
        if pitch % 12 == 0:
            axes.axhline(pitch - 0.5, color="0.7", linewidth=0.6, zorder=0.4)
    wanted = {0, 4, 7} if height_inches / len(pitches) >= INCHES_PER_NAME else {0}
    named = [pitch for pitch in pitches if pitch % 12 in wanted]
    axes.set_yticks(named, [pitch_name(pitch) for pitch in named], fontsize=8)
    for pitch, label in zip(named, axes.get_yticklabels(), strict=True):
        if pitch % 12 == 0:
            label.set_fontweight("bold")
    axes.set_ylim(pitches[0] - 0.5, pitches[-1] + 0.5)


def _drum_rows(axes: Any, keys: Sequence[int]) -> None:
    for row in range(0, len(keys), 2):
        axes.axhspan(row - 0.5, row + 0.5, color="0.965", zorder=0)
    axes.set_yticks(range(len(keys)), [drum_name(key) for key in keys], fontsize=8)
    axes.set_ylim(-0.5, len(keys) - 0.5)


def _bars(panels: Sequence[Any], piece: Piece, first: int, lines: Sequence[int]) -> None:
    """Bar lines with their numbers, beats between them, and meters and tempos where they begin.

    `first` is the number of the first bar, from 0, and `lines` where these bars begin and end.
    """
    begin, end = lines[0], lines[-1]
    inches_per_bar = (WIDTH_INCHES - MARGIN_INCHES) / (len(lines) - 1)
    for axes in panels:
        across = {"ymin": 0, "ymax": 1, "transform": axes.get_xaxis_transform()}
        axes.vlines(lines, color="0.6", linewidth=0.8, zorder=0.6, **across)
        if inches_per_bar >= INCHES_FOR_BEATS:
            axes.vlines(beat_ticks(piece, lines), color="0.87", linewidth=0.5, zorder=0.5, **across)
        axes.tick_params(length=0)
        axes.spines[["top", "right", "bottom"]].set_visible(False)
        axes.set_xlim(begin, end)
    every = _round_step(INCHES_PER_BAR_NUMBER / inches_per_bar)
    shown = [i for i in range(len(lines) - 1) if i % every == 0]
    numbers = [str(first + i + 1) for i in shown]
    panels[-1].set_xticks([lines[i] for i in shown], numbers, fontsize=8, ha="left")
    marks = [(m.at_ticks, f"{m.numerator}/{m.denominator}") for m in piece.meters]
    marks += [(t.at_ticks, f"♩ = {t.beats_per_minute:.0f}") for t in piece.tempos]
    here = [(tick, text) for tick, text in marks if begin <= tick < end]
    _marks(panels[0], here, (end - begin) / (WIDTH_INCHES - MARGIN_INCHES))


def _marks(axes: Any, marks: Iterable[tuple[int, str]], ticks_per_inch: float) -> None:
    """Meters and tempos above the first panel; one that has no room is left out."""
    together: dict[int, str] = {}
    for tick, text in sorted(marks, key=lambda mark: mark[0]):
        together[tick] = f"{together[tick]}  {text}" if tick in together else text
    free_from = -1.0
    for tick, text in together.items():
        if tick < free_from:
            continue
        axes.annotate(
            text, (tick, 1), xycoords=("data", "axes fraction"), xytext=(0, 3),
            textcoords="offset points", fontsize=8, color="0.35",
        )  # fmt: skip
        free_from = tick + (0.075 * len(text) + 0.15) * ticks_per_inch


def _round_step(least: float) -> int:
    """1, 2, 4, 8 or a larger round number of bars, at least so many."""
    return next(step for step in (1, 2, 4, 8, 10, 20, 50, 100, 200, 500, 10**9) if step >= least)


def _legend(figure: Any, names: Sequence[str], columns: int) -> None:
    from matplotlib.patches import Patch

    if names:
        patches = [
            Patch(facecolor=colour, label=name)
            for colour, name in zip(cycle(COLOURS), names, strict=False)
        ]
        legend = figure.legend(
            handles=patches, loc="outside upper left", ncols=columns, frameon=False, fontsize=8,
            handlelength=1.2, columnspacing=1.4,
        )  # fmt: skip
        for text in legend.get_texts():
            text.set_parse_math(False)  # a dollar sign in a name is one
