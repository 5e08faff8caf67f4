"""What MIDI files hold, what reading repaired, and what each token grid would lose."""

from __future__ import annotations

from dataclasses import dataclass
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
    from collections.abc import Iterator, Mapping, Sequence

    from generative.music.piece import Piece, Track
    from generative.tokenizers.music.form import EncodeReport

# grid -> (the unit of its errors, the number of steps in one unit)
UNITS = {SCORE: ("steps of 1/24 beat", 1.0), PERFORMANCE: ("ms", STEPS_PER_SECOND / 1000)}


def names_music(names: Sequence[str]) -> bool:
    """Whether any argument names MIDI files, a glob of them, a folder without a model, or stdin."""
    return any(
        name == STDIN
        or Path(name).suffix.lower() in sources.MUSIC_SUFFIXES
        or (Path(name).is_dir() and not (Path(name) / CONFIG_FILE).exists())
        for name in names
    )


def inspect_files(names: Sequence[str]) -> list[dict[str, Any]]:
    """One report a MIDI file, in plain values; that of an unreadable file holds only its "error".

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
    except ValueError as error:  # the piece is longer than the tokens can express
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
    return {what: count for what, count in notes.items() if count} | dict(report.losses)


@dataclass(frozen=True, kw_only=True)
class MidiReport:
    """Several MIDI files. files: one report each, see `inspect_files`."""

    files: Sequence[Mapping[str, Any]]

    @classmethod
    def of(cls, names: Sequence[str]) -> MidiReport:
        """The report of files, folders and globs.

        Raises:
            CorpusError: a name that matches nothing.
        """
        return cls(files=inspect_files(names))

    @property
    def has_failed(self) -> bool:
        """Whether no file could be read."""
        return all("error" in file for file in self.files)

    def to_json(self) -> Any:
        """One object for one file, else a list."""
        return self.files[0] if len(self.files) == 1 else self.files

    def to_lines(self) -> Iterator[str]:
        """Several lines a file, with an empty line between two files."""
        for number, file in enumerate(self.files):
            if number:
                yield ""
            yield from _lines(file)


def _lines(report: Mapping[str, Any]) -> Iterator[str]:
    """One file's report for people."""
    if "error" in report:
        yield str(report["error"])
        return
    yield report["file"]
    yield (
        f"  {report['notes']:,} notes, {report['bars']:,} bars, {report['seconds']:,.1f} s, "
        f"meter {', '.join(report['meters'])}; reads as a {report['suits']}"
    )
    for track in report["tracks"]:
        instrument = instrument_name(track["program"], track["drums"]).lower()
        controls = "".join(f", {count:,} {name}" for name, count in track["controls"].items())
        name = " ".join(track["name"].split())  # without line breaks
        yield f"  {instrument}: {track['notes']:,} notes{controls}  {name}".rstrip()
    yield from _count_lines("mended in reading", report["mended"])
    yield from _count_lines("not kept in reading", report["dropped"])
    for grid, losses in report["grids"].items():
        yield from _grid_lines(grid, losses)


def _grid_lines(grid: str, losses: Mapping[str, Any]) -> Iterator[str]:
    """What one token grid would lose."""
    if "error" in losses:
        yield f"  {grid} grid: {losses['error']}"
        return
    errors = f"{losses['max_onset_error']:g} and {losses['max_duration_error']:g} {losses['unit']}"
    title = f"{grid} grid: {losses['tokens']:,} tokens, onsets and durations within {errors}; lost"
    yield from _count_lines(title, losses["lost"])


def _count_lines(title: str, counts: Mapping[str, int]) -> Iterator[str]:
    if not counts:
        yield f"  {title}: nothing"
        return
    yield f"  {title}:"
    for what, count in counts.items():
        yield f"    {count:>7,} {what}"
