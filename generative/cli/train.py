"""The command `generate train`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from generative.api import choices
from generative.cli import terminal
from generative.cli.common import FILE, json_option
from generative.cli.sections import Command, Section, gathered, given, option
from generative.cli.terminal import log

if TYPE_CHECKING:
    from pathlib import Path

# The options have the names of parameters of `generative.train`.
duration_options = [
    option(
        Section.COMMON,
        "--minutes",
        type=float,
        metavar="M",
        help="Time to train, in minutes; the learning-rate schedule fits it. [10]",
    ),
    option(
        Section.DURATION,
        "--steps",
        type=click.IntRange(1),
        metavar="N",
        help="Number of optimizer steps, instead of --minutes.",
    ),
    option(
        Section.DURATION,
        "--epochs",
        type=float,
        metavar="E",
        help="Number of passes over the corpus, instead of --minutes.",
    ),
    option(
        Section.DURATION,
        "--patience",
        type=click.IntRange(1),
        metavar="N",
        help="Number of validations without improvement after which training stops. [never]",
    ),
]
corpus_options = [
    option(
        Section.COMMON,
        "--tokenizer",
        type=click.Choice(choices.TOKENIZERS),
        help="Tokenizer; auto is char for text and music for MIDI. [auto]",
    ),
    option(
        Section.CORPUS,
        "--vocab-size",
        type=click.IntRange(1),
        metavar="V",
        help="Largest vocabulary of a tokenizer that learns it from the corpus.",
    ),
    option(
        Section.CORPUS,
        "--grid",
        type=click.Choice(choices.GRIDS),
        help="Time grid of music: steps of a beat (score) or of 10 ms (performance); auto decides "
        "from the files. [auto]",
    ),
    option(
        Section.CORPUS,
        "--encoding",
        help="Character encoding of text files. [utf-8]",
    ),
    option(
        Section.CORPUS,
        "--styles",
        metavar="folders|FILE.csv",
        help="Source of each document's style: its folder, or a table with rows path,label.",
    ),
    option(
        Section.CORPUS,
        "--held-out",
        multiple=True,
        metavar="PATH",
        help='Files to validate on, or "none" to learn from everything. Repeatable. [one tenth]',
    ),
    option(
        Section.CORPUS,
        "--licence",
        metavar="TEXT",
        help="Licence of the corpus, for the model card.",
    ),
]
model_options = [
    option(Section.MODEL, "--cell", type=click.Choice(choices.CELLS), help="Recurrent cell."),
    option(
        Section.MODEL,
        "--layers",
        type=click.IntRange(1),
        metavar="N",
        help="Number of recurrent layers.",
    ),
    option(
        Section.MODEL, "--hidden", type=click.IntRange(1), metavar="H", help="Width of each layer."
    ),
    option(
        Section.MODEL,
        "--init",
        type=click.Choice(choices.INITS),
        help="Initialization of the recurrent weights.",
    ),
    option(
        Section.MODEL,
        "--context-features",
        metavar="auto|none|NAME,...",
        help="What the network reads beside each token: names of context features, such as "
        "bar_position; auto takes several for music and none for text. [auto]",
    ),
    option(
        Section.MODEL,
        "--ngram-order",
        type=click.IntRange(0),
        metavar="N",
        help="Longest context of the count models beside the network; 0 leaves them out. [8]",
    ),
    option(
        Section.MODEL,
        "--ngram-size",
        type=float,
        metavar="MB",
        help="Size of the count models. [that of the network, at most 4]",
    ),
    option(
        Section.REGULARIZATION,
        "--dropout",
        type=float,
        metavar="P",
        help="Probability of dropping an input of a layer.",
    ),
    option(
        Section.REGULARIZATION,
        "--weight-drop",
        type=float,
        metavar="P",
        help="Probability of dropping a recurrent weight.",
    ),
    option(
        Section.REGULARIZATION,
        "--scheduled-sampling",
        type=float,
        metavar="P",
        help="Probability of replacing an input token by one that the model draws.",
    ),
]
optimization_options = [
    option(
        Section.OPTIMIZATION,
        "--learning-rate",
        type=float,
        metavar="X",
        help="Learning rate at its peak.",
    ),
    option(
        Section.OPTIMIZATION,
        "--schedule",
        type=click.Choice(tuple(choices.SCHEDULES)),
        help="Course of the learning rate.",
    ),
    option(
        Section.OPTIMIZATION,
        "--batch-size",
        type=click.IntRange(1),
        metavar="B",
        help="Number of rows that are read in parallel.",
    ),
    option(
        Section.OPTIMIZATION,
        "--sequence-length",
        type=click.IntRange(1),
        metavar="T",
        help="Number of tokens a row and step.",
    ),
]
machine_options = [
    option(
        Section.COMMON,
        "--resume",
        is_flag=True,
        default=None,
        help="Continue the run in the folder.",
    ),
    option(Section.MACHINE, "--device", help="Device of torch, such as cpu or cuda. [auto]"),
    option(
        Section.MACHINE,
        "--precision",
        type=click.Choice(choices.TRAINING_PRECISIONS),
        help="Precision of the arithmetic; auto is bfloat16 where the processor has it. [auto]",
    ),
    option(
        Section.MACHINE,
        "--threads",
        type=click.IntRange(1),
        metavar="N",
        help="Number of threads that share a batch. [one a core]",
    ),
    option(
        Section.MACHINE,
        "--seed",
        type=click.IntRange(0),
        metavar="N",
        help="Seed of all random numbers. [0]",
    ),
    option(
        Section.OUTPUT,
        "--histograms",
        is_flag=True,
        default=None,
        help="Add histograms of the weights to the TensorBoard events.",
    ),
    option(
        Section.OUTPUT,
        "--wandb",
        metavar="PROJECT",
        help="Project of Weights & Biases to report to as well.",
    ),
]


@click.command(cls=Command)
@click.argument("corpus", nargs=-1, required=True)
@option(
    Section.COMMON,
    "-o",
    "--output",
    type=FILE,
    metavar="FOLDER",
    required=True,
    help="Folder of the new model, or of the run to resume.",
)
@option(
    Section.COMMON,
    "--config",
    type=FILE,
    metavar="FILE.toml",
    help="TOML file with options; those on the command line come first.",
)
@gathered(
    "settings",
    given,
    *duration_options,
    *corpus_options,
    *model_options,
    *optimization_options,
    *machine_options,
)
@json_option
def train(
    corpus: tuple[str, ...],
    output: Path,
    config: Path | None,
    settings: dict[str, Any],
    as_json: bool,
) -> None:
    """Train a model on files, folders or globs of text or MIDI."""
    from generative.api.reports import TrainingReport
    from generative.api.training import train as run

    options = {**(terminal.read_toml(config) if config else {}), **settings}
    seconds_spent = terminal.seconds_since_start()
    result = run(list(corpus), output, report=log, seconds_spent=seconds_spent, **options)
    if os.environ.get("RANK", "0") != "0":
        return  # torchrun started several processes; the first one reports for all
    report = TrainingReport(result=result)
    if as_json:
        terminal.print_json(report.to_json())
        return
    for line in report.to_lines():
        log(line)
