"""How fast refsnn is, against others on the same network: ``python -m benchmarks``."""
