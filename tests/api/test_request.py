"""The tables of request options: they are documented, and the command line has every option."""

from __future__ import annotations

import re
from typing import Any

import pytest

from generative.api.generation import GenerateOptions
from generative.api.request import (
    HarmoniseOptions,
    HarmoniseRequest,
    MusicOptions,
    MusicRequest,
    TextOptions,
    TextRequest,
    VoiceRequest,
    split_request,
)
from generative.cli.main import cli

TABLES = (TextRequest, VoiceRequest, MusicRequest, HarmoniseRequest)


def own_options(table: Any) -> set[str]:
    """The options of a table without those of the table that it extends."""
    inherited = set() if table in (TextRequest, VoiceRequest) else set(VoiceRequest.__annotations__)
    return set(table.__annotations__) - inherited


@pytest.mark.parametrize("table", TABLES)
def test_a_table_documents_each_of_its_options(table: Any) -> None:
    documented = re.findall(r"^ {4}(\w+): ", table.__doc__, flags=re.MULTILINE)
    assert sorted(documented) == sorted(own_options(table))


def test_requests_and_sampling_options_do_not_overlap() -> None:
    for table in TABLES:
        assert not set(table.__annotations__) & set(GenerateOptions.__annotations__)
    for both, table in (
        (TextOptions, TextRequest),
        (MusicOptions, MusicRequest),
        (HarmoniseOptions, HarmoniseRequest),
    ):
        parts = set(table.__annotations__) | set(GenerateOptions.__annotations__)
        assert set(both.__annotations__) == parts


@pytest.mark.parametrize(
    ("command", "tables"), [("text", [TextRequest]), ("music", [MusicRequest, HarmoniseRequest])]
)
def test_the_command_line_has_every_option(command: str, tables: list[Any]) -> None:
    on_command_line = {parameter.name for parameter in cli.commands[command].params}
    for table in tables:
        assert set(table.__annotations__) <= on_command_line


def test_a_request_is_split_from_other_options() -> None:
    options = {"bars": 2, "key": None, "seed": 3, "top_k": None, "colour": "red"}
    request, others = split_request(MusicRequest, options)
    assert request == {"bars": 2}
    assert others == {"seed": 3, "top_k": None, "colour": "red"}
