"""The command `generate text`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from generative.cli import terminal
from generative.cli.common import (
    FILE,
    ModelChoice,
    json_option,
    literal_option,
    mix_option,
    model_option,
    precision_option,
    style_option,
)
from generative.cli.options import sampling_argument
from generative.cli.sections import Command, Section, gathered, given, option
from generative.cli.terminal import STDIO


@click.command(cls=Command)
@click.argument("prompt", required=False)
@gathered("source", ModelChoice, model_option, mix_option, style_option, precision_option)
@sampling_argument
@option(
    Section.MODEL,
    "--adapt",
    type=FILE,
    metavar="FILE",
    help="Text that a copy of the model learns from first; - is stdin.",
)
@gathered(
    "constraints",
    given,
    literal_option(
        Section.CONSTRAINTS,
        "--stop",
        metavar="STRING",
        help="String that ends the text and is left out of it. Repeatable. In this option, in "
        "--choice and in --forbid, \\n, \\t and \\u00e9 stand for characters, and \\\\ for a "
        "backslash.",
    ),
    option(
        Section.CONSTRAINTS,
        "--pattern",
        metavar="REGEX",
        help="Regular expression that the generated text matches in full.",
    ),
    literal_option(
        Section.CONSTRAINTS,
        "--choice",
        "choices",
        metavar="TEXT",
        help="One of the texts to choose from. Repeatable.",
    ),
    literal_option(
        Section.CONSTRAINTS,
        "--forbid",
        metavar="TEXT",
        help="Text that must not appear. Repeatable.",
    ),
)
@option(Section.OUTPUT, "--no-stream", is_flag=True, help="Print nothing until all is generated.")
@option(
    Section.COMMON, "-o", "--output", type=FILE, metavar="FILE", help="File for the text. [stdout]"
)
@json_option
def text(
    prompt: str | None,
    source: ModelChoice,
    sampling: dict[str, Any],
    constraints: dict[str, Any],
    adapt: Path | None,
    no_stream: bool,
    output: Path | None,
    as_json: bool,
) -> None:
    """Generate text that continues PROMPT ("-" or a pipe reads it from stdin)."""
    terminal.check_outputs(output or Path(STDIO))
    terminal.check_stdin(**{"PROMPT": prompt, "--adapt": adapt})
    if "top_logprobs" in sampling and not as_json:
        raise click.UsageError("--top-logprobs is told with --json")
    sampling = source.sampling("text", sampling)
    model = source.load_generator("text")
    if adapt is not None:
        from generative.api.inputs import read_text

        model = model.adapt(read_text(adapt))
    prefix = terminal.read_prompt(prompt, stdin=str(adapt) != STDIO)
    options = {**sampling, **constraints}
    is_printed = output is None or str(output) == STDIO
    is_single = all(options.get(name, 1) <= 1 for name in ("num_beams", "num_return_sequences"))
    if is_printed and is_single and not (no_stream or as_json):
        _stream(model, prefix, options)
    else:
        _generate(model, prefix, options, output=output, as_json=as_json)


def _stream(model: Any, prefix: str, options: dict[str, Any]) -> None:
    """Print a text while it is generated."""
    stream = model.stream(prefix, **options)
    # The prompt is printed with the first chunk, so that nothing is printed if that is refused.
    terminal.write_text(prefix + next(stream, ""))
    for chunk in stream:
        terminal.write_text(chunk)
    terminal.write_text("\n")
    terminal.log_seed(stream.seed, options.get("seed"))


def _generate(
    model: Any, prefix: str, options: dict[str, Any], *, output: Path | None, as_json: bool
) -> None:
    """Generate texts, then print or write them."""
    generated = model.generate(prefix, **options)
    if as_json:
        from generative.api.reports import text_json

        result = terminal.to_json_text(text_json(model.checkpoint.name, generated))
    else:
        result = "\n\n".join(prefix + sequence.text for sequence in generated.sequences)
        terminal.log_seed(generated.seed, options.get("seed"))
    terminal.write_output(result + "\n", output)
