"""Models with context features: torch and the engine agree, runs resume, folders are checked."""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import generative
from generative import checkpoint, engine, files
from generative.api import card
from generative.api.music_model import MusicModel
from generative.api.runtime import Runtime
from generative.checkpoint import CheckpointError
from generative.context.reader import reader_for
from generative.engine.numpy_stepper import NumpyStepper
from generative.engine.weights import Weights
from generative.model.config import ModelConfig
from generative.model.language_model import LanguageModel
from generative.model.stepper import TorchStepper
from generative.music import midi
from generative.sampling import Request, SamplingOptions, collect, sample
from generative.scoring.loss import token_nats
from generative.tokenizers.music.tokenizer import MusicTokenizer
from generative.training import monitor
from generative.training.fitting import calibrate
from generative.training.signals import Interrupted
from tests.conftest import TUNES
from tests.engine.steppers import OnlySteps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

TOKENIZER = MusicTokenizer()
START = TOKENIZER.start_id
NAMES = (
    "bar_position", "voice_0", "next_voice_pitch", "parallel_0", "sounding_class_7", "match_value",
    "match_length",
)  # fmt: skip


@cache
def small(cell: str = "lstm", *, tied: bool = False) -> LanguageModel:
    """A model of music whose features matter."""
    torch.manual_seed(3)
    reader = reader_for(TOKENIZER, NAMES)
    assert reader is not None
    config = ModelConfig(
        vocab_size=TOKENIZER.vocab_size, cell=cell, embedding_size=18, hidden_size=18, num_layers=2,
        tied=tied, features=NAMES, feature_sizes=reader.sizes,
    )  # fmt: skip
    model = LanguageModel(config, reader).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(3)
    return model


@cache
def ids() -> NDArray[np.int64]:
    """The beginnings of two tunes, side by side. (T, B)"""
    tunes = [TOKENIZER.encode(midi.read(file))[:59] for file in sorted(TUNES.glob("*.mid"))[:2]]
    return np.array([[START, *tune] for tune in tunes]).T


def arrays(model: LanguageModel) -> dict[str, Any]:
    return {name: value.numpy() for name, value in model.state_dict().items()}


def built(model: LanguageModel, **options: Any) -> Any:
    assert model.context is not None
    return engine.build(model.config, arrays(model), context=model.context.tables, **options)


def without_features(model: LanguageModel) -> LanguageModel:
    """The same weights, but those of the features."""
    plain = LanguageModel(replace(model.config, features=(), feature_sizes=())).eval()
    plain.load_state_dict(
        {name: value for name, value in model.state_dict().items() if name != "features.weight"}
    )
    return plain


def test_features_change_what_is_predicted() -> None:
    model = small()
    same = torch.from_numpy(np.array([[START], [START]]))
    bars = torch.from_numpy(ids()[:2, [0]])
    state = model.initial_state(1)
    plain = without_features(model)
    with torch.no_grad():
        for tokens in (same, bars):
            theirs, _ = plain(tokens, plain.initial_state(1))
            ours, _ = model(tokens, state)
            assert (ours - theirs).abs().max() > 0.1


@pytest.mark.parametrize("cell", engine.ENGINE_CELLS)
@pytest.mark.parametrize("compiled", [True, False])
def test_the_engine_equals_torch(cell: str, compiled: bool) -> None:
    model = small(cell)
    with_torch, ours_stepper = TorchStepper(model), built(model, compiled=compiled)
    theirs, ours = with_torch.initial_state(2), ours_stepper.initial_state(2)
    for row in ids():
        expected, theirs = with_torch.step(row, theirs)
        logits, ours = ours_stepper.step(row, ours)
        np.testing.assert_allclose(logits, expected, atol=1e-4)
    assert theirs.memory is not None
    theirs, ours = theirs.select([1, 0, 1]), ours.select([1, 0, 1])
    np.testing.assert_array_equal(ours.memory, theirs.memory)
    row = ids()[5, [1, 0, 1]]
    np.testing.assert_allclose(
        ours_stepper.step(row, ours)[0], with_torch.step(row, theirs)[0], atol=1e-4
    )


@pytest.mark.parametrize("precision", engine.PRECISIONS)
def test_a_prompt_is_many_steps_and_edits_no_state(precision: str) -> None:
    one, tune = built(small(), precision=precision), ids()[:, 0]
    begun = one.initial_state(1)
    logits, state = one.prefill(tune, begun)
    other = begun
    for token in tune:
        stepped, other = one.step(np.array([token]), other)
    np.testing.assert_array_equal(logits, stepped)
    np.testing.assert_array_equal(state.memory, other.memory)
    np.testing.assert_array_equal(begun.memory, one.initial_state(1).memory)


def test_int8_is_near_and_the_same_without_compiling() -> None:
    model, tune = small(), ids()[:, 0]
    assert model.context is not None
    exact, whole = (built(model, precision=precision) for precision in engine.PRECISIONS)
    rounded = Weights.from_arrays(model.config, arrays(model)).rounded()
    plain = NumpyStepper(rounded, model.context.tables)
    logits = [one.prefill(tune, one.initial_state(1))[0] for one in (exact, whole, plain)]
    np.testing.assert_allclose(logits[1], logits[0], atol=0.3)  # The weights are large.
    np.testing.assert_allclose(logits[1], logits[2], atol=5e-3)


def test_the_nats_of_a_sample_are_its_score() -> None:
    model = small()
    request, options = Request(max_new_tokens=120, seed=4), SamplingOptions(temperature=0.8)
    steppers = (built(model), OnlySteps(built(model)), built(model, compiled=False))
    draws = [collect(sample(one, [START], request, options), 1)[0] for one in steppers]
    assert len({tuple(draw.tokens) for draw in draws}) == 1
    nats = token_nats(model, draws[0].tokens, START)
    for draw in draws:
        np.testing.assert_allclose(draw.logprobs, -nats, atol=1e-4)


def test_a_model_with_features_is_mixed_with_one_without() -> None:
    both = {small(): 0.75, without_features(small()): 0.25}
    loaded = {}
    for model, weight in both.items():
        made = checkpoint.Checkpoint(
            name="", path=Path(), config=model.config, tokenizer=TOKENIZER, weights=arrays(model)
        )
        loaded[MusicModel(Runtime(made, compiled=False))] = weight
    mixed = generative.mix(loaded)
    assert isinstance(mixed, MusicModel)
    tune = ids()[1:, 0].tolist()
    p = sum(weight * np.exp(-token_nats(model, tune, START)) for model, weight in both.items())
    np.testing.assert_allclose(mixed.token_nats(tune), -np.log(p), rtol=1e-4)
    (drawn,) = mixed.generate(bars=1, seed=2).sequences
    assert drawn.nats == pytest.approx(float(mixed.token_nats(drawn.tokens).sum()), rel=1e-4)


def test_blocks_are_scored_with_an_empty_memory() -> None:
    model, tune = small(), ids()[1:31, 0].tolist()
    blocks = token_nats(model, tune, START, 10)
    for begin in (0, 10, 20):
        before = START if begin == 0 else tune[begin - 1]
        alone = token_nats(model, tune[begin : begin + 10], before)
        np.testing.assert_allclose(blocks[begin : begin + 10], alone, atol=1e-5)


def test_calibrating_a_tied_model_divides_its_logits() -> None:
    model = small.__wrapped__(tied=True)
    model.output.weight.data.mul_(2.0)
    stream = ids()[:, 0].repeat(4)  # The model is far too sure.
    tokens = torch.from_numpy(ids())
    with torch.no_grad():
        before, _ = model(tokens, model.initial_state(2))
        temperature = calibrate(model, stream)
        after, _ = model(tokens, model.initial_state(2))
    assert temperature > 1.05
    torch.testing.assert_close(after, before / temperature, atol=1e-4, rtol=1e-4)


def test_a_model_needs_the_reader_of_its_features() -> None:
    with pytest.raises(ValueError, match="do not fit a model that reads those"):
        LanguageModel(small().config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": ["voice_0"]}, "there are 1 features, but 0 feature_sizes"),
        ({"features": ["a", "a"], "feature_sizes": [2, 2]}, "features must differ"),
        ({"features": ["a"], "feature_sizes": [0]}, "feature_sizes must be at least 1"),
        ({"features": ["a"], "feature_sizes": [1 << 40]}, "65,536 at most"),
        ({"features": ["a"], "feature_sizes": [True]}, "feature_sizes must be whole numbers"),
        ({"features": [1], "feature_sizes": [3]}, "features must be names"),
    ],
)
def test_shapes_that_cannot_be_built(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelConfig.from_dict({"vocab_size": 5, **changes})


SMALL: dict[str, Any] = {
    "hidden": 16,
    "embedding_size": 16,
    "batch_size": 4,
    "sequence_length": 16,
    "precision": "float32",
    "ngram_order": 2,
}


@pytest.fixture(scope="module", autouse=True)
def _no_pictures() -> Iterator[None]:
    """Draw no curves, which take longer than these runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(monitor, "draw_curve", lambda *_: None)
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of music with the features of the recipe."""
    folder = tmp_path_factory.mktemp("models") / "tunes"
    generative.train(TUNES, folder, steps=8, **SMALL)
    return folder


def music(folder: Path) -> MusicModel:
    model = generative.load(folder)
    assert isinstance(model, generative.MusicModel)
    return model


def test_music_is_trained_with_features_and_says_so(trained: Path) -> None:
    found = checkpoint.load(trained)
    assert found.config.features == TOKENIZER.default_features
    weights = found.weights["features.weight"]
    assert weights.shape == (sum(found.config.feature_sizes), 16)
    statistics = found.statistics()
    assert statistics is not None
    assert (statistics["features.weight"] > 0).any()
    assert "- context features: bar_position, bar_length" in card.render(trained)
    count = len(TOKENIZER.default_features)
    assert f", {count} context features" in card.describe(trained)["summary"]
    assert '\ncontext_features = "bar_position,bar_length,' in (trained / "recipe.toml").read_text()


def test_a_run_resumes_bit_for_bit(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = monitor.Monitor.on_step

    def interrupted(self: Any, progress: Any, fraction: float) -> None:
        usual(self, progress, fraction)
        if progress.step == 5:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(monitor.Monitor, "on_step", interrupted)
        with pytest.raises(Interrupted):
            generative.train(TUNES, tmp_path / "parts", steps=8, **SMALL)
    generative.train(TUNES, tmp_path / "parts", steps=8, resume=True, **SMALL)
    theirs = checkpoint.load_weights(tmp_path / "parts")[0]
    for name, array in checkpoint.load_weights(trained)[0].items():
        np.testing.assert_array_equal(theirs[name], array)


def test_other_features_and_none(tmp_path: Path, rhyme: Path) -> None:
    options = {**SMALL, "steps": 2, "scheduled_sampling": 0.5}
    names = "next_voice,parallel_0"
    made = generative.train(TUNES, tmp_path / "some", context_features=names, **options)
    assert checkpoint.load(made.path).config.features == ("next_voice", "parallel_0")
    assert music(made.path).generate(bars=2, seed=1).piece.note_count > 0
    made = generative.train(TUNES, tmp_path / "none", context_features="none", **options)
    assert "features" not in files.read_json(made.path / "config.json")["model"]
    with pytest.raises(ValueError, match="unknown context feature 'pitch'"):
        generative.train(TUNES, tmp_path / "wrong", context_features=["pitch"], **options)
    with pytest.raises(ValueError, match="the char tokenizer has no context features"):
        generative.train(rhyme, tmp_path / "text", context_features=["voice_0"], **options)


@pytest.mark.parametrize(
    ("field", "first", "message"),
    [
        ("feature_sizes", 192, "bar_position has 192 values there and 193 in this"),
        ("features", "beat", "unknown context feature"),
    ],
)
def test_features_of_another_version_are_refused(
    trained: Path, tmp_path: Path, field: str, first: Any, message: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(trained, folder)
    values = files.read_json(folder / "config.json")
    values["model"][field][0] = first
    del values[files.CHECKSUM_KEY]
    files.write_sealed_json(folder / "config.json", values)
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(folder)


def test_whatever_uses_a_model_uses_its_features(trained: Path, tmp_path: Path) -> None:
    model, tune = music(trained), sorted(TUNES.glob("*.mid"))[0]
    sequence = model.generate(bars=2, seed=1).sequences[0]
    cached = model.token_nats(list(sequence.tokens), None, "cached")
    assert sequence.nats == pytest.approx(float(cached.sum()), rel=1e-4)
    mixed = generative.mix({model: 0.5, music(trained): 0.5})
    assert isinstance(mixed, generative.MusicModel)
    made = [
        model.generate(bars=2, seed=1, num_beams=2),
        model.generate(tune, primer_bars=(1, 2), bars=2, seed=1, key="C major"),
        model.harmonise(tune, seed=1),
        model.adapt(tune).generate(bars=2, seed=1),
        mixed.generate(bars=2, seed=1),
    ]
    assert all(one.piece.note_count > 0 for one in made)
    assert model.score(tune).nats > 0
