"""The command `generate score`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from generative.cli import terminal
from generative.cli.common import (
    FILE,
    ModelChoice,
    json_option,
    mix_option,
    model_option,
    style_option,
)
from generative.cli.sections import Command, Section, gathered, option
from generative.cli.terminal import log

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class CopySearch:
    """Whether to look for copies, and in which corpus; an empty one is that in the model's folder.

    Raises:
        click.UsageError: a corpus without a search.
    """

    copies: bool
    corpus: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.corpus and not self.copies:
            raise click.UsageError("--corpus is what --copies looks in: add --copies")


@click.command(cls=Command)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@gathered("source", ModelChoice, model_option, mix_option, style_option)
@gathered(
    "method",
    dict,
    option(
        Section.SCORING,
        "--reset-every",
        type=click.IntRange(1),
        metavar="N",
        help="Number of tokens after which the state is cleared. [never]",
    ),
    option(
        Section.SCORING,
        "--adaptive",
        is_flag=True,
        help="Add the score with counts that learn from what was read; weights do not move.",
    ),
    option(
        Section.SCORING,
        "--dynamic",
        is_flag=True,
        help="Add the score of a copy of the model that learns as it reads.",
    ),
)
@gathered(
    "search",
    CopySearch,
    option(
        Section.SCORING,
        "--copies",
        is_flag=True,
        help="Add the longest run that each file shares with the training corpus.",
    ),
    option(
        Section.SCORING,
        "--corpus",
        multiple=True,
        metavar="PATH",
        help="Training corpus for --copies. Repeatable. [the tokens in the model's folder]",
    ),
)
@option(
    Section.SCORING,
    "--encoding",
    default="utf-8",
    show_default=True,
    help="Character encoding of text files.",
)
@option(
    Section.OUTPUT,
    "--per-token",
    type=FILE,
    metavar="FILE",
    help="File for one JSON line a token.",
)
@json_option
def score(
    files: tuple[str, ...],
    source: ModelChoice,
    method: dict[str, Any],
    search: CopySearch,
    encoding: str,
    per_token: Path | None,
    as_json: bool,
) -> None:
    """Measure how likely text or MIDI files are under a model."""
    from generative.api import evaluation
    from generative.api.inputs import kind_of
    from generative.api.reports import ScoreReport

    terminal.check_files(**{"--per-token": per_token})
    model = source.load("text" if source.model else kind_of(files))
    copies = None
    if search.copies:  # first, because a missing corpus should be reported before files are scored
        copies = evaluation.find_copies(model, files, search.corpus, encoding=encoding)
    scores = evaluation.score_files(model, files, encoding=encoding, **method)
    for file, reason in scores.skipped:
        log(f"skipped {file}: {reason}")
    if per_token is not None:
        scores.write_tokens(per_token)
    report = ScoreReport(
        model=model.checkpoint.name,
        scores=scores,
        reset_every=method["reset_every"],
        copies=copies,
    )
    terminal.print_report(report, as_json=as_json)
