"""The command `generate`: reads options and prints results; the work is done elsewhere.

Data goes to stdout, everything else to stderr. Exit codes: 0 done, 1 the input or the work failed,
2 wrong usage, 130 and 143 interrupted. Only click is imported before a command runs.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from generative.cli import terminal
from generative.cli.options import (
    CommandGroup,
    json_option,
    literal_option,
    mix_option,
    model_option,
    precision_option,
    sampling_options,
    style_option,
)
from generative.cli.terminal import (
    STDIO,
    given,
    likelihood_json,
    print_json,
    say,
    sequence_json,
    write_text,
)
from generative.errors import OptionError

if TYPE_CHECKING:
    from generative.music.jam import Turn
    from generative.music.piece import Piece


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="generative", prog_name="generate")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Text and music from small recurrent models: generate, train, score.

    \b
    generate text "ROMEO:"                    text by the model that ships
    generate music -o out.mid                 a chorale as a MIDI file
    generate train my.txt -o my --minutes 5   your own model
    """


@cli.command()
@click.argument("prompt", required=False)
@model_option
@mix_option
@style_option
@sampling_options
@precision_option
@click.option(
    "--adapt", type=click.Path(path_type=Path), help="First learn from this text; - is stdin."
)
@literal_option(
    "--stop",
    metavar="STRING",
    text="End before this; repeatable. Here, in --choice and in --forbid, \\n, \\t and \\u00e9 are "
    "read as characters, and \\\\ as a backslash.",
)
@click.option("--pattern", metavar="REGEX", help="What is generated matches this in full.")
@literal_option("--choice", "choices", metavar="TEXT", text="It is one of these; repeatable.")
@literal_option("--forbid", metavar="TEXT", text="It never says this; repeatable.")
@click.option("--no-stream", is_flag=True, help="Print only when all is done.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to a file instead.")
@json_option
def text(
    prompt: str | None,
    model: str | None,
    mix: tuple[str, ...],
    style: str | None,
    max_new_tokens: int | None,
    stop: tuple[str, ...],
    no_stream: bool,
    output: Path | None,
    precision: str,
    as_json: bool,
    adapt: Path | None,
    **options: Any,
) -> None:
    """Generate text that continues PROMPT ("-" or a pipe reads it from stdin)."""
    terminal.check_outputs(output or Path(STDIO))
    terminal.check_stdin(**{"PROMPT": prompt, "--adapt": adapt})
    if options["top_logprobs"] is not None and not as_json:
        raise click.UsageError("--top-logprobs is told with --json")
    loaded = _load(model, "text", precision, compiled=None, mix=mix, style=style)
    if adapt is not None:
        from generative.data.corpus import read_text

        loaded = loaded.adapt(read_text(adapt))
    prefix = terminal.read_prompt(prompt, stdin=str(adapt) != STDIO)
    kwargs: dict[str, Any] = {"stop": stop, **given(options)}
    if max_new_tokens is not None:
        kwargs["max_new_tokens"] = max_new_tokens
    to_terminal = output is None or str(output) == STDIO
    several = (options["num_beams"] or 1) > 1 or (options["num_return_sequences"] or 1) > 1
    if to_terminal and not (no_stream or as_json or several):
        stream = loaded.stream(prefix, **kwargs)
        write_text(prefix + next(stream, ""))  # together: what is refused is refused before
        for chunk in stream:
            write_text(chunk)
        write_text("\n")
        terminal.note_seed(stream.seed, options["seed"])
        return
    made = loaded.generate(prefix, **kwargs)
    if as_json:
        report = {
            "model": loaded.checkpoint.name,
            "seed": made.seed,
            "sequences": [{"text": s.text, **sequence_json(s)} for s in made.sequences],
        }
        result = json.dumps(terminal.finite(report), ensure_ascii=False, indent=2)
    else:
        result = "\n\n".join(prefix + s.text for s in made.sequences)
        terminal.note_seed(made.seed, options["seed"])
    terminal.emit(result + "\n", output)


@cli.command()
@model_option
@mix_option
@style_option
@sampling_options
@precision_option
@click.option(
    "--primer", type=click.Path(path_type=Path), help="A MIDI file to continue; - is stdin."
)
@click.option("--primer-bars", metavar="A-B", help="Only these of its bars: 5-8, -8, 5-.")
@click.option(
    "--harmonise", type=click.Path(path_type=Path), help="Write voices to this melody; - is stdin."
)
@click.option(
    "--melody-track", type=click.IntRange(1), help="... in its N-th track with notes. [1]"
)
@click.option("--bars", type=click.IntRange(1), help="Exactly so many (new) bars.")
@click.option("--seconds", type=float, help="So many (new) seconds.")
@click.option("--key", help='Only pitches of "D minor", "C D E G A", or key "primer".')
@click.option("--range", "pitch_range", metavar="LOW-HIGH", help="Only pitches in C3-C6.")
@click.option("--meter", metavar="N/D", help="3/4 throughout.")
@click.option("--tempo", type=int, metavar="BPM", help="Quarter notes a minute, throughout.")
@click.option("--instruments", metavar="NAMES", help='Only these, and all: "piano,bass,drums".')
@click.option("--density", metavar="X", help="Notes a quarter note, or sparse, normal, dense.")
@click.option("-o", "--output", metavar="FILE.mid", help="Where to write; - is a pipe. [music.mid]")
@click.option("--wav", type=click.Path(path_type=Path), help="Also render sound.")
@click.option("--soundfont", metavar="FILE.sf2", help="... by FluidSynth with this soundfont.")
@click.option("--plot", type=click.Path(path_type=Path), help="Also draw a piano roll (PNG).")
@click.option(
    "--html", type=click.Path(path_type=Path), help="Also a page that plays and shows it."
)
@click.option("--musicxml", type=click.Path(path_type=Path), help="Also notation (MusicXML).")
@json_option
def music(
    model: str | None,
    mix: tuple[str, ...],
    style: str | None,
    primer: Path | None,
    harmonise: Path | None,
    output: str | None,
    wav: Path | None,
    soundfont: str | None,
    plot: Path | None,
    html: Path | None,
    musicxml: Path | None,
    precision: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Generate music as a MIDI file, and as sound, picture, page and notation."""
    from generative.data.corpus import read_piece
    from generative.music import formats, midi

    if output == STDIO and sys.stdout.isatty():
        raise click.UsageError("MIDI bytes do not belong on a terminal: use -o FILE.mid or a pipe")
    if output == STDIO and as_json:
        raise click.UsageError("-o - and --json both want stdout: write the MIDI to a file")
    _check_melody_options(harmonise, primer=primer, **options)
    target = Path(output or "music.mid")
    also = given({"wav": wav, "plot": plot, "html": html, "musicxml": musicxml})
    terminal.check_outputs(target)
    terminal.check_files(**{f"--{kind}": path for kind, path in also.items()})
    main_kind = "midi" if output == STDIO else formats.format_of(target)
    if soundfont is not None and "wav" not in {main_kind, *also}:
        raise click.UsageError("--soundfont is how --wav sounds: give --wav FILE too")
    for kind in (main_kind, *also):
        formats.check(kind, **({"soundfont": soundfont} if kind == "wav" else {}))
    loaded = _load(model, "music", precision, compiled=None, mix=mix, style=style)
    if harmonise is None:
        made = loaded.generate(primer and read_piece(primer), **given(options))
    else:
        made = loaded.harmonise(read_piece(harmonise), **given(options))
    paths = terminal.numbered(target, len(made.sequences))
    for kind, path in [(main_kind, target), *also.items()]:
        if path is target and output == STDIO:
            sys.stdout.buffer.write(midi.to_bytes(made.piece))
            continue
        each = terminal.numbered(path, len(made.sequences))
        for file, sequence in zip(each, made.sequences, strict=True):
            formats.save(sequence.piece, file, kind, soundfont=soundfont)
    if output == STDIO:
        return
    if as_json:
        sequences = [
            {
                "file": str(path),
                "notes": s.piece.note_count,
                "bars": s.piece.bars,
                "seconds": round(s.piece.seconds, 3),
                **sequence_json(s),
            }
            for path, s in zip(paths, made.sequences, strict=True)
        ]
        print_json({"model": loaded.checkpoint.name, "seed": made.seed, "sequences": sequences})
        return
    terminal.note_seed(made.seed, options["seed"])
    for path, s in zip(paths, made.sequences, strict=True):
        say(f"{path}: {s.piece.bars} bars, {s.piece.note_count} notes, {s.piece.seconds:.1f} s")


def _check_melody_options(harmonise: Path | None, **options: Any) -> None:
    """Refuse what the melody decides by itself, or what only a melody needs."""
    if harmonise is None:
        if options["melody_track"] is not None:
            raise click.UsageError("--melody-track says where in --harmonise FILE the melody is")
        return
    decided = ("primer", "primer_bars", "bars", "seconds", "meter", "tempo", "density")
    if wrong := [name for name in decided if options[name] is not None]:
        raise click.UsageError(
            f"with --harmonise the melody decides: leave out --{wrong[0].replace('_', '-')}"
        )


@cli.command()
@model_option
@sampling_options
@precision_option
@click.option("--list", "list_ports", is_flag=True, help="The machine's MIDI ports.")
@click.option("--in", "heard", metavar="PORT", help="A part of its name, or socket://host:port.")
@click.option("--out", "played", metavar="PORT", help="The same.")
@click.option("--backend", metavar="MODULE", help="Of mido. [mido.backends.rtmidi]")
@click.option("--tempo", type=float, metavar="BPM", help="[found in what is played]")
@click.option("--bars", type=click.IntRange(1), help="A phrase has so many. [ended by a pause]")
@click.option("--meter", metavar="N/D", default="4/4", show_default=True, help="Of the phrases.")
@click.option("--pause", type=float, metavar="SECONDS", help="What ends a phrase. [1.5]")
@click.option("--grid", type=click.IntRange(1, 24), metavar="N", help="Steps a beat. [4]")
@click.option("--program", type=click.IntRange(0, 127), help="What is heard is this instrument.")
@click.option("--click", "clicking", is_flag=True, help="Count the bars along.")
@click.option("--thru", is_flag=True, help="Send on what is heard.")
@click.option("--rounds", type=click.IntRange(1), metavar="N", help="[until Ctrl-C]")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write it to a MIDI file.")
@json_option
def jam(
    model: str | None,
    precision: str,
    list_ports: bool,
    heard: str | None,
    played: str | None,
    backend: str | None,
    tempo: float | None,
    bars: int | None,
    meter: str,
    pause: float | None,
    grid: int | None,
    program: int | None,
    clicking: bool,
    thru: bool,
    rounds: int | None,
    output: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Play phrases on a MIDI keyboard, and hear the model answer on a synthesizer."""
    from generative.api.generation import resolve_seed
    from generative.music import midi
    from generative.music.jam import Recording, Settings, ports
    from generative.music.jam import jam as play
    from generative.music.theory import parse_meter

    if list_ports:
        inputs, outputs = ports.names(backend)
        if as_json:
            print_json({"in": inputs, "out": outputs})
            return
        for kind, names in (("in", inputs), ("out", outputs)):
            for name in names or ["(none)"]:
                terminal.show(f"{kind:<4} {name}")
        return
    settings = {
        "beats_per_minute": tempo,
        "bars": bars,
        "meter": parse_meter(meter),
        "pause_seconds": pause,
        "steps_per_beat": grid,
        "program": program,
        "click": clicking,
        "thru": thru,
    }
    chosen = Settings(**given(settings))
    terminal.check_files(**{"--output": output})
    seed = resolve_seed(options.pop("seed"))
    recording = Recording()
    turns: list[dict[str, Any]] = []

    def answer(phrase: Piece) -> Piece:
        sampled = {**given(options), "seed": seed + len(turns)}
        return cast("Piece", loaded.answer(phrase, bars=bars, **sampled))

    def note(turn: Turn) -> None:
        turns.append(
            {
                "heard": turn.phrase.note_count,
                "bars": turn.phrase.bars,
                "tempo": turn.phrase.tempos[0].beats_per_minute,
                "answered": turn.answer.note_count,
            }
        )
        say("{heard} notes in {bars} bars at {tempo:.0f}; {answered} back".format(**turns[-1]))

    with ports.open_input(heard, backend) as keys, ports.open_output(played, backend) as synth:
        loaded = _load(model, "music", precision, compiled=True)
        loaded.generate(bars=1, seed=0)  # what is compiled, is compiled before the first phrase
        say("listening; Ctrl-C ends it")
        try:
            play(keys, synth, answer, chosen, rounds=rounds, recording=recording, on_turn=note)
        finally:
            if output is not None and recording.piece.note_count:
                midi.write(recording.piece, output)
                say(f"{output}: {recording.piece.bars} bars, {recording.piece.note_count} notes")
            if as_json:
                file = str(output) if output is not None and turns else None
                print_json(
                    {"model": loaded.checkpoint.name, "seed": seed, "turns": turns, "file": file}
                )


@cli.command()
@click.argument("corpus", nargs=-1, required=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="New folder.")
@click.option("--minutes", type=float, help="Train so long; the schedule fits it. [10]")
@click.option("--steps", type=click.IntRange(1), help="Or so many optimizer steps.")
@click.option("--epochs", type=float, help="Or so many passes over the corpus.")
@click.option(
    "--tokenizer",
    type=click.Choice(["auto", "char", "byte", "sentencepiece", "music"]),
    help="auto: char for text, music for MIDI.",
)
@click.option("--vocab-size", type=click.IntRange(1), help="Of char or sentencepiece, at most.")
@click.option(
    "--grid",
    type=click.Choice(["auto", "score", "performance"]),
    help="Of music: beats, or 10 ms for played piano; auto looks at the files.",
)
@click.option("--encoding", help="Of text files. [utf-8]")
@click.option(
    "--styles", metavar="folders|FILE.csv", help="Name documents by folder, or by path,label."
)
@click.option(
    "--held-out",
    multiple=True,
    metavar="PATH",
    help='Validate on these; "none": learn from everything.',
)
@click.option("--config", type=click.Path(path_type=Path), help="Options from a TOML file.")
@click.option("--resume", is_flag=True, default=None, help="Continue the run in the folder.")
@click.option("--device", help="cpu, cuda, ... [auto]")
@click.option("--precision", type=click.Choice(["auto", "float32", "bfloat16"]))
@click.option("--threads", type=click.IntRange(1), help="Threads that share a batch. [all cores]")
@click.option("--seed", type=click.IntRange(0), help="Of everything drawn. [0]")
@click.option("--cell", help="lstm or gru.")
@click.option("--layers", type=click.IntRange(1))
@click.option("--hidden", type=click.IntRange(1), help="Width of each layer.")
@click.option("--dropout", type=float, help="Of what each layer reads.")
@click.option("--weight-drop", type=float, help="Of the recurrent weights.")
@click.option(
    "--recall",
    type=click.IntRange(0),
    help="After a passage of N tokens comes again, expect the rest; 0: never. [music 12, text 0]",
)
@click.option("--learning-rate", type=float, help="At its peak.")
@click.option("--schedule", help="cosine, linear, trapezoid or constant.")
@click.option("--init", help="uniform, xavier or orthogonal.")
@click.option("--scheduled-sampling", type=float, help="Part of inputs drawn from the model.")
@click.option("--batch-size", type=click.IntRange(1), help="StreamBatches read side by side.")
@click.option("--sequence-length", type=click.IntRange(1), help="Tokens a window.")
@click.option("--patience", type=click.IntRange(1), help="Stop after N validations without gain.")
@click.option("--licence", help="Of the corpus, for the model card.")
@click.option("--histograms", is_flag=True, default=None, help="Of weights, for TensorBoard.")
@click.option("--wandb", metavar="PROJECT", help="Report to Weights & Biases as well.")
@json_option
def train(
    corpus: tuple[str, ...],
    output: Path,
    config: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Train a model on files, folders or globs of text or MIDI."""
    from generative.api.training import train as run

    settings = terminal.read_toml(config) if config else {}
    settings |= given(options)
    spent = terminal.seconds_since_start()
    result = run(list(corpus), output, report=say, seconds_spent=spent, **settings)
    if os.environ.get("RANK", "0") != "0":
        return  # of the processes that torchrun starts, the first speaks for all
    held = result.held_out
    if as_json:
        print_json(
            {
                "model": str(result.path),
                "steps": result.steps,
                "seconds": round(result.seconds, 1),
                "validation_loss": result.validation_loss,
                "held_out": likelihood_json(held) if held else None,
                "recipe": result.recipe,
                "skipped": [{"file": file, "reason": reason} for file, reason in result.skipped],
            }
        )
        return
    if held:
        figures = {k: v for k, v in likelihood_json(held).items() if k.startswith(("bits", "perp"))}
        say("held out: " + ", ".join(f"{k} {v:.3f}" for k, v in figures.items() if v is not None))
    say(f"model in {result.path}; try: generate info {result.path}")


@cli.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@model_option
@mix_option
@style_option
@click.option(
    "--reset-every", type=click.IntRange(1), metavar="N", help="Clear the state so often."
)
@click.option("--dynamic", is_flag=True, help="Also let a copy of the model learn as it reads.")
@click.option("--encoding", default="utf-8", show_default=True, help="Of text files.")
@click.option("--per-token", type=click.Path(path_type=Path), help="One JSON line a token.")
@click.option("--copies", is_flag=True, help="Also the longest run copied from the corpus.")
@click.option(
    "--corpus", multiple=True, metavar="PATH", help="... that it learnt from; repeatable."
)
@json_option
def score(
    files: tuple[str, ...],
    model: str | None,
    mix: tuple[str, ...],
    style: str | None,
    reset_every: int | None,
    dynamic: bool,
    encoding: str,
    per_token: Path | None,
    copies: bool,
    corpus: tuple[str, ...],
    as_json: bool,
) -> None:
    """How likely a model finds text or MIDI files."""
    from generative.api import evaluation
    from generative.api.load import default_model
    from generative.data.corpus import find_files, kind_of_files

    if corpus and not copies:
        raise click.UsageError("--corpus is what --copies looks in: add --copies")
    terminal.check_files(**{"--per-token": per_token})
    model = model or default_model(kind_of_files(find_files(files)))
    loaded = _load(model, None, mix=mix, style=style)
    found = None
    if copies:  # first, since without a corpus there is nothing to wait for
        found = evaluation.find_copies(loaded, files, corpus, encoding=encoding).to_json()
    result = evaluation.score_files(
        loaded, files, encoding=encoding, reset_every=reset_every, dynamic=dynamic
    )
    for file, reason in result.skipped:
        say(f"skipped {file}: {reason}")
    if per_token is not None:
        result.write_tokens(per_token)
    figures = likelihood_json(result.total)
    report = {
        "model": loaded.checkpoint.name,
        "documents": result.documents,
        **figures,
        "protocol": "stream" if reset_every is None else f"reset-every-{reset_every}",
        "static": figures,
        "dynamic": likelihood_json(result.dynamic) if result.dynamic else None,
        **({"copies": found} if found else {}),
    }
    if as_json:
        print_json(report)
        return
    for key, value in report.items():
        if isinstance(value, float):
            terminal.show(f"{key:>16} {value:,.4f}")
        elif isinstance(value, int | str):
            terminal.show(
                f"{key:>16} {value:,}" if isinstance(value, int) else f"{key:>16} {value}"
            )
        elif key == "dynamic" and value:
            terminal.show(
                f"{key:>16} perplexity {value['perplexity']:,.4f}, nats {value['nats']:,.4f}"
            )
        elif key == "copies":
            for row in value["documents"]:
                source = f", as in {row['source']}" if row["source"] else ""
                terminal.show(
                    f"{key:>16} {row['longest']:,} of {row['of']:,} {value['unit']}: "
                    f"{row['document']}{source}"
                )


@cli.command()
@click.argument("names", nargs=-1, metavar="[MODEL | FILE.mid...]")
@json_option
def info(names: tuple[str, ...], as_json: bool) -> None:
    """What a model is, or what MIDI files hold and would lose; else the models at hand."""
    from generative import checkpoint
    from generative.api import evaluation, inspection

    if inspection.names_music(names):
        _music_info(names, as_json)
        return
    if len(names) > 1:
        raise click.UsageError("name one model, or MIDI files and folders of them")
    model = names[0] if names else None
    if model is None:
        found = {n: evaluation.describe(p) for n, p in checkpoint.shipped_models().items()}
        if as_json:
            print_json([{"model": name, **about} for name, about in found.items()])
            return
        for name, about in found.items():
            terminal.show(f"{name:<14} {about['kind']:<6} {about['summary']}")
        return
    path = checkpoint.find(model)
    about = {"model": model, **evaluation.describe(path)}
    if as_json:
        print_json(about)
        return
    from generative.api import card

    terminal.show(f"{about['summary']}\n{path}\n")
    terminal.show(card.render(path))


def _music_info(names: tuple[str, ...], as_json: bool) -> None:
    """What MIDI files hold; fails only where none of them can be read."""
    from generative.api import inspection

    reports = inspection.inspect_files(names)
    if as_json:
        print_json(reports[0] if len(reports) == 1 else reports)
    else:
        terminal.show("\n\n".join(map(inspection.render, reports)))
    if all("error" in report for report in reports):
        sys.exit(1)


def _load(
    name: str | None,
    kind: str | None,
    precision: str = "float32",
    *,
    compiled: bool | None = False,
    mix: tuple[str, ...] = (),
    style: str | None = None,
) -> Any:
    """The model of that name, if it is of the kind that the command makes.

    compiled: whether by the compiled loop; None decides by what each request asks for.
    mix: other models and their shares, MODEL:SHARE.
    """
    if kind is not None:
        # Read when NumPy is imported: a vector is no work for several threads of BLAS.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from generative.api import load as api

    names = api.shares_of_models(name or api.default_model(kind or "text"), mix)
    loaded = api.mix(names, precision=precision, compiled=compiled)
    if kind is not None and loaded.kind != kind:
        raise ValueError(
            f"{loaded.checkpoint.name} is a model of {loaded.kind}: use `generate {loaded.kind}`"
        )
    return loaded.in_style(style)


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit; every expected error becomes one or two lines on stderr."""
    arguments = sys.argv[1:] if arguments is None else arguments
    terminal.open_streams()
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        # click's own `main` would turn interrupts and closed pipes into exit codes of its own
        with cli.make_context("generate", arguments) as context:
            cli.invoke(context)
        sys.stdout.flush()  # what cannot be printed is an error like any other
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as error:
        terminal.show_error(error)
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader went away, as `head` does
        terminal.drop_unprinted()
        sys.exit(0)
    except (KeyboardInterrupt, click.Abort) as error:
        say(f"generate: {error}" if str(error) else "generate: interrupted")
        sys.exit(cast("int", getattr(error, "exit_code", 130)))
    except (ValueError, OSError, RuntimeError, MemoryError) as error:
        if debug:
            raise
        message = " ".join(str(error).split()) or type(error).__name__
        say(f"generate: {message}")
        terminal.drop_unprinted()
        sys.exit(2 if isinstance(error, OptionError) else 1)
    sys.exit(0)
