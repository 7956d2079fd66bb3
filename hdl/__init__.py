"""The neuron-array core: an Amaranth generator, its export to Verilog, and what proves it equal to the simulator."""
