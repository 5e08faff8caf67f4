"""The command `generate jam`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from generative.cli import terminal
from generative.cli.common import (
    FILE,
    ModelChoice,
    json_option,
    model_option,
    precision_option,
)
from generative.cli.options import sampling_argument
from generative.cli.sections import Command, Section, gathered, given, option
from generative.cli.terminal import log

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class PortNames:
    """The ports to use; None is the only one that the machine has, or mido's usual backend."""

    input_port: str | None
    output_port: str | None
    backend: str | None


ports_argument = gathered(
    "ports",
    PortNames,
    option(
        Section.PORTS,
        "--in",
        "input_port",
        metavar="PORT",
        help="Input, by a part of its name or as socket://host:port.",
    ),
    option(
        Section.PORTS,
        "--out",
        "output_port",
        metavar="PORT",
        help="Output, by a part of its name or as socket://host:port.",
    ),
    option(
        Section.PORTS,
        "--backend",
        metavar="MODULE",
        help="Backend of mido. [mido.backends.rtmidi]",
    ),
)
# The options have the names of the fields of `generative.music.jam.Settings`, and its defaults.
settings_argument = gathered(
    "settings",
    given,
    option(
        Section.PHRASES,
        "--tempo",
        "beats_per_minute",
        type=float,
        metavar="BPM",
        help="Tempo in beats a minute. [estimated from each phrase]",
    ),
    option(
        Section.PHRASES,
        "--bars",
        type=click.IntRange(1),
        metavar="N",
        help="Length of a phrase in bars. [until a pause]",
    ),
    option(Section.PHRASES, "--meter", metavar="N/D", help="Meter of the phrases. [4/4]"),
    option(
        Section.PHRASES,
        "--pause",
        "pause_seconds",
        type=float,
        metavar="SECONDS",
        help="Silence that ends a phrase. [1.5]",
    ),
    option(
        Section.PHRASES,
        "--grid",
        "steps_per_beat",
        type=click.IntRange(1, 24),
        metavar="N",
        help="Steps a beat that played notes are moved to. [4]",
    ),
    option(
        Section.PHRASES,
        "--program",
        type=click.IntRange(0, 127),
        help="General MIDI program of the phrases. [the keyboard's]",
    ),
    option(
        Section.PHRASES,
        "--click",
        is_flag=True,
        help="Click one bar before each phrase and during it; needs --bars.",
    ),
    option(Section.PHRASES, "--thru", is_flag=True, help="Forward the input to the output."),
)


@click.command(cls=Command)
@gathered("source", ModelChoice, model_option, precision_option)
@sampling_argument
@option(Section.PORTS, "--list", "list_ports", is_flag=True, help="List the machine's MIDI ports.")
@ports_argument
@settings_argument
@option(
    Section.PHRASES,
    "--rounds",
    type=click.IntRange(1),
    metavar="N",
    help="Number of phrases to answer. [until Ctrl-C]",
)
@option(
    Section.COMMON, "-o", "--output", type=FILE, metavar="FILE", help="MIDI file for the session."
)
@json_option
def jam(
    source: ModelChoice,
    sampling: dict[str, Any],
    list_ports: bool,
    ports: PortNames,
    settings: dict[str, Any],
    rounds: int | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Play phrases on a MIDI keyboard, and hear the model answer on a synthesizer."""
    from generative.api.jam import JamSession, open_ports, port_names, settings_from

    if list_ports:
        terminal.print_report(PortsReport(port_names(ports.backend)), as_json=as_json)
        return
    chosen = settings_from(**settings)
    terminal.check_files(**{"--output": output})
    session = JamSession(chosen, sampling=source.sampling("music", sampling))
    with open_ports(ports.input_port, ports.output_port, ports.backend) as (keyboard, synthesizer):
        model = source.load_generator("music", compiled=True)
        session.warm_up(model)
        log("listening; Ctrl-C ends it")
        try:
            session.play(model, keyboard, synthesizer, rounds=rounds, on_turn=_log_turn)
        finally:
            if output is not None and (piece := session.save(output)):
                log(f"{output}: {piece.bars} bars, {piece.note_count} notes")
            if as_json:
                terminal.print_json({"model": model.checkpoint.name, **session.to_json(output)})


def _log_turn(turn: dict[str, Any]) -> None:
    log("{heard} notes in {bars} bars at {tempo:.0f}; {answered} back".format(**turn))


@dataclass(frozen=True)
class PortsReport:
    """The machine's MIDI ports: "in" and "out" -> names."""

    names: dict[str, list[str]]

    def to_json(self) -> dict[str, list[str]]:
        """The names."""
        return self.names

    def to_lines(self) -> Iterator[str]:
        """One line a port."""
        for direction, names in self.names.items():
            for name in names or ["(none)"]:
                yield f"{direction:<4} {name}"
