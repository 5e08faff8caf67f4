"""The options are those of the library: names, defaults and choices are not written twice."""

from __future__ import annotations

import ast
import dataclasses
import shutil
from pathlib import Path
from typing import Any

import click
import pytest

from generative import checkpoint, cli
from generative.api import choices, training_options
from generative.api.request import HarmoniseRequest, MusicRequest
from generative.cli import music, sections
from generative.cli.common import ModelChoice
from generative.cli.main import cli as group
from generative.cli.sections import Section, gathered, given, option
from generative.engine import PRECISIONS
from generative.model.cell_specs import CELL_SPECS
from generative.music import formats
from generative.music.jam import Settings
from generative.music.quantise import PERFORMANCE, SCORE
from generative.training.hardware import find_precision

COMMANDS = sorted(group.commands)
# values of the command line that the library has under another form
MEANINGS = {(4, 4): "4/4"}


def options_of(command: str) -> dict[str, click.Option]:
    """Name of a parameter -> option."""
    found = group.commands[command].params
    return {p.name: p for p in found if isinstance(p, click.Option) and p.name}


def members(*decorators: Any) -> set[str]:
    """The names of the parameters that options add."""

    def command(**_: Any) -> None: ...

    for decorate in decorators:
        command = decorate(command)
    return {parameter.name for parameter in vars(command)["__click_params__"]}


def check_defaults(options: dict[str, click.Option], defaults: dict[str, Any]) -> None:
    """Where the help of an option ends with a plain value in brackets, it is the library's."""
    for name, default in defaults.items():
        if default is not None and default is not False and default not in ("", ()):
            assert f"[{MEANINGS.get(default, default)}]" in (options[name].help or ""), name


@pytest.mark.parametrize("command", COMMANDS)
def test_no_two_parameters_have_one_name(command: str) -> None:
    names = [parameter.name for parameter in group.commands[command].params]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("command", COMMANDS)
def test_each_option_is_in_a_section_and_has_a_help_text(command: str) -> None:
    for name, one in options_of(command).items():
        assert isinstance(vars(one)["section"], Section), name
        assert vars(one)["section"] != Section.HELP, name
        assert one.help, name


def test_common_options_come_first(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["text", "--help"])
    assert stopped.value.code == 0
    out = capfdbinary.readouterr().out.decode()
    headings = [line[:-1] for line in out.splitlines() if line.endswith(":") and line[0] != " "]
    assert headings == [
        "Common options", "Model", "Sampling", "Beam search", "Constraints", "Output", "Help",
    ]  # fmt: skip
    common = out[out.index("Common options") : out.index("Model:")]
    for name in ("--model", "--max-new-tokens", "--temperature", "--seed", "--output"):
        assert name in common


def test_choices_are_the_registries() -> None:
    assert set(choices.CELLS) == set(CELL_SPECS)
    assert set(choices.GRIDS) == {choices.AUTO, SCORE, PERFORMANCE}
    assert choices.SAMPLING_PRECISIONS == PRECISIONS
    for name in choices.TRAINING_PRECISIONS:
        find_precision(name)
    with pytest.raises(ValueError, match=", ".join(choices.TRAINING_PRECISIONS)):
        find_precision("float8")
    for name, values in {
        "tokenizer": choices.TOKENIZERS,
        "grid": choices.GRIDS,
        "precision": choices.TRAINING_PRECISIONS,
        "cell": choices.CELLS,
        "schedule": tuple(choices.SCHEDULES),
        "init": choices.INITS,
    }.items():
        kind = options_of("train")[name].type
        assert isinstance(kind, click.Choice)
        assert tuple(kind.choices) == values


def test_no_registry_is_written_again() -> None:
    registries = {
        "tokenizers": set(choices.TOKENIZERS),
        "grids": set(choices.GRIDS),
        "precisions": {*choices.SAMPLING_PRECISIONS, *choices.TRAINING_PRECISIONS},
        "cells": set(choices.CELLS),
        "schedules": set(choices.SCHEDULES),
        "init": set(choices.INITS),
        "formats": set(choices.FORMATS),
    }
    for path in Path(sections.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.List | ast.Tuple | ast.Set):
                written = {e.value for e in node.elts if isinstance(e, ast.Constant)}
                for name, registry in registries.items():
                    assert len(written & registry) < 2, f"{path.name} lists {name}"


def test_each_format_has_an_option() -> None:
    options = options_of("music")
    for name, known in formats.FORMATS.items():
        if name == music.MAIN_FORMAT:
            assert "output" in options
        else:
            assert known.description in (options[name].help or "")


def test_jam_has_the_settings_of_the_library() -> None:
    from generative.cli import jam

    fields = {field.name: field.default for field in dataclasses.fields(Settings)}
    assert members(jam.settings_argument) == set(fields)
    check_defaults(options_of("jam"), fields)


def test_music_has_the_parameters_of_the_model() -> None:
    handled = {"max_new_tokens", "style"}
    generate, harmonise = (
        set(table.__annotations__) - handled for table in (MusicRequest, HarmoniseRequest)
    )
    generate, harmonise = generate | {"primer"}, harmonise | {"melody"}
    assert members(music.generating_argument) == generate - harmonise
    assert members(music.harmonising_argument) == harmonise - generate
    assert members(music.limits_argument) == harmonise & generate


def test_train_has_the_parameters_of_the_library() -> None:
    from generative.cli import train

    known = {*training_options.TrainOptions.__annotations__, "sources"}
    options = options_of("train")
    settings = set(options) - {"output", "config", "as_json"}
    assert settings - {"corpus"} <= known
    assert settings == members(
        *train.duration_options, *train.corpus_options, *train.model_options,
        *train.optimization_options, *train.machine_options,
    )  # fmt: skip
    fields = dataclasses.fields(training_options.TrainSettings)
    defaults = {
        field.name: field.default
        for field in fields
        if field.name in settings and field.default is not dataclasses.MISSING
    }
    check_defaults(options, {**defaults, "minutes": f"{training_options.DEFAULT_MINUTES:g}"})


def test_gathered_options_are_one_argument() -> None:
    @click.command()
    @option(Section.COMMON, "--other")
    @gathered("size", given, click.option("--width", type=int), click.option("--height", type=int))
    @gathered("names", dict, click.option("--name", multiple=True))
    def command(**values: Any) -> Any:
        return values

    called = command.main(["--width", "3", "--name", "a"], standalone_mode=False)
    assert called == {"size": {"width": 3}, "names": {"name": ("a",)}, "other": None}
    called = command.main(["--height", "4", "--width", "3"], standalone_mode=False)
    assert list(called["size"]) == ["width", "height"]
    assert [parameter.name for parameter in command.params] == ["other", "width", "height", "name"]


@pytest.mark.parametrize(
    ("suggested", "given", "expected"),
    [
        ({}, {}, {"temperature": 0.8}),
        ({"temperature": 1.5}, {}, {"temperature": 1.5}),
        ({"temperature": 1.5}, {"temperature": 0.3, "top_k": 5}, {"temperature": 0.3, "top_k": 5}),
    ],
)
def test_the_temperature_is_that_of_the_card_or_else_of_the_command_line(
    trained: Path,
    tmp_path: Path,
    suggested: dict[str, float],
    given: dict[str, Any],
    expected: dict[str, Any],
) -> None:
    folder = shutil.copytree(trained, tmp_path / "model")
    config, details = checkpoint.read_config(folder)
    details["sampling"] = suggested
    checkpoint.save_description(folder, config, checkpoint.load_tokenizer(folder), details)
    assert ModelChoice(model=str(folder)).sampling("text", given) == expected
