"""The options of `train`: their names and types, and the settings that they make.

It must not import torch, so that a wrong option is refused at once.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from generative.context.features import AUTO, parse_names
from generative.errors import check_at_least
from generative.model.config import ModelConfig
from generative.training.config import UNITS, Budget, TrainingConfig
from generative.training.reports import ReportOptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DEFAULT_MINUTES = 10.0
NOTHING_HELD_OUT = "none"  # This value of `held_out` means that all data is learnt from.
_NOTHING_HELD_OUT = (NOTHING_HELD_OUT, [NOTHING_HELD_OUT], (NOTHING_HELD_OUT,))
ALIASES = {"layers": "num_layers", "hidden": "hidden_size"}  # other names of options -> fields
# The names of an option that was removed. They are ignored, since an earlier version's recipe.toml
# may have them.
REMOVED = frozenset({"recall_length", "match_length"})


class TrainOptions(TypedDict, total=False):
    """The options of `train`. None is the same as leaving an option out.

    Length and data:
    minutes, steps, epochs: how long to train; one of them, or 10 minutes.
    held_out: files or folders to validate on. By default the last tenth of the text, or a tenth of
        the music files; with `styles` the last tenth of each style's text. "none" learns from
        everything: the last weights are kept, and nothing is fitted or scored.
    styles: where documents' styles come from: "folders" for the folder right below one of the
        sources; or a CSV file, path,label; or a table.
    tokenizer: "auto" or a name in `generative.tokenizers.TOKENIZERS`, such as "byte".
    vocab_size: the largest vocabulary of a tokenizer that learns it from the corpus.
    grid: of music: "score" (beats), "performance" (10 ms) or "auto", which looks at the files.
    context_features: what the network reads beside each token (`generative.context.features`):
        names, or one text with commas between them; "none"; or "auto", which is what suits the
        tokenizer: several for music, none for text.
    encoding: of text files.
    licence: of the corpus, for the model card.

    The run:
    resume: continue the run in the folder, on the same corpus and with its recipe.
    device: "auto", "cpu", "cuda", ...
    precision: "auto" (bfloat16 where the processor has it), "float32" or "bfloat16".
    seed: for everything that is drawn.
    threads: that share each batch; by default as many as there are cores for this process. The
        number is part of the recipe, since it decides in which order gradients are summed.
    histograms: of the weights, among the TensorBoard events.
    wandb: a project of Weights & Biases to report to as well.

    The others are fields of `ModelConfig` and `TrainingConfig`, which describe them; `layers` and
    `hidden` are short for `num_layers` and `hidden_size`.
    """

    minutes: float | None
    steps: int | None
    epochs: float | None
    held_out: str | Path | Sequence[str | Path] | None
    styles: str | Path | Mapping[str, str] | None
    tokenizer: str | None
    vocab_size: int | None
    grid: str | None
    context_features: str | Sequence[str] | None
    encoding: str | None
    licence: str | None
    resume: bool | None
    device: str | None
    precision: str | None
    seed: int | None
    threads: int | None
    histograms: bool | None
    wandb: str | None

    cell: str | None
    embedding_size: int | None
    hidden: int | None
    hidden_size: int | None
    layers: int | None
    num_layers: int | None
    tied: bool | None
    sum_layers: bool | None
    embedding_dropout: float | None
    dropout: float | None
    output_dropout: float | None
    weight_drop: float | None

    batch_size: int | None
    sequence_length: int | None
    learning_rate: float | None
    schedule: str | None
    warmup_steps: int | None
    weight_decay: float | None
    beta1: float | None
    beta2: float | None
    gradient_clip: float | None
    average_decay: float | None
    clear_probability: float | None
    activation_penalty: float | None
    activation_change_penalty: float | None
    scheduled_sampling: float | None
    label_dropout: float | None
    init: str | None
    transpose: int | None
    velocity_jitter: int | None
    tempo_jitter: int | None
    ngram_order: int | None
    ngram_size: float | None
    patience: int | None


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """The options of one call of `train`, checked, with defaults, and sorted by what they set.

    Attributes:
        budget: how long to train.
        model_choices, training_choices: the fields of the configs that the user set.
        held_out: files and folders to hold out; empty for a tenth of the data, None for nothing.
        reporting: which logs are written.
        context_features: the names of what the network reads beside each token; None leaves them to
            the tokenizer.

    The other attributes are the options of the same names.
    """

    budget: Budget
    model_choices: dict[str, Any]
    training_choices: dict[str, Any]
    held_out: list[str | Path] | None
    reporting: ReportOptions
    context_features: tuple[str, ...] | None = None
    styles: str | Path | Mapping[str, str] | None = None
    tokenizer: str = "auto"
    vocab_size: int | None = None
    grid: str = "auto"
    encoding: str = "utf-8"
    licence: str = ""
    resume: bool = False
    device: str = "auto"
    precision: str = "auto"
    seed: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        """Refuse a number of threads that is none.

        Raises:
            OptionError: `threads` below 1.
        """
        check_at_least("threads", self.threads, 1)

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> TrainSettings:
        """The settings of some `TrainOptions`.

        Raises:
            ValueError: an unknown option, or one that is out of range.
        """
        given = {k: v for k, v in options.items() if v is not None and k not in REMOVED}
        if unknown := given.keys() - TrainOptions.__annotations__.keys():
            raise ValueError(f"unknown training options: {', '.join(sorted(unknown))}")
        given = {ALIASES.get(name, name): value for name, value in given.items()}

        def fields_of(config: type) -> dict[str, Any]:
            return {
                field.name: given[field.name] for field in fields(config) if field.name in given
            }

        model_choices = fields_of(ModelConfig)
        model_choices.pop("vocab_size", None)  # The option is an upper limit for the tokenizer.
        own = fields_of(cls)
        held_out = own.pop("held_out", ())
        own["context_features"] = parse_names(own.get("context_features", AUTO))
        return cls(
            budget=_budget({unit: given[unit] for unit in UNITS if unit in given}),
            model_choices=model_choices,
            training_choices=fields_of(TrainingConfig),
            held_out=None if held_out in _NOTHING_HELD_OUT else as_list(held_out),
            reporting=ReportOptions(**fields_of(ReportOptions)),
            **own,
        )


def as_list(sources: str | Path | Sequence[str | Path]) -> list[str | Path]:
    """One source or several as a list."""
    return [sources] if isinstance(sources, str | Path) else list(sources)


def _budget(amounts: dict[str, float]) -> Budget:
    if len(amounts) > 1:
        raise ValueError(f"give one of {', '.join(UNITS)}, not {' and '.join(amounts)}")
    unit, amount = next(iter(amounts.items()), ("minutes", DEFAULT_MINUTES))
    return Budget(unit=unit, amount=amount)
