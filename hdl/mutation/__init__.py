"""How good the vectors are: mutants made by a tool, simulated, and the survivors put to a solver."""
