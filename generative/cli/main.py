"""The group of commands and the function that runs it.

Data goes to stdout, everything else to stderr. Exit codes: 0 done, 1 the input or the work failed,
2 wrong usage, 130 and 143 interrupted. Only click is imported before a command runs.
"""

from __future__ import annotations

import sys
from typing import cast

import click

from generative.cli import info, jam, music, score, terminal, text, train
from generative.cli.sections import CommandGroup
from generative.cli.terminal import log
from generative.errors import OptionError


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


for command in (text.text, music.music, train.train, score.score, info.info, jam.jam):
    cli.add_command(command)


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit; every expected error becomes one or two lines on stderr."""
    arguments = sys.argv[1:] if arguments is None else arguments
    terminal.open_streams()
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        # click's `main` is not used: it chooses other exit codes for interrupts and closed pipes.
        with cli.make_context("generate", arguments) as context:
            cli.invoke(context)
        sys.stdout.flush()  # an error in printing is handled below
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as error:
        terminal.show_error(error)
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader has closed the pipe, as `head` does
        terminal.discard_unprinted()
        sys.exit(0)
    except (KeyboardInterrupt, click.Abort) as error:
        log(f"generate: {error}" if str(error) else "generate: interrupted")
        sys.exit(cast("int", getattr(error, "exit_code", 130)))
    except (ValueError, OSError, RuntimeError, MemoryError) as error:
        if debug:
            raise
        message = " ".join(str(error).split()) or type(error).__name__
        log(f"generate: {message}")
        terminal.discard_unprinted()
        sys.exit(2 if isinstance(error, OptionError) else 1)
    sys.exit(0)
