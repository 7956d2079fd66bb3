"""Proofs about the neuron: properties, the naive twin, and the command that has a solver check them."""
