"""Activations that train a network for its conversion: QCFS and the learned clip.

Both learn one ``bound`` a layer, which the conversion takes as the layer's real threshold. ``tools.export`` writes them
as ``refsnn.ann.graph.ReLU(bound, levels)``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from refsnn.errors import InputError

KINDS = ("relu", "relu6", "clip", "qcfs")

BOUND = 4.0
"""Where the learned bounds start: batch-normalised inputs, and the sum of two of them, rarely exceed it."""


class _Quantise(torch.autograd.Function):
    """``bound * clip(floor(x L / bound + 1/2) / L, 0, 1)``, the floor passed straight through.

    One function, because the chain of elementary ones takes twice the time and memory of the convolution before it.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, bound: Tensor, levels: int) -> Tensor:
        y = x.mul(levels / bound).add_(0.5).floor_().clamp_(0, levels).mul_(bound / levels)
        ctx.save_for_backward(x, y, bound)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        x, y, bound = ctx.saved_tensors
        to_x = gradient * ((x > 0) & (x < bound))
        # dy/dbound = y/bound - x/bound inside (what rounding added), 1 above, 0 below: y/bound covers the last two
        to_bound = (gradient * y).addcmul_(to_x, x, value=-1).sum().float() / bound
        return to_x, to_bound, None


class QCFS(nn.Module):
    """Quantised clip-floor-shift: ``y = bound * clip(floor(x levels / bound + 1/2) / levels, 0, 1)``.

    Source: Bu et al., "Optimal ANN-SNN conversion for high-accuracy and ultra-low-latency spiking neural networks",
    ICLR 2022, eq. 14 with shift 1/2. A departure: their bound starts at 8, ours at ``BOUND``.

    Args:
        levels: L; the network converts without loss at T = L time-steps (``docs/numerics.md``, section 4).
        bound: start value of the learned bound.
    """

    def __init__(self, levels: int, bound: float = BOUND) -> None:
        super().__init__()
        if levels < 1:
            raise InputError(f"QCFS needs at least 1 level, not {levels}")
        self.levels = levels
        self.bound = nn.Parameter(torch.tensor(bound))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = _Quantise.apply(x, self.bound, self.levels)  # type: ignore[no-untyped-call]
        return result

    def extra_repr(self) -> str:
        return f"levels={self.levels}, bound={self.bound.item():.3g}"


class Clip(nn.Module):
    """The learned clip ``y = clip(x, 0, bound)`` of TCL (Ho and Chang, DAC 2021), which ECL trains with too.

    Args:
        bound: start value of the learned bound.
    """

    def __init__(self, bound: float = BOUND) -> None:
        super().__init__()
        self.bound = nn.Parameter(torch.tensor(bound))

    def forward(self, x: Tensor) -> Tensor:
        return torch.minimum(torch.relu(x), self.bound.to(x.dtype))

    def extra_repr(self) -> str:
        return f"bound={self.bound.item():.3g}"


def activation(kind: str, levels: int = 4) -> nn.Module:
    """A new activation, one of ``KINDS``; only ``qcfs`` uses ``levels``."""
    if kind == "relu":
        return nn.ReLU()
    if kind == "relu6":
        return nn.ReLU6()
    if kind == "clip":
        return Clip()
    if kind == "qcfs":
        return QCFS(levels)
    raise InputError(f"there is no activation '{kind}'; there are: {', '.join(KINDS)}")
