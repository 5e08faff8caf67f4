"""What a MIDI file holds, what reading mended, what each grid would lose; knows no models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from generative.data import corpus, sources
from generative.errors import CorpusError
from generative.files.layout import CONFIG_FILE
from generative.files.stdin import STDIN
from generative.music import midi
from generative.music.controls import control_name
from generative.music.general_midi import instrument_name
from generative.music.quantise import PERFORMANCE, SCORE, STEPS_PER_SECOND, grid_of
from generative.tokenizers.music.tokenizer import MusicTokenizer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from generative.music.piece import Piece, Track
    from generative.tokenizers.music.form import EncodeReport

# grid -> (what errors are told in, steps in one of them); a beat's 24 steps stay steps
UNITS = {SCORE: ("steps of 1/24 beat", 1.0), PERFORMANCE: ("ms", STEPS_PER_SECOND / 1000)}


def names_music(names: Sequence[str]) -> bool:
    """Whether arguments name music, not models: MIDI files, globs, folders without model, stdin."""
    return any(
        name == STDIN
        or Path(name).suffix.lower() in sources.MUSIC_SUFFIXES
        or (Path(name).is_dir() and not (Path(name) / CONFIG_FILE).exists())
        for name in names
    )


def inspect_files(names: Sequence[str]) -> list[dict[str, Any]]:
    """One report a MIDI file, in plain values; a file that cannot be read has its "error" only.

    Raises:
        CorpusError: a name that matches nothing.
    """
    files = sources.of_kind(sources.find_files(names), "music")
    return [_inspect(file) for file in files]


def _inspect(file: Path) -> dict[str, Any]:
    try:
        with corpus.opened(file, "MIDI") as opened:
            piece, report = midi.read_with_report(opened)
    except (midi.MidiError, CorpusError) as error:
        return {"file": str(file), "error": str(error)}
    return {
        "file": str(file),
        "notes": piece.note_count,
        "seconds": round(piece.seconds, 3),
        "bars": piece.bars,
        "ticks_per_beat": piece.ticks_per_beat,
        "tempos": len(piece.tempos),
        "meters": [f"{m.numerator}/{m.denominator}" for m in piece.meters],
        "keys": [{"sharps": key.sharps, "minor": key.is_minor} for key in piece.keys],
        "tracks": [_track(track) for track in piece.tracks],
        "mended": dict(sorted(report.repairs.items())),
        "dropped": dict(sorted(report.dropped.items())),
        "suits": grid_of([piece]),
        "grids": {grid: _losses(piece, grid) for grid in (SCORE, PERFORMANCE)},
    }


def _track(track: Track) -> dict[str, Any]:
    controls: dict[str, int] = {}
    for control in track.controls:
        name = control_name(control.number)
        controls[name] = controls.get(name, 0) + 1
    return {
        "name": track.name,
        "program": track.program,
        "drums": track.is_drum,
        "notes": len(track.notes),
        "controls": controls,
    }


def _losses(piece: Piece, grid: str) -> dict[str, Any]:
    try:
        ids, report = MusicTokenizer(grid).encode_with_report(piece)
    except ValueError as error:  # longer than there are tokens for
        return {"error": str(error)}
    unit, steps = UNITS[grid]
    return {
        "tokens": len(ids),
        "lost": _lost(report),
        "unit": unit,
        "max_onset_error": round(report.quantise.max_onset_error_steps / steps, 3),
        "max_duration_error": round(report.quantise.max_duration_error_steps / steps, 3),
    }


def _lost(report: EncodeReport) -> dict[str, int]:
    notes = {
        "note merged into another of its pitch and step": report.notes_merged,
        "note of an instrument too many": report.notes_dropped,
    }
    return {kind: count for kind, count in notes.items() if count} | dict(report.losses)


def render(report: Mapping[str, Any]) -> str:
    """A report for human eyes."""
    if "error" in report:
        return str(report["error"])
    lines = [
        report["file"],
        f"  {report['notes']:,} notes, {report['bars']:,} bars, {report['seconds']:,.1f} s, "
        f"meter {', '.join(report['meters'])}; reads as a {report['suits']}",
    ]
    for track in report["tracks"]:
        kind = instrument_name(track["program"], track["drums"]).lower()
        controls = "".join(f", {count:,} {name}" for name, count in track["controls"].items())
        name = " ".join(track["name"].split())  # on one line
        lines.append(f"  {kind}: {track['notes']:,} notes{controls}  {name}".rstrip())
    lines += _counts("mended in reading", report["mended"])
    lines += _counts("not kept in reading", report["dropped"])
    for grid, about in report["grids"].items():
        if "error" in about:
            lines.append(f"  {grid} grid: {about['error']}")
            continue
        errors = f"{about['max_onset_error']:g} and {about['max_duration_error']:g} {about['unit']}"
        lines += _counts(
            f"{grid} grid: {about['tokens']:,} tokens, onsets and durations within {errors}; lost",
            about["lost"],
        )
    return "\n".join(lines)


def _counts(title: str, counts: Mapping[str, int]) -> list[str]:
    if not counts:
        return [f"  {title}: nothing"]
    return [f"  {title}:", *(f"    {count:>7,} {kind}" for kind, count in counts.items())]
