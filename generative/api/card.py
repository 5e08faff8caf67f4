"""The model card: a folder's README.md, told from its config; knows no model and no training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from generative import checkpoint
from generative.files import write_text
from generative.scoring.likelihood import Likelihood

if TYPE_CHECKING:
    from pathlib import Path

# label, property of Likelihood; what does not apply is left out
_SCORES = (
    ("nats per char", "nats_per_char"),
    ("bits per char", "bits_per_char"),
    ("bits per byte", "bits_per_byte"),
    ("bits per note", "bits_per_note"),
    ("nats per token", "nats_per_token"),
    ("perplexity per token", "perplexity"),
)


def write(folder: Path, note: str = "") -> None:
    """Write README.md from config.json; `note` is a paragraph about the corpus."""
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
        *(f"- {key}: {value}" for key, value in config.to_dict().items() if key != "labels"),
        *(f"- {key}: {value}" for key, value in training.items()),
        *(["- budget: {amount} {unit}".format(**recipe["budget"])] if "budget" in recipe else []),
        "",
        "## Scores",
        "",
        *_score_lines(details.get("scores", {}), bool(config.labels)),
        "",
    ]
    return "\n".join(lines)


def _score_lines(scores: dict[str, Any], in_styles: bool) -> list[str]:
    if not scores.get("held_out"):
        return ["Nothing was held out, so there is no honest score."]
    held_out = Likelihood(**scores["held_out"])
    lines = [
        "On held-out data that no gradient saw (the best weights on the way, one temperature and "
        "the match model's biases were chosen on part of it), state carried through each document, "
        f"{'each in its own style, ' if in_styles else ''}"
        f"{held_out.tokens:,} tokens:",
        "",
    ]
    for label, name in _SCORES:
        value = getattr(held_out, name)
        if value is not None:
            lines.append(f"- {label}: {value:.4f}")
    return lines
