"""Augmentation: mirrored, moved and blanked images, each in its own way."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from tools.augment import augment  # noqa: E402


def test_augmentation_keeps_its_promises():
    torch.manual_seed(0)
    images = torch.randint(1, 256, (64, 3, 9, 7), dtype=torch.uint8)
    assert torch.equal(augment(images), images)

    flipped = augment(images, flip=True)
    kept = (flipped == images).all(dim=(1, 2, 3))
    assert 16 < kept.sum() < 48
    assert torch.equal(flipped[~kept], images[~kept].flip(3))

    padded = torch.nn.functional.pad(images, (2, 2, 2, 2))
    moved = augment(images, shift=2)
    offsets = [(y, x) for y in range(5) for x in range(5)]
    fits = [[torch.equal(moved[n], padded[n, :, y : y + 9, x : x + 7]) for y, x in offsets] for n in range(64)]
    assert all(sum(each) == 1 for each in fits)
    assert len({each.index(True) for each in fits}) > 12

    blanked = augment(images, cutout=3) == 0
    sides = blanked.any(dim=1)
    assert (sides == blanked.all(dim=1)).all()
    assert sides.sum(dim=(1, 2)).max() == 9
    assert sides.any(dim=2).sum(dim=1).max() == 3
