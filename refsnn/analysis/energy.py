"""An estimate of energy: counted operations times published energies of single operations, and nothing more.

Model. 45 nm CMOS at 0.9 V, energies an operation from Horowitz, "Computing's energy problem", ISSCC 2014, figure 1.1.9:

- a synaptic operation is one 32-bit integer addition of a weight to a current;
- a neuron update is three such additions (charge, compare, count), each neuron in each of its steps, and one more for
  each spike (the subtraction of the threshold);
- a multiply-add of the input layer, done once an image, and one of the 8-bit ANN, is an 8-bit multiplication and a
  32-bit addition; one of the ANN in floating point is a 32-bit multiplication and a 32-bit addition.

Memory is kept apart, because it depends on the machine more than on the network: ``weight_reads`` is what the weights
cost if each operation reads its own byte from an 8 kB SRAM (10 pJ for 64 bits) and nothing is reused. Clock, leakage,
routing of spikes, reads of membranes and chips of today are not in the model; it compares networks, it does not
predict a chip.
"""

from __future__ import annotations

from refsnn.results import Energy

INTEGER_ADD_32 = 0.1
INTEGER_MULTIPLY_8 = 0.2
FLOAT_ADD_32 = 0.9
FLOAT_MULTIPLY_32 = 3.7
SRAM_BYTE = 10 / 8
"""Picojoules an operation, and a byte read from an SRAM of 8 kB."""

_MICROJOULES = 1e-6


def spiking(synaptic_operations: float, input_operations: float, spikes: float, neuron_steps: float) -> Energy:
    """The energy of one image in a spiking network.

    Args:
        synaptic_operations, input_operations, spikes: an image.
        neuron_steps: neurons times the steps in which each is updated.
    """
    return Energy(
        synapses=synaptic_operations * INTEGER_ADD_32 * _MICROJOULES,
        neurons=(3 * neuron_steps + spikes) * INTEGER_ADD_32 * _MICROJOULES,
        input=input_operations * (INTEGER_MULTIPLY_8 + INTEGER_ADD_32) * _MICROJOULES,
        weight_reads=(synaptic_operations + input_operations) * SRAM_BYTE * _MICROJOULES,
    )


def ann(multiply_adds: float) -> dict[str, float]:
    """Microjoules of one image in the ANN: arithmetic in 8-bit integers and in floating point, and weight reads."""
    return {
        "int8": multiply_adds * (INTEGER_MULTIPLY_8 + INTEGER_ADD_32) * _MICROJOULES,
        "float32": multiply_adds * (FLOAT_MULTIPLY_32 + FLOAT_ADD_32) * _MICROJOULES,
        "weight_reads": multiply_adds * SRAM_BYTE * _MICROJOULES,
    }
