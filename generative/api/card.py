"""What a model folder holds, in plain values and as its model card, README.md; loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from generative import checkpoint
from generative.files import write_text
from generative.scoring.likelihood import Likelihood

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

# (label, property of `Likelihood`); a property that is None has no line
_SCORES = (
    ("nats per char", "nats_per_char"),
    ("bits per char", "bits_per_char"),
    ("bits per byte", "bits_per_byte"),
    ("bits per note", "bits_per_note"),
    ("nats per token", "nats_per_token"),
    ("perplexity per token", "perplexity"),
)
# Fields of `ModelConfig` that are not listed with the others: names have lines of their own, and
# `feature_sizes` follow from them.
_NAMES = ("labels", "features", "feature_sizes")


def write(folder: Path, note: str = "") -> None:
    """Write README.md from config.json. note: a paragraph about the corpus."""
    write_text(folder / checkpoint.CARD_FILE, render(folder, note))


def render(folder: Path, note: str = "") -> str:
    """The card of the model in `folder`, in Markdown."""
    config, details = checkpoint.read_config(folder)
    corpus, recipe = details.get("corpus", {}), details.get("recipe", {})
    training = recipe.get("training", {})
    lines = [
        f"# {folder.resolve().name}",
        "",
        f"A {config.num_layers}x{config.hidden_size} {config.cell.upper()} language model of "
        f"{corpus.get('kind', 'tokens')}, made with `generative`.",
        "",
        *([note, ""] if note else []),
        "## Corpus",
        "",
        f"- {corpus.get('documents', '?')} documents: {', '.join(corpus.get('names', []))}",
        *([f"- styles: {', '.join(config.labels)}"] if config.labels else []),
        f"- licence: {corpus.get('licence', 'not stated')}",
        f"- {corpus.get('train_tokens', 0):,} tokens learnt from, "
        f"{corpus.get('held_out_tokens', 0):,} held out",
        "",
        "## Recipe",
        "",
        *(f"- {key}: {value}" for key, value in config.to_dict().items() if key not in _NAMES),
        *([f"- context features: {', '.join(config.features)}"] if config.features else []),
        *(f"- {key}: {value}" for key, value in training.items()),
        *(["- budget: {amount} {unit}".format(**recipe["budget"])] if "budget" in recipe else []),
        "",
        *_sampling_lines(details.get("sampling", {})),
        "## Scores",
        "",
        *_score_lines(details.get("scores", {}), bool(config.labels)),
        "",
    ]
    return "\n".join(lines)


def _sampling_lines(sampling: dict[str, Any]) -> list[str]:
    if "temperature" not in sampling:
        return []
    line = f"- temperature: {sampling['temperature']:g}, where the command line is given none"
    return ["## Sampling", "", line, ""]


def _score_lines(scores: dict[str, Any], in_styles: bool) -> list[str]:
    if not scores.get("held_out"):
        return ["Nothing was held out, so there is no honest score."]
    held_out = Likelihood(**scores["held_out"])
    lines = [
        "On held-out data that no gradient saw (the best weights on the way, one temperature and "
        "the mixture with count models were chosen on part of it), state carried through each "
        f"document, {'each in its own style, ' if in_styles else ''}static, "
        f"{held_out.tokens:,} tokens:",
        "",
        *_ratio_lines(held_out),
    ]
    if scores.get("adaptive"):
        lines += ["", "Adaptive, so that counts learn from what was read:", ""]
        lines += _ratio_lines(Likelihood(**scores["adaptive"]))
    return lines


def _ratio_lines(likelihood: Likelihood) -> list[str]:
    values = [(label, getattr(likelihood, name)) for label, name in _SCORES]
    return [f"- {label}: {value:.4f}" for label, value in values if value is not None]


def describe(path: Path) -> dict[str, Any]:
    """A model's size, configuration and history, and a one-line summary.

    Raises:
        CheckpointError: no such model, or a damaged one.
    """
    loaded = checkpoint.load(path)
    parameters = sum(array.size for name, array in loaded.weights.items())
    if loaded.config.tied:
        parameters -= loaded.weights["embedding.weight"].size
    files = (path / name for name in (checkpoint.WEIGHTS_FILE, checkpoint.COUNTS_FILE))
    size = sum(file.stat().st_size for file in files if file.is_file())
    counts = loaded.counts
    shape = loaded.config
    return {
        "path": str(path),
        "kind": loaded.kind,
        "tokenizer": loaded.tokenizer.name,
        "summary": (
            f"{shape.num_layers}x{shape.hidden_size} {shape.cell}, {parameters:,} parameters, "
            f"{size / 1e6:.1f} MB, {loaded.tokenizer.name} tokenizer with {shape.vocab_size} tokens"
            + (f", counts of up to {counts.order} tokens" if counts else "")
            + (f", {len(shape.features)} context features" if shape.features else "")
            + (f", styles {', '.join(shape.labels)}" if shape.labels else "")
        ),
        "parameters": parameters,
        "bytes": size,
        "config": shape.to_dict(),
        **loaded.details,
    }


@dataclass(frozen=True, kw_only=True)
class ModelReport:
    """One model.

    Attributes:
        name: the path or name that the user gave.
        description: see `describe`.
        card: the model card, in Markdown.
    """

    name: str
    description: Mapping[str, Any]
    card: str

    @classmethod
    def of(cls, name: str) -> ModelReport:
        """The report of a model folder or of a model that ships.

        Raises:
            CheckpointError: no such model, or a damaged one.
        """
        path = checkpoint.find(name)
        return cls(name=name, description=describe(path), card=render(path))

    def to_json(self) -> dict[str, Any]:
        """The description."""
        return {"model": self.name, **self.description}

    def to_lines(self) -> Iterator[str]:
        """A summary, the folder, and the model card."""
        yield f"{self.description['summary']}\n{self.description['path']}\n"
        yield self.card


@dataclass(frozen=True, kw_only=True)
class ModelsReport:
    """Several models. descriptions: name -> see `describe`."""

    descriptions: Mapping[str, Mapping[str, Any]]

    @classmethod
    def shipped(cls) -> ModelsReport:
        """The report of all models that ship."""
        models = checkpoint.shipped_models()
        return cls(descriptions={name: describe(path) for name, path in models.items()})

    def to_json(self) -> list[dict[str, Any]]:
        """The descriptions."""
        return [{"model": name, **values} for name, values in self.descriptions.items()]

    def to_lines(self) -> Iterator[str]:
        """One line a model."""
        for name, values in self.descriptions.items():
            yield f"{name:<14} {values['kind']:<6} {values['summary']}"
