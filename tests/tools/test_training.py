"""Training on digits: it learns, seeds repeat, and an interrupted training ends in the same weights."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

from refsnn.errors import InputError  # noqa: E402
from tools import activations, networks, train, training  # noqa: E402

SETTINGS = training.Settings(network="cnn", width=4, epochs=3, batch=64, shift=1, seed=3)


@pytest.fixture(scope="module")
def digits():
    return train.digits()


def weights(trained):
    return {name: value.numpy() for name, value in trained.network.state_dict().items()}


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def test_seeds_repeat(digits):
    first, again, other = (
        weights(training.train(replace(SETTINGS, epochs=1, seed=seed), digits)) for seed in (3, 3, 4)
    )
    assert_same(first, again)
    assert any((first[name] != other[name]).any() for name in first)


class InterruptionError(Exception):
    """Somebody pulled the plug."""


def interrupt_after(epoch):
    def report(epochs):
        if len(epochs) == epoch:
            raise InterruptionError

    return report


def test_resumed_training_ends_in_the_same_weights(tmp_path, digits, capsys):
    checkpoint = tmp_path / "checkpoint.pt"
    for epoch in (1, 2):
        with pytest.raises(InterruptionError):
            training.train(SETTINGS, digits, checkpoint=checkpoint, resume=True, report=interrupt_after(epoch))
    seen = []
    resumed = training.train(SETTINGS, digits, checkpoint=checkpoint, resume=True, report=seen.append)
    assert "after epoch 2 of 3" in capsys.readouterr().err
    assert [epoch.epoch for epoch in resumed.epochs] == [1, 2, 3]
    assert seen == [resumed.epochs]
    whole = training.train(SETTINGS, digits)
    assert_same(weights(resumed), weights(whole))
    figures = [[(epoch.loss, epoch.test_accuracy) for epoch in each.epochs] for each in (resumed, whole)]
    assert figures[0] == figures[1]

    again = training.train(SETTINGS, digits, checkpoint=checkpoint, resume=True)  # nothing is left to do
    assert again.epochs == resumed.epochs
    assert_same(weights(again), weights(resumed))
    with pytest.raises(InputError, match=r"other settings: rate 0\.1 then, 0\.2 now; resume with those"):
        training.train(replace(SETTINGS, rate=0.2), digits, checkpoint=checkpoint, resume=True)


def test_checkpoints_of_before_resume(tmp_path, digits):
    """Files that know neither the newer settings nor the epochs."""
    checkpoint = tmp_path / "checkpoint.pt"
    with pytest.raises(InterruptionError):
        training.train(SETTINGS, digits, checkpoint=checkpoint, report=interrupt_after(2))
    state = torch.load(checkpoint, weights_only=True)
    del state["epochs"]
    for option in ("stem", "pool", "hidden", "bottleneck"):
        del state["settings"][option]
    torch.save(state, checkpoint)
    resumed = training.train(SETTINGS, digits, checkpoint=checkpoint, resume=True)
    assert [epoch.epoch for epoch in resumed.epochs] == [3]
    assert_same(weights(resumed), weights(training.train(SETTINGS, digits)))

    torch.save({"state_dict": {}}, checkpoint)
    with pytest.raises(InputError, match=r"is no checkpoint of tools\.train: 'settings'"):
        training.train(SETTINGS, digits, checkpoint=checkpoint, resume=True)


@pytest.mark.parametrize("activation", ["relu", "clip"])
def test_other_activations_and_bf16(digits, activation):
    settings = replace(SETTINGS, activation=activation, epochs=4, width=8, batch=32, bf16=True, smoothing=0.1)
    assert training.train(settings, digits).epochs[-1].test_accuracy > 0.8


def test_compiled_training_needs_a_compiler(digits, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(InputError, match=r"needs a C\+\+ compiler, and there is no 'g\+\+'"):
        training.train(replace(SETTINGS, compiled=True), digits)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_compiled_training_learns_the_same(digits):
    settings = replace(SETTINGS, network="mlp", width=8, epochs=2, batch=32, compiled=True)
    epochs = [training.train(each, digits).epochs for each in (settings, replace(settings, compiled=False))]
    assert [epoch.loss for epoch in epochs[0]] == pytest.approx([epoch.loss for epoch in epochs[1]], rel=1e-3)


@pytest.mark.parametrize("network", [name for name in networks.NETWORKS if name not in ("cnn", "mlp")])
def test_every_network_learns_something(digits, network):
    """One batch of digits, again and again: the loss falls."""
    few = replace(digits, train=digits.train[:32], test=digits.test[:16])
    options = {"hidden": 8} if network == "vgg16" else {}
    settings = training.Settings(network=network, width=4, epochs=12, batch=32, rate=0.05, **options)
    epochs = training.train(settings, few).epochs
    assert min(epoch.loss for epoch in epochs[-3:]) < epochs[0].loss - 0.02


def test_divergence_and_missing_split_are_errors(digits):
    with pytest.raises(InputError, match="smaller --rate"):
        training.train(replace(SETTINGS, rate=1e18), digits)
    with pytest.raises(InputError, match="no training split"):
        training.train(SETTINGS, replace(digits, train=None))
    with pytest.raises(InputError, match="there is no network 'vgg'"):
        training.train(replace(SETTINGS, network="vgg"), digits)
    with pytest.raises(InputError, match="the network 'cnn' has no stem to choose"):
        training.train(replace(SETTINGS, stem="cifar"), digits)


def test_a_threshold_that_falls_below_0_is_named(digits, monkeypatch):
    monkeypatch.setattr(activations.QCFS, "__init__", quantised_below_0)
    with pytest.raises(InputError, match=r"the learned threshold 'activation0\.bound' became -"):
        training.train(replace(SETTINGS, epochs=1), digits)


def quantised_below_0(self, levels):
    torch.nn.Module.__init__(self)
    self.levels, self.bound = levels, torch.nn.Parameter(torch.tensor(-1.0))
