"""Training on digits: it learns, seeds repeat, and an interrupted training ends in the same weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

import typer  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from refsnn.ann import project  # noqa: E402
from refsnn.ann.forward import forward  # noqa: E402
from refsnn.errors import InputError  # noqa: E402
from tools import train  # noqa: E402

SETTINGS = train.Settings(network="cnn", width=4, epochs=2, batch=64, shift=1, seed=3)


@pytest.fixture(scope="module")
def digits():
    return train.digits()


def weights(network):
    return {name: value.numpy() for name, value in network.state_dict().items()}


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def test_digits_are_bytes_and_split_once(digits):
    assert digits.test.images.shape == (1000, 1, 8, 8)
    assert digits.train.images.shape == (797, 1, 8, 8)
    assert (digits.test.images.min(), digits.test.images.max()) == (0, 255)


def test_command(tmp_path, digits):
    out = tmp_path / "weights.h5"
    training = "--data digits --network cnn --width 8 --epochs 4 --batch 32 --mean 0.25 --std 0.5 --threads 1"
    stored = "--test-images 100 --calibration-images 20"
    application = typer.Typer()
    application.command()(train.main)
    result = CliRunner().invoke(application, [*training.split(), *stored.split(), "--out", str(out)])
    assert result.exit_code == 0, result.output
    model = project.read(out)
    np.testing.assert_array_equal(model.test.images, digits.test.images[:100])
    np.testing.assert_array_equal(model.calibration.images, digits.train.images[:20])
    assert model.test.class_names == tuple("0123456789")
    x = model.graph.preprocessing.table(1)[0, digits.test.images]
    accuracy = (forward(model.graph, x).argmax(1) == digits.test.labels).mean()
    assert accuracy > 0.8
    assert f"test accuracy {accuracy:.4f} on 1000 images" in result.output


def test_seeds_repeat(digits):
    first, again, other = (weights(train.train(replace(SETTINGS, seed=seed), digits)) for seed in (3, 3, 4))
    assert_same(first, again)
    assert any((first[name] != other[name]).any() for name in first)


def test_resumed_training_ends_in_the_same_weights(tmp_path, digits):
    class InterruptionError(Exception):
        pass

    def interrupt(line):
        raise InterruptionError

    checkpoint = tmp_path / "checkpoint.pt"
    with pytest.raises(InterruptionError):
        train.train(SETTINGS, digits, checkpoint=checkpoint, report=interrupt)
    lines = []
    resumed = train.train(SETTINGS, digits, checkpoint=checkpoint, resume=True, report=lines.append)
    assert [line.partition(":")[0] for line in lines[1:]] == ["epoch 2/2"]
    assert_same(weights(resumed), weights(train.train(SETTINGS, digits)))

    with pytest.raises(InputError, match="resume with the same options"):
        train.train(replace(SETTINGS, rate=0.2), digits, checkpoint=checkpoint, resume=True)


@pytest.mark.parametrize("activation", ["relu", "clip"])
def test_other_activations_and_bf16(digits, activation):
    settings = replace(SETTINGS, activation=activation, epochs=4, width=8, batch=32, bf16=True, smoothing=0.1)
    network = train.train(settings, digits)
    assert train.evaluate(network, digits.test, settings) > 0.8


def test_augmentation_keeps_its_promises():
    torch.manual_seed(0)
    images = torch.randint(1, 256, (64, 3, 9, 7), dtype=torch.uint8)
    settings = replace(SETTINGS, shift=0)
    assert torch.equal(train.augment(images, settings), images)

    flipped = train.augment(images, replace(settings, flip=True))
    kept = (flipped == images).all(dim=(1, 2, 3))
    assert 16 < kept.sum() < 48
    assert torch.equal(flipped[~kept], images[~kept].flip(3))

    padded = torch.nn.functional.pad(images, (2, 2, 2, 2))
    moved = train.augment(images, replace(settings, shift=2))
    offsets = [(y, x) for y in range(5) for x in range(5)]
    fits = [[torch.equal(moved[n], padded[n, :, y : y + 9, x : x + 7]) for y, x in offsets] for n in range(64)]
    assert all(sum(each) == 1 for each in fits)
    assert len({each.index(True) for each in fits}) > 12

    blanked = train.augment(images, replace(settings, cutout=3)) == 0
    sides = blanked.any(dim=1)
    assert (sides == blanked.all(dim=1)).all()
    assert sides.sum(dim=(1, 2)).max() == 9
    assert sides.any(dim=2).sum(dim=1).max() == 3


def test_divergence_and_missing_split_are_errors(digits):
    with pytest.raises(InputError, match="smaller --rate"):
        train.train(replace(SETTINGS, rate=1e18), digits)
    with pytest.raises(InputError, match="no training split"):
        train.train(SETTINGS, replace(digits, train=None))
    with pytest.raises(InputError, match="there is no network 'vgg'"):
        train.train(replace(SETTINGS, network="vgg"), digits)
