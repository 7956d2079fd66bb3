"""How many time-steps an answer takes, and how many lie between one answer and the next.

Model. In a rate schedule a spike crosses the whole network within a step (docs/numerics.md), so an image takes its T
steps and its drain steps, and the next one begins after that. With temporal separation a layer first takes in a whole
window of T steps and then sends its own: an image takes T steps for each layer on the longest way from the input to the
readout, which takes in the last window. The layers of a pipeline work on different images, so a new one may begin every
T steps. Max-pools and sum-pools send in the step in which they take in, and cost none.
"""

from __future__ import annotations

from refsnn.network import Input, MaxPool, Network
from refsnn.results import Latency


def depth(network: Network) -> int:
    """The populations that integrate on the longest way from the input to the readout, the readout included."""
    depths: dict[str, int] = {}
    for population in network.populations:
        if isinstance(population, Input):
            depths[population.name] = 0
        elif isinstance(population, MaxPool):
            depths[population.name] = depths[population.source]
        else:
            sources = [depths[projection.source] for projection in network.incoming(population.name)]
            depths[population.name] = 1 + max(sources, default=0)
    return depths[network.readout.name]


def latency(network: Network, steps: int, drain: int = 0) -> Latency:
    """The latency of one image.

    Args:
        steps: T. drain: steps after the T that it took.
    """
    if network.schedule.separated:
        return Latency(alone=depth(network) * steps, pipelined=steps)
    return Latency(alone=steps + drain, pipelined=steps + drain)
