"""The options that several commands share: the model, sampling, output."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from generative.api.choices import SAMPLING_PRECISIONS
from generative.cli.sections import Section, option
from generative.cli.terminal import check_stdout, unescape

Function = TypeVar("Function", bound=Callable[..., Any])
FILE = click.Path(path_type=Path)
CLI_TEMPERATURE = 0.8


@dataclass(frozen=True, kw_only=True)
class ModelChoice:
    """Which model to load, and how.

    Attributes:
        model: a folder or a shipped model's name; None is the default model.
        mix: other models with their weights, MODEL:WEIGHT.
        style: a style or a blend of styles; None is the model without one.
        precision: of the weights that are sampled from.
    """

    model: str | None
    mix: tuple[str, ...] = ()
    style: str | None = None
    precision: str = SAMPLING_PRECISIONS[0]

    def load(self, kind: str) -> Any:
        """The model, of either kind. kind: "text" or "music", of the default model."""
        return self._load(kind).in_style(self.style)

    def load_generator(self, kind: str, *, compiled: bool | None = None) -> Any:
        """The model for generating.

        Args:
            kind: "text" or "music".
            compiled: whether the compiled loop samples; None decides by the size of each request.

        Raises:
            ValueError: the model is of the other kind.
        """
        # NumPy reads this when it is imported. One vector is too little work for several threads.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        model = self._load(kind, compiled=compiled)
        if model.kind != kind:
            raise ValueError(
                f"{model.checkpoint.name} is a model of {model.kind}: use `generate {model.kind}`"
            )
        return model.in_style(self.style)

    def sampling(self, kind: str, given: dict[str, Any]) -> dict[str, Any]:
        """The options of sampling: those that were given, and the temperature where it was not.

        The temperature is what the model's card suggests, or else that of the command line.
        """
        from generative.api import load as api

        suggested = api.suggested_temperature(self.model or api.default_model(kind))
        return {"temperature": CLI_TEMPERATURE if suggested is None else suggested, **given}

    def _load(self, kind: str, *, compiled: bool | None = False) -> Any:
        from generative.api import load as api

        weights = api.mixture_weights(self.model or api.default_model(kind), self.mix)
        return api.mix(weights, precision=self.precision, compiled=compiled)


model_option = option(
    Section.COMMON,
    "-m", "--model",
    metavar="NAME",
    help="Folder of the model, or the name of a model that ships.",
)  # fmt: skip
mix_option = option(
    Section.MODEL,
    "--mix",
    multiple=True,
    metavar="MODEL:WEIGHT",
    help="Model to mix in and its weight, such as folk:0.4; --model has the rest. Repeatable.",
)
style_option = option(
    Section.MODEL,
    "--style",
    metavar="NAME",
    help="Style to generate in, or a blend of styles, such as bach:0.6,folk:0.4.",
)
precision_option = option(
    Section.MODEL,
    "--precision",
    type=click.Choice(SAMPLING_PRECISIONS),
    default=SAMPLING_PRECISIONS[0],
    show_default=True,
    help="Precision of the weights; int8 is faster with large models.",
)


def _on_value(function: Callable[[Any], Any]) -> Callable[..., Any]:
    """A callback for click from a function of the option's value."""

    def callback(*call: Any) -> Any:
        return function(call[-1])  # the others are the context and the parameter

    return callback


def _checked_json(value: bool) -> bool:
    """The value of --json, which is refused where stdout is closed."""
    if value:
        check_stdout()
    return value


json_option = option(
    Section.OUTPUT,
    "--json",
    "as_json",
    is_flag=True,
    callback=_on_value(_checked_json),
    help="Print one JSON value on stdout.",
)


def _unescaped(values: tuple[str, ...]) -> tuple[str, ...]:
    """Texts with their escapes replaced."""
    return tuple(map(unescape, values))


def literal_option(
    section: Section, *names: str, **settings: Any
) -> Callable[[Function], Function]:
    """A repeatable option whose text may contain escapes such as \\n."""
    return option(section, *names, multiple=True, callback=_on_value(_unescaped), **settings)
