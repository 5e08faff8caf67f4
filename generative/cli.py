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

from generative import terminal
from generative.options import (
    CommandGroup,
    json_option,
    model_option,
    precision_option,
    sampling_options,
)
from generative.terminal import (
    STDIO,
    given,
    likelihood_json,
    print_json,
    say,
    sequence_json,
    write_text,
)

if TYPE_CHECKING:
    from generative.jam import Turn
    from generative.piece import Piece


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
@sampling_options
@precision_option
@click.option("--adapt", type=click.Path(path_type=Path), help="First learn from this text.")
@click.option("--stop", multiple=True, metavar="STRING", help="End before this; repeatable.")
@click.option("--pattern", metavar="REGEX", help="What is generated matches this in full.")
@click.option("--choice", "choices", multiple=True, metavar="TEXT", help="It is one of these.")
@click.option("--forbid", multiple=True, metavar="TEXT", help="It never says this; repeatable.")
@click.option("--no-stream", is_flag=True, help="Print only when all is done.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to a file instead.")
@json_option
def text(
    prompt: str | None,
    model: str | None,
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
    terminal.check_outputs(output)
    tokens = (max_new_tokens or 0) * (options["num_return_sequences"] or 1)
    loaded = _load(model, "text", precision, tokens)
    if adapt is not None:
        from generative.corpus import read_text

        loaded = loaded.adapt(read_text(adapt))
    prefix = terminal.read_prompt(prompt)
    kwargs: dict[str, Any] = {"stop": stop, **given(options)}
    if max_new_tokens is not None:
        kwargs["max_new_tokens"] = max_new_tokens
    to_terminal = output is None or str(output) == STDIO
    several = (options["num_beams"] or 1) > 1 or (options["num_return_sequences"] or 1) > 1
    if to_terminal and not (no_stream or as_json or several):
        from generative.generation import resolve_seed

        seed = resolve_seed(kwargs.pop("seed", None))
        chunks = loaded.stream(prefix, seed=seed, **kwargs)
        write_text(prefix)
        for chunk in chunks:
            write_text(chunk)
        write_text("\n")
        terminal.note_seed(seed, options["seed"])
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
@sampling_options
@precision_option
@click.option("--primer", type=click.Path(path_type=Path), help="A MIDI file to continue.")
@click.option("--bars", type=click.IntRange(1), help="Exactly so many (new) bars.")
@click.option("--seconds", type=float, help="So many (new) seconds.")
@click.option("--key", help='Only pitches of "D minor", or of notes: "C D E G A".')
@click.option("--range", "pitch_range", metavar="LOW-HIGH", help="Only pitches in C3-C6.")
@click.option("--meter", metavar="N/D", help="3/4 throughout.")
@click.option("-o", "--output", metavar="FILE.mid", help="Where to write; - is a pipe. [music.mid]")
@click.option("--wav", type=click.Path(path_type=Path), help="Also render sound.")
@click.option("--plot", type=click.Path(path_type=Path), help="Also draw a piano roll (PNG).")
@json_option
def music(
    model: str | None,
    primer: Path | None,
    output: str | None,
    wav: Path | None,
    plot: Path | None,
    precision: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Generate music as a MIDI file."""
    from generative import midi

    if output == STDIO and sys.stdout.isatty():
        raise click.UsageError("MIDI bytes do not belong on a terminal: use -o FILE.mid or a pipe")
    if output == STDIO and as_json:
        raise click.UsageError("-o - and --json both want stdout: write the MIDI to a file")
    target = Path(output or "music.mid")
    terminal.check_outputs(target, wav, plot)
    loaded = _load(model, "music", precision, options["max_new_tokens"])
    made = loaded.generate(primer, **given(options))
    if output == STDIO:
        sys.stdout.buffer.write(midi.to_bytes(made.piece))
        return
    paths = terminal.numbered(target, len(made.sequences))
    for path, sequence in zip(paths, made.sequences, strict=True):
        sequence.save(path)
    if wav is not None:
        from generative import synth

        synth.write_wav(made.piece, wav)
    if plot is not None:
        from generative import pianoroll

        pianoroll.draw(made.piece, plot)
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
    from generative import midi
    from generative.generation import resolve_seed
    from generative.jam import Recording, Settings, ports
    from generative.jam import jam as play
    from generative.runtime import LONG_REQUEST
    from generative.tokenizers.music_limits import parse_meter

    if list_ports:
        inputs, outputs = ports.names(backend)
        if as_json:
            print_json({"in": inputs, "out": outputs})
            return
        for kind, names in (("in", inputs), ("out", outputs)):
            for name in names or ["(none)"]:
                click.echo(f"{kind:<4} {name}")
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
    terminal.check_outputs(output)
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
        loaded = _load(model, "music", precision, LONG_REQUEST)
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
@click.option("--encoding", help="Of text files. [utf-8]")
@click.option("--held-out", multiple=True, metavar="PATH", help="Validate on these instead.")
@click.option("--config", type=click.Path(path_type=Path), help="Options from a TOML file.")
@click.option("--resume", is_flag=True, default=None, help="Continue the run in the folder.")
@click.option("--device", help="cpu, cuda, ... [auto]")
@click.option("--precision", type=click.Choice(["auto", "float32", "bfloat16"]))
@click.option("--seed", type=click.IntRange(0), help="Of everything drawn. [0]")
@click.option("--cell", help="lstm or gru.")
@click.option("--layers", type=click.IntRange(1))
@click.option("--hidden", type=click.IntRange(1), help="Width of each layer.")
@click.option("--dropout", type=float, help="Of what each layer reads.")
@click.option("--weight-drop", type=float, help="Of the recurrent weights.")
@click.option("--learning-rate", type=float, help="At its peak.")
@click.option("--schedule", help="cosine, linear, trapezoid or constant.")
@click.option("--init", help="uniform, xavier or orthogonal.")
@click.option("--scheduled-sampling", type=float, help="Part of inputs drawn from the model.")
@click.option("--batch-size", type=click.IntRange(1), help="Lanes read side by side.")
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
    from generative.train import train as run

    settings = terminal.read_toml(config) if config else {}
    settings |= given(options)
    held_out = list(settings.pop("held_out", ()))
    result = run(list(corpus), output, held_out=held_out, report=say, **settings)
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
    reset_every: int | None,
    dynamic: bool,
    encoding: str,
    per_token: Path | None,
    copies: bool,
    corpus: tuple[str, ...],
    as_json: bool,
) -> None:
    """How likely a model finds text or MIDI files."""
    from generative import evaluation
    from generative.api import default_model
    from generative.corpus import find_files, kind_of_files

    if corpus and not copies:
        raise click.UsageError("--corpus is what --copies looks in: add --copies")
    terminal.check_outputs(per_token)
    model = model or default_model(kind_of_files(find_files(files)))
    loaded = _load(model, None)
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
            click.echo(f"{key:>16} {value:,.4f}")
        elif isinstance(value, int | str):
            click.echo(f"{key:>16} {value:,}" if isinstance(value, int) else f"{key:>16} {value}")
        elif key == "dynamic" and value:
            click.echo(
                f"{key:>16} perplexity {value['perplexity']:,.4f}, nats {value['nats']:,.4f}"
            )
        elif key == "copies":
            for row in value["documents"]:
                source = f", as in {row['source']}" if row["source"] else ""
                click.echo(
                    f"{key:>16} {row['longest']:,} of {row['of']:,} {value['unit']}: "
                    f"{row['document']}{source}"
                )


@cli.command()
@click.argument("model", required=False)
@json_option
def info(model: str | None, as_json: bool) -> None:
    """What a model is; without MODEL, the models at hand."""
    from generative import checkpoint, evaluation

    if model is None:
        found = {n: evaluation.describe(p) for n, p in checkpoint.shipped_models().items()}
        if as_json:
            print_json([{"model": name, **about} for name, about in found.items()])
            return
        for name, about in found.items():
            click.echo(f"{name:<14} {about['kind']:<6} {about['summary']}")
        return
    path = checkpoint.find(model)
    about = {"model": model, **evaluation.describe(path)}
    if as_json:
        print_json(about)
        return
    from generative import card

    click.echo(f"{about['summary']}\n{path}\n")
    click.echo(card.render(path))


def _load(
    name: str | None, kind: str | None, precision: str = "float32", tokens: int | None = None
) -> Any:
    """The model of that name, if it is of the kind that the command makes.

    tokens: how many will be asked for; compiling, or loading what was compiled, pays for many only.
    """
    if kind is not None:
        # Read when NumPy is imported: a vector is no work for several threads of BLAS.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from generative.api import default_model, load
    from generative.runtime import LONG_REQUEST

    loaded = load(
        name or default_model(kind or "text"),
        precision=precision,
        compiled=(tokens or 0) >= LONG_REQUEST,
    )
    if kind is not None and loaded.kind != kind:
        raise ValueError(
            f"{loaded.checkpoint.name} is a model of {loaded.kind}: use `generate {loaded.kind}`"
        )
    return loaded


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit; every expected error becomes one or two lines on stderr."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        # click's own `main` would turn interrupts and closed pipes into exit codes of its own
        with cli.make_context("generate", arguments) as context:
            cli.invoke(context)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader went away, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except (KeyboardInterrupt, click.Abort) as error:
        say(f"generate: {error}" if str(error) else "generate: interrupted")
        sys.exit(cast("int", getattr(error, "exit_code", 130)))
    except (ValueError, OSError, RuntimeError, MemoryError) as error:
        if debug:
            raise
        message = " ".join(str(error).split()) or type(error).__name__
        say(f"generate: {message}")
        sys.exit(1)
    sys.exit(0)
