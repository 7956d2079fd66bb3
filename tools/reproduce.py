"""``python tools/reproduce.py``: measure the papers' networks, and write ``docs/results.md``."""

import os
import sys

if __name__ == "__main__":
    # not this folder, whose modules are named like others' (numbers, onnx), but the one around it
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

    from tools.reproduction.command import main

    main()
