"""The command `generate music`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from generative.api.choices import FORMATS
from generative.cli import terminal
from generative.cli.common import (
    FILE,
    ModelChoice,
    json_option,
    mix_option,
    model_option,
    precision_option,
    style_option,
)
from generative.cli.options import sampling_argument
from generative.cli.sections import Command, Section, gathered, given, option
from generative.cli.terminal import STDIO, log

if TYPE_CHECKING:
    from generative.api.tune import Tune

DEFAULT_OUTPUT = "music.mid"
MAIN_FORMAT = "midi"  # of -o; each other format has an option of its own

# Options with the names of parameters of `MusicModel.generate` that `harmonise` does not have.
generating_argument = gathered(
    "generating",
    given,
    option(
        Section.PRIMER,
        "--primer",
        type=FILE,
        metavar="FILE",
        help="MIDI file to continue; - is stdin.",
    ),
    option(
        Section.PRIMER,
        "--primer-bars",
        metavar="A-B",
        help="Bars of the primer to continue, such as 5-8, -8 or 5-. [all]",
    ),
    option(
        Section.COMMON, "--bars", type=click.IntRange(1), metavar="N", help="Number of new bars."
    ),
    option(Section.COMMON, "--seconds", type=float, metavar="X", help="Length of the new music."),
    option(Section.MUSIC, "--meter", metavar="N/D", help="Meter throughout, such as 3/4."),
    option(
        Section.MUSIC,
        "--tempo",
        type=int,
        metavar="BPM",
        help="Tempo throughout, in quarter notes a minute.",
    ),
    option(
        Section.MUSIC,
        "--density",
        metavar="X",
        help="Notes a quarter note, or one of sparse, normal and dense.",
    ),
)
# Options with the names of parameters of `MusicModel.harmonise` that `generate` does not have.
harmonising_argument = gathered(
    "harmonising",
    given,
    option(
        Section.PRIMER,
        "--harmonise",
        "melody",
        type=FILE,
        metavar="FILE",
        help="MIDI file with a melody to write other voices to; - is stdin.",
    ),
    option(
        Section.PRIMER,
        "--melody-track",
        type=click.IntRange(1),
        metavar="N",
        help="Number of the melody's track in that file, counting tracks with notes. [1]",
    ),
)
# Options with the names of parameters that both methods have.
limits_argument = gathered(
    "limits",
    given,
    option(
        Section.MUSIC,
        "--key",
        help='Pitches that may sound: "D minor", "C D E G A", or the key of the "primer".',
    ),
    option(
        Section.MUSIC,
        "--range",
        "pitch_range",
        metavar="LOW-HIGH",
        help="Lowest and highest pitch, such as C3-C6.",
    ),
    option(
        Section.MUSIC,
        "--instruments",
        metavar="NAMES",
        help='Instruments, each of which plays: "piano,bass,drums".',
    ),
    option(
        Section.MUSIC,
        "--voice-leading",
        is_flag=True,
        default=None,
        help="No parallel fifths, octaves or unisons between voices.",
    ),
)
format_options = [
    option(
        Section.OUTPUT,
        f"--{name}",
        type=FILE,
        metavar="FILE",
        help=f"File for the music as {written.description}.",
    )
    for name, written in FORMATS.items()
    if name != MAIN_FORMAT
]


@dataclass(frozen=True, kw_only=True)
class OutputFiles:
    """The files to write.

    Attributes:
        output: the value of -o: a file, "-" for stdout, or None.
        soundfont: an .sf2 file that sound is made with; None is the built-in synthesizer.
        extra: format -> file, for each format with an option of its own.
    """

    output: str | None
    soundfont: str | None
    extra: dict[str, Path]

    @classmethod
    def of(cls, *, output: str | None, soundfont: str | None, **extra: Path | None) -> OutputFiles:
        """The files from the values of the options."""
        return cls(output=output, soundfont=soundfont, extra=given(**extra))

    @property
    def is_stdout(self) -> bool:
        """Whether MIDI goes to stdout."""
        return self.output == STDIO

    @property
    def target(self) -> Path:
        """The file of -o."""
        return Path(self.output or DEFAULT_OUTPUT)

    @property
    def main_format(self) -> str:
        """The format of `target`, by its suffix."""
        from generative import formats

        return MAIN_FORMAT if self.is_stdout else formats.format_of(self.target)

    def check_stdout(self, *, as_json: bool) -> None:
        """Check that stdout can take what it is asked to take.

        Raises:
            click.UsageError: it cannot.
        """
        if self.is_stdout and sys.stdout.isatty():
            raise click.UsageError(
                "MIDI bytes do not belong on a terminal: use -o FILE.mid or a pipe"
            )
        if self.is_stdout and as_json:
            raise click.UsageError("-o - and --json both want stdout: write the MIDI to a file")

    def check(self) -> None:
        """Check, before any work is done, that all files can be written.

        Raises:
            click.UsageError: --soundfont without sound.
            ValueError: a suffix that names no format.
            OSError: a file cannot be written.
            RuntimeError: a format needs something that is not installed.
        """
        from generative import formats

        terminal.check_outputs(self.target)
        terminal.check_files(**{f"--{name}": path for name, path in self.extra.items()})
        names = (self.main_format, *self.extra)
        if self.soundfont is not None and "wav" not in names:
            raise click.UsageError("--soundfont is how --wav sounds: give --wav FILE too")
        for name in names:
            formats.check(name, **({"soundfont": self.soundfont} if name == "wav" else {}))

    def write(self, tune: Tune) -> list[Path]:
        """Write all files, or none if a format cannot hold a sequence.

        To stdout goes the first sequence.

        Returns:
            The file of each sequence in the main format.

        Raises:
            ValueError: a format cannot hold a sequence.
        """
        from generative import formats, midi

        for name in [*self.extra] if self.is_stdout else [self.main_format, *self.extra]:
            for sequence in tune.sequences:
                formats.check_piece(name, sequence.piece)
        if self.is_stdout:
            sys.stdout.buffer.write(midi.to_bytes(tune.piece))
        count = len(tune.sequences)
        main = [] if self.is_stdout else [(self.main_format, self.target)]
        for name, path in [*main, *self.extra.items()]:
            numbered = terminal.numbered_paths(path, count)
            for file, sequence in zip(numbered, tune.sequences, strict=True):
                formats.save(sequence.piece, file, name, soundfont=self.soundfont)
        return terminal.numbered_paths(self.target, count)


@click.command(cls=Command)
@gathered("source", ModelChoice, model_option, mix_option, style_option, precision_option)
@sampling_argument
@generating_argument
@harmonising_argument
@limits_argument
@gathered(
    "files",
    OutputFiles.of,
    option(
        Section.COMMON,
        "-o",
        "--output",
        metavar="FILE",
        help="File for the music; its suffix chooses the format, - writes MIDI to a pipe. "
        f"[{DEFAULT_OUTPUT}]",
    ),
    *format_options,
    option(
        Section.OUTPUT,
        "--soundfont",
        metavar="FILE.sf2",
        help="SoundFont that FluidSynth makes the sound with. [built-in synthesizer]",
    ),
)
@json_option
def music(
    source: ModelChoice,
    sampling: dict[str, Any],
    generating: dict[str, Any],
    harmonising: dict[str, Any],
    limits: dict[str, Any],
    files: OutputFiles,
    as_json: bool,
) -> None:
    """Generate music as a MIDI file, and as sound, picture, page and notation."""
    files.check_stdout(as_json=as_json)
    _check_melody(generating, harmonising)
    files.check()
    sampling = source.sampling("music", sampling)
    model = source.load_generator("music")
    tune = _make(model, generating, harmonising, {**limits, **sampling})
    paths = files.write(tune)
    if files.is_stdout:
        return
    if as_json:
        from generative.api.reports import tune_json

        terminal.print_json(tune_json(model.checkpoint.name, tune, paths))
        return
    terminal.log_seed(tune.seed, sampling.get("seed"))
    for path, sequence in zip(paths, tune.sequences, strict=True):
        piece = sequence.piece
        log(f"{path}: {piece.bars} bars, {piece.note_count} notes, {piece.seconds:.1f} s")


def _check_melody(generating: dict[str, Any], harmonising: dict[str, Any]) -> None:
    """Check that options of harmonising come with a melody, and those of generating without.

    Raises:
        click.UsageError: naming an option to leave out or to add.
    """
    if "melody" not in harmonising:
        if harmonising:
            raise click.UsageError("--melody-track says where in --harmonise FILE the melody is")
    elif generating:
        wrong = next(iter(generating)).replace("_", "-")
        raise click.UsageError(f"with --harmonise the melody decides: leave out --{wrong}")


def _make(
    model: Any, generating: dict[str, Any], harmonising: dict[str, Any], options: dict[str, Any]
) -> Tune:
    """Generate music, or harmonise a melody if there is one."""
    from generative.api.inputs import read_piece

    if "melody" in harmonising:
        melody = read_piece(harmonising.pop("melody"))
        return cast("Tune", model.harmonise(melody, **harmonising, **options))
    if "primer" in generating:
        generating["primer"] = read_piece(generating["primer"])
    return cast("Tune", model.generate(**generating, **options))
