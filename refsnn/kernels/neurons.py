"""The scalars of ``refsnn.neurons``, jitted: every compiled kernel inlines them."""

from __future__ import annotations

import numpy as np

from refsnn import neurons
from refsnn.kernels.compiled import inlined

clamp = inlined(neurons.clamp)
crossings = inlined(neurons.crossings)
send = inlined(neurons.send)


@inlined
def fire(u, n, threshold, negative_threshold, low, high):  # type: ignore[no-untyped-def]
    """The spike of ``refsnn.neurons.fire`` and the membrane after it, int32.

    The threshold is subtracted or added under a mask each: a product with the spike would come ten cycles later, and
    the next step waits for it.
    """
    positive, negative = crossings(u, n, threshold, negative_threshold, low, high)
    spike = np.int32(np.int32(positive) - np.int32(negative))
    less = np.int32(np.int32(u) - np.int32(positive * threshold))
    return spike, np.int32(less + np.int32(negative * threshold))
