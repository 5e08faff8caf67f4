"""The training loss: equal to the plain one, and bent in known ways."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from generative.machine.threads import ALONE
from generative.model.cells import CELLS
from generative.model.config import ModelConfig
from generative.model.language_model import LanguageModel
from generative.model.noise import Noise
from generative.scoring.loss import cross_entropy
from generative.training.config import TrainingConfig
from generative.training.fitting import calibrate
from generative.training.learner import Learner
from generative.training.optimizer import Optimizer
from generative.training.validation import validation_loss
from tests.model.test_model import B, T, V, small

KNOWN = torch.tensor([0, 2, 3, 5])


def learner(**choices: Any) -> Learner:
    torch.manual_seed(0)
    model = small()
    model.set_unigram_bias([9 if i in KNOWN else 0 for i in range(V)])
    return Learner(model, TrainingConfig(**choices), KNOWN)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    places = torch.randint(len(KNOWN), (T + 1, B), generator=torch.Generator().manual_seed(1))
    return KNOWN[places[:-1]], KNOWN[places[1:]]


def test_one_column_stands_for_all_tokens_that_never_occur() -> None:
    taught = learner()
    inputs, targets = batch()
    state = taught.model.initial_state(B)
    loss, nats, _ = taught(inputs, targets, state, 0.0)
    logits, _ = taught.model(inputs, state)
    assert loss.item() == nats.item()
    assert loss.item() == pytest.approx(cross_entropy(logits, targets).item(), abs=1e-6)


def test_tokens_that_never_occur_stay_as_they_are() -> None:
    taught = learner(weight_decay=0.1)
    average = LanguageModel(taught.model.config)
    optimizer = Optimizer(taught.model, average, taught.config, ALONE)
    inputs, targets = batch()
    before = taught.model.output.bias.detach().clone()
    for step in range(3):
        loss, _, _ = taught(inputs, targets, taught.model.initial_state(B), 0.0)
        gradients = torch.autograd.grad(loss, optimizer.parameters)
        optimizer.step(gradients, scale=1.0, learning_rate=1e-2, step=step)
    unknown = [i for i in range(V) if i not in KNOWN]
    assert taught.model.output.weight[unknown].abs().sum() == 0
    torch.testing.assert_close(taught.model.output.bias[unknown], before[unknown])
    assert (taught.model.output.bias[KNOWN] != before[KNOWN]).all()


def test_penalties_are_mean_squares() -> None:
    inputs, targets = batch()
    plain = learner()
    outputs, _ = plain.model.outputs(inputs, plain.model.initial_state(B))
    nats = plain(inputs, targets, plain.model.initial_state(B), 0.0)[0].item()
    bent = learner(activation_penalty=2.0, activation_change_penalty=3.0)
    loss, told, _ = bent(inputs, targets, bent.model.initial_state(B), 0.0)
    change = (outputs[1:] - outputs[:-1]).square().mean().item()
    expected = nats + 2.0 * outputs.square().mean().item() + 3.0 * change
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert told.item() == pytest.approx(nats, rel=1e-5)


def test_scheduled_sampling_grows_from_nothing() -> None:
    inputs, _ = batch()
    taught = learner(scheduled_sampling=0.9)
    state = taught.model.initial_state(B)
    torch.testing.assert_close(taught._mixed(inputs, state, 0.0, Noise.seeded(1)), inputs)
    mixed = taught._mixed(inputs, state, 0.9999, Noise.seeded(1))
    assert (mixed[0] == inputs[0]).all()
    assert (mixed != inputs).any()
    assert set(mixed.flatten().tolist()) <= set(KNOWN.tolist())


@pytest.mark.parametrize("how", ["uniform", "xavier", "orthogonal"])
def test_initialisations_are_what_their_names_say(how: str) -> None:
    model = small()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    model.initialise(how)
    gates = model.layers[0].get_parameter("weight_hidden").detach().split(8)
    identity = torch.eye(8)
    orthogonal = all(torch.allclose(g @ g.T, identity, atol=1e-5) for g in gates)
    assert orthogonal == (how == "orthogonal")
    same = all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    assert same == (how == "uniform")


def test_an_overconfident_model_is_cooled_down() -> None:
    model = small()
    model.output.weight.data.mul_(8.0)
    stream = [0]
    rng = np.random.default_rng(0)
    state = model.initial_state(1)
    for _ in range(3000):  # text of the model's own, so that 1 is the temperature that fits
        with torch.no_grad():
            logits, state = model.step(torch.tensor([stream[-1]]), state)
        stream.append(int(rng.choice(V, p=logits[0].double().softmax(-1).numpy())))
    ids = np.array(stream)
    assert calibrate(model, ids) == pytest.approx(1.0, abs=0.07)
    best = validation_loss(model, ids)
    model.output.weight.data.mul_(1.15)
    model.output.bias.data.mul_(1.15)
    assert calibrate(model, ids) == pytest.approx(1.15, abs=0.07)
    assert validation_loss(model, ids) == pytest.approx(best, abs=1e-3)


@pytest.mark.parametrize("cell", CELLS)
def test_calibrating_a_tied_model_divides_its_logits(cell: str) -> None:
    torch.manual_seed(0)
    config = ModelConfig(vocab_size=V, cell=cell, embedding_size=8, hidden_size=8, tied=True)
    model = LanguageModel(config).eval()
    model.output.weight.data.mul_(8.0)
    ids = np.random.default_rng(0).integers(V, size=600)  # noise: the model is far too sure
    tokens = torch.from_numpy(ids[:20, np.newaxis])
    with torch.no_grad():
        before, _ = model(tokens, model.initial_state(1))
        temperature = calibrate(model, ids)
        after, _ = model(tokens, model.initial_state(1))
    assert temperature > 1.05
    torch.testing.assert_close(after, before / temperature)
