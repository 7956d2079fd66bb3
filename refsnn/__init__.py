"""refsnn: a bit-exact integer simulator of spiking neural networks converted from ordinary trained networks."""

__version__ = "0.1.0"
