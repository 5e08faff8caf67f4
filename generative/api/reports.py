"""Results of generating, scoring and training, as values for JSON and as lines for people.

A report prints nothing and reads no file. The reports of models are in `generative.api.card`, those
of MIDI files in `generative.api.inspection`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from generative.api.evaluation import CopyReport, FileScores
    from generative.api.generation import TokenLogprob
    from generative.api.text_model import TextGeneration
    from generative.api.training import TrainingResult
    from generative.api.tune import Tune
    from generative.scoring.likelihood import Likelihood

# properties of `Likelihood` that apply to every medium, to text and to music
LIKELIHOOD_FIGURES = ("tokens", "nats", "perplexity", "bits_per_token")
TEXT_FIGURES = ("bits_per_char", "bits_per_byte", "chars", "bytes")
MUSIC_FIGURES = ("bits_per_note", "notes", "seconds")
FRACTIONAL = "{:,.4f}"
WHOLE = "{:,}"
# figure of a score -> how a line shows it
SCORE_FORMATS = {
    "model": "{}",
    "documents": WHOLE,
    "tokens": WHOLE,
    "nats": FRACTIONAL,
    "perplexity": FRACTIONAL,
    "bits_per_token": FRACTIONAL,
    "bits_per_char": FRACTIONAL,
    "bits_per_byte": FRACTIONAL,
    "bits_per_note": FRACTIONAL,
    "chars": WHOLE,
    "bytes": WHOLE,
    "notes": WHOLE,
    "seconds": FRACTIONAL,
    "protocol": "{}",
}
LABEL_WIDTH = 16
RATIOS = {"perplexity", "bits_per_token", "bits_per_char", "bits_per_byte", "bits_per_note"}


class Report(Protocol):
    """Figures that can be printed in two ways."""

    def to_json(self) -> Any:
        """Plain values; a figure may be infinite."""
        ...

    def to_lines(self) -> Iterator[str]:
        """Text for people."""
        ...


def likelihood_json(likelihood: Likelihood) -> dict[str, Any]:
    """The figures of a likelihood that apply to its medium."""
    of_medium = TEXT_FIGURES if likelihood.notes is None else MUSIC_FIGURES
    return {name: getattr(likelihood, name) for name in (*LIKELIHOOD_FIGURES, *of_medium)}


def sequence_json(sequence: Any) -> dict[str, Any]:
    """The figures that a generated text and a generated piece of music share."""
    values = {
        "tokens": len(sequence.tokens),
        "nats": sequence.nats,
        "perplexity": sequence.perplexity,
        "finish_reason": sequence.finish_reason,
        "score": sequence.score,
    }
    if sequence.logprobs:
        values["logprobs"] = [token_json(token) for token in sequence.logprobs]
    return values


def token_json(token: TokenLogprob) -> dict[str, Any]:
    """One token's log-probabilities, with the alternatives to it."""
    names = ("token", "text", "logprob", "processed_logprob")
    values = {name: getattr(token, name) for name in names}
    if token.top:
        values["top"] = [token_json(alternative) for alternative in token.top]
    return values


def text_json(model: str, generated: TextGeneration) -> dict[str, Any]:
    """Generated texts. model: the name of the model that made them."""
    sequences = [{"text": s.text, **sequence_json(s)} for s in generated.sequences]
    return {"model": model, "seed": generated.seed, "sequences": sequences}


def tune_json(model: str, tune: Tune, paths: Sequence[Path]) -> dict[str, Any]:
    """Generated music. paths: the file of each sequence."""
    sequences = [
        {
            "file": str(path),
            "notes": sequence.piece.note_count,
            "bars": sequence.piece.bars,
            "seconds": round(sequence.piece.seconds, 3),
            **sequence_json(sequence),
        }
        for path, sequence in zip(paths, tune.sequences, strict=True)
    ]
    return {"model": model, "seed": tune.seed, "sequences": sequences}


@dataclass(frozen=True, kw_only=True)
class ScoreReport:
    """The scores of files under a model.

    Attributes:
        model: its name.
        scores: of each file.
        reset_every: the number of tokens after which the state was cleared; None never cleared it.
        copies: what the files share with the model's corpus; None if nobody asked.
    """

    model: str
    scores: FileScores
    reset_every: int | None = None
    copies: CopyReport | None = None

    def to_json(self) -> dict[str, Any]:
        """The figures of all files together; "static" repeats those beside the other protocols."""
        figures = likelihood_json(self.scores.total)
        adaptive, dynamic = self.scores.adaptive, self.scores.dynamic
        reset = self.reset_every
        values = {
            "model": self.model,
            "documents": self.scores.documents,
            **figures,
            "protocol": "stream" if reset is None else f"reset-every-{reset}",
            "static": figures,
            "adaptive": likelihood_json(adaptive) if adaptive else None,
            "dynamic": likelihood_json(dynamic) if dynamic else None,
        }
        if self.copies:
            values["copies"] = self.copies.to_json()
        return values

    def to_lines(self) -> Iterator[str]:
        """One line a figure, and one a document for copies."""
        values = self.to_json()
        for name, shape in SCORE_FORMATS.items():
            if values.get(name) is not None:
                yield f"{name:>{LABEL_WIDTH}} {shape.format(values[name])}"
        for name in ("adaptive", "dynamic"):
            if found := values[name]:
                figures = "perplexity {perplexity:,.4f}, nats {nats:,.4f}".format(**found)
                yield f"{name:>{LABEL_WIDTH}} {figures}"
        if copies := values.get("copies"):
            yield from _copy_lines(copies)


def _copy_lines(copies: Mapping[str, Any]) -> Iterator[str]:
    for row in copies["documents"]:
        source = f", as in {row['source']}" if row["source"] else ""
        length = f"{row['longest']:,} of {row['of']:,} {copies['unit']}"
        yield f"{'copies':>{LABEL_WIDTH}} {length}: {row['document']}{source}"


@dataclass(frozen=True, kw_only=True)
class TrainingReport:
    """The end of a training run."""

    result: TrainingResult

    def to_json(self) -> dict[str, Any]:
        """The run and its score on held-out data."""
        result = self.result
        return {
            "model": str(result.path),
            "steps": result.steps,
            "seconds": round(result.seconds, 1),
            "validation_loss": result.validation_loss,
            "held_out": likelihood_json(result.held_out) if result.held_out else None,
            "recipe": result.recipe,
            "skipped": [{"file": file, "reason": reason} for file, reason in result.skipped],
        }

    def to_lines(self) -> Iterator[str]:
        """The ratios of the score, and what to do next."""
        if self.result.held_out:
            yield "held out: " + ", ".join(
                f"{name} {value:.3f}"
                for name, value in likelihood_json(self.result.held_out).items()
                if name in RATIOS and value is not None
            )
        yield f"model in {self.result.path}; try: generate info {self.result.path}"
