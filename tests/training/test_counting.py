"""Count models that training leaves: what is counted, what is fitted, and when there are none."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import generative
from generative import checkpoint
from generative.api.runtime import Runtime
from generative.checkpoint import CheckpointError
from generative.data.store import FOLDER, open_store
from generative.machine.threads import Workers
from generative.ngram.model import CACHED, STATIC, CountModel
from generative.ngram.symbols import symbols_of
from generative.scoring.loss import token_nats
from generative.training import counting, finish, recorded, run
from generative.training.augment import Augmentable
from generative.training.counting import count_corpus, fit_counts
from generative.training.run import Run
from generative.training.trainer import Trainer
from generative.training.validation import validation_stream
from tests.conftest import data

if TYPE_CHECKING:
    from pathlib import Path

    from generative.api.music_model import MusicModel
    from generative.api.text_model import TextModel
    from generative.data.store import TokenStore
    from generative.model.language_model import LanguageModel


def store_of(folder: Path) -> TokenStore:
    """The tokens of a model's corpus."""
    store = open_store(folder / FOLDER)
    assert store is not None
    return store


def counts_of(model: TextModel | MusicModel) -> CountModel:
    """The count models of a loaded model."""
    assert model.checkpoint.counts is not None
    return model.checkpoint.counts


def network_of(model: TextModel | MusicModel) -> LanguageModel:
    """The torch network of a loaded model."""
    assert isinstance(model.runtime, Runtime)
    return model.runtime.torch_model


def test_the_training_part_is_counted(model: TextModel, trained: Path) -> None:
    counts = counts_of(model)
    assert counts.order == 8
    assert not counts.axis
    root = counts.trie.next_counts[0]
    held_in = store_of(trained).stream("train")
    assert counts.trie.alphabet.tolist() == np.unique(held_in).tolist()
    assert root == len(np.unique(held_in[1:]))  # The first token is no prediction.


def test_the_weights_are_fitted_and_gain(model: TextModel, trained: Path) -> None:
    counts = counts_of(model)
    untrained = CountModel.untrained(counts.trie, counts.vocab_size)
    for protocol, fitted in ((STATIC, counts.static_weights), (CACHED, counts.cached_weights)):
        assert not np.array_equal(fitted, untrained.cached_weights), protocol
    alone = network_of(generative.load(trained))
    text = "".join(f"{n} bottles stand upon the wall, and {n} is" for n in (3, 77, 5, 77))
    ids = model.tokenizer.encode(text)
    network = token_nats(alone, ids, model.tokenizer.start_id)
    assert model.token_nats(ids).sum() < network.sum()


def test_a_fit_repeats_itself_whatever_the_threads(model: TextModel, trained: Path) -> None:
    stream, labels = validation_stream(store_of(trained), "held_out", counting.FIT_TOKENS)
    arguments: Any = (
        network_of(model), counts_of(model), stream, model.tokenizer.start_id, labels
    )  # fmt: skip
    one = fit_counts(*arguments)
    with Workers(2) as workers:
        two = fit_counts(*arguments, workers=workers)
    assert one.gains == two.gains
    assert np.array_equal(one.model.static_weights, two.model.static_weights)
    assert np.array_equal(one.model.cached_weights, two.model.cached_weights)
    assert np.array_equal(one.model.cached_weights, counts_of(model).cached_weights)


def test_gains_are_of_tokens_that_were_not_learnt_from_yet(
    model: TextModel, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream, _ = validation_stream(store_of(trained), "held_out", counting.FIT_TOKENS)
    arguments = network_of(model), counts_of(model), stream, model.tokenizer.start_id
    several = fit_counts(*arguments)
    monkeypatch.setattr(counting, "MAX_PASSES", 1)
    once = fit_counts(*arguments)
    assert once.gains == several.gains  # Later passes have seen the tokens before.
    assert not np.array_equal(once.model.cached_weights, several.model.cached_weights)


@pytest.mark.parametrize("threads", [1, 2])
def test_counting_again_gives_the_same_counts(
    model: TextModel, trained: Path, threads: int
) -> None:
    recipe = recorded.load_recipe(trained)
    with Workers(threads) as workers:
        counts = count_corpus(store_of(trained), model.tokenizer, recipe, workers=workers)
    assert counts is not None
    for name, array in counts_of(model).trie.to_arrays().items():
        assert np.array_equal(array, counts.trie.to_arrays()[name]), name


def test_options_set_order_and_size(rhyme: Path, tmp_path: Path) -> None:
    options: Any = {"steps": 1, "hidden": 8, "batch_size": 2, "sequence_length": 16}
    generative.train(rhyme, tmp_path / "a", ngram_order=2, ngram_size=0.002, **options)
    counts = counts_of(generative.load(tmp_path / "a"))
    assert counts.order <= 2
    assert counts.trie.size_bytes <= 2000
    generative.train(rhyme, tmp_path / "b", ngram_order=0, **options)
    assert not (tmp_path / "b" / checkpoint.COUNTS_FILE).exists()
    model = generative.load(tmp_path / "b")
    assert model.checkpoint.counts is None
    assert model.score("wall").nats == model.score("wall", protocol="adaptive").nats
    with pytest.raises(ValueError, match="ngram_order must be from 0 to 31, not 99"):
        generative.train(rhyme, tmp_path / "c", ngram_order=99, **options)
    with pytest.raises(ValueError, match="ngram_size must be a positive number, not 0"):
        generative.train(rhyme, tmp_path / "c", ngram_size=0, **options)


def test_with_nothing_held_out_nothing_is_fitted(rhyme: Path, tmp_path: Path) -> None:
    generative.train(
        rhyme, tmp_path / "a", steps=1, hidden=8, batch_size=2, sequence_length=16, held_out="none"
    )
    counts = counts_of(generative.load(tmp_path / "a"))
    untrained = CountModel.untrained(counts.trie, counts.vocab_size)
    assert np.array_equal(counts.static_weights, untrained.static_weights)
    assert np.array_equal(counts.cached_weights, untrained.cached_weights)


def test_music_is_counted_in_steps_of_pitch(tmp_path: Path) -> None:
    source = data("midi/folk_ceol_rince")
    files = sorted(source.glob("*.mid"))[:6]
    generative.train(
        files, tmp_path / "a", steps=1, hidden=8, embedding_size=8, batch_size=2, sequence_length=16
    )
    model = generative.load(tmp_path / "a")
    counts = counts_of(model)
    assert isinstance(model.tokenizer, Augmentable)
    pitches = model.tokenizer.augmentation_axes["pitch"]
    assert counts.axis == pitches
    is_id = counts.trie.alphabet < counts.vocab_size
    assert not np.isin(counts.trie.alphabet[is_id], np.array(pitches)).any()
    stream = symbols_of(
        store_of(tmp_path / "a").stream("train"), model.tokenizer.start_id, pitches,
        counts.vocab_size,
    )  # fmt: skip
    assert counts.trie.alphabet.tolist() == np.unique(stream).tolist()


def test_generation_of_text_is_scored_by_the_static_protocol(model: TextModel) -> None:
    made = model.generate("7 bottles", max_new_tokens=40, temperature=1.0, seed=4).sequences[0]
    whole, prompt = (
        model.score(text, protocol="static").nats for text in ("7 bottles" + made.text, "7 bottles")
    )
    assert made.nats == pytest.approx(whole - prompt, rel=1e-4)


def test_beams_and_adaptation_use_counts(model: TextModel) -> None:
    (best, *_) = model.generate(
        "7 bottles", max_new_tokens=12, num_beams=4, num_return_sequences=2
    ).sequences
    assert best.nats == pytest.approx(
        model.score("7 bottles" + best.text).nats - model.score("7 bottles").nats,
        rel=1e-4,
    )
    adapted = model.adapt("Zebras like quiz shows. " * 20)
    assert counts_of(adapted).learnt
    assert not counts_of(model).learnt
    text = "Zebras like quiz shows."
    assert adapted.score(text).nats < 0.5 * model.score(text).nats


def test_an_unknown_protocol_is_refused(model: TextModel) -> None:
    with pytest.raises(ValueError, match="protocol must be one of static, cached, adaptive"):
        model.score("a", protocol="dynamic")


@pytest.mark.parametrize("damage", ["cut", "flip", "other"])
def test_a_damaged_file_of_counts_is_named(
    trained: Path, tmp_path: Path, damage: str, rhyme: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(trained, folder)
    file = folder / checkpoint.COUNTS_FILE
    whole = file.read_bytes()
    if damage == "cut":
        file.write_bytes(whole[: len(whole) // 2])
    elif damage == "flip":
        file.write_bytes(whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:])
    else:  # of a model with another vocabulary
        generative.train(
            rhyme, tmp_path / "o", steps=1, hidden=8, batch_size=2, sequence_length=16,
            tokenizer="byte",
        )  # fmt: skip
        config = checkpoint.read_config(folder)[0]
        arrays = counts_of(generative.load(tmp_path / "o")).to_arrays()
        arrays["trie.alphabet"] = arrays["trie.alphabet"] + config.vocab_size
        with pytest.raises(ValueError, match="symbols must be below"):
            CountModel.from_arrays(arrays, config.vocab_size)
        return
    with pytest.raises(CheckpointError, match=r"ngram\.safetensors: damaged"):
        checkpoint.load(folder)


def test_the_estimate_of_the_finish_does_not_time_the_loading_of_code(
    model: TextModel, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[bool] = []

    def slow_at_first(_: Any, ids: list[int], *__: Any, counts: Any = None) -> Any:
        if counts is not None and not loaded:
            loaded.append(True)
            time.sleep(0.3)
        return np.zeros(len(ids))

    monkeypatch.setattr(finish, "token_nats", slow_at_first)
    work = finish.Finish(
        tokens=store_of(trained), workers=Workers(1), fits=True, counts=counts_of(model)
    )
    read = min(len(store_of(trained).stream("train")), 512)
    loading = 0.3 / read * counting.fitted_tokens(2400) * 2
    assert work.seconds(network_of(model)) < 0.2 * loading


def test_a_resumed_run_makes_damaged_counts_anew(rhyme: Path, tmp_path: Path) -> None:
    options: Any = {"steps": 3, "hidden": 8, "batch_size": 2, "sequence_length": 16}
    generative.train(rhyme, tmp_path / "a", **options)
    file = tmp_path / "a" / checkpoint.COUNTS_FILE
    whole = file.read_bytes()
    file.write_bytes(whole[:1000])
    generative.train(rhyme, tmp_path / "a", resume=True, **options)
    assert file.read_bytes() == whole


def test_the_time_of_counting_is_part_of_the_budget(
    rhyme: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before: list[float] = []
    after: list[float] = []
    train, loop = Run.train, Trainer.run

    def slow(*_: Any, **__: Any) -> None:
        time.sleep(0.3)

    def noted_train(self: Run, *arguments: Any, seconds_spent: float, **options: Any) -> Any:
        before.append(seconds_spent)
        return train(self, *arguments, seconds_spent=seconds_spent, **options)

    def noted_loop(self: Trainer, seconds_spent: float = 0.0) -> bool:
        after.append(seconds_spent)
        return loop(self, seconds_spent)

    monkeypatch.setattr(run, "count_corpus", slow)
    monkeypatch.setattr(Run, "train", noted_train)
    monkeypatch.setattr(Trainer, "run", noted_loop)
    generative.train(
        rhyme, tmp_path / "a", minutes=0.02, hidden=8, batch_size=2, sequence_length=16
    )
    assert after[0] - before[0] >= 0.3
