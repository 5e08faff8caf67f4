"""The table of options against all that is built from it or written beside it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_type_hints

import click
import pytest

from generative.api.generation import GenerateOptions, parse_options
from generative.cli.main import cli
from generative.sampling import (
    GROUPS,
    OPTIONS,
    PROCESSOR_NAMES,
    BeamOptions,
    Option,
    SamplingKeywords,
    SamplingOptions,
    build,
)
from generative.sampling.branching import METHODS
from generative.sampling.table import BEAMS, RESULTS

DOCS = Path(__file__).resolve().parents[2] / "docs" / "sampling.md"
MARK = "<!-- table -->\n"
REWRITE = "rewrite it: python -c 'from tests.sampling import test_options as t; t.rewrite()'"
ROWS = {option.name: option for option in OPTIONS}


def hints(keywords: type) -> dict[str, Any]:
    return get_type_hints(keywords, localns={"Mapping": Mapping, "Sequence": Sequence})


def signature_differences(options: Sequence[Option]) -> list[str]:
    """Options that the keywords of `generate` lack, have besides or give another type."""
    expected = {option.name: option.type | None for option in options}
    found = hints(GenerateOptions)
    return sorted(n for n in {*expected, *found} if expected.get(n) != found.get(n))


def command_line(command: str) -> dict[str, click.Option]:
    """The options of a command by their names in Python."""
    found = cli.commands[command]
    parameters = found.get_params(click.Context(found))
    return {p.name: p for p in parameters if isinstance(p, click.Option) and p.name}


def command_line_differences(options: Sequence[Option], command: str) -> list[str]:
    """Options that a command lacks or describes in other words."""
    found = command_line(command)
    return [
        option.name
        for option in options
        if option.name not in found or option.help not in (found[option.name].help or "")
    ]


def value_words(option: Option) -> str:
    if option.choices:
        return ", ".join(f"`{choice}`" for choice in option.choices)
    names = {
        int: "whole number",
        float: "number",
        float | Sequence[float]: "number or list of numbers",
        Sequence[int]: "list of ids",
        Sequence[str]: "list of names",
        Mapping[int, float]: "mapping of ids to numbers",
    }
    return names[option.type] + (f", at least {option.minimum}" if option.minimum else "")


def documented(options: Sequence[Option]) -> str:
    """The order of processors and the table, as docs/sampling.md has them."""
    order = ", ".join(f"`{option.processor or option.name}`" for option in options if option.make)
    lines = [
        f"Processors run in this order: {order}.",
        "",
        "| option | value | neutral | without it | ranks | effect |",
        "|---|---|---|---|---|---|",
    ]
    for option in sorted(options, key=lambda option: GROUPS.index(option.group)):
        neutral = "" if option.neutral is None else f"`{option.neutral}`"
        default = "" if option.default is None else f"`{option.default}`"
        source = f" ({option.source})" if option.source else ""
        ranks = "yes" if option.ranks_beams else ""
        effect = option.help.removesuffix(".") + source
        cells = (f"`{option.name}`", value_words(option), neutral, default, ranks, effect)
        lines.append(f"| {' | '.join(cells)} |".replace("|  |", "| |").replace("|  |", "| |"))
    return "\n".join(lines) + "\n"


def rewrite() -> None:
    text = DOCS.read_text(encoding="utf-8")
    DOCS.write_text(text[: text.index(MARK)] + MARK + documented(OPTIONS), "utf-8")


def docs_differ(options: Sequence[Option]) -> bool:
    return DOCS.read_text(encoding="utf-8").partition(MARK)[2] != documented(options)


@pytest.mark.parametrize("command", ["text", "music", "jam"])
def test_signature_command_line_and_docs_have_the_same_options(command: str) -> None:
    assert signature_differences(OPTIONS) == []
    assert command_line_differences(OPTIONS, command) == []
    assert not docs_differ(OPTIONS), REWRITE


@pytest.mark.parametrize("name", ROWS)
def test_an_option_that_is_left_out_of_the_table_or_of_the_others_is_found(name: str) -> None:
    without = [option for option in OPTIONS if option.name != name]
    assert signature_differences(without) == [name]
    assert docs_differ(without)
    other = [*without, replace(ROWS[name], name="unheard_of", help="Keep nothing.", type=bytes)]
    assert signature_differences(other) == sorted([name, "unheard_of"])
    assert command_line_differences(other, "text") == ["unheard_of"]


def test_sampling_and_beams_divide_the_table_between_them() -> None:
    beams = {option.name for option in OPTIONS if option.group == BEAMS}
    assert {field.name for field in fields(BeamOptions)} == beams
    sampling = {option.name for option in OPTIONS if option.group not in {BEAMS, RESULTS}}
    assert set(hints(SamplingKeywords)) == sampling
    assert ROWS["beam_method"].choices == tuple(METHODS)
    defaults = {field.name: field.default for field in fields(BeamOptions)}
    assert {name: ROWS[name].neutral for name in beams} == defaults


def test_each_row_is_complete() -> None:
    assert [option.name for option in OPTIONS] == list(ROWS)  # each name once
    for option in OPTIONS:
        assert option.group in GROUPS
        assert option.help[0].isupper(), option.name
        assert option.help.endswith("."), option.name
        assert option.choices or option.metavar, option.name
        assert option.type is not int or option.minimum is not None, option.name
        assert not option.argument or ROWS[option.refines].make, option.name
        assert (option.default is None) or option.refines, option.name


def test_what_is_not_given_is_neutral() -> None:
    parsed = parse_options({})
    assert parsed.beams == BeamOptions()
    assert (parsed.num_return_sequences, parsed.top_logprobs) == (1, None)
    neutral: Any = {o.name: o.neutral for o in OPTIONS if o.neutral is not None}
    same = parse_options(neutral)
    assert (same.beams, same.num_return_sequences) == (parsed.beams, 1)
    assert build(same.sampling)[0] == []


def test_what_refines_an_option_has_the_default_of_the_table() -> None:
    """A processor is the same with the default given as with none given."""
    on = {"dry_multiplier": 1.0, "xtc_probability": 0.5, "mirostat_tau": 2.0}
    for option in OPTIONS:
        if option.default is not None:
            base: Any = {option.refines: on[option.refines]}
            given = {**base, option.name: option.default}
            other = {**base, option.name: option.default * 2}
            assert build(SamplingOptions(**given))[0] == build(SamplingOptions(**base))[0]
            assert build(SamplingOptions(**other))[0] != build(SamplingOptions(**base))[0]


def test_unknown_options_are_refused_by_name() -> None:
    wrong: Any = {"top_q": 1}
    with pytest.raises(TypeError, match="unknown options: top_q"):
        parse_options(wrong)
    with pytest.raises(TypeError, match="unknown options: num_beams"):
        SamplingOptions(num_beams=2)  # type: ignore[call-arg]


def test_the_documented_order_is_that_of_samplers() -> None:
    order = ", ".join(f"`{name}`" for name in PROCESSOR_NAMES)
    assert f"in this order: {order}.\n" in DOCS.read_text(encoding="utf-8")


def test_no_default_of_the_options_changes_what_is_sampled() -> None:
    parameters = cli.commands["text"].make_context("text", []).params
    assert not [name for name in ROWS if parameters[name] not in (None, ())]


def test_a_command_lists_the_sampling_options_in_order() -> None:
    names = list(command_line("text"))
    assert names.index("max_new_tokens") < names.index("temperature")
    assert names.index("temperature") < names.index("top_p") < names.index("num_beams")


def test_the_table_needs_no_numpy() -> None:
    code = "import sys, generative.sampling.table; assert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
