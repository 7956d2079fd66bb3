"""What is made once for a network, and forgotten with it."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from refsnn.network import Network

Made = TypeVar("Made")

_made: dict[int, dict[Hashable, Any]] = {}


def remember(network: Network, key: Hashable, make: Callable[[], Made]) -> Made:
    """What ``make`` made for a network when it was first asked for under this key."""
    identity = id(network)
    if identity not in _made:
        weakref.finalize(network, _made.pop, identity, None)
    known = _made.setdefault(identity, {})
    if key not in known:
        known[key] = make()
    made: Made = known[key]
    return made
