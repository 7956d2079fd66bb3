"""The scalars of ``refsnn.neurons``, jitted: every compiled kernel inlines them."""

from __future__ import annotations

from typing import Any

import numba

from refsnn import neurons

_jitted: Any = numba.njit(cache=True, nogil=True, inline="always")

clamp = _jitted(neurons.clamp)
fire = _jitted(neurons.fire)
send = _jitted(neurons.send)
