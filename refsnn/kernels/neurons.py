"""The scalars of ``refsnn.neurons``, jitted: every compiled kernel inlines them."""

from __future__ import annotations

from refsnn import neurons
from refsnn.kernels.compiled import inlined

clamp = inlined(neurons.clamp)
fire = inlined(neurons.fire)
send = inlined(neurons.send)
