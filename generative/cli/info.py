"""The command `generate info`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from generative.cli import terminal
from generative.cli.common import json_option
from generative.cli.sections import Command

if TYPE_CHECKING:
    from generative.api.reports import Report


@click.command(cls=Command)
@click.argument("names", nargs=-1, metavar="[MODEL | FILE.mid...]")
@json_option
def info(names: tuple[str, ...], as_json: bool) -> None:
    """Describe a model or MIDI files; without a name, list the models at hand."""
    from generative.api import card, inspection

    if inspection.names_music(names):
        found = inspection.MidiReport.of(names)
        terminal.print_report(found, as_json=as_json)
        if found.has_failed:
            sys.exit(1)
        return
    if len(names) > 1:
        raise click.UsageError("name one model, or MIDI files and folders of them")
    report: Report = card.ModelReport.of(names[0]) if names else card.ModelsReport.shipped()
    terminal.print_report(report, as_json=as_json)
