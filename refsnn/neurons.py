"""The neuron's mathematics: one scalar function each, written once.

Compiled kernels inline these functions (``refsnn.kernels.neurons``), others apply them to whole arrays
(``refsnn.kernels.arrays``: so they do not branch on a neuron), and on Python's unbounded integers they are the overflow
oracle of the tests. All arguments and results are integers. The contract is ``docs/numerics.md``.
"""

from __future__ import annotations

from typing import Any

NEVER = 2**31 - 1
"""As ``low``: no negative spikes. As ``high``: no cap."""


def clamp(value: Any, low: Any, high: Any) -> Any:
    """``value`` limited to ``[low, high]``. Of an array this is ``numpy.clip``."""
    return min(max(value, low), high)


def fire(u: Any, n: Any, threshold: Any, negative_threshold: Any, low: Any, high: Any) -> Any:
    """The spike of one neuron in one time-step: +1, -1 or 0.

    Algorithm:
        +1 when ``u >= threshold`` and ``n < high``; else -1 when ``u < -negative_threshold`` and ``n > low``; else 0.

    Args:
        u: membrane after this step's current, already clamped to its width.
        n: net count of spikes sent before this step.
        threshold: positive threshold, at least 1.
        negative_threshold: at least 0; the firing comparison is strict.
        low: net count at which negative spikes stop (``NEVER``: there are none).
        high: net count at which positive spikes stop (``NEVER``: no cap).

    The kinds are settings: ``if`` is ``low = high = NEVER``; ``dual`` is ``low = 0``, ``high = T``; ``signed`` is
    ``low = -T``, ``high = T`` (numerics.md, section 3). QCFS (Bu et al., ICLR 2022) and OPI (Bu et al., AAAI 2022) use
    ``if``; the gated dual threshold is that of Fast-SNN and, as far as its text could be checked, of ECL.
    """
    positive, negative = crossings(u, n, threshold, negative_threshold, low, high)
    return positive * 1 - negative * 1


def crossings(u: Any, n: Any, threshold: Any, negative_threshold: Any, low: Any, high: Any) -> tuple[Any, Any]:
    """Whether ``fire`` is +1, and whether it is -1, which is never both: of the same arguments."""
    return (u >= threshold) & (n < high), (u < -negative_threshold) & (n > low)


def send(v: Any, weighted_threshold: Any, threshold: Any, signed: bool) -> Any:
    """The digit a temporally separated neuron sends in one step of its own window: +1, -1 or 0.

    Algorithm:
        For ``v >= 0``: +1 when ``v >= threshold * k^(T-1-t)``. For ``v < 0`` in a signed population: the digits of
        ``floor(v / threshold)``, that is -1 when ``threshold - 1 - v >= threshold * k^(T-1-t)``. The caller then does
        ``v -= digit * weighted_threshold``.

    Args:
        v: membrane, after the accumulation and the digits before this one.
        weighted_threshold: ``threshold * k^(T-1-t)`` for base k at step t (counted from 0, most significant first).
        threshold: the channel's threshold (of the least significant digit).
        signed: whether negative digits are sent at all.

    Source: SpikeConverter (Liu et al., AAAI 2022), its weighted spikes; stated with the undoubled membrane
    (numerics.md, section 5).
    """
    positive = v >= weighted_threshold
    if not signed:
        return positive * 1
    negative = (v < 0) & (threshold - 1 - v >= weighted_threshold)
    return positive * 1 - negative * 1
