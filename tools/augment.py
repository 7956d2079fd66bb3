"""Changes to training images that do not change what they show."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def augment(images: Tensor, *, flip: bool = False, shift: int = 0, cutout: int = 0) -> Tensor:
    """Change each image of a batch on its own: ``(N, C, H, W) uint8`` to the same.

    Args:
        flip: mirror half of the images.
        shift: move them by up to so many pixels either way; what comes in is 0.
        cutout: blank a square with sides of so many pixels, part of it outside perhaps.
    """
    count, _, height, width = images.shape
    device = images.device
    if flip:
        mirrored = torch.rand(count, 1, 1, 1, device=device) < 0.5
        images = torch.where(mirrored, images.flip(3), images)
    rows, columns = torch.arange(height, device=device), torch.arange(width, device=device)
    if shift:
        padded = nn.functional.pad(images, (shift,) * 4)
        offset = torch.randint(0, 2 * shift + 1, (2, count, 1), device=device)
        which = torch.arange(count, device=device)[:, None, None]
        moved = padded[which, :, (offset[0] + rows)[:, :, None], (offset[1] + columns)[:, None, :]]
        images = moved.permute(0, 3, 1, 2)  # indexing put the channels last
    if cutout:
        top = torch.randint(1 - cutout, height, (count, 1), device=device)
        left = torch.randint(1 - cutout, width, (count, 1), device=device)
        inside_rows = (rows >= top) & (rows < top + cutout)
        inside_columns = (columns >= left) & (columns < left + cutout)
        images = images.masked_fill((inside_rows[:, :, None] & inside_columns[:, None, :])[:, None], 0)
    return images
