"""A style is a constant: every runtime in a style computes what torch computes with labels."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import generative
from generative import checkpoint, engine
from generative.api.runtime import STYLES_KEPT, Runtime
from generative.api.styles import in_style, style_weights
from generative.api.text_model import TextModel
from generative.checkpoint import Checkpoint, CheckpointError
from generative.cli.main import main
from generative.data import store
from generative.model.cells import CELLS
from generative.scoring.dynamic import dynamic_token_nats
from generative.scoring.loss import token_nats
from generative.tokenizers.byte import ByteTokenizer
from generative.training import monitor
from generative.training.signals import Interrupted
from tests.conftest import TUNES
from tests.data.test_labels import NAMES, every_cell, labelled
from tests.model.test_model import B, T, tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

SMALL: dict[str, Any] = {
    "hidden": 24, "batch_size": 4, "sequence_length": 16, "precision": "float32",
    "tokenizer": "char", "styles": "folders",
}  # fmt: skip
ABAB, CDCD = "abab", "cdcd"


def stored(model: Any) -> Checkpoint:
    """As if it had been loaded."""
    weights = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    return Checkpoint(
        name="m", path=Path(), config=model.config, tokenizer=ByteTokenizer(), weights=weights
    )


@pytest.fixture(scope="module", autouse=True)
def _no_pictures() -> Iterator[None]:
    """Drawing takes longer than learning here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(monitor, "draw_curve", lambda *_: None)
        yield


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders of texts that share a line end and nothing else, and a file with no label."""
    folder = tmp_path_factory.mktemp("styles")
    for name, text in ((ABAB, "abababab\n"), (CDCD, "cdcdcdcd\n")):
        (folder / name).mkdir()
        for number in range(3):
            (folder / name / f"{number}.txt").write_text(text * 60, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def two_styles(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> TextModel:
    folder = tmp_path_factory.mktemp("models") / "two"
    generative.train(corpus, folder, steps=150, **SMALL)
    model = generative.load(folder, compiled=False)
    assert isinstance(model, TextModel)
    return model


def test_styles_are_learnt_within_a_budget_of_minutes(corpus: Path, tmp_path: Path) -> None:
    result = generative.train(corpus, tmp_path / "m", minutes=1e-6, **SMALL)
    assert result.steps == 1
    assert generative.load(tmp_path / "m").styles == (ABAB, CDCD)


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        ("bach", {"bach": 1.0}),
        ("bach:3", {"bach": 1.0}),
        ("bach:0.6,folk:0.4", {"bach": 0.6, "folk": 0.4}),
        (" bach : 3 , folk : 1 ", {"bach": 0.75, "folk": 0.25}),
        ({"folk": 1, "bach": 3}, {"folk": 0.25, "bach": 0.75}),
        ("odd:1,5", {"odd:1,5": 1.0}),
    ],
)
def test_styles_are_shares(style: Any, expected: dict[str, float]) -> None:
    assert style_weights(style, (*NAMES, "odd:1,5")) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("style", "message"),
    [
        ("bahc", "no style 'bahc': did you mean bach[?] there are: bach, folk"),
        ("bach:1,polka:1", "no style 'polka': did you mean folk[?] there are: bach, folk"),
        ("bach:0,folk:1", "a weight must be a positive number, not 0"),
        ("bach:nan", "a weight must be a positive number, not nan"),
        ("bach,folk", "style 'bach' must be NAME:WEIGHT, as bach:0.6"),
        ("bach:1,bach:2", "a style is named twice"),
        ({}, "a blend needs at least one name"),
    ],
)
def test_styles_that_are_none(style: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        style_weights(style, NAMES)


def test_a_model_without_styles_says_so() -> None:
    with pytest.raises(ValueError, match="has no styles; train a model with --styles"):
        style_weights("bach", ())


@every_cell
def test_one_style_is_one_label_throughout(cell: str, tied: bool) -> None:
    model, x = labelled(cell=cell, tied=tied), tokens()
    for number, name in enumerate(NAMES, start=1):
        expected, _ = model(x, model.initial_state(B), torch.full_like(x, number))
        folded = in_style(stored(model), {name: 1.0}).build()
        torch.testing.assert_close(folded(x, folded.initial_state(B))[0], expected)
    plain = in_style(stored(model), {}).build()
    assert plain.config.labels == ()
    assert torch.equal(plain(x, plain.initial_state(B))[0], model(x, model.initial_state(B))[0])


@pytest.mark.parametrize(
    ("compiled", "precision", "close"),
    [(True, "float32", 1e-4), (False, "float32", 1e-4), (True, "int8", 0.02)],
)
@pytest.mark.parametrize("style", [{"folk": 1.0}, {"bach": 0.6, "folk": 0.4}])
@pytest.mark.parametrize("cell", CELLS)
def test_the_engine_in_a_style_equals_torch(
    cell: str, style: dict[str, float], compiled: bool, precision: str, close: float
) -> None:
    model, x = labelled(cell=cell), tokens()
    found = in_style(stored(model), style)
    plain, _ = model(x, model.initial_state(B))
    with torch.no_grad():
        rows = [part * model.labels.weight[1 + NAMES.index(n)] for n, part in style.items()]
        model.labels.weight[1] = torch.stack(rows).sum(0)
        expected, _ = model(x, model.initial_state(B), torch.ones_like(x))
    assert (expected - plain).abs().max() > 0.05
    ours = engine.build(found.config, found.weights, precision=precision, compiled=compiled)
    state = ours.initial_state(B)
    for t in range(T):
        logits, state = ours.step(x[t].numpy(), state)
        np.testing.assert_allclose(logits, expected[t].numpy(), atol=close)


def test_the_text_is_in_the_style_asked_for(two_styles: TextModel) -> None:
    assert two_styles.styles == (ABAB, CDCD)
    for style, letters in ((ABAB, "ab"), (CDCD, "cd")):
        likeliest = two_styles.generate(max_new_tokens=200, temperature=0, style=style).text
        assert sum(c in letters for c in likeliest) > 0.85 * len(likeliest)
        text = two_styles.generate(max_new_tokens=200, seed=1, style=style).text
        assert "".join(two_styles.stream(max_new_tokens=200, seed=1, style=style)) == text
        assert two_styles.in_style(style).generate(max_new_tokens=200, seed=1).text == text


def test_scores_know_right_from_wrong_and_a_blend_lies_between(two_styles: TextModel) -> None:
    order: list[Any] = [ABAB, f"{ABAB}:0.8,{CDCD}:0.2", {ABAB: 1, CDCD: 1}, CDCD]
    for text, styles in (("abababab\n" * 3, order), ("cdcdcdcd\n" * 3, order[::-1])):
        nats = [two_styles.in_style(style).score(text).nats for style in styles]
        assert nats == sorted(nats)
        assert nats[0] < two_styles.score(text).nats < nats[-1]


def test_reading_in_a_style_and_without(two_styles: TextModel) -> None:
    text = "cdcdcdcd\n" * 40
    ids = two_styles.tokenizer.encode(text)
    found, start = two_styles.checkpoint, two_styles.tokenizer.start_id
    counts = found.counts
    assert counts is not None
    for style, parts in ((CDCD, {CDCD: 1.0}), (None, {})):
        read = in_style(found, parts).build()
        expected = token_nats(read, ids, start, counts=counts)
        in_it = two_styles.in_style(style)
        np.testing.assert_allclose(in_it.token_nats(ids), expected)
        expected = dynamic_token_nats(
            read, ids, start, found.statistics(), scorer=counts.scorer("static")
        )
        np.testing.assert_array_equal(in_it.dynamic_token_nats(ids), expected)
        # `read` has changed as it read
        learnt = token_nats(read, ids, start, counts=counts.adapted([start, *ids]))
        np.testing.assert_allclose(in_it.adapt(text).token_nats(ids), learnt, rtol=1e-6)
    adapted = two_styles.adapt(text)
    assert adapted.styles == two_styles.styles
    theirs, ours = (m.checkpoint.weights["labels.weight"] for m in (adapted, two_styles))
    np.testing.assert_array_equal(theirs, ours)


def test_few_steppers_are_kept() -> None:
    runtime = Runtime(stored(labelled()), compiled=False)
    first = runtime.styled("bach")
    assert runtime.styled({"bach": 2.0}) is first
    for weight in range(1, STYLES_KEPT + 1):
        runtime.styled({"bach": 1.0, "folk": float(weight)})
    assert runtime.styled("bach") is not first


def test_what_a_model_with_styles_says_of_itself(two_styles: TextModel) -> None:
    folder = two_styles.checkpoint.path
    config = json.loads((folder / "config.json").read_text("utf-8"))
    assert config["model"]["labels"] == [ABAB, CDCD]
    card = (folder / "README.md").read_text("utf-8")
    assert f"- styles: {ABAB}, {CDCD}\n" in card
    assert "each in its own style" in card
    kept = store.open_store(folder / store.FOLDER)
    assert kept is not None
    assert kept.labels == (ABAB, CDCD)
    assert kept.parts["train"].labels == (1, 1, 1, 2, 2, 2)
    assert kept.parts["held_out"].labels == (1, 2)  # the last tenth of each style's text
    texts = [two_styles.tokenizer.decode(d.tolist()) for d in kept.documents("held_out")]
    assert [set(text) - {"\n"} for text in texts] == [set("ab"), set("cd")]


def test_statistics_hold_the_labels(two_styles: TextModel) -> None:
    statistics = two_styles.checkpoint.statistics()
    assert statistics is not None
    assert (statistics["labels.weight"][1:] > 0).any(axis=1).all()
    assert (statistics["labels.weight"][0] == 0).all()


def test_the_command_knows_styles_and_mixtures(
    two_styles: TextModel, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(two_styles.checkpoint.path)

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stopped:
            main([*arguments, "-m", folder])
        assert isinstance(stopped.value.code, int)
        return stopped.value.code, *capsys.readouterr()

    asked = ("text", "", "-n", "30", "--seed", "1", "--no-stream", "--temperature", "1")
    _, text, _ = call(*asked, "--style", f"{CDCD}:0.9,{ABAB}:0.1")
    made = two_styles.generate(max_new_tokens=30, seed=1, style={CDCD: 9, ABAB: 1})
    assert text == made.text + "\n"
    code, _, error = call(*asked, "--style", "abba")
    assert (code, error.count("\n")) == (2, 1)
    assert "no style 'abba': did you mean abab?" in error
    file = two_styles.checkpoint.path / "sample.txt"
    file.write_text("cdcdcdcd\n", encoding="utf-8")
    choices = ((), ("--style", ABAB), ("--style", CDCD), ("--mix", f"{folder}/.:0.5"))
    none, wrong, right, mixed = (
        json.loads(call("score", str(file), "--json", *options)[1])["nats"] for options in choices
    )
    assert right < none < wrong
    assert mixed == pytest.approx(none)


def weights(folder: Path) -> dict[str, Any]:
    return checkpoint.load_weights(folder)[0]


def test_a_run_with_styles_resumes_bit_for_bit(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = monitor.Monitor.on_step

    def interrupted(self: Any, progress: Any, fraction: float) -> None:
        usual(self, progress, fraction)
        if progress.step == 13:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(monitor.Monitor, "on_step", interrupted)
        with pytest.raises(Interrupted):
            generative.train(corpus, tmp_path / "parts", steps=20, **SMALL)
    parts = generative.train(corpus, tmp_path / "parts", steps=20, resume=True, **SMALL)
    whole = generative.train(corpus, tmp_path / "whole", steps=20, **SMALL)
    assert parts.held_out == whole.held_out
    for name, array in weights(whole.path).items():
        np.testing.assert_array_equal(weights(parts.path)[name], array)
    with pytest.raises(CheckpointError, match=r"began with the styles abab, cdcd, and now .* none"):
        generative.train(
            corpus, tmp_path / "parts", steps=30, resume=True, **{**SMALL, "styles": None}
        )


def test_music_has_styles_too(tmp_path: Path) -> None:
    files = sorted(TUNES.glob("*.mid"))[:6]
    for number, file in enumerate(files):
        folder = tmp_path / "corpus" / ("even", "odd")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file.name).write_bytes(file.read_bytes())
    table = tmp_path / "styles.csv"
    table.write_text("corpus/even,even\ncorpus/odd,odd\n", encoding="utf-8")
    made = generative.train(
        tmp_path / "corpus", tmp_path / "model", steps=4, styles=table, hidden=16,
        embedding_size=16, batch_size=2, sequence_length=16, precision="float32",
    )  # fmt: skip
    model = generative.load(made.path, compiled=False)
    assert isinstance(model, generative.MusicModel)
    assert model.styles == ("even", "odd")
    tune = model.generate(max_new_tokens=6, seed=1, style="even:0.5,odd:0.5")
    assert len(tune.sequences[0].tokens) == 6
    with pytest.raises(ValueError, match="did you mean even"):
        model.generate(bars=1, style="evan")
