"""The portable kernels, compiled for a processor with AVX2 and nothing newer."""

from __future__ import annotations

from functools import cache

from llvmlite import binding

from refsnn.geometry import Shape
from refsnn.kernels import populations, portable
from refsnn.kernels.compiled import once
from refsnn.kernels.vectors import AVX2, only_avx2
from refsnn.network import Projection

__all__ = ["available", "connect", "dense", "populations"]

dense = None
"""What spikes is gathered; dense sums would be slower."""


@cache
def available() -> bool:
    """Whether the processor has AVX2 and what came with it."""
    features = binding.get_host_cpu_features()
    return all(features.get(name) for name in AVX2)


@once
def loops() -> portable.Loops:
    """The loops, compiled."""
    return portable.loops_for("avx2", only_avx2, widest=4)


def connect(projection: Projection, source: Shape, target: Shape) -> portable.Synapses:
    """Pack a projection's weights, for populations of the shapes ``(C, H, W)``."""
    return portable.connect_with(loops(), projection, source, target)
